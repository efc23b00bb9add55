"""The application's own database: a manager, a session per ``Context``, an ORM, migrations.

May know SQLAlchemy, ``backstay.web`` and the ground. ``add_database(app, url)`` switches it on;
``ctx.db.session`` and ``ctx.db.sync_session`` use it. Needs the extra ``db``.
"""

from backstay.db.database import Database
from backstay.db.installation import add_database
from backstay.db.manager import MainDatabaseManager
from backstay.db.orm import OrmAsync
from backstay.db.part import ContextDatabase

__all__ = ["ContextDatabase", "Database", "MainDatabaseManager", "OrmAsync", "add_database"]
