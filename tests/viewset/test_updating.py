"""PUT and PATCH through a view set."""

import asyncio
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel, model_validator
from sqlalchemy import select

from backstay.context import Context
from backstay.db import OrmAsync
from backstay.viewset import FullViewSet
from tests.support import async_test
from tests.viewset.stage import (
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


class Versioned(Things):
    version_field = "version"


class Strict(Versioned):
    require_if_match = True


class Hooked(Versioned):
    """The same through the objects, because somebody wants to see them."""

    async def before_commit(self, action: str, obj: Any, ctx: Context) -> None:
        assert action in {"create", "update", "delete"}


async def make(client: Any, **values: Any) -> None:
    async with client.manager.asession() as session, session.begin():
        session.add(ThingRow(**{"name": "cup", **values}))


@both
@async_test
async def test_put_changes_what_is_sent_and_answers_the_item_as_it_is(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        await make(client, price=3, secret="kept")
        answer = await client.put("/things/1", json={"name": "pot", "price": 4})
        assert (answer.status_code, answer.json()) == (200, {"id": 1, "name": "pot", "price": 4})
        async with client.manager.asession() as session:
            assert (await session.get(ThingRow, 1)).secret == "kept"


@both
@async_test
async def test_nobody_can_change_a_primary_key(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        await make(client)
        assert (await client.put("/things/1", json={"id": 7, "name": "pot"})).json()["id"] == 1
        assert (await client.patch("/things/1", json={"id": 7})).json()["id"] == 1
        assert (await client.get("/things/7")).status_code == 404


@both
@async_test
async def test_patch_leaves_alone_what_is_not_sent(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        await make(client, price=3)
        answer = await client.patch("/things/1", json={"name": "pot"})
        assert answer.json() == {"id": 1, "name": "pot", "price": 3}
        assert (await client.patch("/things/1", json={})).json() == answer.json()
        assert (await client.patch("/things/1", json={"name": None})).status_code == 422


@both
@async_test
async def test_changing_what_is_not_there_is_a_404(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things"), (Hooked, "/hooked")) as client:
        for path in ("/things/1", "/hooked/1"):
            assert (await client.put(path, json={"name": "pot"})).status_code == 404
            assert (await client.patch(path, json={"name": "pot"})).status_code == 404
            assert (await client.patch(path, json={})).status_code == 404


@both
@async_test
async def test_a_value_that_another_item_has_is_a_409(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things"), (Hooked, "/hooked")) as client:
        await make(client, name="cup")
        await make(client, name="pot")
        for path in ("/things/2", "/hooked/2"):
            answer = await client.patch(path, json={"name": "cup"})
            assert answer.status_code == 409, answer.text
            assert "name" in answer.json()["detail"]


@both
@async_test
async def test_every_change_is_a_new_version_and_its_etag(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Versioned, "/things"), (Hooked, "/hooked")) as client:
        await make(client)
        assert (await client.get("/things/1")).headers["etag"] == '"1"'
        assert (await client.patch("/things/1", json={"price": 2})).headers["etag"] == '"2"'
        assert (await client.put("/hooked/1", json={"name": "pot"})).headers["etag"] == '"3"'
        answer = await client.get("/things/1", headers={"if-none-match": '"3"'})
        assert (answer.status_code, answer.content) == (304, b"")


@both
@async_test
async def test_a_change_of_another_version_is_a_412_and_changes_nothing(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Versioned, "/things"), (Hooked, "/hooked")) as client:
        await make(client, price=1)
        for path in ("/things/1", "/hooked/1"):
            for send in (client.put, client.patch):
                answer = await send(path, json={"name": "x"}, headers={"if-match": '"7"'})
                assert answer.status_code == 412
                assert '"1"' in answer.json()["detail"]
            assert (await client.delete(path, headers={"if-match": '"7"'})).status_code == 412
        assert (await client.get("/things/1")).json() == {"id": 1, "name": "cup", "price": 1}


@both
@async_test
async def test_of_many_who_change_one_version_one_succeeds(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Versioned, "/things"), (Hooked, "/hooked")) as client:
        await make(client)
        for path, tag in (("/things/1", '"1"'), ("/hooked/1", '"2"')):
            answers = await asyncio.gather(
                *(
                    client.patch(path, json={"price": price}, headers={"if-match": tag})
                    for price in range(1, 9)
                )
            )
            assert sorted(each.status_code for each in answers) == [200] + [412] * 7


@both
@async_test
async def test_where_versions_are_required_a_blind_change_is_a_428(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Strict, "/things")) as client:
        await make(client)
        assert (await client.patch("/things/1", json={"price": 2})).status_code == 428
        assert (await client.delete("/things/1")).status_code == 428
        answer = await client.patch("/things/1", json={"price": 2}, headers={"if-match": '"1"'})
        assert answer.status_code == 200


class Own(Things):
    async def visible(self, ctx: Context) -> Any:
        return ThingRow.owner == (ctx.user.subject if ctx.user else "")


class Given(Own):
    async def own_values(self, action: str, ctx: Context) -> dict[str, Any]:
        return {"owner": "somebody else"} if action == "update" else {}


@both
@async_test
async def test_what_is_not_visible_cannot_be_changed(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Own, "/things"), (Given, "/given")) as client:
        await make(client, owner="ada")
        eve, ada = {"x-user": "eve"}, {"x-user": "ada"}
        assert (await client.patch("/things/1", json={"price": 9}, headers=eve)).status_code == 404
        assert (await client.patch("/things/1", json={"price": 9}, headers=ada)).status_code == 200
        answer = await client.patch("/given/1", json={"price": 8}, headers=ada)
        assert answer.status_code == 403
        assert (await client.get("/things/1", headers=ada)).json()["price"] == 9


class Careful(Things):
    async def check_object(self, action: str, obj: Any, ctx: Context) -> None:
        if obj.price > 100:
            raise HTTPException(403, f"no {action} of dear things")

    async def db_update(self, item_id: Any, item: Any, aorm: OrmAsync) -> object:
        before = await aorm.get_item(self.db_model, item_id)
        assert before is not None
        item.price = before.price + 1
        return await super().db_update(item_id, item, aorm)


@both
@async_test
async def test_a_class_may_refuse_and_may_change_what_is_written(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Careful, "/things")) as client:
        await make(client, price=1)
        await make(client, name="vase", price=1000)
        assert (await client.patch("/things/1", json={"name": "mug"})).json() == {
            "id": 1,
            "name": "mug",
            "price": 2,
        }
        assert (await client.patch("/things/2", json={"name": "mug"})).status_code == 403
        assert (await client.delete("/things/2")).status_code == 403
        assert (await client.get("/things/2")).status_code == 403


class Orders(FullViewSet):
    db_model = OrderRow
    pydantic_model = Order
    deep_schema = True


NEW = {
    "note": "quick",
    "customer": {"email": "ada@example.com"},
    "lines": [{"sku": "cup", "quantity": 2}, {"sku": "pot", "quantity": 1}],
    "tags": [],
}


@both
@async_test
async def test_owned_children_are_changed_added_and_removed_and_shared_ones_linked(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Orders, "/orders")) as client:
        async with client.manager.asession() as session, session.begin():
            session.add_all([TagRow(name="gift"), TagRow(name="urgent")])
        assert (await client.post("/orders", json=NEW)).status_code == 201
        answer = await client.patch(
            "/orders/1",
            json={
                "lines": [{"id": 1, "quantity": 5, "sku": "cup"}, {"sku": "jug", "quantity": 1}],
                "tags": [{"id": 2, "name": "urgent"}],
            },
        )
        assert answer.status_code == 200, answer.text
        assert [(each["sku"], each["quantity"]) for each in answer.json()["lines"]] == [
            ("cup", 5),
            ("jug", 1),
        ]
        assert answer.json()["lines"][0]["id"] == 1
        assert answer.json()["tags"] == [{"id": 2, "name": "urgent"}]
        assert answer.json()["note"] == "quick"
        async with client.manager.asession() as session:
            skus: Any = await session.scalars(select(LineRow.sku).order_by(LineRow.id))
            assert list(skus) == ["cup", "jug"]
            assert len(list(await session.scalars(select(TagRow.id)))) == 2


@both
@async_test
async def test_nothing_is_written_into_what_belongs_to_others(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Orders, "/orders")) as client:
        async with client.manager.asession() as session, session.begin():
            session.add(TagRow(name="gift"))
        for email in ("ada@example.com", "bob@example.com"):
            new = {**NEW, "customer": {"email": email}}
            assert (await client.post("/orders", json=new)).status_code == 201
        stolen = await client.patch(
            "/orders/2", json={"lines": [{"id": 1, "sku": "cup", "quantity": 9}]}
        )
        renamed = await client.patch("/orders/2", json={"tags": [{"id": 1, "name": "mine"}]})
        unknown = await client.patch("/orders/2", json={"tags": [{"id": 99, "name": "gift"}]})
        for answer in (stolen, renamed, unknown):
            assert answer.status_code in {409, 422}, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.get("/orders/1")).json()["lines"][0] == {
            "id": 1,
            "sku": "cup",
            "quantity": 2,
        }
        async with client.manager.asession() as session:
            assert (await session.get(TagRow, 1)).name == "gift"


class Priced(BaseModel):
    id: int
    name: str
    price: int

    @model_validator(mode="after")
    def _dear_things_have_names(self) -> "Priced":
        if self.price > 100 and len(self.name) < 5:
            raise ValueError("dear things have long names")
        return self


class Judged(Things):
    pydantic_model = Priced


@both
@async_test
async def test_parts_that_do_not_fit_what_was_there_are_a_422_and_nothing_is_written(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Judged, "/things")) as client:
        await make(client, price=3)
        answer = await client.patch("/things/1", json={"price": 500})
        assert answer.status_code == 422, answer.text
        assert "dear things have long names" in answer.text
        assert (await client.get("/things/1")).json()["price"] == 3
        fine = {"price": 500, "name": "vases"}
        assert (await client.patch("/things/1", json=fine)).status_code == 200
