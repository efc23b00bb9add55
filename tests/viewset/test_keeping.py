"""Answers of view sets that are kept, until their tables change."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI

from backstay.cache import Cache, add_cache
from backstay.context import Context
from backstay.errors import BadViewSet
from backstay.viewset import DefaultPaginator, FullViewSet, action
from backstay.web import Ctx
from tests.support import async_test
from tests.viewset.stage import Customer, CustomerRow, Order, OrderRow, Thing, ThingRow, serving


class Things(FullViewSet):
    db_model = ThingRow
    pydantic_model = Thing
    cache_class = True
    cache_ttl = 600
    cache_public = True

    @action(detail=True)
    async def halve(self, item_id: int, ctx: Ctx) -> None:
        thing = await self.get_object(item_id, ctx)
        thing.price //= 2


class Pages(Things):
    paginator_class = DefaultPaginator


class Uncached(FullViewSet):
    db_model = ThingRow
    pydantic_model = Thing


def with_cache(app: FastAPI) -> None:
    add_cache(app, "memory://")


@async_test
async def test_an_answer_is_given_again_until_its_table_changes(tmp_path: Path) -> None:
    async with serving(
        "sqlite", tmp_path, (Pages, "/things"), (Uncached, "/raw"), prepare=with_cache
    ) as client:
        await client.post("/raw", json={"name": "cup", "price": 8})

        async def seen(path: str) -> tuple[str, Any]:
            answer = await client.get(path)
            return answer.headers["x-cache"], answer.json()

        for change in (
            lambda: client.patch("/things/1", json={"price": 9}),
            lambda: client.put("/raw/1", json={"name": "mug"}),
            lambda: client.post("/things", json={"name": "pot"}),
            lambda: client.post("/things/1/halve"),
            lambda: client.delete("/raw/2"),
        ):
            first = await seen("/things"), await seen("/things/1")
            again = await seen("/things"), await seen("/things/1")
            assert [status for status, _ in again] == ["HIT", "HIT"]
            assert [body for _, body in again] == [body for _, body in first]
            assert (await change()).status_code < 300
            for path in ("/things", "/things/1"):
                status, body = await seen(path)
                assert status == "MISS"
                assert (
                    body == (await client.get(path, headers={"cache-control": "no-store"})).json()
                )


@async_test
async def test_a_change_that_is_undone_invalidates_nothing(tmp_path: Path) -> None:
    class Refusing(Uncached):
        async def before_commit(self, action: str, obj: Any, ctx: Context) -> None:
            raise PermissionError("no")

    async with serving(
        "sqlite",
        tmp_path,
        (Things, "/things"),
        (Uncached, "/raw"),
        (Refusing, "/refusing"),
        prepare=with_cache,
        raise_app_exceptions=False,
    ) as client:
        await client.post("/raw", json={"name": "cup"})
        await client.get("/things")
        assert (await client.patch("/refusing/1", json={"price": 9})).status_code == 500
        assert (await client.get("/things")).headers["x-cache"] == "HIT"


@async_test
async def test_an_answer_that_shows_another_table_goes_when_that_changes(tmp_path: Path) -> None:
    class Orders(FullViewSet):
        db_model = OrderRow
        pydantic_model = Order
        deep_schema = True
        cache_class = True
        cache_ttl = 600

    class Customers(FullViewSet):
        db_model = CustomerRow
        pydantic_model = Customer

    async with serving(
        "sqlite", tmp_path, (Orders, "/orders"), (Customers, "/customers"), prepare=with_cache
    ) as client:
        new = {"customer": {"email": "ada@example.com"}, "lines": [], "tags": []}
        assert (await client.post("/orders", json=new)).status_code == 201
        await client.get("/orders/1")
        assert (await client.get("/orders/1")).headers["x-cache"] == "HIT"
        await client.patch("/customers/1", json={"email": "bob@example.com"})
        answer = await client.get("/orders/1")
        assert answer.headers["x-cache"] == "MISS"
        assert answer.json()["customer"]["email"] == "bob@example.com"


@async_test
async def test_what_one_caller_sees_is_not_given_to_another(tmp_path: Path) -> None:
    class Own(FullViewSet):
        db_model = ThingRow
        pydantic_model = Thing
        cache_class = Cache("memory://")
        cache_ttl = 600

        async def visible(self, ctx: Context) -> Any:
            return ThingRow.owner == (ctx.user.subject if ctx.user else "")

    async with serving("sqlite", tmp_path, (Own, "/things")) as client:
        async with client.manager.asession() as session, session.begin():
            session.add(ThingRow(name="cup", owner="ada"))
        ada, eve = {"x-user": "ada"}, {"x-user": "eve"}
        assert len((await client.get("/things", headers=ada)).json()) == 1
        assert (await client.get("/things", headers=ada)).headers["x-cache"] == "HIT"
        assert (await client.get("/things", headers=eve)).json() == []


def test_what_depends_on_the_caller_cannot_be_public() -> None:
    class Wrong(Things):
        async def visible(self, ctx: Context) -> Any:
            return ThingRow.price > 0

    with pytest.raises(BadViewSet, match="cache_public"):
        Wrong().as_view(APIRouter(), "/things")
