"""How one request reaches the tables: in the transaction it has open, or beside it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Executable
from sqlalchemy.engine import CursorResult, Row
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import HTTPConnection

from backstay.db.orm import OrmAsync
from backstay.web.dependencies import exchange_of
from backstay.web.exchange import Exchange

if TYPE_CHECKING:
    from backstay.app import Backstay
    from backstay.context import Context
    from backstay.db.database import Database

__all__ = ["Access", "orm_of", "outcome_of"]

_LINE = "backstay.db.add_database(app, DatabaseManager)"


class Access:
    """The database, for one request."""

    __slots__ = ("_connection", "_exchange")

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        # Not through exchange_of, which begins to watch over a life that reading has no use for.
        self._exchange = Exchange.of(connection.scope) or exchange_of(connection, _LINE)

    @property
    def ctx(self) -> Context:
        """The request's context, opened on first use."""
        return exchange_of(self._connection, _LINE).context

    @property
    def app(self) -> Backstay:
        """Whose request it is."""
        return self._exchange.app

    @property
    def database(self) -> Database:
        """The app's.

        Raises:
            NotInstalled: it has none.
        """
        return self._exchange.app.part("db").database  # type: ignore[attr-defined,no-any-return]  # the part named "db" is DatabasePart

    @property
    def in_transaction(self) -> bool:
        """Whether this request has opened ``ctx.db``, so that it has to see its own writes."""
        exchange = self._exchange
        return exchange.opened and exchange.context.has("db") and exchange.context.db.opened

    @property
    def may_write_alone(self) -> bool:
        """Whether a single statement may be committed by itself, in the endpoint.

        Not if something may still fail between endpoint and answer, and would have to undo it; nor
        if somebody listens to what sessions write.
        """
        return not (
            self.in_transaction
            or self._exchange.holds_dependencies
            or self.database.sessions_are_watched
        )

    async def rows(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        """The rows of a ``SELECT``."""
        if self.in_transaction:
            return await self.ctx.db.fetch(statement, parameters)
        database = self.database
        if database.sessions_are_watched:
            return await self.objects(statement, parameters)
        return await database.fetch(statement, parameters)

    async def objects(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        """Rows with the objects of a ``SELECT`` that says what to load with them."""
        if self.in_transaction:
            return (await self.ctx.db.session.execute(statement, parameters)).all()
        async with (
            self.database.reading() as connection,
            AsyncSession(connection, expire_on_commit=False) as session,
        ):
            return (await session.execute(statement, parameters)).all()

    async def write(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        """One statement that writes, and what it returns: in this request's transaction if one is
        open, else committed when this returns.
        """
        if self.may_write_alone:
            return await self.database.write(statement, parameters)
        found = await self.ctx.db.session.execute(statement, parameters)
        return found.all() if cast("CursorResult[Any]", found).returns_rows else ()


def orm_of(ctx: Context) -> OrmAsync:
    """The ORM in a context's own transaction."""
    return OrmAsync(ctx.db.session, commit=False)


async def outcome_of(result: Any) -> Any:
    """What a hook came to, which may be ``async def`` or ``def``."""
    return await result if inspect.isawaitable(result) else result
