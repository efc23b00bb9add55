"""What every worker does for all: rescue of the dead's jobs, cron ticks, pruning of history."""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.context import Context
from backstay.errors import LedgerUnavailable
from backstay.jobs.part import DurablePart
from backstay.jobs.upkeep import Upkeep
from backstay.jobs.worker import Worker
from backstay.jobs.worker_part import WorkerPart
from backstay.ledger.rows import WorkerRow
from backstay.tasks import Job, JobFailure, Retry, State, TaskFunction, add_tasks, task
from backstay.testing import FakeClock, RunningApp, drain, enqueued, running
from backstay.web import install
from tests.support import async_test

AnyTask = TaskFunction[..., ..., Any]

MIDNIGHT = datetime(2027, 1, 1, tzinfo=UTC)


def make_app(clock: FakeClock, *tasks: AnyTask, **options: Any) -> FastAPI:
    """An app that knows these tasks, as if they stood in a module."""
    app = FastAPI()
    backstay = install(app, clock=clock)
    add_tasks(app, **{"database": "memory://", **options})
    for each in tasks:
        part_of(backstay).registry.add(each)
    return app


def part_of(backstay: Any) -> DurablePart:
    part = backstay.part("durable")
    assert isinstance(part, DurablePart)
    return part


class Silent:
    """A heartbeat that always arrives, and has for long enough, unless the test says otherwise."""

    steady = True

    async def now(self) -> None: ...

    def steady_for(self, seconds: float) -> bool:
        return self.steady


def upkeep_of(client: RunningApp, worker: str = "upkeeper") -> Upkeep:
    return Upkeep(part_of(client.ctx.app), worker, Silent(), every_s=2.0)  # type: ignore[arg-type]  # all it asks


def worker_of(client: RunningApp) -> Worker:
    part = client.ctx.app.part("job")
    assert isinstance(part, WorkerPart)
    assert part.worker is not None
    return part.worker


@contextlib.asynccontextmanager
async def without_worker(
    clock: FakeClock, *tasks: AnyTask, **options: Any
) -> AsyncIterator[RunningApp]:
    async with running(make_app(clock, *tasks, worker=False, **options)) as client:
        for each in tasks:
            part_of(client.ctx.app).registry.add(each)
        yield client


async def claimed_by_the_dead(client: RunningApp, clock: FakeClock, lease_s: float = 10.0) -> None:
    """A worker takes all there is, and is never heard of again."""
    ledger = part_of(client.ctx.app).ledger
    await ledger.register(
        WorkerRow(id="dead", host="h", pid=1, lease_s=lease_s, concurrency=9, queues=("default",))
    )
    await ledger.claim("dead", {"default": 9})
    await clock.advance(lease_s + 1)


# ---------------------------------------------------------------------- rescue


@async_test
async def test_jobs_of_a_dead_worker_are_available_again_and_an_attempt_is_used_up() -> None:
    clock = FakeClock()

    @task
    async def pay() -> str:
        return "paid"

    async with without_worker(clock, pay) as client:
        job = await client.durable.enqueue(pay)
        await claimed_by_the_dead(client, clock)
        assert (await job.status()).state is State.RUNNING
        assert await upkeep_of(client).rescue() == 1
        status = await job.status()
        assert (status.state, status.attempt) == (State.AVAILABLE, 1)
        assert status.error is not None
        assert status.error["type"] == "WorkerLost"
        assert "dead" in status.error["message"]
        await drain(client)
        status = await job.status()
        assert (status.state, status.attempt) == (State.SUCCEEDED, 2)


@async_test
async def test_within_its_lease_a_silent_worker_keeps_its_jobs() -> None:
    clock = FakeClock()

    @task
    async def pay() -> None: ...

    async with without_worker(clock, pay) as client:
        job = await client.durable.enqueue(pay)
        ledger = part_of(client.ctx.app).ledger
        await ledger.register(
            WorkerRow(id="slow", host="h", pid=1, lease_s=10.0, concurrency=9, queues=())
        )
        await ledger.claim("slow", {"default": 9})
        await clock.advance(9)
        assert await upkeep_of(client).rescue() == 0
        assert (await job.status()).state is State.RUNNING


@async_test
async def test_who_could_not_reach_the_ledger_a_moment_ago_declares_nobody_dead() -> None:
    clock = FakeClock()

    @task
    async def pay() -> None: ...

    async with without_worker(clock, pay) as client:
        job = await client.durable.enqueue(pay)
        await claimed_by_the_dead(client, clock)
        heartbeat = Silent()
        heartbeat.steady = False
        upkeep = Upkeep(part_of(client.ctx.app), "upkeeper", heartbeat, every_s=2.0)  # type: ignore[arg-type]  # all it asks
        assert await upkeep.rescue() == 0
        assert (await job.status()).state is State.RUNNING
        heartbeat.steady = True
        assert await upkeep.rescue() == 1


@async_test
async def test_a_job_that_kills_every_worker_ends_in_the_dead_letter_list_and_its_handlers_hear() -> (
    None
):
    clock = FakeClock()
    told: list[tuple[str, str, int, str]] = []

    @task
    async def on_error(failure: JobFailure) -> None:
        told.append(("error", failure.error_type, failure.attempt, failure.state))

    @task
    async def on_discard(failure: JobFailure) -> None:
        told.append(("discard", failure.error_type, failure.attempt, failure.state))

    @task(retry=Retry(attempts=2), on_error=on_error, on_discard=on_discard)
    async def kill() -> None: ...

    async with without_worker(clock, kill) as client:
        job = await client.durable.task(priority=1000).enqueue(kill)
        ledger = part_of(client.ctx.app).ledger
        for attempt in (1, 2):
            await ledger.register(
                WorkerRow(id=f"w{attempt}", host="h", pid=1, lease_s=1.0, concurrency=1, queues=())
            )
            claims = await ledger.claim(f"w{attempt}", {"default": 1})
            assert [claim.id for claim in claims.jobs] == [job.id]
            await clock.advance(2)
            assert await upkeep_of(client).rescue() == 1
        status = await job.status()
        assert (status.state, status.attempt) == (State.DISCARDED, 2)
        await drain(client)
    assert sorted(told) == [
        ("discard", "WorkerLost", 2, "discarded"),
        ("error", "WorkerLost", 1, "available"),
        ("error", "WorkerLost", 2, "discarded"),
    ]


@async_test
async def test_a_job_that_somebody_wanted_cancelled_is_cancelled_by_its_rescue() -> None:
    clock = FakeClock()

    @task
    async def pay() -> None: ...

    async with without_worker(clock, pay) as client:
        job = await client.durable.enqueue(pay)
        ledger = part_of(client.ctx.app).ledger
        await ledger.register(
            WorkerRow(id="dead", host="h", pid=1, lease_s=1.0, concurrency=1, queues=())
        )
        await ledger.claim("dead", {"default": 1})
        assert await job.cancel()
        await clock.advance(2)
        await upkeep_of(client).rescue()
        assert (await job.status()).state is State.CANCELLED


@async_test
async def test_jobs_of_tasks_nobody_knows_here_are_rescued_too() -> None:
    clock = FakeClock()

    @task
    async def pay() -> None: ...

    async with without_worker(clock, pay) as client:
        job = await client.durable.enqueue(pay)
        await claimed_by_the_dead(client, clock)
        part_of(client.ctx.app).registry._tasks.clear()
        assert await upkeep_of(client).rescue() == 1
        assert (await job.status()).state is State.AVAILABLE


@async_test
async def test_two_who_rescue_at_a_time_use_up_one_attempt() -> None:
    clock = FakeClock()

    @task
    async def pay() -> None: ...

    async with without_worker(clock, pay) as client:
        jobs = await client.durable.enqueue_many([pay.bind() for _ in range(9)])
        await claimed_by_the_dead(client, clock)
        counts = await asyncio.gather(
            upkeep_of(client, "a").rescue(), upkeep_of(client, "b").rescue()
        )
        assert sum(counts) == 9
        for job in jobs:
            status = await job.status()
            assert (status.state, status.attempt) == (State.AVAILABLE, 1)


@async_test
async def test_a_running_worker_rescues_by_itself() -> None:
    clock = FakeClock()

    @task
    async def pay() -> str:
        return "paid"

    async with without_worker(clock, pay) as client:
        job = await client.durable.enqueue(pay)
        await claimed_by_the_dead(client, clock)
        worker = Worker(part_of(client.ctx.app))
        await worker.start()
        try:
            while not (status := await job.status()).finished:
                await clock.advance(0.5)
                await asyncio.sleep(0)
            assert (status.state, status.result, status.attempt) == (State.SUCCEEDED, "paid", 2)
        finally:
            await worker.stop(0.0)


@async_test
async def test_a_worker_that_beats_is_never_taken_for_dead() -> None:
    clock = FakeClock()
    began, release = asyncio.Event(), asyncio.Event()

    @task
    async def long() -> str:
        began.set()
        await release.wait()
        return "done"

    async with running(make_app(clock, long)) as client:
        job = await client.durable.enqueue(long)
        await began.wait()
        for _ in range(60):
            await clock.advance(1)
            await asyncio.sleep(0)
        release.set()
        while not (status := await job.status()).finished:
            await clock.advance(0.1)
        assert (status.state, status.attempt) == (State.SUCCEEDED, 1)


# ---------------------------------------------------------------------- cron


@async_test
async def test_a_tick_is_one_job_however_many_workers() -> None:
    clock = FakeClock(MIDNIGHT)
    runs: list[datetime] = []

    @task(cron="0 * * * *")
    async def hourly() -> None:
        runs.append(clock.now())

    async with without_worker(clock, hourly) as client:
        upkeeps = [upkeep_of(client, name) for name in "abc"]
        await asyncio.gather(*(each.tick() for each in upkeeps))
        await clock.advance(1)
        assert await enqueued(client, hourly) == []
        for hour in range(1, 4):
            await clock.advance(3600)
            await asyncio.gather(*(each.tick() for each in upkeeps))
            await asyncio.gather(*(each.tick() for each in upkeeps))
            assert len(await enqueued(client, hourly)) == hour
        await drain(client)
    assert len(runs) == 3


@async_test
async def test_a_tick_is_one_job_over_several_processes(tmp_path: Path) -> None:
    clock = FakeClock(MIDNIGHT)

    @task(cron="0 * * * *")
    async def hourly() -> None: ...

    database = f"sqlite:///{tmp_path}/shop.db"
    async with (
        without_worker(clock, hourly, database=database) as one,
        without_worker(clock, hourly, database=database) as other,
    ):
        upkeeps = [upkeep_of(one), upkeep_of(other)]
        for _ in range(4):
            await asyncio.gather(*(each.tick() for each in upkeeps))
            await clock.advance(3600)
        assert len(await enqueued(one, hourly)) == 3


@async_test
async def test_a_worker_ticks_by_itself_when_the_time_has_come() -> None:
    clock = FakeClock(MIDNIGHT + timedelta(minutes=59))
    ran = asyncio.Event()

    @task(cron="0 * * * *")
    async def hourly(ctx: Context) -> None:
        ran.set()

    async with running(make_app(clock, hourly)) as client:
        part_of(client.ctx.app)
        while not ran.is_set():
            assert clock.now() < MIDNIGHT + timedelta(hours=1, minutes=1)
            await clock.advance(0.5)
            await asyncio.sleep(0.001)  # the ledger answers from a thread
        assert clock.now() >= MIDNIGHT + timedelta(hours=1)
        assert len(await enqueued(client, hourly)) == 1


@async_test
async def test_the_first_start_ever_has_missed_nothing() -> None:
    clock = FakeClock(MIDNIGHT)

    @task(cron="* * * * *", missed="all")
    async def often() -> None: ...

    async with without_worker(clock, often) as client:
        await upkeep_of(client).tick()
        assert await enqueued(client, often) == []
        await clock.advance(60)
        await upkeep_of(client).tick()
        assert len(await enqueued(client, often)) == 1


@pytest.mark.parametrize(("missed", "jobs"), [("skip", 0), ("latest", 1), ("all", 5)])
def test_ticks_that_nobody_was_there_for_follow_the_policy(missed: Any, jobs: int) -> None:
    @async_test
    async def check() -> None:
        clock = FakeClock(MIDNIGHT)

        @task(cron="0 * * * *", missed=missed)
        async def hourly() -> None: ...

        async with without_worker(clock, hourly) as client:
            await upkeep_of(client).tick()
            await clock.advance(5.5 * 3600)  # nobody is there at 1, 2, 3, 4 and 5
            await upkeep_of(client).tick()
            await upkeep_of(client).tick()
            assert len(await enqueued(client, hourly)) == jobs
            await clock.advance(0.5 * 3600)
            await upkeep_of(client).tick()
            assert len(await enqueued(client, hourly)) == jobs + 1  # 6 o'clock is there in time

    check()


@async_test
async def test_a_cron_job_takes_its_options_from_its_task() -> None:
    clock = FakeClock(MIDNIGHT)

    @task(cron="@hourly", queue="night", priority=5, retry=Retry(attempts=2))
    async def hourly(days: int = 7) -> None: ...

    async with without_worker(clock, hourly) as client:
        await upkeep_of(client).tick()
        await clock.advance(3600)
        await upkeep_of(client).tick()
        [row] = await enqueued(client, hourly)
        assert (row.queue, row.priority, row.max_attempts, row.args) == ("night", 5, 2, "{}")
        assert row.meta["correlation"]


@async_test
async def test_the_time_zone_decides_when() -> None:
    clock = FakeClock(datetime(2027, 7, 1, 0, 30, tzinfo=UTC))

    @task(cron="0 3 * * *", timezone="Europe/Berlin")
    async def nightly() -> None: ...

    async with without_worker(clock, nightly) as client:
        upkeep = upkeep_of(client)
        await upkeep.tick()
        await clock.advance(29 * 60)
        await upkeep.tick()
        assert await enqueued(client, nightly) == []
        await clock.advance(90)  # 01:00:30 UTC is 03:00:30 in Berlin's summer
        await upkeep.tick()
        assert len(await enqueued(client, nightly)) == 1


@async_test
async def test_tick_says_how_long_until_the_next_one() -> None:
    clock = FakeClock(MIDNIGHT)

    @task(cron="0 * * * *")
    async def hourly() -> None: ...

    async with without_worker(clock) as client:
        upkeep = upkeep_of(client)
        assert await upkeep.tick() == math.inf  # nothing is scheduled
        part_of(client.ctx.app).registry.add(hourly)
        await clock.advance(600)
        assert await upkeep.tick() == 3000.0


@async_test
async def test_a_cron_task_that_cannot_be_written_holds_up_no_other() -> None:
    clock = FakeClock(MIDNIGHT)

    def fails(**_: Any) -> str:
        raise LookupError("no key today")

    @task(cron="@hourly", limit=1, limit_key=fails, name="a.first")
    async def broken() -> None: ...

    @task(cron="@hourly", name="b.second")
    async def fine() -> None: ...

    async with without_worker(clock, broken, fine) as client:
        upkeep = upkeep_of(client)
        await upkeep.tick()
        await clock.advance(3600)
        with contextlib.suppress(Exception):
            await upkeep.tick()
        assert len(await enqueued(client, fine)) == 1


# ---------------------------------------------------------------------- history


@async_test
async def test_history_is_kept_as_long_as_the_rules_say() -> None:
    clock = FakeClock()

    @task(retry=Retry(attempts=1))
    async def work(fails: bool = False) -> None:
        if fails:
            raise ValueError

    @task(keep_s=60)
    async def brief() -> None: ...

    async with without_worker(clock, keep_s=3600) as client:
        ordinary = await client.durable.enqueue(work)
        failed = await client.durable.enqueue(work, True)
        short = await client.durable.enqueue(brief)
        long = await client.durable.task(keep_s=7200).enqueue(work)
        await drain(client)
        upkeep = upkeep_of(client)

        async def left() -> set[Job[Any]]:
            await upkeep.prune()
            ids = {row.id for row in await enqueued(client)}
            return {job for job in (ordinary, failed, short, long) if job.id in ids}

        assert await left() == {ordinary, failed, short, long}
        await clock.advance(61)
        assert await left() == {ordinary, failed, long}
        await clock.advance(3600)
        assert await left() == {failed, long}
        await clock.advance(3600)
        assert await left() == {failed}  # until somebody requeues or deletes it


@async_test
async def test_pruning_goes_on_until_nothing_is_left_to_prune() -> None:
    clock = FakeClock()

    @task
    async def work() -> None: ...

    async with without_worker(clock, keep_s=10) as client:
        await client.durable.enqueue_many([work.bind() for _ in range(1_100)])
        await drain(client)
        await clock.advance(11)
        assert await upkeep_of(client).prune() == 1_100


@async_test
async def test_a_worker_prunes_by_itself() -> None:
    clock = FakeClock()

    @task
    async def work() -> None: ...

    async with running(make_app(clock, work, keep_s=10)) as client:
        job = await client.durable.enqueue(work)
        await job.wait()
        while await enqueued(client):
            assert clock.monotonic() < 300
            await clock.advance(1)


# ---------------------------------------------------------------------- trouble


@async_test
async def test_upkeep_goes_on_after_whatever_fails(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    caplog.set_level(logging.DEBUG, "backstay.jobs")

    async with without_worker(clock) as client:
        ledger: Any = part_of(client.ctx.app).ledger
        original = ledger.orphans
        failures: list[Exception] = [LedgerUnavailable("gone"), ZeroDivisionError("a bug")]
        rounds = asyncio.Semaphore(0)

        async def orphans() -> Any:
            rounds.release()
            if failures:
                raise failures.pop(0)
            return await original()

        ledger.orphans = orphans
        upkeep = upkeep_of(client)
        going = asyncio.create_task(upkeep.run_forever())
        for _ in range(4):
            await rounds.acquire()
            await clock.until_polling()
            await clock.advance(3)
        upkeep.stop()
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
    assert "upkeep has to wait: gone" in caplog.text
    assert "upkeep failed" in caplog.text


@async_test
async def test_it_stops_after_its_round_when_told() -> None:
    clock = FakeClock()
    async with without_worker(clock) as client:
        upkeep = upkeep_of(client)
        going = asyncio.create_task(upkeep.run_forever())
        await clock.until_polling()
        upkeep.stop()
        await clock.advance(3)
        await going
