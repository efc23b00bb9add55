"""Running: what one task does touches no other, and everything that ends says how."""

import asyncio
import contextlib
import functools
import logging
import threading
from typing import Any

import pytest
from fastapi import FastAPI

from backstay import current_context
from backstay.errors import TaskCancelled, TaskCrashed, TaskTimeout
from backstay.observation import Kind
from backstay.tasks import (
    Cancelled,
    Failed,
    Retry,
    Succeeded,
    Task,
    TaskConfig,
    Tasks,
    add_tasks,
)
from backstay.testing import FakeClock, running
from backstay.web import install
from tests.observing import watched
from tests.support import async_test


def make_app(clock: FakeClock | None = None, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, clock=clock)
    add_tasks(app, **options)
    return app


async def leak_cancellation() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def exit_the_process() -> None:
    raise SystemExit(3)


async def interrupt() -> None:
    raise KeyboardInterrupt


async def raise_something_base() -> None:
    raise BaseExceptionGroup("several", [KeyboardInterrupt(), ValueError()])


def exit_in_thread() -> None:
    raise SystemExit(4)


def stop_iteration() -> None:
    raise StopIteration


async def plainly_fail() -> None:
    raise ValueError("no")


@pytest.mark.parametrize(
    "misbehave",
    [
        leak_cancellation,
        exit_the_process,
        interrupt,
        raise_something_base,
        exit_in_thread,
        stop_iteration,
        plainly_fail,
    ],
)
@pytest.mark.parametrize("in_handler", [False, True])
@async_test
async def test_no_way_of_failing_touches_another_task_or_a_later_request(
    misbehave: Any, in_handler: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()
    release = asyncio.Event()

    async def bystander() -> str:
        await release.wait()
        return "unharmed"

    @app.get("/")
    async def endpoint(tasks: Tasks) -> str:
        return "answered"

    async with running(app) as client:
        neighbour = client.tasks.schedule(bystander)
        if in_handler:
            handler = functools.partial(_call_without_arguments, misbehave)
            task = client.tasks.task(on_error=handler).schedule(plainly_fail)
        else:
            task = client.tasks.schedule(misbehave)
        outcome = await task.wait()
        release.set()
        assert isinstance(outcome, Failed)
        assert await neighbour.wait() == Succeeded("unharmed")
        assert (await client.get("/")).json() == "answered"
    assert any(record.levelno == logging.ERROR for record in caplog.records)


async def _call_without_arguments(misbehave: Any, task: Task, error: Exception) -> None:
    answer = misbehave()
    if answer is not None:
        await answer


@pytest.mark.parametrize("misbehave", [leak_cancellation, exit_the_process, exit_in_thread])
@async_test
async def test_a_handler_always_gets_an_exception_and_the_original_is_its_cause(
    misbehave: Any,
) -> None:
    told: list[tuple[Task, Exception]] = []
    app = make_app(config=TaskConfig(on_error=lambda task, error: told.append((task, error))))
    async with running(app) as client:
        task = client.tasks.task(name="it").schedule(misbehave)
        await task.wait()
    [(same, error)] = told
    assert same is task
    assert isinstance(error, TaskCrashed)
    assert isinstance(error.__cause__, asyncio.CancelledError | SystemExit)


@async_test
async def test_a_failure_is_logged_with_name_traceback_and_correlation_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_app()

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.task(name="payment_17").schedule(plainly_fail)

    async with running(app) as client:
        await client.get("/", headers={"X-Request-ID": "order-9"})
        await client.tasks.settle()
    [record] = [record for record in caplog.records if record.name == "backstay.tasks"]
    assert "payment_17" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert record.correlation_id == "order-9"  # type: ignore[attr-defined]  # put there by extra=


@pytest.mark.parametrize("sync", [False, True])
@async_test
async def test_the_error_handler_is_called_once_with_task_and_error(sync: bool) -> None:
    app = make_app()
    told: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = []

    async def charge(order_id: int, *, amount: int) -> None:
        raise ValueError(f"no credit for {order_id}")

    def note(task: Task, error: Exception) -> None:
        told.append((task.name, task.args, dict(task.kwargs), str(error)))

    async def anote(task: Task, error: Exception) -> None:
        note(task, error)

    async with running(app) as client:
        task = client.tasks.task(name="charge_1", on_error=note if sync else anote).schedule(
            charge, 1, amount=5
        )
        await task.wait()
    assert told == [("charge_1", (1,), {"amount": 5}, "no credit for 1")]


@async_test
async def test_a_handler_that_retries_three_times_runs_the_function_three_times_more() -> None:
    app = make_app()
    runs: list[int] = []
    given_up: list[str] = []

    async def send() -> None:
        runs.append(1)
        raise ConnectionError("no")

    async def retry(task: Task, error: Exception) -> None:
        for attempt in range(3):
            try:
                await task()
            except ConnectionError as again:
                if attempt == 2:
                    given_up.append(str(again))
            else:
                return

    async with running(app) as client:
        task = client.tasks.task(on_error=retry).schedule(send)
        assert isinstance(await task.wait(), Failed)
    assert (len(runs), task.attempts, given_up) == (4, 4, ["no"])


@pytest.mark.parametrize("sync", [False, True])
@async_test
async def test_a_task_that_its_handler_ran_again_with_success_has_succeeded(sync: bool) -> None:
    app = make_app()
    runs: list[int] = []

    def send() -> str:
        runs.append(1)
        if len(runs) < 3:
            raise ConnectionError
        return "sent"

    async def asend() -> str:
        return send()

    async def retry(task: Task, error: Exception) -> None:
        for _ in range(3):
            with contextlib.suppress(ConnectionError):
                await task()
                return

    async with running(app) as client:
        schedule = client.tasks.task(on_error=retry)
        task: Task = schedule.schedule(send) if sync else schedule.schedule(asend)
        assert await task.wait() == Succeeded("sent")
    assert len(runs) == 3


@async_test
async def test_retries_pause_as_the_rule_says_and_the_handler_comes_after_the_last() -> None:
    clock = FakeClock(chance=0.5)
    app = make_app(clock)
    runs: list[float] = []
    told: list[float] = []

    async def send() -> None:
        runs.append(clock.monotonic())
        raise ConnectionError

    retry = Retry(attempts=4, base_s=2, jitter=False)
    async with running(app) as client:
        task = client.tasks.task(
            retry=retry, on_error=lambda task, error: told.append(clock.monotonic())
        ).schedule(send)
        for pause_s in (2, 4, 8):
            await clock.until_waiting()
            assert clock.waiting == [pause_s]
            await clock.advance(pause_s)
        await task.wait()
    assert runs == [0, 2, 6, 14]
    assert told == [14]
    assert task.attempts == 4


@async_test
async def test_a_retry_that_helps_ends_in_success_without_the_handler() -> None:
    clock = FakeClock()
    app = make_app(clock)
    told: list[object] = []
    runs = 0

    def send() -> str:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise ConnectionError
        return "sent"

    async with running(app) as client:
        task = client.tasks.task(
            retry=Retry(attempts=3), on_error=lambda task, error: told.append(error)
        ).schedule(send)
        for _ in range(2):
            await clock.until_waiting()
            await clock.advance(clock.waiting[0])
        assert await task.wait() == Succeeded("sent")
    assert told == []


@async_test
async def test_an_error_the_rule_does_not_name_is_not_tried_again() -> None:
    app = make_app()
    runs: list[int] = []

    async def send() -> None:
        runs.append(1)
        raise ValueError

    async with running(app) as client:
        await client.tasks.task(retry=Retry(on=ConnectionError)).schedule(send).wait()
    assert len(runs) == 1


@async_test
async def test_a_timeout_cancels_an_async_function_and_fails_the_task() -> None:
    clock = FakeClock()
    app = make_app(clock)
    cleaned_up = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cleaned_up.set()

    async with running(app) as client:
        task = client.tasks.task(timeout=30).schedule(hang)
        await clock.until_waiting()
        await clock.advance(30)
        outcome = await task.wait()
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, TaskTimeout)
    assert "30 s" in str(outcome.error)
    assert cleaned_up.is_set()


@async_test
async def test_every_attempt_has_the_whole_timeout() -> None:
    clock = FakeClock()
    app = make_app(clock)
    runs: list[float] = []

    async def hang_twice() -> str:
        runs.append(clock.monotonic())
        if len(runs) < 3:
            await asyncio.get_running_loop().create_future()
        return "done"

    async with running(app) as client:
        task = client.tasks.task(
            timeout=10, retry=Retry(attempts=3, backoff="constant", base_s=1, jitter=False)
        ).schedule(hang_twice)
        for seconds in (10, 1, 10, 1):
            await clock.until_waiting()
            await clock.advance(seconds)
        assert await task.wait() == Succeeded("done")
    assert runs == [0, 11, 22]


@async_test
async def test_a_timeout_leaves_a_sync_functions_thread_behind_and_another_takes_its_place() -> (
    None
):
    clock = FakeClock()
    app = make_app(clock, threads=1)
    running_now, release = threading.Event(), threading.Event()

    def hang() -> None:
        running_now.set()
        release.wait(10)

    async with running(app) as client:
        task = client.tasks.task(timeout=5).schedule(hang)
        await asyncio.to_thread(running_now.wait, 10)
        await clock.until_waiting()
        await clock.advance(5)
        outcome = await task.wait()
        assert isinstance(outcome, Failed)
        assert isinstance(outcome.error, TaskTimeout)
        # The only thread still hangs, and yet:
        assert await client.tasks.schedule(lambda: "served").wait() == Succeeded("served")
        release.set()


@async_test
async def test_limit_bounds_how_many_of_a_function_run_at_a_time_in_order() -> None:
    app = make_app()
    running_now, most, order = 0, 0, []

    async def work(number: int) -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        order.append(number)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running_now -= 1

    async with running(app) as client:
        for number in range(20):
            client.tasks.task(limit=3, name=f"work_{number}").schedule(
                functools.partial(work, number)
            )
        await client.tasks.settle()
    assert most == 3
    assert order == list(range(20))


@async_test
async def test_limit_key_counts_over_functions_and_keys_do_not_hold_up_each_other() -> None:
    app = make_app()
    release = asyncio.Event()
    started: list[str] = []

    async def one(tenant: str) -> None:
        started.append(f"one {tenant}")
        await release.wait()

    async def two(tenant: str) -> None:
        started.append(f"two {tenant}")

    async with running(app) as client:
        for function in (one, two):
            for tenant in ("a", "b"):
                client.tasks.task(limit=1, limit_key=tenant).schedule(function, tenant)
        await client.tasks.schedule(asyncio.sleep, 0).wait()
        assert started == ["one a", "one b"]
        release.set()
        await client.tasks.settle()
    assert sorted(started[2:]) == ["two a", "two b"]


@async_test
async def test_max_running_bounds_them_all() -> None:
    app = make_app(max_running=10)
    running_now, most = 0, 0

    async def work() -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0)
        running_now -= 1

    async with running(app) as client:
        tasks = [client.tasks.schedule(work) for _ in range(1000)]
        await client.tasks.settle()
    assert most == 10
    assert all(task.outcome == Succeeded(None) for task in tasks)


@async_test
async def test_sync_tasks_do_not_hold_up_sync_endpoints() -> None:
    app = make_app(threads=40)
    release = threading.Event()

    @app.get("/")
    def endpoint() -> str:
        return "served"

    async with running(app) as client:
        for _ in range(60):
            client.tasks.schedule(release.wait, 10)
        assert (await client.get("/")).json() == "served"
        release.set()
        await client.tasks.settle()


@async_test
async def test_cancel_stops_a_running_task_and_tells_its_handler() -> None:
    told: list[Exception] = []
    app = make_app(config=TaskConfig(on_error=lambda task, error: told.append(error)))
    async with running(app) as client:
        task = client.tasks.schedule(_forever)
        await task.started.wait()
        assert task.cancel() is True
        assert isinstance(await task.wait(), Cancelled)
        assert task.cancel() is False
    [error] = told
    assert isinstance(error, TaskCancelled)


@async_test
async def test_cancel_before_the_first_step_means_the_function_never_runs() -> None:
    app = make_app()
    ran: list[int] = []

    async def work() -> None:
        ran.append(1)

    async with running(app) as client:
        task = client.tasks.schedule(work)
        assert task.cancel() is True
        assert isinstance(await task.wait(), Cancelled)
    assert ran == []


@async_test
async def test_cancel_reaches_a_task_that_waits_for_its_turn() -> None:
    app = make_app()
    async with running(app) as client:
        first = client.tasks.task(limit=1, limit_key="k").schedule(_forever)
        second = client.tasks.task(limit=1, limit_key="k").schedule(_forever)
        third = client.tasks.task(limit=1, limit_key="k").schedule(asyncio.sleep, 0)
        assert second.cancel() is True
        assert isinstance(await second.wait(), Cancelled)
        first.cancel()
        assert await third.wait() == Succeeded(None)


@async_test
async def test_a_handler_runs_in_its_tasks_context_even_if_the_task_never_started() -> None:
    app = make_app()
    seen: list[object] = []

    async def handler(task: Task, error: Exception) -> None:
        seen.append(current_context() is task.context)

    async with running(app) as client:
        schedule = client.tasks.task(limit=1, limit_key="k", on_error=handler).schedule
        first, second = schedule(_forever), schedule(_forever)
        second.cancel()
        await second.wait()
        first.cancel()
        await first.wait()
    assert seen == [True, True]


@async_test
async def test_cancel_reaches_a_task_that_waits_for_its_moment() -> None:
    app = make_app()
    ran: list[int] = []
    kept: list[Task] = []

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        task = tasks.after_response.schedule(ran.append, 1)
        kept.append(task)
        task.cancel()

    async with running(app) as client:
        await client.get("/")
        await client.tasks.settle()
        assert isinstance(kept[0].outcome, Cancelled)
    assert ran == []


@async_test
async def test_cancel_from_another_thread() -> None:
    app = make_app()
    async with running(app) as client:
        task = client.tasks.schedule(_forever)
        await task.started.wait()
        assert await asyncio.to_thread(task.cancel) is True
        assert isinstance(await task.wait(), Cancelled)


@async_test
async def test_cancel_leaves_a_shielded_task_alone_once_it_runs() -> None:
    app = make_app()
    release = asyncio.Event()
    async with running(app) as client:
        task = client.tasks.task(shield=True).schedule(release.wait)
        await task.started.wait()
        assert task.cancel() is False
        release.set()
        assert (await task.wait()).ok


@async_test
async def test_a_task_cancelled_by_somebody_else_says_so() -> None:
    app = make_app()
    async with running(app) as client:
        task = client.tasks.schedule(_forever)
        await task.started.wait()
        for each in asyncio.all_tasks():
            if each is not asyncio.current_task() and each is task._asyncio_task:
                each.cancel()
        outcome = await task.wait()
    assert isinstance(outcome, Cancelled)
    assert "outside" in outcome.reason


@async_test
async def test_a_function_may_refuse_its_cancellation_and_succeed() -> None:
    app = make_app()

    async def stubborn() -> str:
        try:
            await _forever()
        except asyncio.CancelledError:
            return "finished anyway"
        return "never"

    async with running(app) as client:
        task = client.tasks.schedule(stubborn)
        await task.started.wait()
        task.cancel()
        assert await task.wait() == Succeeded("finished anyway")


@async_test
async def test_progress_is_seen_from_outside_in_async_and_sync_tasks() -> None:
    app = make_app()
    reported, release = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        current_context().progress(3, 10, "three of ten")
        reported.set()
        await release.wait()

    def sync_work() -> None:
        current_context().progress(1, 2)

    async with running(app) as client:
        task = client.tasks.schedule(work)
        assert task.progress is None
        await reported.wait()
        assert task.progress is not None
        assert (task.progress.done, task.progress.total) == (3, 10)
        assert task.progress.message == "three of ten"
        assert task.progress.fraction == 0.3
        release.set()
        second = client.tasks.schedule(sync_work)
        await second.wait()
        assert second.progress is not None
        assert second.progress.fraction == 0.5


@async_test
async def test_started_and_finished_are_marks_with_times() -> None:
    clock = FakeClock()
    app = make_app(clock)
    async with running(app) as client:
        task = client.tasks.task(timeout=60).schedule(_forever)
        assert not task.started.is_set()
        await task.started.wait()
        started_at = task.started.at
        await clock.until_waiting()
        await clock.advance(60)
        await task.finished.wait()
        assert started_at is not None
        assert task.finished.at is not None
        assert (task.finished.at - started_at).total_seconds() == 60


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()


@async_test
async def test_each_task_is_seen_with_its_end_and_the_correlation_id_of_its_request() -> None:
    app = make_app()
    watcher = watched(app)

    async def fine() -> None: ...

    def fails() -> None:
        raise ValueError("no")

    @app.get("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.task(name="fine").schedule(fine)
        tasks.after_response.task(name="odd one").schedule(fails)
        tasks.after_response.schedule(leak_cancellation)

    async with running(app) as client:
        answer = await client.get("/")
        await client.tasks.settle()
    seen = {each.name: (each.outcome, each.error) for each in watcher.of(Kind.TASK)}
    assert seen == {
        "fine": ("ok", None),
        "odd one": ("failed", "ValueError"),
        "leak_cancellation": ("failed", "TaskCrashed"),
    }
    ids = {each.correlation_id for each in watcher.of(Kind.TASK)}
    assert ids == {answer.headers["X-Request-ID"]}


@async_test
async def test_a_task_that_is_cancelled_is_seen_as_that() -> None:
    app = make_app()
    watcher = watched(app)

    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    async with running(app) as client:
        running_task = client.tasks.schedule(forever)
        await running_task.started.wait()
        running_task.cancel()
        await running_task.wait()
    [seen] = watcher.of(Kind.TASK)
    assert (seen.outcome, seen.error) == ("cancelled", None)
