"""``AppOrm``: the ORM of whichever manager the app was given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from backstay.errors import NotInstalled
from backstay.web.exchange import Exchange

if TYPE_CHECKING:
    from backstay.db.manager import MainDatabaseManager
    from backstay.db.orm import OrmAsync

__all__ = ["AppOrm", "manager_of"]


class AppOrm:
    """For handlers that should not name a manager: ``aorm: OrmAsync = Depends(AppOrm.aget_orm)``."""

    @staticmethod
    async def aget_orm(connection: HTTPConnection) -> AsyncIterator[OrmAsync]:
        """The ORM in the request's transaction, which is committed before the answer leaves.

        Raises:
            NotInstalled: the app has no database.
        """
        async for orm in manager_of(connection).aget_orm(connection):
            yield orm


def manager_of(connection: HTTPConnection) -> MainDatabaseManager:
    """The manager of the app that serves a request.

    Raises:
        NotInstalled: it has none.
    """
    exchange = Exchange.of(connection.scope)
    if exchange is not None and exchange.app.has("db"):
        manager: MainDatabaseManager = exchange.app.part("db").manager  # type: ignore[attr-defined]  # the part named "db" is DatabasePart
        return manager
    app = connection.scope.get("app")
    found: MainDatabaseManager | None = getattr(
        getattr(app, "state", None), "DATABASE_MANAGER", None
    )
    if found is None:
        raise NotInstalled(
            f"{connection.scope['path']!r} needs the app's database, but it has none: add the line "
            "backstay.db.add_database(app, DatabaseManager) where the app is made"
        )
    return found
