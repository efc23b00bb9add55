"""POST through a view set."""

from pathlib import Path
from typing import Any

from fastapi import Depends
from pydantic import BaseModel, model_validator
from sqlalchemy import event, func, select

from backstay.context import Context
from backstay.db import OrmAsync
from backstay.viewset import FullViewSet, GenericViewSet, ViewSetCreate
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


async def count(client: Any, model: type[Any]) -> int:
    async with client.manager.asession() as session:
        return int(await session.scalar(select(func.count()).select_from(model)))


@both
@async_test
async def test_a_new_item_is_answered_with_201_and_its_address(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        answer = await client.post("/things", json={"name": "cup", "price": 3})
        assert answer.status_code == 201
        assert answer.json() == {"id": 1, "name": "cup", "price": 3}
        assert answer.headers["location"] == "/things/1"
        assert (await client.get(answer.headers["location"])).json() == answer.json()


@both
@async_test
async def test_a_client_cannot_choose_a_generated_key_or_write_what_is_not_in_the_schema(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        sent = {"id": 77, "name": "cup", "secret": "mine", "owner": "me"}
        assert (await client.post("/things", json=sent)).json()["id"] == 1
        async with client.manager.asession() as session:
            thing = await session.get(ThingRow, 1)
            assert (thing.secret, thing.owner) == ("s3cret", "nobody")


@both
@async_test
async def test_a_taken_value_is_a_409_that_names_its_field(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        await client.post("/things", json={"name": "cup"})
        answer = await client.post("/things", json={"name": "cup"})
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert "name" in answer.json()["detail"]
        assert "INSERT" not in answer.text


@both
@async_test
async def test_what_does_not_fit_the_schema_is_a_422_and_nothing_is_written(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        answer = await client.post("/things", json={"name": "", "price": -1})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert [each["loc"] for each in answer.json()["errors"]] == [
            ["body", "name"],
            ["body", "price"],
        ]
        assert await count(client, ThingRow) == 0


class Telling(Things):
    told: list[tuple[str, str, bool]]

    def __init__(self) -> None:
        type(self).told = []

    async def own_values(self, action: str, ctx: Context) -> dict[str, Any]:
        return {"owner": ctx.user.subject if ctx.user else "nobody"}

    async def before_commit(self, action: str, obj: Any, ctx: Context) -> None:
        self.told.append(("before", action, ctx.db.session.in_transaction()))
        if obj.name == "unlucky":
            raise PermissionError("no")

    async def after_commit(self, action: str, obj: Any, ctx: Context) -> None:
        self.told.append(("after", action, ctx.db.session.in_transaction()))
        if obj.name == "unheard":
            raise PermissionError("too late")


@both
@async_test
async def test_hooks_run_before_and_after_the_commit(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Telling, "/things")) as client:
        answer = await client.post("/things", json={"name": "cup"}, headers={"x-user": "ada"})
        assert answer.status_code == 201
        assert Telling.told == [("before", "create", True), ("after", "create", False)]
        async with client.manager.asession() as session:
            assert (await session.get(ThingRow, 1)).owner == "ada"


@both
@async_test
async def test_what_before_commit_raises_undoes_the_write(database: str, tmp_path: Path) -> None:
    async with serving(
        database, tmp_path, (Telling, "/things"), raise_app_exceptions=False
    ) as client:
        assert (await client.post("/things", json={"name": "unlucky"})).status_code == 500
        assert await count(client, ThingRow) == 0
        assert [moment for moment, *_ in Telling.told] == ["before"]


@both
@async_test
async def test_what_after_commit_raises_changes_nothing_any_more(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Telling, "/things")) as client:
        assert (await client.post("/things", json={"name": "unheard"})).status_code == 201
        assert await count(client, ThingRow) == 1


class Shouting(Things):
    async def db_create(self, item: Any, aorm: OrmAsync) -> object:
        item.name = item.name.upper()
        return await super().db_create(item, aorm)


@both
@async_test
async def test_db_create_can_be_overridden_and_calls_super(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Shouting, "/things")) as client:
        assert (await client.post("/things", json={"name": "cup"})).json()["name"] == "CUP"


class OnlyCreate(ViewSetCreate, GenericViewSet):
    db_model = ThingRow
    pydantic_model = Thing


@async_test
async def test_one_mix_in_alone_is_a_view_set_with_one_route(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path, (OnlyCreate, "/things")) as client:
        assert (await client.post("/things", json={"name": "cup"})).status_code == 201
        assert (await client.get("/things")).status_code == 405


class Own(Things):
    async def visible(self, ctx: Context) -> Any:
        return ThingRow.owner == (ctx.user.subject if ctx.user else "")


@both
@async_test
async def test_nobody_writes_what_they_could_not_see(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Own, "/things")) as client:
        answer = await client.post("/things", json={"name": "cup"}, headers={"x-user": "ada"})
        assert answer.status_code == 403
        assert await count(client, ThingRow) == 0


def failing_at_the_end() -> Any:
    yield
    raise PermissionError("the endpoint was content, a dependency is not")


class Guarded(Things):
    dependencies = (Depends(failing_at_the_end, scope="function"),)


@both
@async_test
async def test_a_dependency_that_fails_at_its_end_undoes_the_write(
    database: str, tmp_path: Path
) -> None:
    async with serving(
        database, tmp_path, (Guarded, "/things"), raise_app_exceptions=False
    ) as client:
        assert (await client.post("/things", json={"name": "cup"})).status_code == 500
        assert await count(client, ThingRow) == 0


@both
@async_test
async def test_listeners_of_the_class_are_called(database: str, tmp_path: Path) -> None:
    seen: list[str] = []

    def note(mapper: Any, connection: Any, target: ThingRow) -> None:
        seen.append(target.name)

    event.listen(ThingRow, "before_insert", note)
    try:
        async with serving(database, tmp_path, (Things, "/things")) as client:
            await client.post("/things", json={"name": "cup"})
    finally:
        event.remove(ThingRow, "before_insert", note)
    assert seen == ["cup"]


class Orders(FullViewSet):
    db_model = OrderRow
    pydantic_model = Order
    deep_schema = True


@both
@async_test
async def test_a_nested_item_is_written_into_its_own_tables(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Orders, "/orders")) as client:
        async with client.manager.asession() as session, session.begin():
            session.add(TagRow(name="gift"))
        answer = await client.post(
            "/orders",
            json={
                "note": "quick",
                "customer": {"email": "ada@example.com"},
                "lines": [{"sku": "cup", "quantity": 2}, {"sku": "pot", "quantity": 1}],
                "tags": [{"id": 1, "name": "gift"}],
            },
        )
        assert answer.status_code == 201, answer.text
        assert answer.json() == {
            "id": 1,
            "note": "quick",
            "customer": {"id": 1, "email": "ada@example.com"},
            "lines": [
                {"id": 1, "sku": "cup", "quantity": 2},
                {"id": 2, "sku": "pot", "quantity": 1},
            ],
            "tags": [{"id": 1, "name": "gift"}],
        }
        assert await count(client, LineRow) == 2
        assert (await client.get("/orders/1")).json() == answer.json()


class Judged(Thing):
    @model_validator(mode="after")
    def _is_numbered(self) -> "Judged":
        if self.id < 1000:
            raise ValueError("only numbers from 1000 on can be shown")
        return self


class Judging(Things):
    pydantic_model = Judged


class Loose(BaseModel):
    name: str
    price: int = 0


class Lax(Things):
    create_model = Loose


@both
@async_test
async def test_what_could_not_be_shown_is_not_written(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Judging, "/judged"), (Lax, "/lax")) as client:
        assert (await client.post("/judged", json={"name": "cup"})).status_code == 422
        assert await count(client, ThingRow) == 0
        assert (await client.post("/lax", json={"name": "cup"})).status_code == 201
