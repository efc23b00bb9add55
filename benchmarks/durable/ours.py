"""Our side, as a script that enqueues sees it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence

import asyncpg

from backstay.tasks import connect
from benchmarks.durable.app import noop, slow
from benchmarks.durable.history import TASK
from benchmarks.durable.side import Kind, url_from_environment

__all__ = ["Adapter"]


class Adapter:
    awaits = True
    blocks = True
    bulk = True

    def create(self) -> None:
        async def create() -> None:
            async with connect(url_from_environment()):
                pass

        asyncio.run(create())

    async def open(self) -> None:
        self._connection = connect(url_from_environment())
        self._durable = await self._connection.__aenter__()

    async def close(self) -> None:
        await self._connection.__aexit__(None, None, None)

    async def enqueue(self, kind: Kind, argument: float) -> None:
        await self._durable.enqueue(noop if kind == "noop" else slow, argument)

    def enqueue_now(self, kind: Kind, argument: float) -> None:
        self._durable.enqueue_now(noop if kind == "noop" else slow, argument)

    async def enqueue_many(self, kind: Kind, arguments: Sequence[float]) -> None:
        bind = (noop if kind == "noop" else slow).bind
        for first in range(0, len(arguments), 1000):
            some = arguments[first : first + 1000]
            await self._durable.enqueue_many([bind(argument) for argument in some])

    async def clear(self) -> None:
        """Everything but the history, as someone who tidies up by hand would."""
        statement = f"DELETE FROM backstay_jobs WHERE task <> '{TASK}'"
        url = url_from_environment()
        if url.startswith("sqlite:///"):
            with sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30) as file:
                file.execute(statement)
            # Or whoever comes next would pay for writing these pages back.
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            file.close()
            return
        server = await asyncpg.connect(url)
        try:
            await server.execute(statement)
            await server.execute("VACUUM ANALYZE backstay_jobs")
        finally:
            await server.close()
