"""What a view set is told, and what becomes of it."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI
from pydantic import BaseModel

from backstay.context import Context
from backstay.errors import BadViewSet
from backstay.tasks import add_tasks, task
from backstay.viewset import (
    DefaultPaginator,
    FullViewSet,
    GenericViewSet,
    ViewSetList,
    ViewSetRetrieve,
    action,
)
from backstay.web import Ctx
from tests.support import async_test
from tests.viewset.stage import Thing, ThingRow, both, serving


def jwt_auth() -> None: ...


class Things(FullViewSet):
    """What there is."""

    db_model = ThingRow
    pydantic_model = Thing


class Told(Things):
    """What there is, told more about."""

    tags = ("stock",)
    dependencies = (Depends(jwt_auth),)
    paginator_class = DefaultPaginator
    deep_schema = True


def test_as_view_returns_the_view_set_with_what_overrides_use() -> None:
    router = APIRouter()
    view = Told().as_view(router, prefix="/things")
    assert view.router is router
    assert (view.prefix, view.tags, view.deep_schema) == ("/things", ["stock"], True)
    assert view.db_model is ThingRow
    assert view.pydantic_model is Thing
    assert view.dependencies == Told.dependencies
    assert view.name_pk == "id"


def test_a_view_set_describes_its_tag() -> None:
    view = Told().as_view(APIRouter(), prefix="/things")
    assert view.openapi_tag == {
        "name": "stock",
        "description": "What there is, told more about.: **db_model**=ThingRow "
        "**dependencies**=[jwt_auth] **deep_schema**=On",
    }
    assert Things().as_view(APIRouter(), prefix="/things").tags == ["Things"]


def test_what_is_missing_is_said_with_the_class() -> None:
    class Nothing(FullViewSet):
        db_model = ThingRow

    with pytest.raises(BadViewSet, match="Nothing has no pydantic_model"):
        Nothing().as_view(APIRouter(), prefix="/things")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("db_model", Thing, "no mapped class"),
        ("version_field", "revision", "has only the columns"),
        ("soft_delete", "name", "a DateTime or a Boolean column"),
        ("filter_fields", ["revision"], "revision"),
        ("ordering_fields", ["revision"], "revision"),
        ("search_fields", ["price"], "price"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_said(name: str, value: Any, message: str) -> None:
    with pytest.raises(BadViewSet, match=message):
        type("Wrong", (Things,), {name: value})().as_view(APIRouter(), prefix="/things")


def test_a_prefix_begins_with_a_slash() -> None:
    with pytest.raises(BadViewSet, match="'/products'"):
        Things().as_view(APIRouter(), prefix="things")


class ReadOnly(ViewSetList, ViewSetRetrieve, GenericViewSet):
    db_model = ThingRow
    pydantic_model = Thing


@async_test
async def test_mix_ins_are_the_verbs(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path, (ReadOnly, "/things")) as client:
        assert (await client.get("/things")).json() == []
        assert (await client.get("/things/1")).status_code == 404
        for send in (client.put, client.patch):
            assert (await send("/things/1", json={"name": "x"})).status_code == 405


class Active(Things):
    @action(detail=True)
    async def halve(self, item_id: int, ctx: Ctx) -> Thing:
        thing = await self.get_object(item_id, ctx)
        thing.price //= 2
        return Thing.model_validate(thing)

    @action(detail=False, methods=["GET"])
    async def how_many(self, ctx: Ctx) -> dict[str, int]:
        return {"things": len(await ctx.db.fetch(self.plan.select))}


@both
@async_test
async def test_actions_are_routes_that_commit_what_they_change(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Active, "/things")) as client:
        await client.post("/things", json={"name": "cup", "price": 8})
        assert (await client.post("/things/1/halve")).json()["price"] == 4
        assert (await client.get("/things/1")).json()["price"] == 4
        assert (await client.post("/things/9/halve")).status_code == 404
        assert (await client.get("/things/how-many")).json() == {"things": 1}


def test_an_action_about_one_item_takes_its_id() -> None:
    class Wrong(Things):
        @action(detail=True)
        async def halve(self) -> None: ...

    with pytest.raises(BadViewSet, match="item_id"):
        Wrong().as_view(APIRouter(), prefix="/things")


class Seed(Things):
    """Overridden the way the documentation shows."""

    def list(self) -> Any:
        @self.router.get(f"{self.prefix}", tags=self.tags)
        async def everything() -> list[self.pydantic_model]:  # type: ignore[name-defined]  # evaluated where it stands
            return [Thing(id=7, name="not from the table")]

        return everything


@async_test
async def test_a_route_can_be_replaced_by_ones_own(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path, (Seed, "/things")) as client:
        assert [each["id"] for each in (await client.get("/things")).json()] == [7]
        assert (await client.get("/things/7")).status_code == 404


RUNS: list[int] = []


@task
async def note(thing_id: int) -> None:
    RUNS.append(thing_id)


class Scheduling(Things):
    async def before_commit(self, action: str, obj: Any, ctx: Context) -> None:
        ctx.tasks.durable.schedule(note, obj.id)
        if obj.name == "unlucky":
            raise PermissionError("no")


@async_test
async def test_a_durable_task_is_committed_with_the_item_or_not_at_all(tmp_path: Path) -> None:
    RUNS.clear()
    url = f"sqlite:///{tmp_path}/stage.db"

    def prepare(app: FastAPI) -> None:
        add_tasks(app, database=url, worker=False)

    async with serving(
        "sqlite",
        tmp_path,
        (Scheduling, "/things"),
        prepare=prepare,
        raise_app_exceptions=False,
    ) as client:
        assert (await client.post("/things", json={"name": "unlucky"})).status_code == 500
        assert (await client.post("/things", json={"name": "cup"})).status_code == 201
        await client.drain()
        assert RUNS == [1]


@async_test
async def test_one_view_set_can_stand_in_two_places(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path, (Things, "/things"), (Things, "/again")) as client:
        await client.post("/things", json={"name": "cup"})
        assert len((await client.get("/again")).json()) == 1
        spec = (await client.get("/openapi.json")).json()
        ids = [each["operationId"] for path in spec["paths"].values() for each in path.values()]
        assert len(ids) == len(set(ids))


class Unsafe(BaseModel):
    model_config = {"from_attributes": True}

    id: int
    name: str
    price: int = 0
    owner: str
    secret: str = ""


class Choosing(Things):
    pydantic_model = Thing
    create_model = Unsafe


@async_test
async def test_an_input_schema_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path, (Choosing, "/things")) as client:
        sent = {"id": 5, "name": "cup", "owner": "ada", "secret": "x"}
        assert (await client.post("/things", json=sent)).json() == {
            "id": 5,
            "name": "cup",
            "price": 0,
        }
        async with client.manager.asession() as session:
            assert (await session.get(ThingRow, 5)).owner == "ada"
