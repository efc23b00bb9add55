"""Many items in one request."""

from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from backstay.context import Context
from backstay.viewset import FullViewSet, ViewSetBulk
from tests.support import async_test
from tests.viewset.stage import Thing, ThingRow, both, serving


class Things(ViewSetBulk, FullViewSet):
    db_model = ThingRow
    pydantic_model = Thing
    bulk_limit = 3


class Hooked(Things):
    async def before_commit(self, action: str, obj: Any, ctx: Context) -> None:
        if obj.name == "unlucky":
            raise PermissionError("no")


async def count(client: Any) -> int:
    async with client.manager.asession() as session:
        return int(await session.scalar(select(func.count()).select_from(ThingRow)))


@both
@async_test
async def test_many_are_created_and_answered_in_their_order(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things"), (Hooked, "/hooked")) as client:
        for path in ("/things", "/hooked"):
            names = [f"{path} {letter}" for letter in "cab"]
            answer = await client.post(f"{path}/bulk", json=[{"name": name} for name in names])
            assert answer.status_code == 201, answer.text
            assert [each["name"] for each in answer.json()] == names
        mixed = [{"name": "with", "price": 2}, {"name": "without"}]
        answer = await client.post("/things/bulk", json=mixed)
        assert [each["price"] for each in answer.json()] == [2, 0]


@both
@async_test
async def test_if_one_will_not_do_none_is_created(database: str, tmp_path: Path) -> None:
    async with serving(
        database,
        tmp_path,
        (Things, "/things"),
        (Hooked, "/hooked"),
        raise_app_exceptions=False,
    ) as client:
        for path in ("/things", "/hooked"):
            twice = await client.post(f"{path}/bulk", json=[{"name": "cup"}, {"name": "cup"}])
            assert twice.status_code == 409
            wrong = await client.post(f"{path}/bulk", json=[{"name": "cup"}, {"name": ""}])
            assert wrong.status_code == 422
        unlucky = [{"name": "cup"}, {"name": "unlucky"}]
        assert (await client.post("/hooked/bulk", json=unlucky)).status_code == 500
        assert await count(client) == 0


@both
@async_test
async def test_a_bulk_has_a_limit_and_is_not_empty(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        four = [{"name": str(number)} for number in range(4)]
        assert (await client.post("/things/bulk", json=four)).status_code == 422
        assert (await client.post("/things/bulk", json=[])).status_code == 422
        assert (await client.delete("/things/bulk")).status_code == 422
        assert await count(client) == 0


@both
@async_test
async def test_many_are_changed_or_none(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        await client.post("/things/bulk", json=[{"name": "a"}, {"name": "b"}])
        changes = [{"id": 2, "price": 7}, {"id": 1, "name": "c"}]
        answer = await client.patch("/things/bulk", json=changes)
        assert answer.json() == [
            {"id": 2, "name": "b", "price": 7},
            {"id": 1, "name": "c", "price": 0},
        ]
        missing = [{"id": 1, "price": 9}, {"id": 99, "price": 9}]
        assert (await client.patch("/things/bulk", json=missing)).status_code == 404
        assert (await client.get("/things/1")).json()["price"] == 0


@both
@async_test
async def test_many_are_deleted_or_none(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, (Things, "/things")) as client:
        await client.post("/things/bulk", json=[{"name": "a"}, {"name": "b"}, {"name": "c"}])
        assert (await client.delete("/things/bulk?id=1&id=99")).status_code == 404
        assert await count(client) == 3
        answer = await client.delete("/things/bulk?id=1&id=3")
        assert answer.json() == {"deleted": 2}
        assert await count(client) == 1
