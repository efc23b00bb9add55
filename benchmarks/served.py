"""The apps that ``benchmarks.requests`` serves: one route each, ``GET /x``.

One route only, because the price of matching is the same for all then. uvicorn takes the app from
``benchmarks.served:app_from_environment``, which reads its name in ``BENCH_APP``.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from fastapi import BackgroundTasks, FastAPI

from backstay.tasks import Tasks, add_tasks

__all__ = ["APPS", "app_from_environment"]

ANSWER = {"ok": True}


async def no_op() -> None:
    pass


def sync_no_op() -> None:
    pass


def plain() -> FastAPI:
    """What all others are compared with: no background work, no backstay."""
    app = FastAPI(openapi_url=None)

    @app.get("/x")
    async def x() -> dict[str, bool]:
        return ANSWER

    return app


def backstay_nothing() -> FastAPI:
    app = plain()
    add_tasks(app)
    return app


def backstay_unused() -> FastAPI:
    app = FastAPI(openapi_url=None)
    add_tasks(app)

    @app.get("/x")
    async def x(tasks: Tasks) -> dict[str, bool]:
        return ANSWER

    return app


def backstay_now() -> FastAPI:
    app = FastAPI(openapi_url=None)
    add_tasks(app)

    @app.get("/x")
    async def x(tasks: Tasks) -> dict[str, bool]:
        tasks.schedule(no_op)
        return ANSWER

    return app


def backstay_after_route() -> FastAPI:
    app = FastAPI(openapi_url=None)
    add_tasks(app)

    @app.get("/x")
    async def x(tasks: Tasks) -> dict[str, bool]:
        tasks.after_route.schedule(no_op)
        return ANSWER

    return app


def backstay_after_response(
    func: Callable[[], object] = no_op, times: int = 1
) -> Callable[[], FastAPI]:
    def make() -> FastAPI:
        app = FastAPI(openapi_url=None)
        add_tasks(app)

        @app.get("/x")
        async def x(tasks: Tasks) -> dict[str, bool]:
            for _ in range(times):
                tasks.after_response.schedule(func)
            return ANSWER

        return app

    return make


def background_tasks(
    func: Callable[[], object] = no_op, times: int = 1, *, guarded: bool = False
) -> Callable[[], FastAPI]:
    def make() -> FastAPI:
        app = FastAPI(openapi_url=None)
        if guarded:
            add_tasks(app)

        @app.get("/x")
        async def x(background: BackgroundTasks) -> dict[str, bool]:
            for _ in range(times):
                background.add_task(func)
            return ANSWER

        return app

    return make


def fastapi_tasks(
    moment: str, func: Callable[[], object] = no_op, times: int = 1
) -> Callable[[], FastAPI]:
    def make() -> FastAPI:
        import fastapi_tasks as peer

        app = FastAPI(openapi_url=None)
        peer.add_tasks(app)

        async def now(tasks: peer.Tasks) -> dict[str, bool]:
            for _ in range(times):
                tasks.schedule(func)
            return ANSWER

        async def after_route(tasks: peer.Tasks) -> dict[str, bool]:
            for _ in range(times):
                tasks.after_route.schedule(func)
            return ANSWER

        async def after_response(tasks: peer.Tasks) -> dict[str, bool]:
            for _ in range(times):
                tasks.after_response.schedule(func)
            return ANSWER

        endpoint = {"now": now, "after_route": after_route, "after_response": after_response}[
            moment
        ]
        # The annotation is a string here and names something local; FastAPI wants the real one.
        endpoint.__annotations__["tasks"] = peer.Tasks
        app.get("/x")(endpoint)
        return app

    return make


APPS: dict[str, Callable[[], FastAPI]] = {
    "plain": plain,
    "plain, a second process": plain,
    "backstay: nothing used": backstay_nothing,
    "backstay: Tasks unused": backstay_unused,
    "backstay: 1 after_response": backstay_after_response(),
    "backstay: 5 after_response": backstay_after_response(times=5),
    "backstay: 1 after_route": backstay_after_route,
    "backstay: 1 now": backstay_now,
    "backstay: 1 sync": backstay_after_response(sync_no_op),
    "BackgroundTasks: unused": background_tasks(times=0),
    "BackgroundTasks: 1": background_tasks(),
    "BackgroundTasks: 5": background_tasks(times=5),
    "BackgroundTasks: 1 sync": background_tasks(sync_no_op),
    "BackgroundTasks guarded by backstay: 1": background_tasks(guarded=True),
    "BackgroundTasks guarded by backstay: 1 sync": background_tasks(sync_no_op, guarded=True),
    "fastapi-tasks: Tasks unused": fastapi_tasks("now", times=0),
    "fastapi-tasks: 1 after_response": fastapi_tasks("after_response"),
    "fastapi-tasks: 5 after_response": fastapi_tasks("after_response", times=5),
    "fastapi-tasks: 1 after_route": fastapi_tasks("after_route"),
    "fastapi-tasks: 1 now": fastapi_tasks("now"),
    "fastapi-tasks: 1 sync": fastapi_tasks("after_response", sync_no_op),
}


def app_from_environment() -> FastAPI:
    """The app named in ``BENCH_APP``, for ``uvicorn --factory``."""
    return APPS[os.environ["BENCH_APP"]]()
