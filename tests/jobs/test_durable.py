"""``tasks.durable``: what it writes, when, and what it refuses before anything is written."""

import asyncio
import inspect
import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import FastAPI

from backstay.context import Context
from backstay.errors import BadJob, ContextClosed, JobFailed, LedgerUnavailable, UnknownJob
from backstay.jobs.part import DurablePart
from backstay.ledger.rows import NewJob
from backstay.tasks import Job, Queue, Secret, Snooze, State, Unique, add_tasks, connect, task
from backstay.testing import FakeClock, RunningApp, drain, enqueued, running
from backstay.web import install
from tests.support import async_test

SECONDS = timedelta(seconds=1)


async def now(how: Callable[..., Any], *args: Any) -> Any:
    """The same line for what is awaited and what is not."""
    made = how(*args)
    return await made if inspect.isawaitable(made) else made


def make_app(clock: FakeClock | None = None, **options: Any) -> FastAPI:
    app = FastAPI()
    install(app, clock=clock)
    add_tasks(app, **{"database": "memory://", **options})
    return app


def ledger_of(client: RunningApp) -> Any:
    part = client.ctx.app.part("durable")
    assert isinstance(part, DurablePart)
    return part.ledger


# ---------------------------------------------------------------------- enqueue


@async_test
async def test_enqueue_gives_a_handle_of_a_job_that_is_written() -> None:
    @task(queue="mail", priority=3)
    async def send(order: int) -> None: ...

    async with running(make_app(worker=False)) as client:
        job = await client.durable.enqueue(send, 17)
        assert job.created is True
        assert job.task == send.name
        status = await job.status()
        assert (status.id, status.task, status.args) == (job.id, send.name, '{"order":17}')
        assert (status.state, status.queue, status.priority) == (State.AVAILABLE, "mail", 3)
        assert (status.attempt, status.max_attempts) == (0, 10)


@async_test
async def test_what_enqueue_has_written_survives_the_end_of_the_process(tmp_path: Path) -> None:
    @task
    async def send(order: int) -> None: ...

    file = tmp_path / "shop.db"
    async with connect(f"sqlite:///{file}") as durable:
        job = await durable.enqueue(send, 17)
        with sqlite3.connect(file) as outside:  # another connection: what it sees is committed
            rows = outside.execute("SELECT id FROM backstay_jobs").fetchall()
        outside.close()
    assert rows == [(job.id.bytes,)]


@async_test
async def test_many_enqueues_at_a_time_are_all_written_in_their_own_right() -> None:
    @task
    async def send(order: int) -> int:
        return order

    async with running(make_app()) as client:
        jobs = await asyncio.gather(*(client.durable.enqueue(send, each) for each in range(500)))
        assert len({job.id for job in jobs}) == 500
        assert await asyncio.gather(*(job.result() for job in jobs)) == list(range(500))


@async_test
async def test_a_refused_enqueue_among_many_harms_no_other() -> None:
    @task
    async def send(order: int) -> int:
        return order

    async with running(make_app()) as client:
        outcomes = await asyncio.gather(
            *(
                client.durable.enqueue(send, "wrong" if each == 5 else each)  # type: ignore[call-overload]  # the mistake under test
                for each in range(10)
            ),
            return_exceptions=True,
        )
        assert isinstance(outcomes.pop(5), BadJob)
        jobs = [each for each in outcomes if isinstance(each, Job)]
        assert len(jobs) == 9
        assert [await job.result() for job in jobs] == [0, 1, 2, 3, 4, 6, 7, 8, 9]


@async_test
async def test_cancelling_one_enqueue_harms_no_other(tmp_path: Path) -> None:
    @task
    async def send(order: int) -> int:
        return order

    async with running(make_app(database=f"sqlite:///{tmp_path}/shop.db")) as client:
        writing = [asyncio.create_task(client.durable.enqueue(send, each)) for each in range(50)]
        await asyncio.sleep(0)
        for each in writing[::2]:
            each.cancel()
        outcomes = await asyncio.gather(*writing, return_exceptions=True)
        kept = [each for each in outcomes if isinstance(each, Job)]
        assert len(kept) >= 25
        await asyncio.gather(*(job.wait() for job in kept))
        await drain(client)
        written = await enqueued(client, send)
        # What was cancelled is written or not, but never half: whatever is there has run.
        assert {job.id for job in kept} <= {row.id for row in written}
        assert {row.state for row in written} == {State.SUCCEEDED}
        assert await (await client.durable.enqueue(send, 99)).result() == 99


@async_test
async def test_threads_enqueue_with_enqueue_now(tmp_path: Path) -> None:
    @task
    async def send(order: int) -> int:
        return order

    async with running(make_app(database=f"sqlite:///{tmp_path}/shop.db")) as client:
        jobs: list[Job[Any]] = []

        def enqueue_some(first: int) -> None:
            jobs.extend(client.durable.enqueue_now(send, first + each) for each in range(10))

        await asyncio.gather(*(asyncio.to_thread(enqueue_some, n * 10) for n in range(5)))
        assert sorted([await job.result() for job in jobs]) == list(range(50))
        assert all(job.created for job in jobs)


@async_test
async def test_enqueue_many_writes_all_or_none() -> None:
    @task
    async def send(order: int) -> None: ...

    async with running(make_app(worker=False)) as client:
        with pytest.raises(BadJob, match="order"):
            await client.durable.enqueue_many([send.bind(1), send.bind("two")])  # type: ignore[arg-type]  # the mistake under test
        assert await enqueued(client) == []
        jobs = await client.durable.enqueue_many([send.bind(1), send.bind(order=2)])
        assert [job.created for job in jobs] == [True, True]
        assert [row.args for row in await enqueued(client)] == ['{"order":1}', '{"order":2}']
        assert await client.durable.enqueue_many([]) == []


@async_test
async def test_many_at_once_is_refused_what_is_no_call() -> None:
    @task
    async def send(order: int) -> None: ...

    async with running(make_app()) as client:
        for calls in ([send], [(send, 1)]):
            with pytest.raises(BadJob, match=r"enqueue_many\(\).*send\.bind\(17\)"):
                await client.durable.enqueue_many(calls)  # type: ignore[arg-type]  # the mistake under test


# ---------------------------------------------------------------------- what is refused


@async_test
async def test_what_no_row_could_hold_is_refused_by_name_and_nothing_is_written() -> None:
    @task
    async def send(order: int, note: Any = None) -> None: ...

    def plain(order: int) -> None: ...

    async with running(make_app(worker=False)) as client:
        durable: Any = client.durable
        for how in (durable.enqueue, durable.schedule, durable.enqueue_now):
            for args, error, says in (
                ((send, 17, object()), BadJob, "'note'"),
                ((send, 17, lambda: None), BadJob, "'note'"),
                ((send, 17, client), BadJob, "'note'"),
                ((send, "wrong"), BadJob, "order"),
                ((send, 17, "x" * 70_000), BadJob, "65536|65,536|64 KiB"),
                ((send,), TypeError, "order"),
                ((send, 1, 2, 3), TypeError, "send"),
                ((plain, 17), BadJob, "@task"),
                ((lambda: None,), BadJob, "@task"),
                ((send(17), 17), BadJob, "called already"),
                ((None,), BadJob, "@task"),
            ):
                with pytest.raises(error, match=says):
                    await now(how, *args)
        assert await enqueued(client) == []


@async_test
async def test_the_size_limit_is_the_apps_and_counts_bytes() -> None:
    @task
    async def send(text: str) -> None: ...

    async with running(make_app(worker=False, max_args_bytes=30)) as client:
        await client.durable.enqueue(send, "x" * (30 - len('{"text":""}')))
        with pytest.raises(BadJob, match="text"):
            await client.durable.enqueue(send, "x" * (31 - len('{"text":""}')))
        with pytest.raises(BadJob, match="30"):
            await client.durable.enqueue(send, "€" * 10)


@async_test
async def test_a_queue_that_nobody_would_serve_is_refused_with_those_there_are() -> None:
    @task(queue="mail")
    async def send() -> None: ...

    async with running(make_app(worker=False, queues=["slow"])) as client:
        await client.durable.enqueue(send)
        await client.durable.task(queue="slow").enqueue(send)
        with pytest.raises(BadJob, match=r"no queue 'mial'.*mail.*slow.*queues=\['mial'\]"):
            await client.durable.task(queue="mial").enqueue(send)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"delay": -1}, "delay= is seconds"),
        ({"delay": "soon"}, "delay= is seconds"),
        ({"delay": float("nan")}, "delay= is seconds"),
        ({"delay": float("inf")}, "delay= is seconds"),
        ({"delay": True}, "delay= is seconds"),
        ({"at": datetime(2027, 1, 1)}, "time zone"),
        ({"at": "tomorrow"}, "time zone"),
        ({"at": datetime(2027, 1, 1, tzinfo=UTC), "delay": 5}, "two different things"),
        ({"priority": 5000}, "priority="),
        ({"priority": "high"}, "priority="),
        ({"max_attempts": 0}, "max_attempts="),
        ({"max_attempts": True}, "max_attempts="),
        ({"on_parent_failure": "ignore"}, "on_parent_failure="),
        ({"keep_s": -1}, "keep_s="),
        ({"after": ["an id"]}, "after="),
        ({"unique": 7}, "unique="),
        ({"unique": ""}, r"key="),
    ],
)
def test_options_of_one_call_that_make_no_sense_are_refused(options: Any, says: str) -> None:
    @async_test
    async def check() -> None:
        async with running(make_app(worker=False)) as client:
            with pytest.raises(BadJob, match=says):
                client.durable.task(**options)

    check()


@async_test
async def test_what_is_no_id_is_refused() -> None:
    async with running(make_app(worker=False)) as client:
        for wrong in ("not-an-id", "", 7, None):
            with pytest.raises(BadJob, match="UUID"):
                client.durable.job(wrong)  # type: ignore[arg-type]  # the mistake under test


# ---------------------------------------------------------------------- options of one call


@async_test
async def test_options_of_the_call_win_over_the_tasks_own() -> None:
    @task(queue="mail", priority=3, unique=True, keep_s=60)
    async def send(order: int) -> None: ...

    async with running(make_app(worker=False, queues=["slow"])) as client:
        durable = client.durable.task(
            queue="slow", priority=-3, unique="order", max_attempts=2, keep_s=5
        )
        job = await durable.enqueue(send, 17)
        status = await job.status()
        assert (status.queue, status.priority, status.max_attempts) == ("slow", -3, 2)
        again = await durable.enqueue(send, 18)
        assert (again.id, again.created) == (job.id, False)


@async_test
async def test_a_delayed_job_starts_when_its_time_has_come() -> None:
    clock = FakeClock()

    @task
    async def send() -> None: ...

    async with running(make_app(clock)) as client:
        delayed = await client.durable.task(delay=60).enqueue(send)
        dated = await client.durable.task(at=clock.now() + 30 * SECONDS).enqueue(send)
        past = await client.durable.task(at=clock.now() - 30 * SECONDS).enqueue(send)
        await drain(client)
        assert (await past.status()).state is State.SUCCEEDED
        assert (await dated.status()).state is State.SCHEDULED
        await clock.advance(31)
        await drain(client)
        assert (await dated.status()).state is State.SUCCEEDED
        assert (await delayed.status()).state is State.SCHEDULED
        await clock.advance(30)
        await drain(client)
        assert (await delayed.status()).state is State.SUCCEEDED


@async_test
async def test_the_higher_priority_starts_first_and_old_jobs_do_not_starve() -> None:
    clock = FakeClock()
    order: list[str] = []

    @task
    async def note(name: str) -> None:
        order.append(name)

    app = make_app(clock, worker=False)
    async with running(app) as client:
        await client.durable.enqueue(note, "old")
        await clock.advance(601)  # a point is worth ten minutes
        await client.durable.task(priority=1).enqueue(note, "new, one point")
        await client.durable.task(priority=2).enqueue(note, "new, two points")
        await client.durable.enqueue(note, "new")
        await drain(client)
    assert order == ["new, two points", "old", "new, one point", "new"]


# ---------------------------------------------------------------------- unique


@async_test
async def test_unique_by_arguments_gives_the_first_one() -> None:
    @task(unique=True)
    async def send(order: int, copy: bool = False) -> None: ...

    async with running(make_app(worker=False)) as client:
        one = await client.durable.enqueue(send, 1)
        again = await client.durable.enqueue(send, order=1)
        other = await client.durable.enqueue(send, 2)
        assert (again.id, again.created) == (one.id, False)
        assert (other.id != one.id, other.created) == (True, True)
        await drain(client)
        after = await client.durable.enqueue(send, 1)  # the first one has finished
        assert after.created


@async_test
async def test_unique_by_some_arguments_within_a_period() -> None:
    clock = FakeClock()

    @task(unique=Unique(by=("order",), period_s=3600))
    async def remind(order: int, text: str) -> None: ...

    async with running(make_app(clock, worker=False)) as client:
        one = await client.durable.enqueue(remind, 1, "please")
        await drain(client)
        assert (await one.status()).finished
        await clock.advance(3500)
        again = await client.durable.enqueue(remind, 1, "pretty please")
        assert (again.id, again.created) == (one.id, False)
        assert (await client.durable.enqueue(remind, 2, "please")).created
        await clock.advance(200)
        assert (await client.durable.enqueue(remind, 1, "at last")).created


@async_test
async def test_unique_only_while_in_some_states() -> None:
    clock = FakeClock()

    @task(unique=Unique(states=frozenset({State.AVAILABLE})))
    async def later() -> Snooze:
        return Snooze(60)

    async with running(make_app(clock, worker=False)) as client:
        assert (await client.durable.enqueue(later)).created
        assert not (await client.durable.enqueue(later)).created
        await drain(client)  # now it is scheduled
        assert (await client.durable.enqueue(later)).created


@async_test
async def test_a_key_given_at_the_call_is_unique_whatever_the_arguments() -> None:
    @task
    async def send(order: int) -> None: ...

    async with running(make_app(worker=False)) as client:
        durable = client.durable.task(unique="nightly")
        one, other = await durable.enqueue(send, 1), await durable.enqueue(send, 2)
        assert (other.id, other.created) == (one.id, False)


@async_test
async def test_many_at_once_with_one_key_write_one_job() -> None:
    @task(unique=True)
    async def send(order: int) -> None: ...

    async with running(make_app(worker=False)) as client:
        jobs = await asyncio.gather(*(client.durable.enqueue(send, 1) for _ in range(50)))
        assert len({job.id for job in jobs}) == 1
        assert [job.created for job in jobs].count(True) == 1
        bulk = await client.durable.enqueue_many([send.bind(2), send.bind(2), send.bind(3)])
        assert [job.created for job in bulk] == [True, False, True]
        assert bulk[0].id == bulk[1].id
        assert len(await enqueued(client)) == 3


@async_test
async def test_two_tasks_do_not_share_a_key() -> None:
    @task(unique="nightly")
    async def one() -> None: ...

    @task(unique="nightly")
    async def other() -> None: ...

    async with running(make_app(worker=False)) as client:
        assert (await client.durable.enqueue(one)).created
        assert (await client.durable.enqueue(other)).created


@async_test
async def test_sealed_arguments_do_not_count_for_uniqueness() -> None:
    @task(unique=True)
    async def login(user: str, password: Annotated[str, Secret]) -> None: ...

    app = FastAPI()
    install(app, settings={"BACKSTAY_SECRET_KEY": "x" * 43 + "="})
    add_tasks(app, database="memory://", worker=False)
    async with running(app) as client:
        one = await client.durable.enqueue(login, "ada", "pass")
        other = await client.durable.enqueue(login, "ada", "pass")
        assert (other.id, other.created) == (one.id, False)


# ---------------------------------------------------------------------- limits


@async_test
async def test_a_limit_per_key_holds_over_two_workers(tmp_path: Path) -> None:
    now: dict[str, int] = {}
    most: dict[str, int] = {}

    @task(limit=2, limit_key="customer", name="test_durable.work")
    async def work(customer: str) -> None:
        now[customer] = now.get(customer, 0) + 1
        most[customer] = max(most.get(customer, 0), now[customer])
        for _ in range(5):
            await asyncio.sleep(0)
        now[customer] -= 1

    options: dict[str, Any] = {"database": f"sqlite:///{tmp_path}/shop.db", "poll_s": 0.01}
    async with running(make_app(**options)) as one, running(make_app(**options)) as other:
        for part in (one.ctx.app.part("durable"), other.ctx.app.part("durable")):
            assert isinstance(part, DurablePart)
            part.registry.add(work)
        jobs = await one.durable.enqueue_many(
            [work.bind(customer) for customer in ("ada", "bob") for _ in range(15)]
        )
        await asyncio.gather(*(job.wait() for job in jobs))
        workers = {(await job.status()).worker for job in jobs}
    assert most == {"ada": 2, "bob": 2}
    assert workers <= {None} or len(workers) <= 2


@async_test
async def test_a_queues_limit_holds_for_all_its_tasks() -> None:
    now, most = 0, 0

    @task(queue="slow")
    async def one() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    @task(queue="slow")
    async def other() -> None:
        await one()

    async with running(make_app(queues={"slow": Queue(limit=3)}, poll_s=0.01)) as client:
        jobs = await client.durable.enqueue_many(
            [one.bind() for _ in range(20)] + [other.bind() for _ in range(20)]
        )
        await asyncio.gather(*(job.wait() for job in jobs))
    assert most == 3


@async_test
async def test_no_more_start_than_the_rate_says() -> None:
    clock = FakeClock()
    started: list[datetime] = []

    @task(rate="3/minute")
    async def call() -> None:
        started.append(clock.now())

    async with running(make_app(clock)) as client:
        jobs = await client.durable.enqueue_many([call.bind() for _ in range(7)])
        await drain(client)
        assert len(started) == 3
        for _ in range(200):
            await clock.advance(1)
            await drain(client)
            if all([(await job.status()).finished for job in jobs]):
                break
    assert len(started) == 7
    for first, fourth in zip(started, started[3:], strict=False):
        assert fourth - first >= 60 * SECONDS


# ---------------------------------------------------------------------- chains and groups


@async_test
async def test_a_chain_runs_one_after_the_other_with_the_results_of_those_before() -> None:
    @task
    async def first(number: int) -> int:
        return number + 1

    @task
    async def second(ctx: Context) -> int:
        [parent] = await ctx.job.parents()
        return 10 * int(await parent.result())

    async with running(make_app()) as client:
        chain = await client.durable.chain(first.bind(1), second.bind(), second.bind())
        assert await chain.last.result() == 200
        assert [await job.result() for job in chain.jobs] == [2, 20, 200]


@async_test
async def test_a_waiting_job_says_what_it_waits_for() -> None:
    @task
    async def step() -> None: ...

    async with running(make_app(worker=False)) as client:
        chain = await client.durable.chain(step.bind(), step.bind())
        status = await chain.last.status()
        assert (status.state, status.waiting_for) == (State.WAITING, 1)


@async_test
async def test_those_behind_a_failed_link_are_cancelled() -> None:
    ran: list[str] = []

    @task
    async def fail() -> None:
        from backstay.tasks import Discard

        raise Discard("broken")

    @task
    async def step() -> None:
        ran.append("step")

    async with running(make_app()) as client:
        chain = await client.durable.chain(step.bind(), fail.bind(), step.bind(), step.bind())
        states = [(await job.wait()).state for job in chain.jobs]
        assert states == [State.SUCCEEDED, State.DISCARDED, State.CANCELLED, State.CANCELLED]
        with pytest.raises(JobFailed):
            await chain.last.result()
    assert ran == ["step"]


@pytest.mark.parametrize(
    ("rule", "state"),
    [("cancel", State.CANCELLED), ("discard", State.DISCARDED), ("run", State.SUCCEEDED)],
)
def test_the_rule_says_what_becomes_of_children_of_the_failed(rule: Any, state: State) -> None:
    @async_test
    async def check() -> None:
        @task
        async def step(fails: bool) -> None:
            if fails:
                from backstay.tasks import Discard

                raise Discard("broken")

        async with running(make_app()) as client:
            group = await client.durable.task(on_parent_failure=rule).group(
                step.bind(False), step.bind(True), then=step.bind(False)
            )
            await group.wait()
            assert group.then is not None
            assert (await group.then.status()).state is state

    check()


@async_test
async def test_a_group_runs_side_by_side_and_its_last_when_all_are_done() -> None:
    together = asyncio.Barrier(3)

    @task
    async def part(number: int) -> int:
        await together.wait()  # passes only if all three run at once
        return number

    @task
    async def total(ctx: Context) -> int:
        return sum([await parent.result() for parent in await ctx.job.parents()])

    async with running(make_app()) as client:
        group = await client.durable.group(
            part.bind(1), part.bind(2), part.bind(3), then=total.bind()
        )
        await group.wait()
        assert group.then is not None
        assert await group.then.result() == 6


@async_test
async def test_parents_come_in_the_order_given() -> None:
    @task
    async def number(value: int) -> int:
        return value

    @task
    async def values(ctx: Context) -> list[int]:
        return [await parent.result() for parent in await ctx.job.parents()]

    async with running(make_app()) as client:
        jobs = [await client.durable.enqueue(number, each) for each in (3, 1, 2)]
        last = await client.durable.task(after=jobs).enqueue(values)
        assert await last.result() == [3, 1, 2]


@async_test
async def test_waiting_for_jobs_that_have_finished_already_is_no_waiting() -> None:
    @task
    async def step() -> None: ...

    async with running(make_app()) as client:
        one = await client.durable.enqueue(step)
        await one.wait()
        other = await client.durable.task(after=one).enqueue(step)
        assert (await other.wait()).state is State.SUCCEEDED


@async_test
async def test_a_group_without_a_last_one_waits_for_all() -> None:
    @task
    async def step() -> None: ...

    async with running(make_app()) as client:
        group = await client.durable.group(step.bind(), step.bind())
        await group.wait()
        assert group.then is None
        assert [(await job.status()).state for job in group.jobs] == [State.SUCCEEDED] * 2


@async_test
async def test_nothing_is_no_chain_and_no_group() -> None:
    async with running(make_app(worker=False)) as client:
        with pytest.raises(BadJob, match="chain"):
            await client.durable.chain()
        with pytest.raises(BadJob, match="group"):
            await client.durable.group()


@async_test
async def test_a_chain_with_a_wrong_link_writes_nothing() -> None:
    @task
    async def step(number: int) -> None: ...

    async with running(make_app(worker=False)) as client:
        with pytest.raises(BadJob):
            await client.durable.chain(step.bind(1), step.bind("two"))  # type: ignore[arg-type]  # the mistake under test
        with pytest.raises(BadJob):
            await client.durable.group(step.bind(1), then=step.bind("two"))  # type: ignore[arg-type]  # the mistake under test
        assert await enqueued(client) == []


@async_test
async def test_a_link_whose_unique_key_was_taken_is_waited_for_as_the_job_that_holds_it() -> None:
    ran: list[str] = []

    @task(unique=True)
    async def first() -> None:
        ran.append("first")

    @task
    async def second() -> None:
        ran.append("second")

    async with running(make_app(worker=False)) as client:
        there = await client.durable.task(delay=3600).enqueue(first)
        chain = await client.durable.chain(first.bind(), second.bind())
        assert chain.jobs[0].id == there.id
        await drain(client)
        assert ran == []


# ---------------------------------------------------------------------- schedule


@async_test
async def test_schedule_outside_of_any_work_is_told_to_be_enqueue() -> None:
    @task
    async def send() -> None: ...

    async with running(make_app(worker=False)) as client:
        with pytest.raises(ContextClosed, match="await tasks.durable.enqueue"):
            client.durable.schedule(send)
        assert await enqueued(client) == []


@async_test
async def test_schedule_in_a_thread_outside_of_any_work_writes_at_once() -> None:
    @task
    async def send() -> None: ...

    async with running(make_app(worker=False)) as client:
        job = await asyncio.to_thread(client.durable.schedule, send)
        assert job.created
        assert (await job.status()).state is State.AVAILABLE


@async_test
async def test_what_a_sync_job_schedules_in_its_thread_goes_with_its_completion() -> None:
    @task
    async def child(number: int) -> int:
        return number

    @task
    def parent(ctx: Context) -> None:
        for each in range(5):
            ctx.tasks.durable.schedule(child, each)

    async with running(make_app()) as client:
        await (await client.durable.enqueue(parent)).wait()
        assert len(await enqueued(client, child)) == 5


@async_test
async def test_what_an_attempt_has_scheduled_is_dropped_when_it_is_tried_again() -> None:
    from backstay.tasks import Retry

    @task
    async def child(attempt: int) -> None: ...

    @task(retry=Retry(attempts=3, base_s=0, jitter=False))
    async def parent(ctx: Context) -> None:
        ctx.durable.schedule(child, ctx.job.attempt)
        if ctx.job.attempt < 3:
            raise ConnectionError

    async with running(make_app()) as client:
        await (await client.durable.enqueue(parent)).wait()
        assert [row.args for row in await enqueued(client, child)] == ['{"attempt":3}']


@async_test
async def test_a_child_whose_unique_key_is_taken_is_not_written_and_its_handle_says_so() -> None:
    handles: list[Job[None]] = []

    @task(unique=True)
    async def child() -> None: ...

    @task
    async def parent(ctx: Context) -> None:
        handles.append(ctx.durable.schedule(child))

    async with running(make_app()) as client:
        await client.durable.task(delay=3600).enqueue(child)
        await (await client.durable.enqueue(parent)).wait()
        await drain(client)
        assert len(await enqueued(client, child)) == 1
        [handle] = handles
        while not handle._dropped:  # it is told once somebody has looked
            await asyncio.sleep(0)
        with pytest.raises(UnknownJob, match="a job with its unique key was there"):
            await handle.status()


@async_test
async def test_a_snoozing_job_drops_what_it_has_scheduled() -> None:
    clock = FakeClock()

    @task
    async def child() -> None: ...

    @task
    async def parent(ctx: Context) -> Snooze | None:
        ctx.durable.schedule(child)
        return Snooze(3600)

    async with running(make_app(clock)) as client:
        await client.durable.enqueue(parent)
        await drain(client)
        assert await enqueued(client, child) == []


# ---------------------------------------------------------------------- a ledger that is not there


@async_test
async def test_a_ledger_that_is_down_is_an_error_and_no_promise() -> None:
    @task
    async def send() -> None: ...

    async with running(make_app(worker=False)) as client:
        ledger = ledger_of(client)

        async def insert(jobs: Sequence[NewJob]) -> Any:
            raise LedgerUnavailable("the disk is full")

        original, ledger.insert = ledger.insert, insert
        for writing in (
            client.durable.enqueue(send),
            client.durable.enqueue_many([send.bind()]),
            client.durable.chain(send.bind()),
            client.durable.group(send.bind()),
        ):
            with pytest.raises(LedgerUnavailable, match="disk is full"):
                await writing
        ledger.insert = original
        assert await enqueued(client) == []


@async_test
async def test_before_the_start_and_after_the_end_it_says_so() -> None:
    @task
    async def send() -> None: ...

    app = make_app()
    async with running(app) as client:
        durable = client.durable
    with pytest.raises(LedgerUnavailable, match="not open|closed|stopped"):
        await durable.enqueue(send)
    with pytest.raises(LedgerUnavailable, match="has not started, or has stopped"):
        await asyncio.to_thread(durable.enqueue_now, send)


@async_test
async def test_a_handle_of_a_job_that_was_never_written_says_so() -> None:
    async with running(make_app(worker=False)) as client:
        job = client.durable.job("0193a2c4-0000-7000-8000-000000000000")
        with pytest.raises(UnknownJob):
            await job.status()


@async_test
async def test_one_schedule_among_threads_of_one_request_each_is_written() -> None:
    from backstay.tasks import Tasks

    @task
    async def send(order: int) -> None: ...

    app = make_app(worker=False)

    @app.post("/")
    async def endpoint(tasks: Tasks) -> None:
        start = threading.Barrier(4)  # no more than the default pool has threads

        def schedule(order: int) -> None:
            start.wait(10)
            tasks.durable.schedule(send, order)

        await asyncio.gather(*(asyncio.to_thread(schedule, each) for each in range(4)))

    async with running(app) as client:
        assert (await client.post("/")).status_code == 200
        assert sorted(row.args for row in await enqueued(client)) == [
            f'{{"order":{each}}}' for each in range(4)
        ]
