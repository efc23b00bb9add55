"""The one writer of a process: whatever wants to write at the same time shares a commit.

A commit that survives a power cut waits for the disk, and the disk takes as long for one row as
for hundreds. So operations wait in one line, and whoever holds the write lock takes all of them
into its transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from backstay.errors import LedgerUnavailable
from backstay.ledger.port import Execute
from backstay.ledger.sqlite_connections import Connection, executor_of, named
from backstay.ledger.sqlite_faults import is_busy, is_lasting, translated

__all__ = ["NotQuick", "Operation", "Writer"]

_GROUP = 1000


class NotQuick(Exception):  # says what the matter is; never leaves the engine
    """A quick way found that it does not apply after all: roll back, and go the careful way."""


class Operation:
    """Something to be done within a transaction.

    Args:
        work: does it, with any statements; may run again after a rollback.
        rows: for plain inserts: parameters of the writer's ``simple`` statement. Neighbours are
            written together. ``work`` is for when that fails.
        quick: a faster way to do the same; may raise ``NotQuick``.
        wakes: what others are told of after the commit: ``Wake`` as bits, 1 for enqueued, 2 for
            cancelled. ``work`` and ``quick`` may change it.

    Attributes:
        result: what ``work`` or ``quick`` returned; ``None`` if ``rows`` were written.
        error: why it was not done.
        future, gate: who waits: in the event loop, or blocked in another thread.
    """

    __slots__ = ("error", "future", "gate", "quick", "result", "rows", "wakes", "work")

    def __init__(
        self,
        work: Callable[[Execute], Any],
        *,
        rows: list[tuple[Any, ...]] | None = None,
        quick: Callable[[sqlite3.Connection, Execute], Any] | None = None,
        wakes: int = 0,
    ) -> None:
        self.work = work
        self.rows = rows
        self.quick = quick
        self.wakes = wakes
        self.result: Any = None
        self.error: BaseException | None = None
        self.future: asyncio.Future[Any] | None = None
        self.gate: Any = None


class Writer:
    """Owns the write connection.

    Args:
        connection: for this writer alone.
        simple: the INSERT for ``Operation.rows``.
        loop: where futures are resolved.
        told: called after a commit, in the thread that made it, with what to tell others.
        committed: called under the lock after each commit, with their number.
        patience_s: as errors name it.

    Attributes:
        lock: held while the connection is used.
        commits: transactions so far, those that changed nothing included.
        connection: used under ``lock`` only.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        simple: str,
        loop: asyncio.AbstractEventLoop,
        told: Callable[[int], None],
        committed: Callable[[int], None] | None = None,
        patience_s: float,
    ) -> None:
        self.lock = threading.Lock()
        self.commits = 0
        self.connection = connection
        self._simple = simple
        self._loop = loop
        self._told = told
        self._committed = committed
        self._patience_s = patience_s
        self._line: SimpleQueue[Operation | None] = SimpleQueue()
        self._writing = False
        self._closed = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._run, name="backstay-ledger", daemon=True)

    def start(self) -> None:
        """Begin to take operations."""
        self._thread.start()

    def stop(self) -> None:
        """Do what is in line, then end. Blocking; any thread but the writer's."""
        self._closed = True
        self.connection.hurry()
        if os.getpid() == self._pid:
            self._line.put(None)
            self._thread.join()

    @property
    def waiting(self) -> int:
        """How many operations are in line."""
        return self._line.qsize()

    def submit(self, operation: Operation) -> asyncio.Future[Any]:
        """Put an operation in line. In the event loop.

        Returns:
            What ``work`` returned.
        """
        self.check()
        operation.future = future = self._loop.create_future()
        self._line.put(operation)
        return future

    def call(self, operation: Operation) -> Any:
        """Do an operation and wait for it. Any thread, whatever the event loop is doing.

        If nobody is writing it is done right here, which spares two changes of thread.
        """
        self.check()
        if not self._writing and self._line.empty() and self.lock.acquire(blocking=False):
            try:
                self._run_group([operation])
            finally:
                self.lock.release()
            if operation.wakes and operation.error is None:
                self._told(operation.wakes)
        else:
            gate = threading.Lock()
            gate.acquire()
            operation.gate = gate
            self._line.put(operation)
            if self._closed and not self._thread.is_alive():
                self._refuse_rest()
            gate.acquire()
        if operation.error is not None:
            raise operation.error
        return operation.result

    def check(self) -> None:
        """Raise ``LedgerUnavailable`` if nobody would do the work. Any thread."""
        if os.getpid() != self._pid:
            raise LedgerUnavailable(
                f"{named(self.connection.path)} was opened by process {self._pid}, and this is "
                f"its fork {os.getpid()}: a SQLite connection does not survive a fork. Open the "
                "ledger in the new process, or start processes with 'spawn'"
            )
        if self._closed:
            raise LedgerUnavailable(f"{named(self.connection.path)} is closed; open it again")

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        line = self._line
        ends = False
        while not ends:
            first = line.get()
            if first is None:
                break
            group = [first]
            self._writing = True
            with self.lock:
                # After the lock was waited for: more may have come.
                try:
                    while len(group) < _GROUP:
                        operation = line.get_nowait()
                        if operation is None:
                            ends = True
                            break
                        group.append(operation)
                except Empty:
                    pass
                self._run_group(group)
                self._writing = False
            self._deliver(group)
        self._refuse_rest()

    def _refuse_rest(self) -> None:
        while True:
            try:
                operation = self._line.get_nowait()
            except Empty:
                return
            if operation is not None:
                operation.error = LedgerUnavailable(
                    f"{named(self.connection.path)} was closed meanwhile; nothing was written"
                )
                self._deliver([operation])

    def _deliver(self, group: Sequence[Operation]) -> None:
        wakes = 0
        awaited = []
        for operation in group:
            if operation.error is None:
                wakes |= operation.wakes
            if operation.future is not None:
                awaited.append(operation)
            elif operation.gate is not None:
                operation.gate.release()
        if awaited:
            with contextlib.suppress(RuntimeError):  # the loop is gone, and whoever waited with it
                self._loop.call_soon_threadsafe(_resolve, awaited)
        if wakes:
            self._told(wakes)

    # ------------------------------------------------------------------ transactions

    def _run_group(self, group: Sequence[Operation]) -> None:
        """Do all in one transaction; if that fails, each in one of its own. Raises nothing."""
        try:
            self._transact(group, careful=False)
        except Exception as error:
            first = group[0]
            careful = len(group) == 1 and first.rows is None and first.quick is None
            # Care makes a difference to such a one only where text is no UTF-8.
            if careful and "decode" not in str(error):
                self._fail(first, error)
                return
            if isinstance(error, LedgerUnavailable) or (is_lasting(error) or is_busy(error)):
                for operation in group:
                    self._fail(operation, error)
                return
            for operation in group:
                try:
                    self._transact([operation], careful=True)
                except Exception as its_error:
                    self._fail(operation, its_error)

    def _fail(self, operation: Operation, error: BaseException) -> None:
        operation.error = translated(error, named(self.connection.path), self._patience_s)

    def _transact(self, group: Sequence[Operation], *, careful: bool) -> None:
        deadline: float | None = None
        pause_s = 0.0002
        connection = self.connection
        while True:
            try:
                raw = connection.ready()
                if len(group) == 1 and not careful and (rows := group[0].rows) and len(rows) == 1:
                    # The usual case: one statement is a transaction of its own.
                    raw.execute(self._simple, rows[0])
                else:
                    raw.execute("BEGIN IMMEDIATE")
                    self._do(raw, group, careful)
                    raw.execute("COMMIT")
            except BaseException as error:
                connection.rollback()
                if is_lasting(error):
                    connection.drop()
                deadline, pause_s = connection.wait_for_lock(error, deadline, pause_s)
            else:
                self.commits += 1
                if self._committed is not None:
                    self._committed(self.commits)
                return

    def _do(self, raw: sqlite3.Connection, group: Sequence[Operation], careful: bool) -> None:
        execute = executor_of(raw)
        if careful:
            # Text that is no UTF-8 must not stop anybody.
            raw.text_factory = _lenient
            try:
                for operation in group:
                    operation.result = operation.work(execute)
            finally:
                raw.text_factory = str
            return
        rows: list[tuple[Any, ...]] = []
        for operation in group:
            if operation.rows is not None:
                rows.extend(operation.rows)
                continue
            if rows:
                raw.executemany(self._simple, rows)
                rows = []
            if operation.quick is not None:
                operation.result = operation.quick(raw, execute)
            else:
                operation.result = operation.work(execute)
        if rows:
            raw.executemany(self._simple, rows)


def _lenient(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _resolve(group: Sequence[Operation]) -> None:
    for operation in group:
        future = operation.future
        if future is None or future.done():
            continue
        if operation.error is not None:
            future.set_exception(operation.error)
        else:
            future.set_result(operation.result)
