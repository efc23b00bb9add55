"""Durable work as a part of an app: when the ledger opens, which queues there are, what fits."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from backstay import Context
from backstay.app import Backstay
from backstay.errors import BadJob, LedgerUnavailable
from backstay.jobs.part import DurablePart, Queue
from backstay.ledger.rows import NewJob
from backstay.settings import Settings
from backstay.tasks import Rate, State, add_tasks, connect, task
from backstay.testing import FakeClock, RunningApp, enqueued, running
from backstay.web import install
from tests.support import async_test


def part_of(client: RunningApp) -> DurablePart:
    part = client.ctx.app.part("durable")
    assert isinstance(part, DurablePart)
    return part


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()
    add_tasks(app, **options)
    return app


# ---------------------------------------------------------------------- where the jobs are


@async_test
async def test_without_a_database_no_file_is_made_until_somebody_schedules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BACKSTAY_DATABASE", raising=False)
    monkeypatch.setattr("backstay.jobs.registry.Registry.scan", lambda self: None)

    @task
    async def send() -> str:
        return "sent"

    async with running(make_app()) as client:
        assert not part_of(client).is_open
        assert list(tmp_path.iterdir()) == []
        job = await client.durable.enqueue(send)
        assert (tmp_path / "backstay.db").exists()
        assert await job.result() == "sent"  # the worker started with the ledger


@async_test
async def test_jobs_left_in_the_default_file_are_run_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BACKSTAY_DATABASE", raising=False)
    monkeypatch.setattr("backstay.jobs.registry.Registry.scan", lambda self: None)

    @task
    async def send() -> str:
        return "sent"

    async with running(make_app(worker=False)) as client:
        left = await client.durable.enqueue(send)
    async with running(make_app()) as client:
        assert part_of(client).is_open
        part_of(client).registry.add(send)
        assert await client.durable.job(left.id).result() == "sent"


@async_test
async def test_the_setting_names_the_database_and_the_option_wins(tmp_path: Path) -> None:
    app = FastAPI()
    install(app, settings={"BACKSTAY_DATABASE": f"sqlite:///{tmp_path}/setting.db"})
    add_tasks(app, worker=False)
    async with running(app) as client:
        assert part_of(client).is_open
        assert (tmp_path / "setting.db").exists()
    other = FastAPI()
    install(other, settings={"BACKSTAY_DATABASE": f"sqlite:///{tmp_path}/setting2.db"})
    add_tasks(other, worker=False, database=f"sqlite:///{tmp_path}/option.db")
    async with running(other):
        assert (tmp_path / "option.db").exists()
        assert not (tmp_path / "setting2.db").exists()


@pytest.mark.parametrize("database", ["mysql://host/shop", "shop.db", "", 7])
def test_an_address_of_no_ledger_is_refused_where_it_is_given(database: Any) -> None:
    with pytest.raises((BadJob, ValueError, TypeError)):
        make_app(database=database)


@async_test
async def test_a_database_that_cannot_be_reached_stops_the_start_and_says_which(
    tmp_path: Path,
) -> None:
    database = f"sqlite:///{tmp_path}/no/such/folder/shop.db"
    with pytest.raises((LedgerUnavailable, RuntimeError), match="no/such/folder"):
        async with running(make_app(database=database)):
            raise AssertionError


@async_test
async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    file.write_text("a shopping list, and no database at all. " * 200)
    before = file.read_bytes()
    with pytest.raises(Exception, match="database"):
        async with running(make_app(database=f"sqlite:///{file}")):
            raise AssertionError
    assert file.read_bytes() == before


@async_test
async def test_an_app_may_run_again_on_the_same_file(tmp_path: Path) -> None:
    @task
    async def send() -> int:
        return 1

    app = make_app(database=f"sqlite:///{tmp_path}/shop.db")
    for _ in range(3):
        async with running(app) as client:
            assert await (await client.durable.enqueue(send)).result() == 1
    async with running(app) as client:
        assert len(await enqueued(client, send)) == 3


def test_the_database_is_chosen_before_the_start() -> None:
    @async_test
    async def check() -> None:
        async with running(make_app(database="memory://")) as client:
            with pytest.raises(RuntimeError, match="before the app starts"):
                part_of(client).use("memory://")

    check()


@async_test
async def test_prefix_and_several_ledgers_in_one_file_keep_apart(tmp_path: Path) -> None:
    @task
    async def send() -> None: ...

    database = f"sqlite:///{tmp_path}/shop.db"
    one = make_app(database=database, table_prefix="one_", worker=False)
    other = make_app(database=database, table_prefix="other_", worker=False)
    async with running(one) as first, running(other) as second:
        await first.durable.enqueue(send)
        assert len(await enqueued(first)) == 1
        assert await enqueued(second) == []


# ---------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep_s": -1}, "keep_s="),
        ({"keep_s": "a week"}, "keep_s="),
        ({"keep_s": float("inf")}, "keep_s="),
        ({"max_args_bytes": 1}, "max_args_bytes="),
        ({"max_args_bytes": 2.5}, "max_args_bytes="),
        ({"queues": {"mail": 5}}, "Queue or None; got 5"),
        ({"queues": ["two words"]}, "two words"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Any, says: str) -> None:
    with pytest.raises(BadJob, match=says):
        make_app(database="memory://", **options)


def test_one_string_is_no_list_of_queues() -> None:
    with pytest.raises(BadJob, match="queues="):
        make_app(database="memory://", queues="mail")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"limit": 0}, "limit="),
        ({"limit": True}, "limit="),
        ({"limit": "5"}, "limit="),
        ({"rate": "often"}, "rate="),
    ],
)
def test_a_queues_limits_are_checked(options: Any, says: str) -> None:
    with pytest.raises(BadJob, match=says):
        Queue(**options)


# ---------------------------------------------------------------------- queues


@async_test
async def test_queues_are_those_declared_those_of_tasks_and_the_default() -> None:
    @task(queue="mail")
    async def send() -> None: ...

    app = make_app(
        database="memory://", queues={"slow": Queue(limit=2, rate="5/minute"), "x": None}
    )
    async with running(app) as client:
        part = part_of(client)
        assert {"default", "slow", "x"} <= part.queues
        await client.durable.enqueue(send)
        assert "mail" in part.queues
        rows = {row.name: row for row in await part.ledger.queues()}
        assert (rows["slow"].limit, rows["slow"].rate, rows["slow"].per_s) == (2, 5, 60.0)
        assert rows["x"].limit is None


@async_test
async def test_a_queue_named_for_the_first_time_is_served_at_once() -> None:
    async with running(make_app(database="memory://")) as client:

        @task(queue="made_while_running")
        async def send() -> str:
            return "sent"

        assert await (await client.durable.enqueue(send)).result() == "sent"


@async_test
async def test_a_paused_queue_waits_and_goes_on_when_resumed() -> None:
    clock = FakeClock()
    app = FastAPI()
    install(app, clock=clock)
    add_tasks(app, database="memory://")

    @task(queue="mail")
    async def send() -> str:
        return "sent"

    async with running(app) as client:
        ledger = part_of(client).ledger
        await client.durable.enqueue(send)
        await client.drain()
        await ledger.pause("mail", True)
        job = await client.durable.enqueue(send)
        await client.drain()
        assert (await job.status()).state is State.AVAILABLE
        await ledger.pause("mail", False)
        await client.drain()
        assert await job.result() == "sent"


# ---------------------------------------------------------------------- rows


def test_a_row_has_what_task_and_call_say() -> None:
    @task(queue="mail", priority=3, limit=2, rate="5/minute", unique="u", keep_s=60)
    async def send(order: int) -> None: ...

    part = DurablePart(Backstay(settings=Settings({})), database="memory://")
    new = part.new_job(send, (17,), {}, None, '{"correlation":"c"}')
    assert (new.task, new.args, new.queue, new.priority) == (send.name, '{"order":17}', "mail", 3)
    assert (new.max_attempts, new.keep_s, new.meta) == (10, 60, '{"correlation":"c"}')
    assert new.gate is not None
    assert new.gate.name.endswith(send.name)
    assert (new.gate.limit, new.gate.rate, new.gate.per_s) == (2, 5, 60)
    assert new.unique is not None
    assert new.unique.key == f"{send.name}:u"
    assert new.id.version == 7


def test_ids_are_in_the_order_of_time() -> None:
    @task
    async def send() -> None: ...

    part = DurablePart(Backstay(settings=Settings({})), database="memory://")
    ids = [part.new_job(send, (), {}, None, "{}").id for _ in range(1_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1_000


def test_each_value_of_a_limit_key_is_a_gate_of_its_own() -> None:
    @task(rate=Rate(1), limit_key="customer")
    async def call(customer: str) -> None: ...

    part = DurablePart(Backstay(settings=Settings({})), database="memory://")
    one = part.new_job(call, ("ada",), {}, None, "{}").gate
    other = part.new_job(call, ("bob",), {}, None, "{}").gate
    assert one is not None
    assert other is not None
    assert one.name.endswith(f"{call.name}:ada")
    assert other.name.endswith(f"{call.name}:bob")


# ---------------------------------------------------------------------- waiting and waking


@async_test
async def test_a_pause_ends_when_the_job_ends_here_or_the_time_is_over() -> None:
    clock = FakeClock()
    part = DurablePart(Backstay(settings=Settings({}), clock=clock), database="memory://")
    job_id = uuid.uuid4()
    waiting = [asyncio.create_task(part.pause(job_id, 10)) for _ in range(2)]
    await clock.until_waiting(2)
    part.ended(uuid.uuid4())
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)
    part.ended(job_id)
    await asyncio.gather(*waiting)
    late = asyncio.create_task(part.pause(job_id, 10))
    await clock.until_waiting()
    await clock.advance(10)
    await late
    assert part._waiting == {}


@async_test
async def test_a_cancelled_pause_leaves_nothing_behind() -> None:
    clock = FakeClock()
    part = DurablePart(Backstay(settings=Settings({}), clock=clock), database="memory://")
    waiting = asyncio.create_task(part.pause(uuid.uuid4(), 10))
    await clock.until_waiting()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert part._waiting == {}
    assert clock.waiting == []


@async_test
async def test_jobs_written_by_another_process_are_noticed(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/shop.db"

    @task
    async def send() -> str:
        return "sent"

    async with running(make_app(database=database)) as client:
        part_of(client).registry.add(send)
        async with connect(database) as durable:
            job = await durable.enqueue(send)
            assert await job.result() == "sent"


@async_test
async def test_a_corrupted_row_is_parked_and_the_others_go_on(tmp_path: Path) -> None:
    import sqlite3

    file = tmp_path / "shop.db"

    @task
    async def send(order: int) -> int:
        return order

    async with connect(f"sqlite:///{file}") as durable:
        bad, good = await durable.enqueue(send, 1), await durable.enqueue(send, 2)
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(
            "UPDATE backstay_jobs SET args = ? WHERE id = ?", ('{"order": ', bad.id.bytes)
        )
    connection.close()
    async with running(make_app(database=f"sqlite:///{file}")) as client:
        part_of(client).registry.add(send)
        assert await client.durable.job(good.id).result() == 2
        status = await client.durable.job(bad.id).wait()
        assert status.state is State.DISCARDED
        assert status.error is not None


@async_test
async def test_inline_runs_jobs_before_the_writer_goes_on() -> None:
    ran: list[int] = []

    @task
    async def send(order: int) -> None:
        ran.append(order)

    async with running(make_app(), database="memory://", durable_inline=True) as client:
        await client.durable.enqueue(send, 1)
        assert ran == [1]
        await client.durable.enqueue_many([send.bind(2), send.bind(3)])
        assert sorted(ran) == [1, 2, 3]
        delayed = await client.durable.task(delay=60).enqueue(send, 4)
        assert (await delayed.status()).state is State.SCHEDULED


@async_test
async def test_a_row_written_twice_is_one_row() -> None:
    async with running(make_app(database="memory://", worker=False)) as client:
        new = NewJob(uuid.uuid4(), "nobody")
        ledger = part_of(client).ledger
        assert [each.created for each in await ledger.insert([new])] == [True]
        assert [each.created for each in await ledger.insert([new])] == [False]


@async_test
async def test_ctx_durable_is_tasks_durable() -> None:
    seen: list[Any] = []

    @task
    async def look(ctx: Context) -> None:
        seen.append(ctx.durable is ctx.tasks.durable)

    async with running(make_app(database="memory://")) as client:
        await (await client.durable.enqueue(look)).wait()
    assert seen == [True]
