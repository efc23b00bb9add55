"""``add_database(app, url)``, or ``(app, manager)``: a session per ``Context``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from backstay.db.database import Database
from backstay.db.exhaustion import exhaustion_answered
from backstay.db.manager import MainDatabaseManager
from backstay.db.part import DatabasePart
from backstay.web.installation import install

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["add_database"]


def add_database(
    app: Starlette,
    database: str | URL | Engine | AsyncEngine | Database | MainDatabaseManager,
    *,
    busy_timeout_s: float = 10.0,
    options: Mapping[str, Any] | None = None,
) -> Database:
    """Switch ``ctx.db`` on for an app. One line, once, where the app is made.

    Args:
        app: the FastAPI app you serve.
        database: a URL such as ``sqlite:///shop.db`` or ``postgresql://user@host/shop``, an engine
            of your own, a ``Database``, or a ``MainDatabaseManager``, whose dependencies and
            ``ctx.db`` then share one session per request. It is closed with the app, but for
            your own engines.
        busy_timeout_s: seconds that SQLite waits for another writer.
        options: for SQLAlchemy's ``create_engine``. Neither is for what has been made already.

    When all connections are in use for too long (SQLAlchemy's ``TimeoutError``), whoever waited for
    one is answered 503, as for ``DatabaseUnavailable``, unless the app has a handler for that.

    Returns:
        The database, for code outside of any piece of work.

    Raises:
        AlreadyInstalled: the app has one.
        TypeError, ValueError: ``database`` is none of these.
    """
    manager: MainDatabaseManager | None = None
    if isinstance(database, MainDatabaseManager):
        manager, database = database, database.database
    elif not isinstance(database, Database):
        database = Database(database, busy_timeout_s=busy_timeout_s, options=options)
    install(app).add(DatabasePart(database, manager), first=True)
    exhaustion_answered(app)
    if manager is not None and getattr(app.state, "DATABASE_MANAGER", None) is None:
        app.state.DATABASE_MANAGER = manager
    return database
