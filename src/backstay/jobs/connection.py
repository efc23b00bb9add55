"""Durable work from scripts: no app, no worker, only the ledger."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from backstay.app import Backstay
from backstay.clock import Clock
from backstay.context import Moment, Origin
from backstay.jobs.durable import DurableScheduler
from backstay.jobs.part import DurablePart, Queue
from backstay.settings import Settings

__all__ = ["connect"]


class connect:  # noqa: N801  # used as a function: async with connect("sqlite:///shop.db") as durable
    """Schedule durable jobs from outside an app: ``async with`` in async code, ``with`` elsewhere.

    Gives what ``tasks.durable`` is in an app. There is no end to wait for in a script, so write
    with ``await durable.enqueue(...)``, or in a plain ``with`` with ``durable.schedule(...)`` or
    ``durable.enqueue_now(...)``. The tasks have to be importable under the same name where the
    worker runs.

    Args:
        database: as in ``add_tasks``; ``None``: the setting ``BACKSTAY_DATABASE``, else
            ``sqlite:///backstay.db``.
        settings: values that win over the environment.
        queues: queues that no task names.
        prefix: of the tables.
        schema: PostgreSQL's schema of the tables.
        clock: time; ``None`` means the machine's.

    Raises:
        LedgerUnavailable, LedgerMismatch: on entering.
    """

    def __init__(
        self,
        database: Any = None,
        *,
        settings: Mapping[str, Any] | None = None,
        queues: Mapping[str, Queue | None] | Iterable[str] = (),
        prefix: str = "backstay_",
        schema: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._app = Backstay(settings=Settings(settings), clock=clock)
        self._part = DurablePart(
            self._app, database=database, queues=queues, prefix=prefix, schema=schema
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def __aenter__(self) -> DurableScheduler:
        await self._part.open()
        await self._part.awake()
        return self._scheduler()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._part.close()

    def __enter__(self) -> DurableScheduler:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="backstay-connect", daemon=True
        )
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self.__aenter__(), self._loop).result()
        except BaseException:
            self._stop_loop()
            raise
        return self._scheduler()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._loop is not None
        try:
            asyncio.run_coroutine_threadsafe(self._part.close(), self._loop).result()
        finally:
            self._stop_loop()

    def _stop_loop(self) -> None:
        assert self._loop is not None
        assert self._thread is not None
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _scheduler(self) -> DurableScheduler:
        ctx = self._app.open(Origin.SCRIPT)
        ctx.reach(Moment.ANSWERED, True)
        return DurableScheduler(self._part, ctx)
