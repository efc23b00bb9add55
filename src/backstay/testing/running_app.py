"""``running(app)``: an async client over the app's real lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from backstay.context import Context, Moment, Origin
from backstay.errors import MissingExtra
from backstay.jobs.part import DurablePart
from backstay.jobs.worker_part import WorkerPart
from backstay.testing.durable import drain
from backstay.web.installation import installed
from backstay.web.lifespan import started

try:
    import httpx
except ImportError as missing:
    raise MissingExtra("testing", "httpx") from missing

if TYPE_CHECKING:
    from fastapi import FastAPI

    from backstay.jobs.durable import DurableScheduler
    from backstay.tasks.scheduler import TaskScheduler

__all__ = ["RunningApp", "running"]


class RunningApp(httpx.AsyncClient):
    """An ``httpx.AsyncClient`` whose requests go straight into the running app.

    Attributes:
        ctx: a context of the app outside any request, to schedule tasks or read settings with.
    """

    ctx: Context

    @property
    def tasks(self) -> TaskScheduler:
        """The app's tasks; ``await client.tasks.settle()`` waits until nothing is left to do."""
        return self.ctx.tasks

    @property
    def durable(self) -> DurableScheduler:
        """The app's durable tasks, to enqueue some: ``await client.durable.enqueue(f, 17)``."""
        return self.ctx.durable

    async def drain(self) -> None:
        """Run every durable job that is due, and what those schedule, until nothing is left."""
        await drain(self)


@asynccontextmanager
async def running(
    app: FastAPI,
    *,
    base_url: str = "http://testserver",
    raise_app_exceptions: bool = True,
    database: str | None = None,
    durable_inline: bool = False,
) -> AsyncIterator[RunningApp]:
    """Start the app as a server would, and stop it at the end, tasks drained.

    Args:
        app: an app that backstay is installed in.
        base_url: of the client's relative URLs.
        raise_app_exceptions: ``True`` raises what the app did not handle, at the request;
            ``False`` gives the 500 that a client would see.
        database: keeps durable jobs there instead of where the app says: ``"memory://"``, or a
            file of the test's. ``None``: where the app says.
        durable_inline: run each durable job as soon as it is written, before whoever wrote it goes
            on: the response has the job's effects. Arguments go through JSON all the same.

    Raises:
        NotInstalled: backstay is not installed in ``app``.
        RuntimeError: the app failed to start or to stop; the message is the app's.
    """
    backstay = installed(app)
    if database is not None or durable_inline:
        durable = backstay.part("durable")
        assert isinstance(durable, DurablePart)
        if database is not None:
            durable.use(database)
        durable.inline = durable_inline
        if durable_inline:
            workers = backstay.part("job")
            assert isinstance(workers, WorkerPart)
            workers.configure(enabled=True)  # somebody has to run them
    state: dict[str, Any] = {}
    async with started(app, state):
        transport = httpx.ASGITransport(
            app=_with_state(app, state), raise_app_exceptions=raise_app_exceptions
        )
        async with RunningApp(transport=transport, base_url=base_url) as client:
            client.ctx = backstay.open(Origin.SCRIPT)
            client.ctx.reach(Moment.ANSWERED, True)  # it waits for nothing, so nothing waits for it
            yield client


def _with_state(app: FastAPI, state: dict[str, Any]) -> Any:
    """As servers do, give every request a copy of the state that the lifespan yielded."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = state.copy()
        await app(scope, receive, send)

    return call
