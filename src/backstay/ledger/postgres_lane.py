"""Connections to PostgreSQL, one for each kind of work, and what their errors mean to us."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg

from backstay.errors import BackstayError, BadJob, LedgerMismatch, LedgerUnavailable
from backstay.ledger.postgres_address import Address
from backstay.ledger.postgres_schema import Tables

__all__ = ["LOST", "Lane", "Plan", "carry_out", "connect", "translated"]

T = TypeVar("T")
if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:  # only the stubs know that it is generic
    Connection = asyncpg.Connection
Plan = Generator[tuple[str, str], Sequence[Sequence[Any]], T]
"""Statements to run in one transaction, one after the other: yields a template and the JSON text
for its ``:doc``, is sent the rows, returns what came of it. The same plan serves our own
connections and other people's sessions, whatever their driver."""

LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # by the first statement after a FATAL that came while idle
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    TimeoutError,
)
"""What is raised when the connection is gone, cannot be made, or does not answer in time."""

_CONTENDED = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_ATTEMPTS = 5

# A queue table changes faster than its statistics. A plan made while it was small or unanalysed
# must not read all of it once it is large, and planning again for every claim costs more than
# running it; each of these statements has one right plan, an index scan.
_FAST_SETTINGS = {
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
_SETTINGS = {
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "jit": "off",
    "synchronous_commit": "on",
    "TimeZone": "UTC",
}


async def connect(
    address: Address, *, timeout_s: float, command_timeout_s: float, fast: bool = False
) -> Connection:
    """A connection of our own.

    Args:
        address: where to.
        timeout_s: seconds to connect, at most.
        command_timeout_s: seconds for each statement, at most.
        fast: for statements that must use indexes whatever the statistics say.
    """
    options = dict(address.options)
    if address.pooled:
        options["statement_cache_size"] = 0
    else:
        options["server_settings"] = {
            "application_name": address.application,
            **_SETTINGS,
            **(_FAST_SETTINGS if fast else {}),
        }
    connection: Connection = await asyncpg.connect(
        **options, timeout=timeout_s, command_timeout=command_timeout_s
    )
    return connection


def translated(error: BaseException, address: Address) -> BackstayError:
    """Our name for an error of the driver or the server."""
    if isinstance(error, BackstayError):
        return error
    what = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, TimeoutError):
        what = f"no answer in time ({what})"
    if isinstance(error, (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)):
        return LedgerMismatch(
            f"the ledger's tables at {address.place} are not what they were when it was opened: "
            f"{what}; start again to have them made or checked"
        )
    if isinstance(error, (asyncpg.DataError, asyncpg.exceptions.DataError, ValueError)):
        return BadJob(f"PostgreSQL cannot store this: {what}; nothing was written")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return LedgerUnavailable(
            f"PostgreSQL at {address.place} refused: {what}; GRANT SELECT, INSERT, UPDATE, DELETE "
            "on the ledger's tables, and USAGE on their schema"
        )
    return LedgerUnavailable(f"PostgreSQL at {address.place}: {what}")


async def carry_out(connection: Connection, tables: Tables, plan: Plan[T]) -> T:
    """Run a plan on a connection that is in a transaction."""
    try:
        template, doc = next(plan)
        while True:
            rows: Sequence[Any] = await connection.fetch(tables.numbered(template), doc)
            template, doc = plan.send(rows)
    except StopIteration as done:
        result: T = done.value
        return result


class Lane:
    """One connection, made when it is first needed and again after it was lost.

    A pool would reset a connection each time it is given back, one round trip more for every
    statement; and its waiting line would let a slow listing hold up claims.

    Args:
        address: where to.
        timeout_s: seconds to connect, and for each statement.
        fast: see ``connect``.
    """

    def __init__(self, address: Address, *, timeout_s: float, fast: bool) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._fast = fast
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None

    async def connected(self) -> Connection:
        """The connection, live as far as is known."""
        connection = self._connection
        if connection is None or connection.is_closed():
            self._connection = None
            connection = self._connection = await connect(
                self._address,
                timeout_s=min(self._timeout_s, self._address.connect_timeout_s or 10.0),
                command_timeout_s=self._timeout_s,
                fast=self._fast,
            )
        return connection

    def drop(self) -> None:
        """Let go of a connection whose state is not known."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            connection.terminate()

    async def run(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        transaction: bool = True,
        uncertain: Callable[[], object] | None = None,
    ) -> T:
        """Do some work on the connection, alone; again if it lost against another transaction.

        Args:
            work: what; called again after a deadlock or a serialization failure.
            transaction: in a transaction; ``False``: every statement is one.
            uncertain: called if it cannot be known whether the work was committed.

        Raises:
            LedgerUnavailable: the database cannot be reached, or refuses.
        """
        async with self._turn:
            for attempt in range(1, _ATTEMPTS + 1):
                started = False
                try:
                    connection = await self.connected()
                    started = True
                    if not transaction:
                        return await work(connection)
                    async with connection.transaction(isolation="read_committed"):
                        return await work(connection)
                except _CONTENDED as error:
                    if attempt == _ATTEMPTS:
                        raise translated(error, self._address) from error
                except BackstayError:
                    raise
                except (*LOST, asyncpg.PostgresError, ValueError) as error:
                    if isinstance(error, LOST) and not isinstance(error, asyncpg.DataError):
                        self.drop()
                        if started and uncertain is not None:
                            uncertain()
                    raise translated(error, self._address) from error
                except asyncio.CancelledError:
                    # The statement may be under way, or done: nobody will read its answer.
                    self.drop()
                    if started and uncertain is not None:
                        uncertain()
                    raise
        raise AssertionError("unreachable")  # pragma: no cover

    async def plan(self, tables: Tables, plan: Callable[[], Plan[T]]) -> T:
        """Run a plan in a transaction of its own."""
        return await self.run(lambda connection: carry_out(connection, tables, plan()))

    async def close(self) -> None:
        """Disconnect, after what is under way."""
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None and not connection.is_closed():
                with suppress(Exception):
                    await connection.close(timeout=2.0)
