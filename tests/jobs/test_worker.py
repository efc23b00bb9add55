"""The worker: what it makes of jobs that succeed, fail, hang, and are cut off."""

import asyncio
import logging
import threading
import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.context import Context, current_context
from backstay.errors import JobFailed, LedgerUnavailable
from backstay.jobs.part import DurablePart
from backstay.jobs.worker import Worker
from backstay.jobs.worker_part import WorkerPart
from backstay.ledger.rows import Finish, NewJob
from backstay.observation import Kind
from backstay.tasks import (
    Cancel,
    Discard,
    Job,
    JobFailure,
    Retry,
    RetryLater,
    Snooze,
    State,
    TaskFunction,
    add_tasks,
    task,
)
from backstay.testing import FakeClock, RunningApp, drain, enqueued, running
from backstay.web import Ctx, install, installed
from tests.observing import watched
from tests.support import async_test

AT_ONCE = Retry(attempts=3, backoff="constant", base_s=0, jitter=False)


def make_app(clock: FakeClock | None = None, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, clock=clock)
    add_tasks(app, database="memory://", **options)
    return app


def worker_of(client: RunningApp) -> Worker:
    part = client.ctx.app.part("job")
    assert isinstance(part, WorkerPart)
    assert part.worker is not None
    return part.worker


def ledger_of(client: RunningApp) -> Any:
    part = client.ctx.app.part("durable")
    assert isinstance(part, DurablePart)
    return part.ledger


async def run_one(job_task: TaskFunction[..., ..., Any], *args: Any, **options: Any) -> Any:
    """What the ledger says when one job of the task is over."""
    async with running(make_app(**options)) as client:
        job = await client.durable.enqueue(job_task, *args)
        return await job.wait()


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


@async_test
async def test_an_async_function_runs_and_its_result_is_kept() -> None:
    @task
    async def double(number: int) -> int:
        return 2 * number

    status = await run_one(double, 21)
    assert (status.state, status.result, status.attempt) == (State.SUCCEEDED, 42, 1)


@async_test
async def test_a_sync_function_runs_in_a_thread_with_the_jobs_context() -> None:
    seen: list[Any] = []

    @task
    def where() -> str:
        seen.append((threading.current_thread() is threading.main_thread(), current_context()))
        return "there"

    status = await run_one(where)
    assert status.result == "there"
    [(in_main_thread, ctx)] = seen
    assert not in_main_thread
    assert ctx.origin == "job"


@async_test
async def test_a_job_that_raises_is_tried_again_and_ends_in_the_dead_letter_list() -> None:
    @task(retry=AT_ONCE)
    async def fail() -> None:
        raise ConnectionError("no route")

    status = await run_one(fail)
    assert status.state is State.DISCARDED
    assert [(error["type"], error["attempt"]) for error in status.errors] == [
        ("ConnectionError", 1),
        ("ConnectionError", 2),
        ("ConnectionError", 3),
    ]
    assert "no route" in status.errors[-1]["traceback"]


@async_test
async def test_a_job_that_succeeds_at_a_later_attempt_has_succeeded() -> None:
    @task(retry=AT_ONCE)
    async def third_time(ctx: Context) -> int:
        if ctx.job.attempt < 3:
            raise ConnectionError
        return ctx.job.attempt

    status = await run_one(third_time)
    assert (status.state, status.result) == (State.SUCCEEDED, 3)


@async_test
async def test_errors_that_the_rule_does_not_name_are_not_tried_again() -> None:
    @task(retry=Retry(attempts=5, on=ConnectionError))
    async def fail() -> None:
        raise KeyError("other")

    status = await run_one(fail)
    assert (status.state, status.attempt) == (State.DISCARDED, 1)


@async_test
async def test_the_pause_between_attempts_is_the_rules() -> None:
    clock = FakeClock()

    @task(retry=Retry(attempts=2, base_s=30, jitter=False))
    async def fail() -> None:
        raise ConnectionError

    async with running(make_app(clock)) as client:
        job = await client.durable.enqueue(fail)
        await drain(client)
        assert (await job.status()).state is State.RETRYING
        await clock.advance(29)
        await drain(client)
        assert (await job.status()).state is State.RETRYING
        await clock.advance(2)
        await drain(client)
        assert (await job.status()).state is State.DISCARDED


@pytest.mark.parametrize("by", ["return", "raise"])
def test_snooze_comes_back_later_without_using_up_an_attempt(by: str) -> None:
    @async_test
    async def check() -> None:
        clock = FakeClock()
        runs = 0

        @task(retry=Retry(attempts=1))
        async def not_yet() -> str | Snooze:
            nonlocal runs
            runs += 1
            if runs == 3:
                return "now"
            if by == "raise":
                raise Snooze(60)
            return Snooze(60)

        async with running(make_app(clock)) as client:
            job = await client.durable.enqueue(not_yet)
            await drain(client)
            assert (await job.status()).state is State.SCHEDULED
            for _ in range(2):
                await clock.advance(61)
                await drain(client)
            status = await job.status()
            assert (status.state, status.result, status.attempt) == (State.SUCCEEDED, "now", 1)

    check()


@async_test
async def test_retry_later_uses_up_attempts_and_decides_the_pause() -> None:
    clock = FakeClock()

    @task(retry=Retry(attempts=2, base_s=1))
    async def later() -> None:
        raise RetryLater(500, "busy")

    async with running(make_app(clock)) as client:
        job = await client.durable.enqueue(later)
        await drain(client)
        status = await job.status()
        assert status.state is State.RETRYING
        assert (status.run_at - clock.now()).total_seconds() == 500
        await clock.advance(501)
        await drain(client)
        status = await job.status()
        assert status.state is State.DISCARDED
        assert [error["message"] for error in status.errors] == ["busy", "busy"]


@async_test
async def test_cancel_and_discard_end_the_job_with_their_reason() -> None:
    @task
    async def cancelled() -> Cancel:
        return Cancel("the order is gone")

    @task
    async def discarded() -> None:
        raise Discard("no such card")

    one, other = await run_one(cancelled), await run_one(discarded)
    assert (one.state, one.error["message"]) == (State.CANCELLED, "the order is gone")
    assert (other.state, other.error["message"]) == (State.DISCARDED, "no such card")


@async_test
async def test_an_async_job_is_cancelled_when_its_time_is_over() -> None:
    ended = asyncio.Event()

    @task(timeout=0.01, retry=Retry(attempts=1))
    async def hang() -> None:
        try:
            await forever()
        finally:
            ended.set()

    status = await run_one(hang)
    assert ended.is_set()
    assert (status.state, status.error["type"]) == (State.DISCARDED, "TaskTimeout")


@async_test
async def test_a_sync_job_that_hangs_is_left_behind_and_its_result_ignored() -> None:
    release = threading.Event()

    @task(timeout=0.01, retry=Retry(attempts=1))
    def hang() -> str:
        release.wait(10)
        return "too late"

    try:
        status = await run_one(hang)
        assert (status.state, status.error["type"]) == (State.DISCARDED, "TaskTimeout")
        assert not status.has_result
    finally:
        release.set()


@async_test
async def test_a_job_that_ignores_its_cancellation_is_abandoned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    release = asyncio.Event()
    stubborn_began = asyncio.Event()

    @task(timeout=5, retry=Retry(attempts=1))
    async def stubborn() -> None:
        stubborn_began.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with running(make_app(clock)) as client:
        job = await client.durable.enqueue(stubborn)
        await stubborn_began.wait()
        await clock.advance(5)
        await clock.advance(6)
        assert (await job.wait()).error["type"] == "TaskTimeout"  # type: ignore[index]  # it failed
        assert not worker_of(client).running
        release.set()
    assert "ignored its cancellation" in caplog.text


@async_test
async def test_a_base_exception_fails_the_job_and_not_the_worker() -> None:
    @task(retry=Retry(attempts=1))
    async def leave() -> None:
        raise SystemExit(3)

    @task
    async def after() -> str:
        return "still here"

    async with running(make_app()) as client:
        left = await client.durable.enqueue(leave)
        assert (await left.wait()).error["type"] == "TaskCrashed"  # type: ignore[index]  # it failed
        assert await (await client.durable.enqueue(after)).result() == "still here"


@async_test
async def test_a_leaked_cancelled_error_is_a_failure_like_any_other() -> None:
    @task(retry=Retry(attempts=1))
    async def leak() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    assert (await run_one(leak)).error["type"] == "TaskCrashed"


@async_test
async def test_a_running_async_job_is_cancelled_on_request() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    @task
    async def long() -> None:
        began.set()
        try:
            await forever()
        finally:
            ended.set()

    async with running(make_app()) as client:
        job = await client.durable.enqueue(long)
        await began.wait()
        assert await job.cancel("no longer needed")
        assert (await job.wait()).state is State.CANCELLED
        assert ended.is_set()
        assert not await job.cancel()


@async_test
async def test_a_running_sync_job_is_left_behind_on_request() -> None:
    began, release = threading.Event(), threading.Event()

    @task
    def long() -> None:
        began.set()
        release.wait(10)

    try:
        async with running(make_app()) as client:
            job = await client.durable.enqueue(long)
            await asyncio.to_thread(began.wait, 10)
            await job.cancel()
            assert (await job.wait()).state is State.CANCELLED
    finally:
        release.set()


@async_test
async def test_a_waiting_job_that_is_cancelled_never_starts() -> None:
    @task
    async def never() -> None:
        raise AssertionError

    async with running(make_app(worker=False)) as client:
        job = await client.durable.enqueue(never)
        await job.cancel("changed my mind")
        await drain(client)
        with pytest.raises(JobFailed, match="changed my mind"):
            await job.result()


@async_test
async def test_a_row_with_an_unknown_name_is_kept_visible_and_tried_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    job_id = uuid.uuid4()
    async with running(make_app(clock)) as client:
        await ledger_of(client).insert([NewJob(job_id, "app.gone", '{"x": 1}')])
        await drain(client)
        status = await client.durable.job(job_id).status()
        assert (status.state, status.attempt) == (State.SCHEDULED, 0)
        assert status.error is not None
        assert "app.gone" in status.error["message"]
        assert "aliases=" in caplog.text

        @task(aliases=["app.gone"])
        async def renamed(x: int) -> int:
            return x

        await client.durable.enqueue(renamed, 2)  # now its name is known here
        await clock.advance(31)
        await drain(client)
        assert await client.durable.job(job_id).result() == 1


@async_test
async def test_arguments_that_cannot_be_read_are_parked_with_the_reason() -> None:
    @task(name="tests.picky")
    async def picky(number: int) -> None:
        raise AssertionError

    async with running(make_app()) as client:
        job_id = uuid.uuid4()
        await client.durable.enqueue(picky, 1)
        await ledger_of(client).insert(
            [NewJob(job_id, "tests.picky", '{"number": "many"}', max_attempts=9)]
        )
        status = await client.durable.job(job_id).wait()
        assert (status.state, status.attempt) == (State.DISCARDED, 1)
        assert status.error is not None
        assert "number" in status.error["message"]


@async_test
async def test_handlers_hear_of_each_failed_attempt_and_of_the_end() -> None:
    told: list[tuple[str, int, str]] = []

    @task
    async def on_error(failure: JobFailure) -> None:
        told.append(("error", failure.attempt, failure.state))

    @task
    async def on_discard(failure: JobFailure) -> None:
        told.append(("discard", failure.attempt, failure.error_type))

    @task(retry=Retry(attempts=2, base_s=0), on_error=on_error, on_discard=on_discard)
    async def fail(order: int) -> None:
        raise ConnectionError("down")

    async with running(make_app()) as client:
        await client.durable.enqueue(fail, 17)
        await drain(client)
        await drain(client)
    assert sorted(told) == [
        ("discard", 2, "ConnectionError"),
        ("error", 1, "retrying"),
        ("error", 2, "discarded"),
    ]


@async_test
async def test_what_a_job_schedules_is_written_with_its_completion() -> None:
    @task
    async def child(number: int) -> int:
        return number

    handles: list[Job[int]] = []

    @task(retry=Retry(attempts=1))
    async def parent(fails: bool, ctx: Context) -> None:
        handles.append(ctx.tasks.durable.schedule(child, 1))
        if fails:
            raise ValueError

    async with running(make_app()) as client:
        await (await client.durable.enqueue(parent, True)).wait()
        await drain(client)
        assert await enqueued(client, child) == []
        await (await client.durable.enqueue(parent, False)).wait()
        await drain(client)
        assert len(await enqueued(client, child)) == 1
        assert handles[1].created
        assert await handles[1].result() == 1


@async_test
async def test_progress_is_seen_by_others_while_the_job_runs() -> None:
    clock = FakeClock()
    began, release = asyncio.Event(), asyncio.Event()

    @task
    async def long(ctx: Context) -> None:
        ctx.progress(1, 4, "resizing")
        ctx.progress(2, 4, "resizing")
        began.set()
        await release.wait()

    async with running(make_app(clock)) as client:
        job = await client.durable.enqueue(long)
        await began.wait()
        await clock.until_waiting()
        while (progress := (await job.status()).progress) is None:
            await clock.advance(0.3)
        assert (progress["done"], progress["total"], progress["message"]) == (2, 4, "resizing")
        release.set()


@async_test
async def test_a_jobs_log_lines_carry_the_correlation_id_of_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from backstay.tasks import Tasks

    caplog.set_level(logging.INFO, "app")
    app = make_app()
    seen: list[str] = []

    @task
    async def note(ctx: Context) -> None:
        seen.append(ctx.correlation_id)

    @app.post("/")
    async def endpoint(tasks: Tasks) -> None:
        tasks.durable.schedule(note)

    async with running(app) as client:
        answer = await client.post("/", headers={"X-Request-ID": "request-17"})
        assert answer.headers["X-Request-ID"] == "request-17"
        await drain(client)
    assert seen == ["request-17"]


@async_test
async def test_stopping_lets_running_jobs_finish_within_the_grace() -> None:
    began, release = asyncio.Event(), asyncio.Event()

    @task
    async def slow() -> str:
        began.set()
        await release.wait()
        return "done"

    app = make_app()
    async with running(app) as client:
        await client.durable.enqueue(slow)
        await began.wait()
        part = client.ctx.app.part("durable")
        assert isinstance(part, DurablePart)
        ledger, finished = part.ledger, []
        original = ledger.finish

        async def finish(finishes: Sequence[Finish]) -> Any:
            finished.extend(finishes)
            return await original(finishes)

        ledger.finish = finish  # type: ignore[method-assign]  # to see what is recorded last
        asyncio.get_running_loop().call_soon(release.set)
    assert [each.state for each in finished] == [State.SUCCEEDED]


@async_test
async def test_stopping_hands_back_what_does_not_finish_without_using_up_an_attempt() -> None:
    began = asyncio.Event()
    cancelled = asyncio.Event()

    @task(retry=Retry(attempts=1))
    async def endless() -> None:
        began.set()
        try:
            await forever()
        finally:
            cancelled.set()

    finished: list[Finish] = []
    app = make_app(shutdown_grace_s=0.0)
    async with running(app) as client:
        await client.durable.enqueue(endless)
        await began.wait()
        ledger = ledger_of(client)
        original = ledger.finish

        async def finish(finishes: Sequence[Finish]) -> Any:
            finished.extend(finishes)
            return await original(finishes)

        ledger.finish = finish
    assert cancelled.is_set()
    assert [(each.state, each.give_back) for each in finished] == [(State.AVAILABLE, True)]


@async_test
async def test_ends_are_recorded_when_the_ledger_is_back(caplog: pytest.LogCaptureFixture) -> None:
    @task
    async def fine() -> int:
        return 1

    async with running(make_app()) as client:
        ledger = ledger_of(client)
        original, failures = ledger.finish, 3

        async def finish(finishes: Sequence[Finish]) -> Any:
            nonlocal failures
            if failures:
                failures -= 1
                raise LedgerUnavailable("the disk is full")
            return await original(finishes)

        ledger.finish = finish
        assert await (await client.durable.enqueue(fine)).result() == 1
    assert caplog.text.count("the ledger is out of reach") == 1


@async_test
async def test_claiming_goes_on_when_the_ledger_is_back() -> None:
    @task
    async def fine() -> int:
        return 1

    async with running(make_app()) as client:
        ledger = ledger_of(client)
        original, failures = ledger.claim, 2

        async def claim(*args: Any) -> Any:
            nonlocal failures
            if failures:
                failures -= 1
                raise LedgerUnavailable("gone")
            return await original(*args)

        ledger.claim = claim
        assert await (await client.durable.enqueue(fine)).result() == 1


@async_test
async def test_a_zombies_word_counts_for_nothing(caplog: pytest.LogCaptureFixture) -> None:
    began, release = asyncio.Event(), asyncio.Event()

    @task
    async def slow() -> str:
        began.set()
        await release.wait()
        return "too late"

    async with running(make_app()) as client:
        job = await client.durable.enqueue(slow)
        await began.wait()
        run = worker_of(client).running[job.id]
        ledger = ledger_of(client)
        await ledger.finish([Finish(job.id, run.claim.fence, State.DISCARDED)])  # somebody's rescue
        release.set()
        await worker_of(client).settled()
        status = await job.status()
        assert (status.state, status.has_result) == (State.DISCARDED, False)
    assert "was no longer ours" in caplog.text


@async_test
async def test_no_more_jobs_run_at_a_time_than_the_concurrency_says() -> None:
    running_now, most = 0, 0

    @task
    async def count() -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running_now -= 1

    async with running(make_app(concurrency=3)) as client:
        await client.durable.enqueue_many([count.bind() for _ in range(200)])
        await drain(client)
        assert len(await enqueued(client, count)) == 200
    assert most == 3


@async_test
async def test_every_queue_gets_its_share_of_few_places() -> None:
    order: list[str] = []

    @task(queue="a")
    async def in_a() -> None:
        order.append("a")

    @task(queue="b")
    async def in_b() -> None:
        order.append("b")

    async with running(make_app(concurrency=1, worker=False)) as client:
        await client.durable.enqueue_many([in_a.bind() for _ in range(20)])
        await client.durable.enqueue_many([in_b.bind() for _ in range(20)])
        await drain(client)
    assert sorted(order) == ["a"] * 20 + ["b"] * 20
    # worker=False drains with a worker of the default concurrency; nobody waits for a whole queue
    assert "b" in order[:39]


@async_test
async def test_claimed_jobs_that_find_no_place_are_given_back() -> None:
    clock = FakeClock()
    release = asyncio.Event()
    began = asyncio.Event()

    @task
    async def long() -> None:
        began.set()
        await release.wait()

    async with running(make_app(clock, concurrency=1)) as client:
        worker = worker_of(client)
        await client.durable.enqueue(long)
        await began.wait()
        other = await client.durable.enqueue(long)
        claims = await ledger_of(client).claim(worker.id, {"default": 1})
        worker._buffer.extend(claims.jobs)  # as after a burst of short jobs
        assert (await other.status()).state is State.RUNNING
        await clock.advance(1.1)
        await clock.advance(1.1)
        while (status := await other.status()).state is State.RUNNING:
            await asyncio.sleep(0)
        assert (status.state, status.attempt) == (State.AVAILABLE, 0)
        release.set()


@async_test
async def test_a_result_that_cannot_be_written_fails_the_job() -> None:
    @task(retry=Retry(attempts=1))
    async def odd() -> Any:
        return object()

    status = await run_one(odd)
    assert status.state is State.DISCARDED


def test_the_app_is_the_workers(tmp_path: Any) -> None:
    app = make_app()
    part = installed(app).part("job")
    assert isinstance(part, WorkerPart)
    assert part.worker is None


@async_test
async def test_each_attempt_is_seen_with_what_came_of_it() -> None:
    @task(retry=Retry(attempts=2, backoff="constant", base_s=0, jitter=False))
    async def ends(how: str) -> None:
        match how:
            case "fails":
                raise ConnectionError("no route")
            case "is dropped":
                raise Discard("not wanted")
            case "is called off":
                raise Cancel("nobody asks any more")

    app = make_app()
    watcher = watched(app)
    async with running(app) as client:
        for how in ("works", "fails", "is dropped", "is called off"):
            job = await client.durable.enqueue(ends, how)
            await job.wait()
    seen = [(each.outcome, each.error, each.facts["attempt"]) for each in watcher.of(Kind.JOB)]
    assert seen == [
        ("ok", None, 1),
        ("retried", "ConnectionError", 1),
        ("failed", "ConnectionError", 2),
        ("discarded", "Discard", 1),
        ("cancelled", "Cancel", 1),
    ]
    assert {each.facts["queue"] for each in watcher.of(Kind.JOB)} == {"default"}


@async_test
async def test_a_job_is_linked_to_what_scheduled_it() -> None:
    @task
    async def work() -> None: ...

    app = make_app()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    watcher = watched(app, parent)

    @app.post("/")
    async def endpoint(ctx: Ctx) -> None:
        ctx.tasks.durable.schedule(work)

    async with running(app) as client:
        answer = await client.post("/")
        await drain(client)
    [seen] = watcher.of(Kind.JOB)
    assert (seen.link, seen.correlation_id) == (parent, answer.headers["X-Request-ID"])
