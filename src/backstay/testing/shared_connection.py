"""One DBAPI connection that everything in a test shares, in one transaction that is rolled back.

What SQLAlchemy gets instead of connections of its own are leases. A lease's transaction is a
savepoint: begun by its first statement that writes, released by ``commit()``, gone back to by
``rollback()``. From then until its end nobody else gets to see the database, so that what others
see is committed, as with connections of their own. Reading takes part in no transaction.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from backstay.errors import MissingExtra
from backstay.testing.statement_kind import StatementKind
from backstay.testing.write_turn import IsolationError, Owner, WriteTurn

try:
    from sqlalchemy.util import await_only
except ImportError as missing:
    raise MissingExtra("db", "sqlalchemy") from missing

__all__ = ["Lease", "LeaseCursor", "SharedConnection", "StoredCursor"]

T = TypeVar("T")

_SHOWN = 120
"""Characters of a statement that messages show."""

# In one message, and leaving things as they were: PostgreSQL checks deferred constraints when the
# transaction ends, which here it never does.
_POSTGRES_COMMIT = (
    "SAVEPOINT backstay_check; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO SAVEPOINT backstay_check; "
    "RELEASE SAVEPOINT backstay_check; RELEASE SAVEPOINT backstay_test"
)


class SharedConnection:
    """The connection, and who may use it.

    Args:
        raw: a DBAPI connection, of sqlite3 or for PostgreSQL, that begins nothing by itself.
        dialect: ``"sqlite"`` or ``"postgresql"``.
        wait_s: seconds that a session waits for another's transaction to end.
    """

    def __init__(self, raw: Any, dialect: str, *, wait_s: float = 10.0) -> None:
        self.raw = raw
        self.is_sqlite = dialect == "sqlite"
        self.turn = WriteTurn(wait_s=wait_s)
        self.in_test = False
        self._checks_deferred = False

    def lease(self, *, asynchronous: bool) -> Lease:
        """A new DBAPI connection, as far as anybody can tell."""
        return Lease(self, asynchronous=asynchronous)

    def begin_test(self) -> None:
        """Begin the transaction that holds one test."""
        self.control("BEGIN")
        self.in_test = True
        if self.is_sqlite:
            self._checks_deferred = self._has_deferred_keys()

    def end_test(self) -> None:
        """Undo everything since ``begin_test``."""
        self.in_test = False
        holder = self.turn.end()
        if isinstance(holder, Lease):
            holder.lost = True
        self.control("ROLLBACK")

    def run(self, lease: Lease, kind: StatementKind, call: Callable[[], T]) -> T:
        """Run a statement for a lease that has the turn already, or has just been given it."""
        if lease.in_transaction:
            return call()
        if kind is StatementKind.READ or lease.autocommit:
            try:
                return call() if self.is_sqlite else self._unharmed(call)
            finally:
                self.turn.leave(lease)
        try:
            self.control("SAVEPOINT backstay_test")
        except BaseException:
            self.turn.leave(lease)
            raise
        lease.in_transaction = True
        return call()

    def commit(self, lease: Lease) -> None:
        """End a lease's transaction, or raise what its end would have raised."""
        if self.is_sqlite:
            if self._checks_deferred:
                self._check_deferred_keys()
            self.control("RELEASE backstay_test")
        else:
            self.control(_POSTGRES_COMMIT)
        lease.in_transaction = False
        self.turn.leave(lease)

    def rollback(self, lease: Lease) -> None:
        """Undo a lease's transaction."""
        lease.in_transaction = False
        try:
            self.control("ROLLBACK TO SAVEPOINT backstay_test")
            self.control("RELEASE SAVEPOINT backstay_test")
        finally:
            self.turn.leave(lease)

    def control(self, statement: str) -> None:
        """Execute a statement of our own, which no listener of SQLAlchemy's hears of."""
        cursor = self.raw.cursor()
        try:
            cursor.execute(statement)
        finally:
            cursor.close()

    def _unharmed(self, call: Callable[[], T]) -> T:
        # PostgreSQL gives up a transaction in which any statement has failed.
        self.control("SAVEPOINT backstay_read")
        try:
            result = call()
        except BaseException:
            self.control("ROLLBACK TO SAVEPOINT backstay_read")
            raise
        self.control("RELEASE SAVEPOINT backstay_read")
        return result

    def _has_deferred_keys(self) -> bool:
        cursor = self.raw.execute(
            "SELECT 1 FROM sqlite_master WHERE sql LIKE '%INITIALLY DEFERRED%' LIMIT 1"
        )
        return cursor.fetchone() is not None

    def _check_deferred_keys(self) -> None:
        if self.raw.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise self.raw.IntegrityError("FOREIGN KEY constraint failed")


class Lease:
    """A DBAPI connection (PEP 249) that borrows the shared one, statement by statement.

    What it does not have itself it takes from the shared connection. Options that would change
    that for everybody (an isolation level, read-only) are noted and have no effect, but for
    autocommit.

    Attributes:
        autocommit: each statement stands for itself.
        in_transaction: it has written, and neither committed nor rolled back.
        lost: the test ended in the middle of its transaction.
    """

    read_only: bool | None = None
    deferrable: bool | None = None
    _isolation_level: object = None

    def __init__(self, shared: SharedConnection, *, asynchronous: bool) -> None:
        self.shared = shared
        self.autocommit = False
        self.in_transaction = False
        self.lost = False
        self.closed = False
        self.doing = ""
        self.owner: Owner = (0, None)
        self._asynchronous = asynchronous
        self._isolation_level = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shared.raw, name)

    @property
    def isolation_level(self) -> object:
        """As sqlite3 has it, where ``None`` means autocommit; elsewhere a note."""
        return self._isolation_level

    @isolation_level.setter
    def isolation_level(self, value: object) -> None:
        self._isolation_level = value
        if self.shared.is_sqlite:
            self.autocommit = value is None

    def cursor(self, *args: Any, **options: Any) -> LeaseCursor:
        """A cursor, whose statements wait for their turn."""
        raw = self.shared.raw.cursor(*args, **options)
        return (StoredCursor if self.shared.is_sqlite else LeaseCursor)(self, raw)

    def commit(self) -> None:
        """Keep what was written, until the test is over."""
        self._require_found()
        if self.in_transaction:
            self.shared.commit(self)

    def rollback(self) -> None:
        """Undo what was written and not committed."""
        self.lost = False
        if self.in_transaction:
            if self.shared.turn.holder is self:
                self.shared.rollback(self)
            self.in_transaction = False

    def close(self) -> None:
        """Give it back; what was not committed is undone."""
        self.rollback()
        self.closed = True

    def perform(self, statement: object, call: Callable[[], T]) -> T | None:
        """Run a cursor's statement in its turn; ``None`` for what only begins or ends."""
        text = statement if isinstance(statement, str) else str(statement)
        kind = StatementKind.of(text)
        self._require_found()
        if self._asynchronous:
            # As every async driver's, a statement outside of SQLAlchemy's greenlets is refused.
            await_only(self._take_async(kind, text))
        else:
            self._take(kind, text)
        if kind is StatementKind.COMMIT:
            self.commit()
        elif kind is StatementKind.ROLLBACK:
            self.rollback()
        elif kind is not StatementKind.BEGIN:
            return self.shared.run(self, kind, call)
        return None

    def _take(self, kind: StatementKind, text: str) -> None:
        if self._waits(kind, text):
            self.shared.turn.take(self)

    async def _take_async(self, kind: StatementKind, text: str) -> None:
        if self._waits(kind, text):
            await self.shared.turn.take_async(self)

    def _waits(self, kind: StatementKind, text: str) -> bool:
        self.owner = _whoever_calls()
        if self.in_transaction or kind not in {StatementKind.READ, StatementKind.WRITE}:
            return False
        shortened = " ".join(text.split())
        self.doing = shortened if len(shortened) <= _SHOWN else f"{shortened[: _SHOWN - 1]}…"
        return True

    def _require_found(self) -> None:
        if self.lost:
            raise IsolationError(
                "the test in which this session's transaction began is over, and with it the "
                "transaction; close sessions, and wait for tasks, before a test ends"
            )
        if not self.shared.in_test:
            raise IsolationError(
                "no test is running, so there is no transaction that would be undone; use the "
                "database within a test, or in a fixture that a test uses"
            )


def _whoever_calls() -> Owner:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        task = None
    return threading.get_ident(), None if task is None else id(task)


class LeaseCursor:
    """A cursor of the driver's whose statements are run in turn."""

    def __init__(self, lease: Lease, raw: Any) -> None:
        self._lease = lease
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._raw)

    def execute(self, statement: Any, *args: Any, **options: Any) -> LeaseCursor:
        """As the driver's."""
        self._lease.perform(statement, lambda: self._executed(statement, args, options))
        return self

    def executemany(self, statement: Any, *args: Any, **options: Any) -> LeaseCursor:
        """As the driver's."""
        self._lease.perform(statement, lambda: self._raw.executemany(statement, *args, **options))
        return self

    async def _async_soft_close(self) -> None:
        # What SQLAlchemy awaits at a cursor of an async driver's when its rows are in memory.
        pass

    def _executed(self, statement: Any, args: Any, options: Any) -> None:
        self._raw.execute(statement, *args, **options)


class StoredCursor(LeaseCursor):
    """For sqlite3, which reads rows when they are fetched: they are, before anybody else's turn."""

    def __init__(self, lease: Lease, raw: Any) -> None:
        super().__init__(lease, raw)
        self._rows: deque[Any] = deque()

    def __iter__(self) -> Iterator[Any]:
        while self._rows:
            yield self._rows.popleft()

    def fetchone(self) -> Any:
        """As the driver's."""
        return self._rows.popleft() if self._rows else None

    def fetchmany(self, size: int | None = None) -> list[Any]:
        """As the driver's."""
        wanted = self._raw.arraysize if size is None else size
        return [self._rows.popleft() for _ in range(min(wanted, len(self._rows)))]

    def fetchall(self) -> list[Any]:
        """As the driver's."""
        rows, self._rows = list(self._rows), deque()
        return rows

    def _executed(self, statement: Any, args: Any, options: Any) -> None:
        super()._executed(statement, args, options)
        self._rows = deque(self._raw.fetchall() if self._raw.description else ())
