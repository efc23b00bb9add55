"""What is looked at: caches, tasks, queues and pools, without a scrape failing over any of them."""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.app import Backstay
from backstay.cache import add_cache, cached
from backstay.ledger.rows import Counts, State, Wait, WorkerRow
from backstay.tasks import add_tasks
from backstay.tasks import task as durable_task
from backstay.telemetry import Metrics
from backstay.telemetry.exposition import written
from backstay.telemetry.sampling import Sampler
from backstay.testing import FakeClock, running
from backstay.web import install
from tests.support import async_test
from tests.telemetry.seeing import samples, value


@cached(ttl=60)
async def product(number: int) -> int:
    return number


class Part:
    """A part that shows what it is given."""

    def __init__(self, attribute: str, **shown: Any) -> None:
        self.attribute = attribute
        self.__dict__.update(shown)

    def bind(self, ctx: Any) -> None: ...

    async def open(self) -> None: ...

    async def close(self) -> None: ...


class Ledger:
    """As much of a ledger as is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_down = False
        self.hangs = False
        self.jobs = [Counts("mail", "invoice", State.AVAILABLE, 3)]

    async def counts(self, states: frozenset[State]) -> list[Counts]:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.is_down:
            raise ConnectionError("postgresql://shop:hunter2@db is away")
        assert not states & {State.SUCCEEDED, State.DISCARDED, State.CANCELLED}
        return self.jobs

    async def waits(self) -> list[Wait]:
        return [Wait("mail", 12.5)]

    async def workers(self) -> list[WorkerRow]:
        def worker(seen_s_ago: float) -> WorkerRow:
            return WorkerRow(
                id="w",
                host="h",
                pid=1,
                lease_s=10,
                concurrency=50,
                queues=(),
                seen_s_ago=seen_s_ago,
            )

        return [worker(1), worker(11)]


@dataclass
class Pool:
    def size(self) -> int:
        return 10

    def checkedout(self) -> int:
        return 7


class Database:
    def pools(self) -> Mapping[str, object]:
        return {"async": Pool(), "without a size": object()}


class Looked:
    """A sampler over parts, and what it has written."""

    def __init__(self, *parts: Part) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        backstay = Backstay(clock=self.clock)
        for each in parts:
            backstay.add(each)
        self.sampler = Sampler(backstay, self.metrics)

    @property
    def text(self) -> str:
        return written(self.metrics, accept="", accept_encoding="")[0].decode()


@async_test
async def test_an_app_without_parts_has_nothing_to_look_at() -> None:
    looked = Looked()
    looked.sampler.look()
    await looked.sampler.ask()
    assert not any(name.startswith("backstay_queue") for name in samples(looked.text))


@async_test
async def test_queues_and_workers_are_those_of_the_ledger() -> None:
    ledger = Ledger()
    looked = Looked(Part("durable", is_open=True, ledger=ledger))
    await looked.sampler.ask()
    assert value(looked.text, "backstay_queue_jobs", queue="mail", state="available") == 3
    assert value(looked.text, "backstay_queue_oldest_seconds", queue="mail") == 12.5
    assert value(looked.text, "backstay_workers") == 1, "the other one's lease is over"
    assert value(looked.text, "backstay_worker_slots") == 50
    assert value(looked.text, "backstay_ledger_up") == 1


@async_test
async def test_the_ledger_is_not_asked_at_every_scrape_and_a_queue_gone_empty_is_0() -> None:
    ledger = Ledger()
    looked = Looked(Part("durable", is_open=True, ledger=ledger))
    for _ in range(3):
        await looked.sampler.ask()
    assert ledger.asked == 1
    ledger.jobs = []
    await looked.clock.advance(5)
    await looked.sampler.ask()
    assert ledger.asked == 2
    assert value(looked.text, "backstay_queue_jobs", queue="mail", state="available") == 0


@async_test
async def test_a_ledger_that_is_closed_stays_closed() -> None:
    ledger = Ledger()
    looked = Looked(Part("durable", is_open=False, ledger=ledger))
    await looked.sampler.ask()
    assert ledger.asked == 0


@async_test
async def test_a_ledger_that_is_away_is_told_and_nothing_else_suffers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = Ledger()
    looked = Looked(Part("durable", is_open=True, ledger=ledger))
    await looked.sampler.ask()
    ledger.is_down = True
    with caplog.at_level(logging.WARNING, "backstay.telemetry"):
        for _ in range(3):
            await looked.clock.advance(5)
            await looked.sampler.ask()
    assert value(looked.text, "backstay_ledger_up") == 0
    assert math.isnan(value(looked.text, "backstay_workers"))
    assert math.isnan(value(looked.text, "backstay_queue_jobs", queue="mail", state="available"))
    (record,) = caplog.records
    assert "hunter2" not in record.getMessage()
    ledger.is_down = False
    await looked.clock.advance(5)
    await looked.sampler.ask()
    assert value(looked.text, "backstay_ledger_up") == 1


@async_test
async def test_a_ledger_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backstay.telemetry.sampling._LEDGER_TIMEOUT_S", 0.01)
    ledger = Ledger()
    ledger.hangs = True
    looked = Looked(Part("durable", is_open=True, ledger=ledger))
    await looked.sampler.ask()
    assert value(looked.text, "backstay_ledger_up") == 0


def test_pools_are_those_that_have_a_size() -> None:
    looked = Looked(Part("db", database=Database()))
    looked.sampler.look()
    assert samples(looked.text)["backstay_db_pool_size"] == {(("pool", "async"),): 10}
    assert samples(looked.text)["backstay_db_pool_checked_out"] == {(("pool", "async"),): 7}


def test_tasks_that_wait_are_told() -> None:
    looked = Looked(Part("tasks", pending=4))
    looked.sampler.look()
    assert value(looked.text, "backstay_tasks_pending") == 4


@async_test
async def test_the_cache_is_counted_by_prefix_however_often_it_is_looked_at() -> None:
    app = FastAPI()
    add_cache(app, "memory://")
    metrics = Metrics()
    sampler = Sampler(install(app), metrics)

    @app.get("/products/{number}")
    async def read(number: int) -> int:
        return await product(number)

    def text() -> str:
        return written(metrics, accept="", accept_encoding="")[0].decode()

    async with running(app) as client:
        for _ in range(3):
            await client.get("/products/1")
            sampler.look()
        sampler.look()
    name, prefix = "backstay_cache_answers_total", f"{__name__}.product"
    assert value(text(), name, prefix=prefix, result="miss") == 1
    assert value(text(), name, prefix=prefix, result="hit") == 2
    assert value(text(), name, prefix=prefix, result="stale") == 0


@async_test
async def test_a_real_ledger_answers() -> None:
    app = FastAPI()
    add_tasks(app, worker=False)

    @durable_task(name="invoice", queue="mail")
    async def invoice(order: int) -> None: ...

    metrics = Metrics()
    sampler = Sampler(install(app), metrics)
    async with running(app, database="memory://") as client:
        await client.durable.enqueue(invoice, 17)
        await sampler.ask()
    text = written(metrics, accept="", accept_encoding="")[0].decode()
    assert value(text, "backstay_queue_jobs", queue="mail", state="available") == 1
    assert value(text, "backstay_ledger_up") == 1
