"""Events counted one by one and sent ten at a time, to the database if the service is away."""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Body, FastAPI

from backstay import current_context
from backstay.tasks import Failed, Task, Tasks, add_tasks
from backstay.testing import RunningApp, running
from backstay.web import Ctx
from tests.recipes.servers import (
    http_client,
    in_turn,
    recording_server,
    served,
    url_of_nobody,
)
from tests.recipes.store import Store
from tests.support import async_test

SCHEMA = "create table events (event text, user integer, facts text, at text);"

BATCH = 10

Event = dict[str, Any]


class Counter:
    """What the service's tasks do, and what they need for it.

    Attributes:
        waiting: events that no batch has taken yet, by user.
        batches: the tasks that send one batch each.
    """

    def __init__(self, folder: Path, alerts_url: str, analytics_url: str) -> None:
        self.store = Store(folder / "events.db", SCHEMA)
        self.alerts_url = alerts_url
        self.analytics_url = analytics_url
        self.waiting: defaultdict[int, list[Event]] = defaultdict(list)
        self.lock = asyncio.Lock()
        self.batches: list[Task] = []

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        async with http_client(self.alerts_url) as self.http:
            yield

    async def send(self, events: list[Event]) -> None:
        answer = await self.http.post(f"{self.analytics_url}/batch", json={"events": events})
        answer.raise_for_status()

    def keep(self, events: list[Event]) -> None:
        with self.store.transaction() as transaction:
            transaction.executemany(
                "insert into events values (?, ?, ?, ?)",
                [
                    (each["event"], each["user"], json.dumps(each["facts"]), each["at"])
                    for each in events
                ],
            )

    async def keep_or_alert(self, task: Task, error: Exception) -> None:
        [events] = task.args
        logger = current_context().logger
        try:
            await asyncio.to_thread(self.keep, events)
        except Exception as worse:
            logger.error("%d events are lost: %r, then %r", len(events), error, worse)
            text = f"{len(events)} events are lost: {error}, then {worse}"
            await self.http.post("/alerts", json={"text": text})
        else:
            logger.warning("analytics is away, so %d events are in the database", len(events))


def flush(counter: Counter, events: list[Event], tasks: Tasks) -> None:
    """Send a batch in the background. A helper: no endpoint, so it is handed ``tasks``."""
    if events:
        batch = tasks.task(name=f"batch_of_{len(events)}", on_error=counter.keep_or_alert)
        counter.batches.append(batch.schedule(counter.send, events))


def make_app(counter: Counter) -> FastAPI:
    app = FastAPI(lifespan=counter.lifespan)
    add_tasks(app)

    @app.post("/events")
    async def count(
        event: str, user: int, facts: Annotated[Event, Body()], tasks: Tasks, ctx: Ctx
    ) -> None:
        at = ctx.app.clock.now().isoformat()
        async with counter.lock:
            waiting = counter.waiting[user]
            waiting.append({"event": event, "user": user, "facts": facts, "at": at})
            if len(waiting) >= BATCH:
                flush(counter, counter.waiting.pop(user), tasks)

    @app.post("/flush")
    async def flush_all(tasks: Tasks) -> None:
        async with counter.lock:
            for user in list(counter.waiting):
                flush(counter, counter.waiting.pop(user), tasks)
        flush(counter, [], tasks)

    return app


async def count(client: httpx.AsyncClient, numbers: range, user: int = 7) -> None:
    for number in numbers:
        answer = await client.post(
            "/events", params={"event": "click", "user": user}, json={"number": number}
        )
        assert answer.status_code == 200


def numbers_in(events: list[Event]) -> list[int]:
    return [each["facts"]["number"] for each in events]


@async_test
async def test_nine_events_wait_and_the_tenth_sends_all_in_one_batch(tmp_path: Path) -> None:
    async with recording_server() as parties:
        counter = Counter(tmp_path, parties.url, parties.url)
        async with running(make_app(counter)) as client:
            await count(client, range(9))
            await client.tasks.settle()
            assert parties.arrivals == []
            await count(client, range(9, 10))
            await client.tasks.settle()

    [batch] = parties.at("/batch")
    events = batch.json()["events"]
    assert numbers_in(events) == list(range(10))
    assert {(each["event"], each["user"]) for each in events} == {("click", 7)}
    assert [task.name for task in counter.batches] == ["batch_of_10"]
    assert counter.store.rows("select * from events") == []


@async_test
async def test_every_user_has_batches_of_their_own_and_a_flush_sends_what_is_left(
    tmp_path: Path,
) -> None:
    async with recording_server() as parties:
        counter = Counter(tmp_path, parties.url, parties.url)
        async with running(make_app(counter)) as client:
            await count(client, range(6), user=1)
            await count(client, range(6), user=2)
            await client.tasks.settle()
            assert parties.arrivals == []
            await client.post("/flush")
            await client.post("/flush")
            await client.tasks.settle()

    batches = [each.json()["events"] for each in parties.at("/batch")]
    assert [numbers_in(events) for events in batches] == [list(range(6))] * 2
    assert sorted(events[0]["user"] for events in batches) == [1, 2]
    assert len(counter.batches) == 2, "an empty batch is no task"


@async_test
async def test_clients_that_count_at_once_lose_nothing_and_wait_for_no_batch(
    tmp_path: Path,
) -> None:
    async with recording_server() as parties:
        analytics_answers = parties.hold("/batch")
        counter = Counter(tmp_path, parties.url, parties.url)
        async with served(make_app(counter)) as client:
            await asyncio.gather(*(count(client, range(i, i + 1)) for i in range(25)))
            await parties.arrived("/batch", 2)
            assert [task.outcome for task in counter.batches] == [None, None]
            analytics_answers.set()

    sent = [number for each in parties.at("/batch") for number in numbers_in(each.json()["events"])]
    assert len(sent) == 20
    assert sorted(sent + numbers_in(counter.waiting[7])) == list(range(25))


@pytest.mark.parametrize("trouble", ["says 503", "is not there"])
@async_test
async def test_a_batch_that_cannot_be_sent_is_kept_in_the_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, trouble: str
) -> None:
    async with recording_server() as parties:
        parties.replies["/batch"] = in_turn(503)
        with url_of_nobody() as nowhere:
            url = parties.url if trouble == "says 503" else nowhere
            counter = Counter(tmp_path, parties.url, url)
            async with running(make_app(counter)) as client:
                await count(client, range(10))
                await client.tasks.settle()

    rows = counter.store.rows("select facts from events order by rowid")
    assert [json.loads(facts)["number"] for (facts,) in rows] == list(range(10))
    assert len(parties.at("/batch")) == (1 if trouble == "says 503" else 0)
    assert parties.at("/alerts") == []
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert warnings == ["analytics is away, so 10 events are in the database"]


async def _lose_a_batch(counter: Counter, client: RunningApp) -> None:
    counter.store.run("drop table events")
    await count(client, range(10))
    await client.tasks.settle()


@async_test
async def test_when_the_database_fails_too_somebody_is_told_and_the_next_batch_is_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with recording_server() as parties:
        parties.replies["/batch"] = in_turn(503, 200)
        counter = Counter(tmp_path, parties.url, parties.url)
        async with running(make_app(counter)) as client:
            await _lose_a_batch(counter, client)
            await count(client, range(10, 20))
            await client.tasks.settle()

    [alert] = parties.at("/alerts")
    text = alert.json()["text"]
    assert text.startswith("10 events are lost: ")
    assert "503" in text
    assert "no such table: events" in text
    said = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert [each.name for each in said] == ["backstay.tasks", "app"]
    assert [type(task.outcome) is Failed for task in counter.batches] == [True, False]
    assert len(parties.at("/batch")) == 2


@async_test
async def test_an_alert_that_cannot_be_sent_either_is_logged_and_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with url_of_nobody() as nowhere:
        counter = Counter(tmp_path, nowhere, nowhere)
        async with running(make_app(counter)) as client:
            await _lose_a_batch(counter, client)
            await count(client, range(10, 11))

    said = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert said[0] == "the task 'batch_of_10' failed"
    assert said[1].startswith("10 events are lost: ")
    assert said[2] == "the task 'batch_of_10' has an error handler that failed"
    assert len(counter.waiting[7]) == 1
