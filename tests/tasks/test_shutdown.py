"""Stopping within a bounded time."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.errors import TaskCancelled, TasksClosed
from backstay.tasks import Cancelled, Succeeded, Task, TaskConfig, Tasks, add_tasks
from backstay.tasks.part import TasksPart
from backstay.testing import FakeClock, running
from backstay.web import install, installed
from tests.support import async_test


def make_app(clock: FakeClock | None = None, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, clock=clock)
    add_tasks(app, **options)
    return app


def hurry(app: FastAPI) -> None:
    """What a signal does, without the signal."""
    part = installed(app).part("tasks")
    assert isinstance(part, TasksPart)
    assert part._drain is not None
    part._drain.hurry()


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


@async_test
async def test_tasks_are_drained_before_the_apps_own_lifespan_closes_its_pools() -> None:
    log: list[str] = []
    release = asyncio.Event()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        log.append("pool opened")
        yield
        log.append("pool closed")

    @asynccontextmanager
    async def router_lifespan(app: Any) -> AsyncIterator[None]:
        yield
        log.append("router's pool closed")

    from fastapi import APIRouter

    app = FastAPI(lifespan=lifespan)
    add_tasks(app)
    app.include_router(APIRouter(lifespan=router_lifespan))  # after add_tasks, and yet inside out

    async def work() -> None:
        await release.wait()
        log.append("worked")

    async with running(app) as client:
        client.tasks.schedule(work)
        asyncio.get_running_loop().call_later(0.01, release.set)
    assert log == ["pool opened", "worked", "router's pool closed", "pool closed"]


@async_test
async def test_grace_then_unshielded_tasks_are_cancelled_with_a_log_line_and_their_handler_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    told: list[tuple[str, Exception]] = []

    async def handler(task: Task, error: Exception) -> None:
        await asyncio.sleep(0)  # a handler may still await
        told.append((task.name, error))

    app = make_app(clock, shutdown_grace_s=7, config=TaskConfig(on_error=handler))
    async with running(app) as client:
        task = client.tasks.task(name="it").schedule(forever)
        await task.started.wait()
        stop = asyncio.create_task(_advance(clock, 7))
    await stop
    assert isinstance(task.outcome, Cancelled)
    [(name, error)] = told
    assert name == "it"
    assert isinstance(error, TaskCancelled)
    assert any("'it' was cancelled" in line and "7 s" in line for line in caplog.messages)


async def _advance(clock: FakeClock, *steps: float) -> None:
    for seconds in steps:
        await clock.until_waiting()
        await clock.advance(seconds)


@async_test
async def test_a_task_that_ends_within_the_grace_is_not_cancelled() -> None:
    release = asyncio.Event()
    app = make_app(shutdown_grace_s=15)
    async with running(app) as client:
        task = client.tasks.schedule(release.wait)
        await task.started.wait()
        asyncio.get_running_loop().call_soon(release.set)
    assert task.outcome == Succeeded(True)


@async_test
async def test_shielded_tasks_get_a_second_grace_and_no_more() -> None:
    clock = FakeClock()
    release = asyncio.Event()
    app = make_app(clock, shutdown_grace_s=5, shield_grace_s=3)
    async with running(app) as client:
        schedule = client.tasks.task(shield=True).schedule
        patient, endless = schedule(release.wait), schedule(forever)
        await endless.started.wait()

        async def stop() -> None:
            await _advance(clock, 5)
            assert patient.outcome is None, "the first grace is not its end"
            release.set()
            assert (await patient.wait()).ok
            assert endless.outcome is None
            await _advance(clock, 3)

        stopping = asyncio.create_task(stop())
    await stopping
    assert isinstance(endless.outcome, Cancelled)
    assert "shielded" in endless.outcome.reason


@async_test
async def test_a_shielded_tasks_async_handler_is_shielded_as_well() -> None:
    clock = FakeClock()
    release = asyncio.Event()
    told: list[str] = []

    async def fail() -> None:
        raise ValueError

    async def handler(task: Task, error: Exception) -> None:
        await release.wait()
        told.append(task.name)

    app = make_app(clock, shutdown_grace_s=5)
    async with running(app) as client:
        client.tasks.task(shield=True, name="it", on_error=handler).schedule(fail)

        async def stop() -> None:
            await _advance(clock, 5)
            release.set()

        stopping = asyncio.create_task(stop())
    await stopping
    assert told == ["it"]


@async_test
async def test_what_waits_for_its_turn_is_run_within_the_grace_or_cancelled_and_told() -> None:
    clock = FakeClock()
    told: list[str] = []
    app = make_app(
        clock,
        shutdown_grace_s=5,
        max_running=1,
        config=TaskConfig(on_error=lambda task, error: told.append(task.name)),
    )
    async with running(app) as client:
        first = client.tasks.task(name="first").schedule(asyncio.sleep, 0)
        second = client.tasks.task(name="second").schedule(forever)
        third = client.tasks.task(name="third").schedule(asyncio.sleep, 0)
        stopping = asyncio.create_task(_advance(clock, 5))
    await stopping
    assert first.outcome == Succeeded(None)
    assert isinstance(second.outcome, Cancelled)
    assert isinstance(third.outcome, Cancelled)
    assert sorted(told) == ["second", "third"]


@async_test
async def test_a_sync_task_that_hangs_is_left_behind_at_the_end_of_the_grace() -> None:
    clock = FakeClock()
    started, release = threading.Event(), threading.Event()

    def hang() -> None:
        started.set()
        release.wait(10)

    app = make_app(clock, shutdown_grace_s=5)
    async with running(app) as client:
        task = client.tasks.schedule(hang)
        await asyncio.to_thread(started.wait, 10)
        stopping = asyncio.create_task(_advance(clock, 5))
    await stopping
    assert isinstance(task.outcome, Cancelled)
    release.set()


@async_test
async def test_a_task_that_ignores_its_cancellation_is_abandoned_with_a_log_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    enough = asyncio.Event()

    async def ignore() -> None:
        while not enough.is_set():
            try:
                await enough.wait()
            except asyncio.CancelledError:
                pass

    app = make_app(clock, shutdown_grace_s=5, shield_grace_s=5)
    async with running(app) as client:
        task = client.tasks.task(name="it").schedule(ignore)
        await task.started.wait()
        inner = task._asyncio_task
        stopping = asyncio.create_task(_advance(clock, 5, 5, 5))
    await stopping
    assert isinstance(task.outcome, Cancelled)
    assert any("abandoned" in line for line in caplog.messages)
    assert inner not in asyncio.all_tasks(), "the loop's own end would wait for it for ever"
    enough.set()
    assert inner is not None
    await inner


@async_test
async def test_each_repeated_signal_ends_the_current_grace() -> None:
    clock = FakeClock()
    app = make_app(clock, shutdown_grace_s=1000, shield_grace_s=1000)
    async with running(app) as client:
        plain = client.tasks.schedule(forever)
        shielded = client.tasks.task(shield=True).schedule(forever)
        await shielded.started.wait()
        hurry(app)
        assert plain.outcome is None
        hurry(app)
        assert isinstance(await plain.wait(), Cancelled)
        assert shielded.outcome is None
        hurry(app)
        assert isinstance(await shielded.wait(), Cancelled)


@async_test
async def test_requests_still_open_may_schedule_during_the_grace() -> None:
    clock = FakeClock()
    app = make_app(clock, shutdown_grace_s=5)
    log: list[str] = []

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        hurry(app)
        tasks.schedule(log.append, "now")
        tasks.after_response.schedule(log.append, "after_response")

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()
    assert sorted(log) == ["after_response", "now"]


@async_test
async def test_after_the_grace_nothing_more_starts_and_handlers_are_told() -> None:
    clock = FakeClock()
    told: list[str] = []
    app = make_app(clock, config=TaskConfig(on_error=lambda task, error: told.append(task.name)))

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        hurry(app)
        tasks.after_response.task(name="late").schedule(forever)
        hurry(app)

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()
    assert told == ["late"]


@async_test
async def test_scheduling_after_the_end_is_an_error_that_says_so() -> None:
    app = make_app()
    async with running(app) as client:
        tasks = client.tasks
        ctx = client.ctx
    with pytest.raises(TasksClosed, match="stopped"):
        tasks.schedule(forever)
    with pytest.raises(TasksClosed, match="stopped"):
        installed(app).open(ctx.origin).tasks.schedule(forever)


@async_test
async def test_an_app_can_run_again_after_it_has_stopped() -> None:
    app = make_app()
    for _ in range(2):
        async with running(app) as client:
            assert (await client.tasks.schedule(asyncio.sleep, 0).wait()).ok


@async_test
async def test_nothing_to_drain_is_over_at_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "backstay.tasks"):
        async with running(make_app(FakeClock())):
            pass
    assert caplog.messages == []


@async_test
async def test_a_handler_that_runs_when_the_grace_ends_may_finish_within_the_second_one() -> None:
    clock = FakeClock()
    in_handler, release = asyncio.Event(), asyncio.Event()
    told: list[str] = []

    async def fail() -> None:
        raise ValueError

    async def handler(task: Task, error: Exception) -> None:
        in_handler.set()
        await release.wait()
        told.append(task.name)

    app = make_app(clock, shutdown_grace_s=5)
    async with running(app) as client:
        task = client.tasks.task(name="it", on_error=handler).schedule(fail)
        await in_handler.wait()
        assert task.cancel() is False

        async def stop() -> None:
            await _advance(clock, 5)
            release.set()

        stopping = asyncio.create_task(stop())
    await stopping
    assert told == ["it"]
