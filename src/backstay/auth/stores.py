"""From a database, an address, or nothing, to the store that guarding remembers things in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backstay.auth.memory_store import MemoryAuthStore
from backstay.auth.port import AuthStore
from backstay.errors import BadAuth

if TYPE_CHECKING:
    from backstay.db.database import Database
    from backstay.db.manager import MainDatabaseManager

__all__ = ["open_store"]

_HOW = (
    'None or "memory://" for this process alone, "sqlite:///file.db", '
    '"postgresql://user@host/name", a MainDatabaseManager, a Database, or an AuthStore of your own'
)


def open_store(
    what: AuthStore | MainDatabaseManager | Database | str | None = None,
) -> AuthStore:
    """The store there; its ``open()`` is still to be awaited, and its ``close()`` at the end.

    Args:
        what: ``None`` or ``"memory://"`` for one process until it ends; a database, its manager, or
            its URL, for all that reach it: SQLite and PostgreSQL. A store is used as it is. A
            database that is given stays open when the store is closed, one made from a URL does
            not. PostgreSQL is reached by connections of the store's own.

    Raises:
        BadAuth: it is none of these, or no URL of a database that can be used.
        MissingExtra: the extra ``db`` is not installed.
    """
    if what is None or what == "memory://":
        return MemoryAuthStore()
    if isinstance(what, str):
        return _at(what)
    if callable(getattr(what, "rotate_refresh", None)):
        store: Any = what
        return store  # type: ignore[no-any-return]  # a store, as far as one can see
    from backstay.auth.database_store import DatabaseAuthStore
    from backstay.db.database import Database

    database = getattr(what, "database", what)
    if isinstance(database, Database):
        return DatabaseAuthStore(database)
    raise BadAuth(
        f"an object of type {type(what).__qualname__} is no place for sessions and keys; use {_HOW}"
    )


def _at(url: str) -> AuthStore:
    from backstay.ledger.opening import without_password

    if not url.startswith(("sqlite", "postgres")) or "://" not in url:
        raise BadAuth(f"{without_password(url)!r} is no address for sessions and keys; use {_HOW}")
    from backstay.auth.database_store import DatabaseAuthStore
    from backstay.db.database import Database

    try:
        database = Database(url)
    except ValueError as error:
        raise BadAuth(str(error)) from error
    return DatabaseAuthStore(database, owned=True)
