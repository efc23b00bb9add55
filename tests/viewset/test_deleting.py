"""DELETE through a view set."""

from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from backstay.context import Context
from backstay.viewset import FullViewSet
from tests.support import async_test
from tests.viewset.stage import (
    Customer,
    CustomerRow,
    LineRow,
    Order,
    OrderRow,
    TagRow,
    Thing,
    ThingRow,
    both,
    serving,
)


class Things(FullViewSet):
    db_model = ThingRow
    pydantic_model = Thing


class Marked(Things):
    soft_delete = "deleted_at"


class Hooked(Things):
    async def before_commit(self, action: str, obj: Any, ctx: Context) -> None:
        assert obj.name


class HookedAndMarked(Hooked):
    soft_delete = "deleted_at"


class Customers(FullViewSet):
    db_model = CustomerRow
    pydantic_model = Customer


class Orders(FullViewSet):
    db_model = OrderRow
    pydantic_model = Order
    deep_schema = True


async def count(client: Any, model: type[Any]) -> int:
    async with client.manager.asession() as session:
        return int(await session.scalar(select(func.count()).select_from(model)))


@both
@async_test
async def test_a_deleted_item_is_gone_and_deleting_it_again_is_a_404(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Things, "/things"), (Hooked, "/hooked")) as client:
        for path in ("/things", "/hooked"):
            made = await client.post(path, json={"name": "cup"})
            place = made.headers["location"]
            answer = await client.delete(place)
            assert (answer.status_code, answer.content) == (204, b"")
            assert (await client.delete(place)).status_code == 404
            assert await count(client, ThingRow) == 0


@both
@async_test
async def test_a_soft_deleted_item_is_gone_for_every_verb_and_stays_in_the_table(
    database: str, tmp_path: Path
) -> None:
    async with serving(
        database, tmp_path, (Marked, "/things"), (HookedAndMarked, "/hooked")
    ) as client:
        for number, path in enumerate(("/things", "/hooked"), 1):
            place = (await client.post(path, json={"name": f"cup {number}"})).headers["location"]
            assert (await client.delete(place)).status_code == 204
            assert (await client.get(place)).status_code == 404
            assert (await client.patch(place, json={"price": 2})).status_code == 404
            assert (await client.delete(place)).status_code == 404
            assert (await client.get(path)).json() == []
            assert await count(client, ThingRow) == number


@both
@async_test
async def test_what_is_referred_to_is_a_409_and_stays(database: str, tmp_path: Path) -> None:
    async with serving(
        database, tmp_path, (Customers, "/customers"), (Orders, "/orders")
    ) as client:
        new = {"customer": {"email": "ada@example.com"}, "lines": [], "tags": []}
        assert (await client.post("/orders", json=new)).status_code == 201
        answer = await client.delete("/customers/1")
        assert answer.status_code == 409, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert await count(client, CustomerRow) == 1


@both
@async_test
async def test_deleting_follows_declared_cascades_and_nothing_else(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Orders, "/orders")) as client:
        async with client.manager.asession() as session, session.begin():
            session.add(TagRow(name="gift"))
        new = {
            "customer": {"email": "ada@example.com"},
            "lines": [{"sku": "cup", "quantity": 1}],
            "tags": [{"id": 1, "name": "gift"}],
        }
        assert (await client.post("/orders", json=new)).status_code == 201
        assert (await client.delete("/orders/1")).status_code == 204
        assert await count(client, OrderRow) == 0
        assert await count(client, LineRow) == 0
        assert await count(client, TagRow) == 1
        assert await count(client, CustomerRow) == 1


class Own(Things):
    async def visible(self, ctx: Context) -> Any:
        return ThingRow.owner == (ctx.user.subject if ctx.user else "")


@both
@async_test
async def test_what_is_not_visible_cannot_be_deleted(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Own, "/things")) as client:
        async with client.manager.asession() as session, session.begin():
            session.add(ThingRow(name="cup", owner="ada"))
        assert (await client.delete("/things/1", headers={"x-user": "eve"})).status_code == 404
        assert (await client.delete("/things/1", headers={"x-user": "ada"})).status_code == 204
