"""fastapi-accelerator's view sets, as its documentation writes them."""

from pathlib import Path
from typing import get_args
from uuid import UUID

from fastapi import routing
from sqlalchemy import event

from backstay.auth import jwt_auth
from tests.seeds.service import ALICE, both, serving
from tests.support import async_test

ADA = {"name": "Ada", "login": "ada", "email": "ada@example.com"}


@both
@async_test
async def test_a_view_set_with_pages_and_a_cache_serves_its_table(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        client = service.client
        answer = await client.post("/api/v1/file", json={"filename": "a.txt"})
        made = answer.json()
        assert (answer.status_code, sorted(made)) == (201, ["filename", "uid"])
        place = f"/api/v1/file/{made['uid']}"
        assert answer.headers["location"] == place

        for expected in ("MISS", "HIT"):
            answer = await client.get("/api/v1/file")
            assert answer.headers["x-cache"] == expected
            assert answer.json() == {
                "page": 1,
                "size": 10,
                "count": 1,
                "pages": 1,
                "items": [made],
            }
            answer = await client.get(place)
            assert (answer.headers["x-cache"], answer.json()) == (expected, made)

        answer = await client.put(place, json={"filename": "b.txt"})
        assert answer.json() == {**made, "filename": "b.txt"}
        assert (await client.get(place)).json() == answer.json()
        assert (await client.delete(place)).status_code == 204
        assert (await client.get(place)).status_code == 404
        assert (await client.get("/api/v1/file")).json()["items"] == []


@both
@async_test
async def test_an_overridden_db_update_is_what_put_and_patch_go_through(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        client = service.client
        made = (await client.post("/api/v1/file", json={"filename": "a.txt"})).json()
        place = f"/api/v1/file/{made['uid']}"
        assert (await client.put(place, json={"filename": "b"})).json()["filename"] == "b"
        assert (await client.patch(place, json={"filename": "c"})).json()["filename"] == "c"
        assert [str(each) for each in service["api.router"].updated] == [made["uid"]] * 2


@both
@async_test
async def test_an_overridden_list_is_the_list_and_the_other_verbs_stay(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        client = service.client
        ada = (await client.post("/api/v1/user", json=ADA)).json()
        assert ada == {"id": ada["id"], "phone": None, **ADA}
        bob = {"name": "Bob", "login": "bob", "email": "bob@example.com"}
        await client.post("/api/v1/user", json=bob)
        place = f"/api/v1/user/{ada['id']}"
        assert [each["name"] for each in (await client.get("/api/v1/user")).json()] == [
            "Ada",
            "Bob",
        ]
        assert len((await client.get("/api/v1/user?skip=1&limit=5")).json()) == 1
        assert (await client.get(place)).json() == ada
        assert (await client.delete(place)).status_code == 204
        # FastAPI before 0.137 has copies of included routes among the app's own.
        in_context = getattr(routing, "iter_route_contexts", iter)
        names = [route.name for route in in_context(service.app.routes)]
        assert "get_list_items" in names
        assert not any(name == "user.list" for name in names)


@both
@async_test
async def test_nested_schemas_are_written_into_their_own_tables(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        client = service.client
        client.headers.update(await service.as_user(ALICE))
        answer = await client.post(
            "/api/v1/taskexecution",
            json={
                "start_time": "2024-09-06T10:55:43",
                "note": "first",
                "task": {"name": "Admins"},
                "measurements": [{"seconds": 3}, {"seconds": 5}],
            },
        )
        made = answer.json()
        assert answer.status_code == 201, made
        assert (made["start_time"], made["task"]["name"]) == ("2024-09-06T10:55:43", "Admins")
        assert [each["seconds"] for each in made["measurements"]] == [3, 5]
        place = answer.headers["location"]
        assert (await client.get(place)).json() == made
        page = (await client.get("/api/v1/taskexecution")).json()
        assert (page["count"], page["items"]) == (1, [made])

        # Another one of the same task is linked to it by its key.
        second = {"task": {"id": made["task"]["id"]}, "measurements": []}
        answer = await client.post("/api/v1/taskexecution", json=second)
        assert answer.json()["task"] == made["task"]
        assert await service.count(service.models.Task) == 1

        # What is not sent stays; measurements are the execution's own: changed, made and dropped.
        kept = made["measurements"][0]
        answer = await client.put(
            place,
            json={
                "note": "second",
                "task": made["task"],
                "measurements": [{**kept, "seconds": 4}, {"seconds": 9}],
            },
        )
        changed = answer.json()
        assert answer.status_code == 200, changed
        assert (changed["start_time"], changed["note"]) == (made["start_time"], "second")
        assert [each["seconds"] for each in changed["measurements"]] == [4, 9]
        assert changed["measurements"][0]["id"] == kept["id"]
        assert await service.count(service.models.Measurement) == 2

        assert (await client.delete(place)).status_code == 204
        assert await service.count(service.models.Measurement) == 0
        assert await service.count(service.models.Task) == 1


@async_test
async def test_dependencies_of_a_view_set_guard_each_of_its_routes(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path) as service:
        place = "/api/v1/taskexecution"
        for method, path in (
            ("GET", place),
            ("POST", place),
            *((method, f"{place}/1") for method in ("GET", "PUT", "PATCH", "DELETE")),
        ):
            answer = await service.client.request(method, path, json={})
            assert answer.status_code == 401, (method, path)
        answer = await service.client.get(place, headers=await service.as_user(ALICE))
        assert answer.status_code == 200
        paths = (await service.client.get("/openapi.json")).json()["paths"]
        assert all("security" in each for each in paths[place].values())
        assert not any("security" in each for each in paths["/api/v1/user"].values())


@async_test
async def test_reading_a_nested_page_takes_as_many_queries_as_it_has_tables(
    tmp_path: Path,
) -> None:
    async with serving("sqlite", tmp_path) as service:
        models = service.models
        await service.put(
            *(
                models.TaskExecution(
                    task=models.Task(name=f"task {i}"),
                    measurements=[models.Measurement(seconds=i) for _ in range(3)],
                )
                for i in range(8)
            )
        )
        alice = await service.as_user(ALICE)
        statements: list[str] = []

        def note(*args: object) -> None:
            if not str(args[2]).startswith(("BEGIN", "PRAGMA")):
                statements.append(str(args[2]))

        for engine in (service.manager.engine, service.manager.aengine.sync_engine):
            event.listen(engine, "before_cursor_execute", note)
        page = (await service.client.get("/api/v1/taskexecution", headers=alice)).json()
        assert [len(each["measurements"]) for each in page["items"]] == [3] * 8
        assert len(statements) <= 4, statements


@async_test
async def test_overrides_find_what_they_use(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path) as service:
        router = service["api.router"].router
        files, users, executions = router.views
        assert files.router is users.router is executions.router is router
        assert files.prefix == "/file"
        assert users.tags == ["UserViewSet"]
        assert executions.deep_schema
        assert not users.deep_schema
        assert (get_args(users.type_item_id)[0], files.type_item_id) == (int, UUID)
        assert executions.dependencies[0].dependency is jwt_auth
        assert files.openapi_tag["name"] == "FileViewSet"
        assert "Files and what they are called" in files.openapi_tag["description"]
