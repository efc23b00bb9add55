"""Many at once, and some who leave in the middle: nothing is lost, nothing leaks, nothing is stale."""

from __future__ import annotations

import asyncio
import gc
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import func, select

from backstay.cache import add_cache
from backstay.db import MainDatabaseManager, add_database
from backstay.testing import RunningApp
from backstay.viewset import DefaultPaginator, FullViewSet, ViewSetBulk, action
from backstay.web import Ctx, install
from tests.browser.serving import serving_app
from tests.cache.stores import REDIS_URL, tidy_redis
from tests.state.stores import need_redis
from tests.support import async_test
from tests.viewset.stage import (
    Base,
    ByHeader,
    Order,
    OrderRow,
    Thing,
    ThingRow,
    both,
    serving,
    url_of,
)

WRITERS = 64
COUNTERS = 8
AGAIN = {409, 412, 503}
"""Answers after which it is tried again: somebody was faster, or the database is busy."""


class Things(ViewSetBulk, FullViewSet):
    """Prices are counters here."""

    db_model = ThingRow
    pydantic_model = Thing
    version_field = "version"

    @action(detail=True)
    async def raise_price(self, item_id: int, ctx: Ctx) -> None:
        thing = await self.get_object(item_id, ctx)
        thing.price += 1


class Orders(FullViewSet):
    db_model = OrderRow
    pydantic_model = Order
    paginator_class = DefaultPaginator
    deep_schema = True


# ------------------------------------------------------------------ writers


@contextmanager
def on_a_port(url: str) -> Iterator[str]:
    """Things, served by uvicorn; its address."""
    manager = MainDatabaseManager(url, DEV_STATUS=True, base=Base)
    app = FastAPI()
    install(app, verify_user=ByHeader(), env_file=None)
    add_database(app, manager)
    router = APIRouter()
    Things().as_view(router, "/things")
    app.include_router(router)
    with serving_app(app) as address:
        yield address


@both
@async_test
async def test_64_writers_at_once_lose_nothing(database: str, tmp_path: Path) -> None:
    with url_of(database, tmp_path) as url:
        manager = MainDatabaseManager(url, DEV_STATUS=True, base=Base)
        await manager.acreate_all()
        with on_a_port(url) as address:
            limits = httpx.Limits(max_connections=WRITERS)
            async with httpx.AsyncClient(base_url=address, limits=limits, timeout=20) as client:
                counters = [{"name": f"counter {number}"} for number in range(COUNTERS + 1)]
                answer = await client.post("/things/bulk", json=counters)
                ids = [each["id"] for each in answer.json()]
                await asyncio.gather(*(_write(client, ids, each) for each in range(WRITERS)))

        names = [counters[0]["name"].rstrip("0"), "alone ", "many "]
        async with manager.asession() as session:
            found = [
                await session.scalar(
                    select(func.count()).select_from(ThingRow).where(ThingRow.name.startswith(name))
                )
                for name in names
            ]
            prices = list(
                await session.scalars(
                    select(ThingRow.price).where(ThingRow.id.in_(ids)).order_by(ThingRow.id)
                )
            )
            versions = list(
                await session.scalars(
                    select(ThingRow.version).where(ThingRow.id.in_(ids)).order_by(ThingRow.id)
                )
            )
        await manager.dispose()
        assert found == [COUNTERS + 1, WRITERS, 3 * WRITERS]
        # The last one was raised by everybody, by an action, and the rest by PATCH with If-Match.
        assert prices == [WRITERS // COUNTERS] * COUNTERS + [WRITERS]
        assert versions[:-1] == [1 + WRITERS // COUNTERS] * COUNTERS


async def _write(client: httpx.AsyncClient, ids: list[int], number: int) -> None:
    """What one writer has to write."""
    await _answered(client, "POST", "/things", json={"name": f"alone {number}"})
    several = [{"name": f"many {number} {each}"} for each in range(3)]
    await _answered(client, "POST", "/things/bulk", json=several)
    await _answered(client, "POST", f"/things/{ids[-1]}/raise-price")
    counter = f"/things/{ids[number % COUNTERS]}"
    while True:
        seen = await _answered(client, "GET", counter)
        changed = await client.patch(
            counter,
            json={"price": seen.json()["price"] + 1},
            headers={"If-Match": seen.headers["etag"]},
        )
        if changed.is_success:
            return
        assert changed.status_code in AGAIN, changed.text


async def _answered(
    client: httpx.AsyncClient, method: str, path: str, **options: Any
) -> httpx.Response:
    """The answer, asked for again while the database is busy. Names are unique, so that what was
    written and called busy would show as a conflict.
    """
    while True:
        answer = await client.request(method, path, **options)
        if answer.status_code != 503:
            assert answer.is_success, answer.text
            return answer


# ------------------------------------------------------------------ leaving in the middle


@asynccontextmanager
async def nothing_left_behind(client: RunningApp) -> AsyncIterator[None]:
    """Afterwards no connection is out, no task has failed unheard, and the database is written to."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    yield
    manager: MainDatabaseManager = client.manager  # type: ignore[attr-defined]  # set by the stage
    for pool in (manager.aengine.pool, manager.engine.pool):
        async with asyncio.timeout(5):
            while pool.checkedout():  # type: ignore[attr-defined]  # of the pools there are here
                await asyncio.sleep(0.01)
    async with asyncio.timeout(5):
        answer = await client.post("/things", json={"name": f"after all {uuid.uuid4()}"})
    assert answer.status_code == 201, answer.text
    gc.collect()
    await asyncio.sleep(0)
    assert [each for each in complaints if not _is_of_asyncpg(each)] == []


def _is_of_asyncpg(context: dict[str, Any]) -> bool:
    """asyncpg tells the server what it need not finish, by another connection. If it is ended while
    that one asks whether the server speaks TLS, it forgets a future, and nothing else.
    """
    return str(context.get("exception")) == "unexpected connection_lost() call"


async def _leave_everywhere(ask: Callable[[], Any]) -> int:
    """Ask again and again, and leave later each time, until the answer is there before.

    Returns:
        How often the question was left alone.
    """
    turns, left = 0, 0
    while True:
        asked = asyncio.create_task(ask())
        for _ in range(turns):
            if asked.done():
                break
            await asyncio.sleep(0)
        if asked.done():
            assert (await asked).status_code < 500
            return left
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        left += 1
        # Each turn of the loop in the beginning, where most of the steps are.
        turns += 1 + turns // 16


NEW = {"customer": {"email": "ada@example.com"}, "tags": [], "note": "0"}


def order(number: int) -> dict[str, Any]:
    lines = [{"sku": str(number), "quantity": 1} for _ in range(3)]
    return {**NEW, "note": str(number), "lines": lines}


@both
@async_test
async def test_readers_who_leave_take_no_connection_with_them(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Things, "/things"), (Orders, "/orders")) as client:
        made = await client.post("/orders", json=order(0))
        assert made.status_code == 201, made.text
        async with nothing_left_behind(client):
            for path in ("/things", "/orders", f"/orders/{made.json()['id']}", "/orders?page=2"):
                assert await _leave_everywhere(lambda path=path: client.get(path)) > 3


@both
@async_test
async def test_writers_who_leave_have_written_all_or_nothing(database: str, tmp_path: Path) -> None:
    numbers = iter(range(1, 10_000))
    async with serving(database, tmp_path, (Things, "/things"), (Orders, "/orders")) as client:
        made = (await client.post("/orders", json=order(0))).json()
        path = f"/orders/{made['id']}"

        def create() -> Any:
            return client.post("/things", json={"name": f"thing {next(numbers)}"})

        def create_many() -> Any:
            number = next(numbers)
            names = [{"name": f"bulk {number} {each}"} for each in range(3)]
            return client.post("/things/bulk", json=names)

        def change() -> Any:
            change = order(next(numbers))
            del change["customer"]
            return client.patch(path, json=change)

        async with nothing_left_behind(client):
            for ask in (create, create_many, change):
                assert await _leave_everywhere(ask) > 3
        names = [each["name"] for each in (await client.get("/things?limit=1000")).json()]
        bulks = [name.rpartition(" ")[0] for name in names if name.startswith("bulk")]
        assert {bulks.count(each) for each in bulks} == {3}
        found = (await client.get(path)).json()
        assert [each["sku"] for each in found["lines"]] == [found["note"]] * 3


@both
@async_test
async def test_a_crowd_that_leaves_at_once_leaves_the_pool_full(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Things, "/things"), (Orders, "/orders")) as client:
        path = f"/orders/{(await client.post('/orders', json=order(0))).json()['id']}"
        async with nothing_left_behind(client):
            for turns in (3, 10, 30, 60, 120, 200):
                crowd = [
                    asyncio.create_task(ask)
                    for number in range(8)
                    for ask in (
                        client.get("/orders"),
                        client.post("/things", json={"name": f"{turns} {number}"}),
                        client.patch(path, json={"note": f"{turns} {number}"}),
                    )
                ]
                for _ in range(turns):
                    await asyncio.sleep(0)
                for each in crowd:
                    each.cancel()
                answers = await asyncio.gather(*crowd, return_exceptions=True)
                async with asyncio.timeout(8):  # less than SQLite waits for a lock
                    after = await client.post("/things", json={"name": f"after {turns}"})
                assert after.status_code == 201, after.text
                for answer in answers:
                    if isinstance(answer, httpx.Response):
                        assert answer.status_code < 500 or answer.status_code == 503
                    else:
                        assert isinstance(answer, asyncio.CancelledError)


# ------------------------------------------------------------------ what is kept


class Kept(Things):
    cache_class = True
    cache_ttl = 600
    cache_public = True


class KeptEarly(Kept):
    cache_early = True


class KeptForEach(Things):
    cache_class = True
    cache_ttl = 600
    paginator_class = DefaultPaginator


KEPT = (Kept, "/kept"), (KeptEarly, "/early"), (KeptForEach, "/each"), (Things, "/things")


@pytest.mark.parametrize("where", ["memory", "redis"])
@both
@async_test
async def test_after_a_change_was_answered_nobody_is_told_what_was_before(
    database: str, where: str, tmp_path: Path
) -> None:
    if where == "redis":
        need_redis()
    namespace = f"stale-{uuid.uuid4().hex}"

    def prepare(app: FastAPI) -> None:
        add_cache(app, REDIS_URL if where == "redis" else "memory://", namespace=namespace)

    try:
        async with serving(database, tmp_path, *KEPT, prepare=prepare) as client:
            hits = await _read_while_writing(client)
    finally:
        if where == "redis":
            tidy_redis(namespace)
    assert hits > 0  # else nothing was proved


async def _read_while_writing(client: RunningApp) -> int:
    """Each writer has a thing of its own, whose price only rises.

    Returns:
        How many answers came out of the cache.
    """
    prefixes = [prefix for _, prefix in KEPT]
    ids = [
        (await client.post("/things", json={"name": f"thing {number}"})).json()["id"]
        for number in range(4)
    ]
    answered = dict.fromkeys(ids, 0)
    writing = len(ids)
    hits = 0

    async def write(item_id: int, prefix: str) -> None:
        nonlocal writing
        try:
            for price in range(1, 16):
                answer = await client.patch(f"{prefix}/{item_id}", json={"price": price})
                assert answer.status_code == 200, answer.text
                answered[item_id] = price
                # Whoever changes something sees the change, wherever it looks.
                for each in prefixes:
                    seen = await client.get(f"{each}/{item_id}")
                    assert seen.json()["price"] == price, (each, seen.headers.get("x-cache"))
        finally:
            writing -= 1

    async def read(prefix: str, number: int) -> None:
        nonlocal hits
        path = f"{prefix}/{ids[number % len(ids)]}" if number % 2 else prefix
        while writing:
            before = dict(answered)
            seen = await client.get(path, headers={"X-User": f"reader {number}"})
            hits += seen.headers.get("x-cache") == "HIT"
            body = seen.json()
            items = body.get("items", [body]) if isinstance(body, dict) else body
            for item in items:
                assert item["price"] >= before[item["id"]], (path, seen.headers.get("x-cache"))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as everybody:
        for item_id, prefix in zip(ids, prefixes, strict=True):
            everybody.create_task(write(item_id, prefix))
        for number, prefix in enumerate(prefixes[:-1] * 2):
            everybody.create_task(read(prefix, number))
    return hits
