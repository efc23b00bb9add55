"""State in a SQLite file: nothing to install, any number of processes of one machine.

What is quick happens right where the event loop is: reading a row takes some ten microseconds,
writing one some thirty, a fraction of what handing it to a thread and back would. For everything
else (somebody has the lock, others are in line, a large value) there is the ledger's writer, a
thread that puts whatever waits into one commit.

A commit does not wait for the disk. It survives the process, kill -9 included; a power cut may
take the last ones, never more, and leaves the file whole. Waiting would cost four times the CPU,
and a thread each time; ``?synchronous=full`` in the URL asks for it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from backstay.clock import Clock, SystemClock
from backstay.errors import BadState, StateUnavailable
from backstay.ledger.port import Execute
from backstay.ledger.sqlite_checkpoints import WRITER_PAGES, Checkpoints
from backstay.ledger.sqlite_connections import executor_of, file_of, named
from backstay.ledger.sqlite_faults import is_busy, is_lasting, translated
from backstay.ledger.sqlite_writer import Operation, Writer
from backstay.state.faults import as_state_errors
from backstay.state.port import Ttl
from backstay.state.sqlite_file import StateFile
from backstay.state.values import whole

__all__ = ["SqliteStore"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Larger ones take milliseconds to write.
_QUICK_CHARACTERS = 32_768
_LATER = object()
# Commits. While the log goes to the disk, whoever writes waits for it.
_CHECKPOINT_EVERY = 512


class SqliteStore:
    """Implements ``StateStore``.

    Times are the clock's ``now``: microseconds since the epoch, the same for every process of the
    machine and after a restart.

    Args:
        url: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, with any driver's name. With
            ``?synchronous=full`` every commit waits for the disk.
        clock: ``None``: the machine's.
        prefix: in front of every table's name.
        patience_s: seconds to wait for other connections' locks before ``StateUnavailable``.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        prefix: str = "backstay_",
        patience_s: float = 10.0,
    ) -> None:
        self._url = url
        self._clock = clock if clock is not None else SystemClock()
        self._patience_s = patience_s
        self._prefix = prefix
        self._full = _is_full(url)
        self._path = ""
        self._writer: Writer | None = None
        self._writing: StateFile | None = None
        self._reading: StateFile | None = None
        self._checkpoints: Checkpoints | None = None
        self._statements = {
            name: text.format(table=f"{prefix}state") for name, text in _STATEMENTS.items()
        }
        self._read = self._statements["read"]

    @property
    def url(self) -> str:
        return self._url

    @property
    def path(self) -> str:
        """The absolute path of the file; empty while the store is not open."""
        return self._path

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        if self._writer is not None:
            return
        self._path = file_of(self._url)
        writing = StateFile(
            self._path,
            self._prefix,
            self._patience_s,
            full=self._full,
            checkpoint_pages=WRITER_PAGES,
        )
        reading = StateFile(self._path, self._prefix, self._patience_s)
        try:
            with self._seam():
                await asyncio.to_thread(self._connect, writing, reading)
        except BaseException:
            writing.drop()
            reading.drop()
            raise
        self._writing, self._reading = writing, reading
        self._checkpoints = Checkpoints(self._path, every=_CHECKPOINT_EVERY)
        self._writer = Writer(
            writing,
            simple=self._statements["write"],
            loop=asyncio.get_running_loop(),
            told=lambda _: None,
            committed=self._checkpoints.committed,
            patience_s=self._patience_s,
        )
        self._writer.start()

    def _connect(self, *connections: StateFile) -> None:
        try:
            for connection in connections:
                connection.ready()
        except sqlite3.Error as error:
            raise translated(error, named(self._path), self._patience_s) from error

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await asyncio.shield(asyncio.to_thread(self._disconnect, writer))

    def _disconnect(self, writer: Writer) -> None:
        writer.stop()
        checkpoints, self._checkpoints = self._checkpoints, None
        if checkpoints is not None:
            checkpoints.close()
        for connection in (self._reading, self._writing):
            if connection is not None:
                connection.drop()

    # ------------------------------------------------------------------ the port

    async def read(self, scope: bytes, key: bytes) -> str | None:
        # Without the pieces below, which are for what happens less often.
        try:
            writer, reading = self._writer, self._reading
            if writer is not None and reading is not None:
                writer.check()
                rows = reading.ready().execute(self._read, (scope, key)).fetchall()
                if not rows:
                    return None
                value, expires_at = rows[0]
                if expires_at is not None and expires_at <= self._now():
                    return None
                found: str = value
                return found
        except Exception:  # noqa: S110  # said properly by doing it again
            pass
        rows = await self._look("read", (scope, key))
        live = [value for value, end in rows if end is None or end > self._now()]
        return live[0] if live else None

    async def write(self, scope: bytes, key: bytes, value: str, ttl_s: float | None) -> None:
        row = (scope, key, value, self._end(ttl_s))
        if len(value) > _QUICK_CHARACTERS or self._at_once(row=row) is _LATER:
            await self._submit(Operation(lambda execute: self._put(execute, *row), rows=[row]))

    async def remove(self, scope: bytes, key: bytes) -> bool:
        return await self._count_live("remove", {"scope": scope, "key": key}) > 0

    async def clear(self, scope: bytes) -> int:
        return await self._count_live("clear", {"scope": scope})

    async def add(self, scope: bytes, key: bytes, by: int, ttl_s: float | None) -> int | None:
        def work(execute: Execute) -> int | None:
            text, end = self._find(execute, scope, key) or ("0", None)
            before = whole(text)
            if before is None:
                return None
            total = before + by
            end = end if ttl_s is None else self._end(ttl_s)
            self._put(execute, scope, key, str(total), end)
            return total

        total: int | None = await self._write(work)
        return total

    async def swap(
        self, scope: bytes, key: bytes, expected: str | None, value: str, ttl: Ttl
    ) -> bool:
        def work(execute: Execute) -> bool:
            text, end = self._find(execute, scope, key) or (None, None)
            if text != expected:
                return False
            self._put(execute, scope, key, value, end if ttl is ... else self._end(ttl))
            return True

        return bool(await self._write(work, quick=len(value) <= _QUICK_CHARACTERS))

    async def keys(self, scope: bytes, prefix: bytes) -> list[bytes]:
        rows = await self._look("keys", (scope, prefix, self._now()))
        found = []
        for (key,) in rows:
            if not key.startswith(prefix):
                break
            found.append(key)
        return found

    async def sweep(self, limit: int) -> int:
        # A look first: a store where nothing expires is not locked every minute for nothing.
        if not await self._look("expired", (self._now(),)):
            return 0
        return len(await self._do("sweep", {"limit": limit}, quick=False))

    # ------------------------------------------------------------------ in a transaction

    def _find(self, execute: Execute, scope: bytes, key: bytes) -> tuple[str, int | None] | None:
        rows = execute(self._statements["find"], {"scope": scope, "key": key, "now": self._now()})
        return (rows[0][0], rows[0][1]) if rows else None

    def _put(self, execute: Execute, scope: bytes, key: bytes, value: str, end: int | None) -> None:
        execute(self._statements["put"], {"scope": scope, "key": key, "value": value, "end": end})

    # ------------------------------------------------------------------ reaching the file

    def _now(self) -> int:
        return (self._clock.now() - _EPOCH) // _MICROSECOND

    def _end(self, ttl_s: float | None) -> int | None:
        return None if ttl_s is None else self._now() + max(1, round(ttl_s * 1e6))

    async def _do(
        self, statement: str, parameters: Mapping[str, Any], *, quick: bool = True
    ) -> list[tuple[Any, ...]]:
        text = self._statements[statement]
        rows: list[tuple[Any, ...]] = await self._write(
            lambda execute: execute(text, {**parameters, "now": self._now()}), quick=quick
        )
        return rows

    async def _write(self, work: Callable[[Execute], Any], *, quick: bool = True) -> Any:
        """Do some work in a transaction: here, if nothing stands in the way, else in its turn."""
        done = self._at_once(work) if quick else _LATER
        return await self._submit(Operation(work)) if done is _LATER else done

    def _at_once(
        self,
        work: Callable[[Execute], Any] | None = None,
        *,
        row: tuple[bytes, bytes, str, int | None] | None = None,
    ) -> Any:
        """Write without waiting for anybody; ``_LATER`` if that cannot be, and nothing was done.

        Whatever is wrong is found again, and said, by the writer in its thread.
        """
        writer = self._writer
        if (
            self._full
            or writer is None
            or writer.waiting
            or not writer.lock.acquire(blocking=False)
        ):
            return _LATER
        try:
            result = self._transact(writer, work, row)
            writer.commits += 1
            commits = writer.commits
        except Exception:
            writer.connection.rollback()
            return _LATER
        except BaseException:
            writer.connection.rollback()
            raise
        finally:
            writer.lock.release()
        if self._checkpoints is not None:
            self._checkpoints.committed(commits)
        return result

    def _transact(
        self,
        writer: Writer,
        work: Callable[[Execute], Any] | None,
        row: tuple[bytes, bytes, str, int | None] | None,
    ) -> Any:
        writer.check()
        raw = writer.connection.ready()
        if row is not None:
            raw.execute(self._statements["write"], row)
            return None
        assert work is not None
        raw.execute("BEGIN IMMEDIATE")
        result = work(executor_of(raw))
        raw.execute("COMMIT")
        return result

    async def _count_live(self, statement: str, parameters: Mapping[str, Any]) -> int:
        # Not asked of SQLite: 3.40 answers NULL to RETURNING (expires_at IS NULL OR ...) here.
        gone = await self._do(statement, parameters, quick=statement == "remove")
        return sum(end is None or end > now for end, now in gone)

    async def _submit(self, operation: Operation) -> Any:
        with self._seam():
            return await self._open_writer().submit(operation)

    async def _look(self, statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Read, here and now; somebody's lock, which is rare in WAL mode, is waited for."""
        deadline = asyncio.get_running_loop().time() + self._patience_s
        pause_s = 0.001
        with self._seam():
            while True:
                self._open_writer().check()
                reading = self._reading
                assert reading is not None
                try:
                    return (
                        reading.ready().execute(self._statements[statement], parameters).fetchall()
                    )
                except sqlite3.Error as error:
                    if is_lasting(error):
                        reading.drop()
                    late = asyncio.get_running_loop().time() >= deadline
                    if late or not is_busy(error):
                        raise translated(error, named(self._path), self._patience_s) from error
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, 0.05)

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise StateUnavailable(
                f"the state at {self._url} is not open: it is from the app's start to its end"
            )
        return self._writer

    @contextmanager
    def _seam(self) -> Iterator[None]:
        where = f"the state in {self._path}"
        words = {named(self._path): where, "the ledger": "the state", "jobs of": "values of"}
        with as_state_errors(words, raw=sqlite3.Error, where=where):
            yield


def _is_full(url: str) -> bool:
    asked = parse_qs(urlsplit(url).query).get("synchronous", ["normal"])[-1]
    if asked.lower() not in {"normal", "full"}:
        raise BadState(f"{url!r} says synchronous={asked!r}; it is normal or full")
    return asked.lower() == "full"


_STATEMENTS = {
    "read": "SELECT value, expires_at FROM {table} WHERE scope = ? AND key = ?",
    "write": (
        "INSERT INTO {table} (scope, key, value, expires_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (scope, key) DO UPDATE "
        "SET value = excluded.value, expires_at = excluded.expires_at"
    ),
    "put": (
        "INSERT INTO {table} (scope, key, value, expires_at) VALUES (:scope, :key, :value, :end) "
        "ON CONFLICT (scope, key) DO UPDATE "
        "SET value = excluded.value, expires_at = excluded.expires_at"
    ),
    "find": (
        "SELECT value, expires_at FROM {table} WHERE scope = :scope AND key = :key "
        "AND (expires_at IS NULL OR expires_at > :now)"
    ),
    "remove": (
        "DELETE FROM {table} WHERE scope = :scope AND key = :key RETURNING expires_at, :now"
    ),
    "clear": "DELETE FROM {table} WHERE scope = :scope RETURNING expires_at, :now",
    "keys": (
        "SELECT key FROM {table} WHERE scope = ? AND key >= ? "
        "AND (expires_at IS NULL OR expires_at > ?) ORDER BY key"
    ),
    "expired": "SELECT 1 FROM {table} WHERE expires_at <= ? LIMIT 1",
    "sweep": (
        "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} "
        "WHERE expires_at <= :now ORDER BY expires_at LIMIT :limit) RETURNING 1"
    ),
}
