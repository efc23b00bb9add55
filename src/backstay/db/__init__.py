"""The application's own database: a manager, a session per ``Context``, an ORM, migrations.

May know SQLAlchemy, ``backstay.web`` and the ground. ``add_database(app, manager)`` switches it
on; ``ctx.db.session`` and ``ctx.db.sync_session`` use it. Needs the extra ``db``.
"""

from backstay.db.alembic_env import AlembicEnv
from backstay.db.base_orm import BaseOrm
from backstay.db.database import Database
from backstay.db.installation import add_database
from backstay.db.loading import load_options
from backstay.db.manager import MainDatabaseManager
from backstay.db.mapping import SQL_TO_PYTHON_TYPE, get_pk
from backstay.db.nested import create_nested, deep_instance, update_nested
from backstay.db.orm import OrmAsync, OrmAsyncItem
from backstay.db.part import ContextDatabase

__all__ = [
    "AlembicEnv",
    "BaseOrm",
    "ContextDatabase",
    "Database",
    "MainDatabaseManager",
    "OrmAsync",
    "OrmAsyncItem",
    "SQL_TO_PYTHON_TYPE",
    "add_database",
    "create_nested",
    "deep_instance",
    "get_pk",
    "load_options",
    "update_nested",
]
