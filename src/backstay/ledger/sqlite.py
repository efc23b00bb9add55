"""The ledger in one SQLite file: nothing to install, any number of processes of one machine."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from backstay.errors import LedgerUnavailable
from backstay.ledger.bounds import check_queues, check_seconds
from backstay.ledger.port import Claims, Execute, Wake
from backstay.ledger.rows import (
    Beat,
    Counts,
    Finish,
    Inserted,
    JobFilter,
    JobRow,
    NewJob,
    Orphan,
    ProgressReport,
    QueueRow,
    State,
    Tick,
    Wait,
    WorkerRow,
)
from backstay.ledger.sqlite_checkpoints import WRITER_PAGES, Checkpoints
from backstay.ledger.sqlite_claims import Claiming
from backstay.ledger.sqlite_connections import MEMORY, Connection, executor_of, file_of, named
from backstay.ledger.sqlite_faults import is_lasting, translated
from backstay.ledger.sqlite_finishes import Finishes
from backstay.ledger.sqlite_inserts import Inserts
from backstay.ledger.sqlite_queries import Queries
from backstay.ledger.sqlite_rows import from_us, to_us
from backstay.ledger.sqlite_writer import NotQuick, Operation, Writer
from backstay.ledger.wake_sockets import WakeSockets, directory_for

__all__ = ["SqliteHeart", "SqliteLedger"]

T = TypeVar("T")

_ENQUEUED = 1
_CANCELLED = 2

# What one transaction deletes takes some milliseconds; others may write between two.
_DELETED_AT_A_TIME = 1000
_FOUND_AT_A_TIME = 50_000
# Connections of other processes look for a free lock that often, at least.
_BREATH_S = 0.005
_PATIENCE_S = 30.0


class SqliteLedger:
    """Implements ``Ledger``.

    Args:
        url: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, with any driver's name;
            ``memory://`` or ``sqlite://`` for one that lives from ``open`` to ``close``.
        now: the clock, ``None`` for the machine's.
        prefix: in front of every table's name.
        schema: PostgreSQL's; means nothing here.
        patience_s: seconds to wait for other connections' locks before ``LedgerUnavailable``;
            ``None``: 30.

    Attributes:
        writer: all that is written goes through it; ``None`` if the ledger is not open.
    """

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], datetime] | None = None,
        prefix: str = "backstay_",
        schema: str | None = None,  # engines are made with the same arguments
        patience_s: float | None = None,
    ) -> None:
        self._url = url
        self._now = now
        self._prefix = prefix
        self._patience_s = _PATIENCE_S if patience_s is None else patience_s
        self._inserts = Inserts(prefix)
        self._finishes = Finishes(prefix, self._inserts)
        self._claiming = Claiming(prefix)
        self._queries = Queries(prefix)
        self._set_progress = (
            f"UPDATE {prefix}jobs SET progress = :progress "  # noqa: S608  # names of tables, never values
            "WHERE id = :id AND fence = :fence AND state = 'running'"
        )
        self._path = MEMORY
        self.writer: Writer | None = None
        self._write_connection: Connection | None = None
        self._read_connection: Connection | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._checkpoints: Checkpoints | None = None
        self._sockets: WakeSockets | None = None
        self._listener: Callable[[Wake], object] | None = None
        self._listening_fd: int | None = None
        self._wake_lock = threading.Lock()
        self._wakes_here = 0

    @property
    def url(self) -> str:
        return self._url

    @property
    def dialect(self) -> str:
        return "sqlite"

    # ------------------------------------------------------------------ life

    async def open(self, *, create: bool = True) -> None:
        if self.writer is not None:
            return
        self._path = file_of(self._url)
        loop = asyncio.get_running_loop()
        writing = reading = Connection(
            self._path,
            self._prefix,
            self._patience_s,
            create=create,
            checkpoint_pages=WRITER_PAGES,
        )
        if self._path != MEMORY:
            reading = Connection(self._path, self._prefix, self._patience_s, create=create)
        readers = ThreadPoolExecutor(1, thread_name_prefix="backstay-ledger-reader")
        try:
            await loop.run_in_executor(readers, self._connect, writing, reading)
        except BaseException:
            readers.submit(writing.drop)
            readers.submit(reading.drop)
            readers.shutdown(wait=False)
            raise
        self._loop = loop
        self._readers = readers
        self._write_connection = writing
        self._read_connection = reading
        if self._path != MEMORY:
            self._checkpoints = Checkpoints(self._path)
            if hasattr(os, "getuid"):
                self._sockets = WakeSockets(directory_for(self._path))
        self.writer = Writer(
            writing,
            simple=self._inserts.simple,
            loop=loop,
            told=self._tell_all,
            committed=None if self._checkpoints is None else self._checkpoints.committed,
            patience_s=self._patience_s,
        )
        self.writer.start()
        self._listen()

    def _connect(self, *connections: Connection) -> None:
        try:
            for connection in connections:
                connection.ready()
        except sqlite3.Error as error:
            raise translated(error, named(self._path), self._patience_s) from error

    async def close(self) -> None:
        writer, self.writer = self.writer, None
        if writer is None:
            return
        assert self._loop is not None
        assert self._readers is not None
        self._deafen()
        readers, self._readers = self._readers, None
        try:
            await asyncio.shield(self._loop.run_in_executor(readers, self._disconnect, writer))
        finally:
            readers.shutdown(wait=False)

    def _disconnect(self, writer: Writer) -> None:
        writer.stop()
        sockets, self._sockets = self._sockets, None
        if sockets is not None:
            sockets.close()
        checkpoints, self._checkpoints = self._checkpoints, None
        if checkpoints is not None:
            checkpoints.close()
        for connection in (self._read_connection, self._write_connection):
            if connection is not None:
                connection.drop()

    # ------------------------------------------------------------------ waking

    def on_wake(self, listener: Callable[[Wake], object] | None) -> None:
        self._listener = listener
        if listener is None:
            self._deafen()
        elif self.writer is not None:
            self._listen()

    def tell(self, wake: Wake) -> None:
        self._tell_all((_ENQUEUED if wake.enqueued else 0) | (_CANCELLED if wake.cancelled else 0))

    def _tell_all(self, wakes: int) -> None:
        """Our own listener and those of other processes. Any thread."""
        if self._listener is not None and self._loop is not None:
            with self._wake_lock:
                first = not self._wakes_here
                self._wakes_here |= wakes
            if first:
                try:
                    self._loop.call_soon_threadsafe(self._wake_here)
                except RuntimeError:
                    self._wakes_here = 0  # the loop is closed
        sockets = self._sockets
        if sockets is not None:
            sockets.tell(wakes)

    def _wake_here(self) -> None:
        with self._wake_lock:
            wakes, self._wakes_here = self._wakes_here, 0
        self._wake(wakes)

    def _wake(self, wakes: int) -> None:
        if wakes and self._listener is not None:
            self._listener(Wake(bool(wakes & _ENQUEUED), bool(wakes & _CANCELLED)))

    def _listen(self) -> None:
        if self._listener is None or self._sockets is None or self._listening_fd is not None:
            return
        receiver = self._sockets.listen()
        if receiver is None or self._loop is None:
            return
        try:
            self._loop.add_reader(receiver.fileno(), self._hear)
        except NotImplementedError:  # a loop that cannot watch sockets this way
            self._sockets.deafen()
            return
        self._listening_fd = receiver.fileno()

    def _hear(self) -> None:
        if self._sockets is not None:
            self._wake(self._sockets.received())

    def _deafen(self) -> None:
        if self._listening_fd is not None and self._loop is not None:
            self._loop.remove_reader(self._listening_fd)
            self._listening_fd = None
        if self._sockets is not None:
            self._sockets.deafen()

    # ------------------------------------------------------------------ ways in

    def _now_us(self) -> int:
        return time.time_ns() // 1000 if self._now is None else to_us(self._now())

    def _open_writer(self) -> Writer:
        if self.writer is None:
            raise LedgerUnavailable(
                f"the ledger {self._url} is not open: `await ledger.open()` comes first"
            )
        return self.writer

    async def _write(self, work: Callable[[Execute], T], *, wakes: int = 0) -> T:
        result: T = await self._open_writer().submit(Operation(work, wakes=wakes))
        return result

    async def _read(self, work: Callable[[Execute], T]) -> T:
        self._open_writer().check()
        assert self._loop is not None
        assert self._readers is not None
        return await self._loop.run_in_executor(self._readers, self._read_here, work)

    def _read_here(self, work: Callable[[Execute], T]) -> T:
        connection, writer = self._read_connection, self.writer
        if connection is None or writer is None:
            raise LedgerUnavailable(f"{named(self._path)} was closed meanwhile")
        if connection is self._write_connection:
            with writer.lock:
                return self._look(connection, work)
        return self._look(connection, work)

    def _look(self, connection: Connection, work: Callable[[Execute], T]) -> T:
        deadline: float | None = None
        pause_s = 0.0002
        while True:
            try:
                raw = connection.ready()
                raw.text_factory = _lenient
                try:
                    # One snapshot for all that is asked: a job that moves on between two
                    # statements would be seen twice, or not at all.
                    raw.execute("BEGIN")
                    return work(executor_of(raw))
                finally:
                    connection.rollback()
                    raw.text_factory = str
            except sqlite3.Error as error:
                if is_lasting(error):
                    connection.drop()
                try:
                    deadline, pause_s = connection.wait_for_lock(error, deadline, pause_s)
                except sqlite3.Error:
                    raise translated(error, named(self._path), self._patience_s) from error

    # ------------------------------------------------------------------ writing jobs

    def _insertion(self, jobs: Sequence[NewJob]) -> Operation:
        now = self._now_us()
        return Operation(
            lambda execute: self._inserts.insert(execute, jobs, now),
            rows=Inserts.simple_rows(jobs, now),
            wakes=_ENQUEUED,
        )

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        jobs = tuple(jobs)
        if not jobs:
            return []
        writer = self._open_writer()
        inserted: list[Inserted] | None = await writer.submit(self._insertion(jobs))
        return [Inserted(job.id, True) for job in jobs] if inserted is None else inserted

    def insert_now(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        jobs = tuple(jobs)
        if not jobs:
            return []
        inserted: list[Inserted] | None = self._open_writer().call(self._insertion(jobs))
        return [Inserted(job.id, True) for job in jobs] if inserted is None else inserted

    def insert_through(self, execute: Execute, jobs: Sequence[NewJob]) -> list[Inserted]:
        return self._inserts.insert(execute, jobs, self._now_us())

    # ------------------------------------------------------------------ running them

    async def register(self, worker: WorkerRow) -> None:
        await self._write(
            lambda execute: self._queries.keep_worker(execute, worker, self._now_us())
        )

    def heart(self, worker: WorkerRow) -> SqliteHeart:
        return SqliteHeart(lambda: self._beat(worker))

    def _beat(self, worker: WorkerRow) -> Beat:
        beat: Beat = self._open_writer().call(
            Operation(lambda execute: self._queries.beat(execute, worker, self._now_us()))
        )
        return beat

    async def unregister(self, worker: str) -> None:
        # What it still holds is for others now.
        await self._write(
            lambda execute: self._queries.forget_worker(execute, worker), wakes=_ENQUEUED
        )

    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        future = self._open_writer().submit(
            Operation(lambda execute: self._claiming.claim(execute, worker, wants, self._now_us()))
        )
        try:
            claims: Claims = await asyncio.shield(future)
        except asyncio.CancelledError:
            # Whoever asked is gone; what is claimed for it would be held until it is an orphan.
            future.add_done_callback(self._hand_back)
            raise
        return claims

    def _hand_back(self, future: asyncio.Future[Claims]) -> None:
        if future.cancelled() or future.exception() is not None or self.writer is None:
            return
        finishes = [
            Finish(job.id, job.fence, State.AVAILABLE, give_back=True)
            for job in future.result().jobs
        ]
        if finishes:
            returned = self.writer.submit(self._finishing(finishes))
            returned.add_done_callback(_forget_result)

    def _finishing(self, finishes: Sequence[Finish]) -> Operation:
        def work(execute: Execute) -> set[UUID]:
            stale, stirred = self._finishes.finish_all(execute, finishes, self._now_us())
            operation.wakes = _ENQUEUED if stirred else 0
            return stale

        successes = Finishes.successes(finishes)

        def quick(raw: sqlite3.Connection, execute: Execute) -> set[UUID]:
            released = self._finishes.succeed(raw, execute, successes, self._now_us())
            if released is None:
                raise NotQuick
            operation.wakes = _ENQUEUED if released else 0
            return set()

        operation = Operation(work, quick=quick if successes else None)
        return operation

    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        finishes = tuple(finishes)
        if not finishes:
            return set()
        stale: set[UUID] = await self._open_writer().submit(self._finishing(finishes))
        return stale

    def finish_through(self, execute: Execute, finish: Finish) -> bool:
        current, _ = self._finishes.finish(execute, finish, self._now_us())
        return current

    async def progress(self, reports: Sequence[ProgressReport]) -> None:
        if not reports:
            return
        rows = [
            {"id": report.id.bytes, "fence": report.fence, "progress": report.progress}
            for report in reports
        ]

        def work(execute: Execute) -> None:
            for row in rows:
                execute(self._set_progress, row)

        await self._write(work)

    async def orphans(self, limit: int = 100) -> list[Orphan]:
        return await self._write(
            lambda execute: self._queries.orphans(execute, limit, self._now_us())
        )

    async def cancel_requests(self, worker: str) -> list[UUID]:
        return await self._read(lambda execute: self._queries.wishes(execute, worker))

    # ------------------------------------------------------------------ steering

    async def cancel(self, job_id: UUID, reason: str) -> State | None:
        def work(execute: Execute) -> State | None:
            state, released = self._finishes.cancel(execute, job_id, reason, self._now_us())
            operation.wakes = (_ENQUEUED if released else 0) | (
                _CANCELLED if state is State.RUNNING else 0
            )
            return state

        operation = Operation(work)
        state: State | None = await self._open_writer().submit(operation)
        return state

    async def requeue(self, which: JobFilter) -> list[UUID]:
        if which.older_than_s is not None:
            check_seconds(which.older_than_s, "JobFilter.older_than_s")

        def work(execute: Execute) -> list[UUID]:
            now = self._now_us()
            found = self._queries.given_up(execute, which, now)
            return self._finishes.requeue(execute, found, now)

        return await self._write(work, wakes=_ENQUEUED)

    async def delete(self, which: JobFilter, *, told: Callable[[int], object] | None = None) -> int:
        if which.older_than_s is not None:
            check_seconds(which.older_than_s, "JobFilter.older_than_s")
        # What is to be deleted is found by the reader, so that the writer is not held up by it.
        now, last = self._now_us(), await self._read(self._queries.last)
        deleted = 0
        while True:
            found = await self._read(
                lambda execute: self._queries.deletable(execute, which, last, _FOUND_AT_A_TIME, now)
            )
            for start in range(0, len(found), _DELETED_AT_A_TIME):
                if start:
                    await asyncio.sleep(_BREATH_S)
                count = await self._write(
                    partial(
                        self._queries.delete,
                        which=which,
                        found=found[start : start + _DELETED_AT_A_TIME],
                    )
                )
                deleted += count
                if told is not None and count:
                    told(count)
            if len(found) < _FOUND_AT_A_TIME:
                return deleted

    async def prune(self, keep_s: float, limit: int = 1000) -> int:
        check_seconds(keep_s, "prune(keep_s)")
        return await self._write(
            lambda execute: self._queries.prune(execute, keep_s, limit, self._now_us())
        )

    async def pause(self, queue: str, paused: bool) -> None:
        await self._write(
            lambda execute: self._queries.pause(execute, queue, paused, self._now_us()),
            wakes=0 if paused else _ENQUEUED,
        )

    async def declare(self, queues: Iterable[QueueRow]) -> None:
        rows = tuple(queues)
        check_queues(rows)
        await self._write(lambda execute: self._queries.declare(execute, rows))

    async def tick(self, tick: Tick) -> bool:
        def work(execute: Execute) -> bool:
            moved = self._queries.move_tick(execute, tick.name, tick.previous, tick.at)
            if moved:
                self._inserts.insert(execute, tick.jobs, self._now_us())
            operation.wakes = _ENQUEUED if moved and tick.jobs else 0
            return moved

        operation = Operation(work)
        moved: bool = await self._open_writer().submit(operation)
        return moved

    async def last_tick(self, name: str) -> datetime | None:
        return await self._read(lambda execute: self._queries.last_tick(execute, name))

    # ------------------------------------------------------------------ looking

    async def now(self) -> datetime:
        return from_us(self._now_us())

    async def get(self, ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        return await self._read(lambda execute: self._queries.get(execute, ids, self._now_us()))

    async def find(
        self, which: JobFilter, *, limit: int = 50, before: UUID | None = None
    ) -> list[JobRow]:
        if which.older_than_s is not None:
            check_seconds(which.older_than_s, "JobFilter.older_than_s")
        return await self._read(
            lambda execute: self._queries.find(execute, which, limit, before, self._now_us())
        )

    async def parents(self, job_id: UUID) -> list[UUID]:
        return await self._read(lambda execute: self._queries.parents(execute, job_id))

    async def children(self, job_id: UUID) -> list[UUID]:
        return await self._read(lambda execute: self._queries.children(execute, job_id))

    async def counts(self, states: frozenset[State] | None = None) -> list[Counts]:
        return await self._read(lambda execute: self._queries.counts(execute, states))

    async def waits(self) -> list[Wait]:
        return await self._read(lambda execute: self._queries.waits(execute, self._now_us()))

    async def queues(self) -> list[QueueRow]:
        return await self._read(self._queries.queues)

    async def workers(self) -> list[WorkerRow]:
        return await self._read(lambda execute: self._queries.workers(execute, self._now_us()))


class SqliteHeart:
    """Implements ``Heart``: beats through the process's one writer, so it waits its turn."""

    def __init__(self, beat: Callable[[], Beat]) -> None:
        self._beat = beat

    def beat(self) -> Beat:
        return self._beat()

    def close(self) -> None:
        """Nothing is held."""


def _lenient(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _forget_result(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
