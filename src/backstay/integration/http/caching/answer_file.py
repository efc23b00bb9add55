"""Answers kept in a file of SQLite's, which several processes may share."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import hishel

from backstay.errors import BadIntegration
from backstay.integration.http.caching.answer_storage import AnswerStorage, KeptAnswer

__all__ = ["AnswerFile"]

T = TypeVar("T")

logger = logging.getLogger("backstay.integration")

_APPLICATION_ID: Final = 0x62_61_63_6B  # "back": tells the file from everybody else's
_VERSION: Final = 1
_BUSY_S: Final = 5.0
_TOUCH_S: Final = 60.0
_MOST_OF_A_KEY: Final = 8

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS answers (
    id BLOB PRIMARY KEY,
    key TEXT NOT NULL,
    head TEXT NOT NULL,
    body BLOB NOT NULL,
    size INTEGER NOT NULL,
    used_at REAL NOT NULL,
    deadline REAL,
    idle_s REAL,
    expires_at REAL
)"""
_INDEXES: Final = (
    "CREATE INDEX IF NOT EXISTS answers_key ON answers (key)",
    "CREATE INDEX IF NOT EXISTS answers_used ON answers (used_at, size)",
)


class AnswerFile(AnswerStorage):
    """Keeps what was used last, up to a size.

    Each step is one statement or one short transaction, in a thread. Where the file cannot be used
    for a moment, answers are asked for as if they were not kept.

    Args:
        path: the file; made with its folder if it is not there, for nobody else to read.
        max_bytes: see ``AnswerStorage``. Freed pages are used again, so the file is not much larger.
        max_answer_bytes: see ``AnswerStorage``.

    Raises:
        BadIntegration: it cannot be made.
    """

    def __init__(self, path: Path, *, max_bytes: int, max_answer_bytes: int) -> None:
        super().__init__(max_bytes=max_bytes, max_answer_bytes=max_answer_bytes)
        self._path = path
        self._lock = threading.Lock()
        self._is_ready = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Its companions (-wal, -shm) are made with the same mode.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._file: sqlite3.Connection | None = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise BadIntegration(
                f"HTTPCaching({str(path)!r}): the file cannot be made: {error}"
            ) from error

    async def keep(self, kept: KeptAnswer) -> None:
        now = time.time()

        def write(file: sqlite3.Connection) -> None:
            file.execute("BEGIN IMMEDIATE")
            try:
                file.execute(
                    "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        kept.id.bytes,
                        kept.key,
                        _pack(kept.request, kept.response),
                        kept.body,
                        kept.size_bytes,
                        now,
                        kept.deadline,
                        kept.idle_s,
                        kept.expires_at,
                    ),
                )
                self._make_room(file, kept.key, now)
            except BaseException:
                file.execute("ROLLBACK")
                raise
            file.execute("COMMIT")

        await self._try(write, None)

    def _make_room(self, file: sqlite3.Connection, key: str, now: float) -> None:
        file.execute("DELETE FROM answers WHERE expires_at <= ?", (now,))
        file.execute(
            "DELETE FROM answers WHERE key = ?1 AND rowid NOT IN "
            "(SELECT rowid FROM answers WHERE key = ?1 ORDER BY rowid DESC LIMIT ?2)",
            (key, _MOST_OF_A_KEY),
        )
        (total,) = file.execute("SELECT total(size) FROM answers").fetchall()[0]
        if total > self.max_bytes:
            file.execute(
                "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM (SELECT rowid, sum(size) "
                "OVER (ORDER BY used_at DESC, rowid DESC) AS so_far FROM answers) "
                "WHERE so_far > ?)",
                (self.max_bytes,),
            )

    async def get_entries(self, key: str) -> list[hishel.Entry]:
        now = time.time()

        def read(file: sqlite3.Connection) -> list[KeptAnswer]:
            # All of what is found, at once: a statement that is left open would keep later writes
            # of this connection from what others wrote meanwhile.
            rows = file.execute(
                "SELECT id, key, head, body, deadline, idle_s, expires_at, used_at FROM answers "
                "WHERE key = ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY rowid DESC",
                (key, now),
            ).fetchall()
            found = []
            for id_, name, head, body, deadline, idle_s, expires_at, used_at in rows:
                if idle_s is not None or now - used_at >= _TOUCH_S:
                    expires_at = self._expires_at(deadline, idle_s, now)  # noqa: PLW2901  # it is used
                    file.execute(
                        "UPDATE answers SET used_at = ?, expires_at = ? WHERE id = ?",
                        (now, expires_at, id_),
                    )
                found.append(
                    KeptAnswer(
                        uuid.UUID(bytes=id_),
                        name,
                        *_unpack(head),
                        body,
                        deadline,
                        idle_s,
                        expires_at,
                    )
                )
            return found

        nothing: list[KeptAnswer] = []
        return [each.entry() for each in await self._try(read, nothing)]

    async def update_headers(self, id: uuid.UUID, headers: hishel.Headers) -> None:  # noqa: A002  # hishel's name
        def write(file: sqlite3.Connection) -> None:
            for (head,) in file.execute(
                "SELECT head FROM answers WHERE id = ?", (id.bytes,)
            ).fetchall():
                request, response = _unpack(head)
                response.headers = headers
                file.execute(
                    "UPDATE answers SET head = ? WHERE id = ?", (_pack(request, response), id.bytes)
                )

        await self._try(write, None)

    async def remove_entry(self, id: uuid.UUID) -> None:  # noqa: A002  # hishel's name
        await self._try(
            lambda file: file.execute("DELETE FROM answers WHERE id = ?", (id.bytes,)).close(), None
        )

    async def close(self) -> None:
        def close() -> None:
            with self._lock:
                if self._file is not None:
                    self._file.close()
                    self._file = None

        await asyncio.to_thread(close)

    async def _try(self, step: Callable[[sqlite3.Connection], T], without: T) -> T:
        """Do one step in a thread; ``without`` is what comes of it where the file is of no use.

        Raises:
            RuntimeError: it is not a file of answers.
        """

        def run() -> T:
            with self._lock:
                if self._file is None:
                    return without
                try:
                    if not self._is_ready:
                        self._prepare(self._file)
                        self._is_ready = True
                    return step(self._file)
                except sqlite3.Error as error:
                    logger.warning("answers in %s are not used for now: %s", self._path, error)
                    return without

        return await asyncio.to_thread(run)

    def _prepare(self, file: sqlite3.Connection) -> None:
        try:
            tables = file.execute("SELECT count(*) FROM sqlite_master").fetchall()[0][0]
            mark = file.execute("PRAGMA application_id").fetchall()[0][0]
            version = file.execute("PRAGMA user_version").fetchall()[0][0]
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # busy, or out of reach for now
            raise RuntimeError(f"it is no file of SQLite's ({error}); name another one") from error
        if tables and (mark, version) != (_APPLICATION_ID, _VERSION):
            raise RuntimeError(
                "it holds something else than answers, or those of another version; it was left "
                "as it is: name another file"
            )
        self._write_ahead(file)
        file.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is asked for again
        file.execute("BEGIN IMMEDIATE")
        try:
            file.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            file.execute(f"PRAGMA user_version = {_VERSION}")
            for statement in (_TABLE, *_INDEXES):
                file.execute(statement)
        except BaseException:
            file.execute("ROLLBACK")
            raise
        file.execute("COMMIT")

    def _write_ahead(self, file: sqlite3.Connection) -> None:
        """Readers and a writer at a time. SQLite does not wait when several ask for it at once."""
        end = time.monotonic() + _BUSY_S
        while True:
            try:
                file.execute("PRAGMA journal_mode = WAL").fetchall()
            except sqlite3.OperationalError:
                if time.monotonic() >= end:
                    raise
                time.sleep(0.02)
            else:
                return


def _pack(request: hishel.Request, response: hishel.Response) -> str:
    return json.dumps(
        [
            request.method,
            request.url,
            _lists(request.headers),
            response.status_code,
            _lists(response.headers),
        ]
    )


def _lists(headers: hishel.Headers) -> dict[str, list[str]]:
    return {name: headers.get_list(name) or [] for name in headers}


def _unpack(head: str) -> tuple[hishel.Request, hishel.Response]:
    method, url, asked, status, answered = json.loads(head)
    return (
        hishel.Request(method, url, hishel.Headers(asked)),
        hishel.Response(status, hishel.Headers(answered)),
    )
