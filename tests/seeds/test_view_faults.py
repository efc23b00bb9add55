"""Where fastapi-accelerator's view sets failed, answers are what a client expects."""

from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from backstay.viewset import FullViewSet
from tests.seeds.service import ALICE, Service, both, serving
from tests.support import async_test

NOBODY = UUID(int=1)
ADA = {"name": "Ada", "login": "ada", "email": "ada@example.com"}


class Execution(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    note: str | None = None


class TaskWithExecutions(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    executions: list[Execution] = []


class UserWithTasks(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    login: str
    email: str
    tasks: list[TaskWithExecutions] = []


def with_collections(service: Service) -> None:
    """Users with all their tasks, and with all of those tasks' executions."""

    class DeepUserViewSet(FullViewSet):
        db_model = service.models.User
        pydantic_model = UserWithTasks
        deep_schema = True

    class PlainUserViewSet(FullViewSet):
        db_model = service.models.User
        pydantic_model = service["schemas.user"].User

    router = APIRouter()
    router.views = [  # type: ignore[attr-defined]  # as the documentation writes it
        DeepUserViewSet().as_view(router, prefix="/deep"),
        PlainUserViewSet().as_view(router, prefix="/plain"),
    ]
    service.app.include_router(router)


async def put_two_users_with_one_task(service: Service) -> Any:
    models = service.models
    task = models.Task(
        name="shared",
        executions=[models.TaskExecution(note=note) for note in ("first", "second")],
    )
    users = [models.User(name=n, login=n, email=f"{n}@example.com", tasks=[task]) for n in "ab"]
    await service.put(*users)
    return users[0]


@both
@async_test
async def test_changing_or_deleting_what_is_not_there_is_answered_with_404(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, prepare=with_collections) as service:
        client = service.client
        client.headers.update(await service.as_user(ALICE))
        for place, body in (
            ("/plain/7", ADA),
            ("/deep/7", ADA),
            (f"/api/v1/file/{NOBODY}", {"filename": "a"}),
            ("/api/v1/taskexecution/7", {"task": {"name": "t"}}),
        ):
            for answer in (
                await client.put(place, json=body),
                await client.patch(place, json=body),
                await client.delete(place),
                await client.get(place),
            ):
                assert answer.status_code == 404, (answer.request.method, place)
                assert answer.headers["content-type"] == "application/problem+json"


@both
@async_test
async def test_a_value_that_is_taken_is_answered_with_409(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, prepare=with_collections) as service:
        client = service.client
        await client.post("/plain", json=ADA)
        bob = {"name": "Bob", "login": "bob", "email": "bob@example.com"}
        made = (await client.post("/plain", json=bob)).json()
        for place in ("/plain", "/deep", "/api/v1/user"):
            assert (await client.post(place, json=ADA)).status_code == 409
            own = f"{place}/{made['id']}"
            assert (await client.put(own, json=ADA)).status_code == 409
            assert (await client.patch(own, json={"email": ADA["email"]})).status_code == 409
        assert (await client.get(f"/plain/{made['id']}")).json()["email"] == "bob@example.com"


@both
@async_test
async def test_count_is_how_many_there_are_and_not_how_many_are_on_the_page(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        await service.put(*(service.models.File(filename=f"f{i}") for i in range(7)))
        seen = []
        for page, length in ((1, 3), (2, 3), (3, 1), (4, 0)):
            answer = (await service.client.get(f"/api/v1/file?page={page}&size=3")).json()
            assert {name: answer[name] for name in ("page", "size", "count", "pages")} == {
                "page": page,
                "size": 3,
                "count": 7,
                "pages": 3,
            }
            assert len(answer["items"]) == length
            seen += [each["uid"] for each in answer["items"]]
        assert len(set(seen)) == 7


SENSELESS = {
    "/plain": ["skip=-1", "limit=0", "limit=-1", "limit=1000000", "skip=9" + 20 * "0", "limit=x"],
    "/api/v1/file": ["page=0", "page=-1", "size=0", "size=1000000", "page=9" + 20 * "0", "size=x"],
}


@both
@async_test
async def test_a_list_gives_no_part_that_makes_no_sense_or_has_no_bound(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, prepare=with_collections) as service:
        for place, queries in SENSELESS.items():
            for query in queries:
                answer = await service.client.get(f"{place}?{query}")
                assert (answer.status_code, query) == (422, query)


@both
@async_test
async def test_a_list_without_pages_is_in_the_order_of_the_primary_key(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, prepare=with_collections) as service:
        client, models = service.client, service.models
        keys = [5, 2, 9, 1, 7]
        for key in keys:
            await service.put(models.User(id=key, name="n", login="l", email=f"{key}@e.ee"))
        await client.patch("/plain/1", json={"name": "changed"})  # which moves it, in PostgreSQL
        for place in ("/plain", "/deep"):
            found = [each["id"] for each in (await client.get(place)).json()]
            assert found == sorted(keys)
            found = [each["id"] for each in (await client.get(f"{place}?skip=1&limit=2")).json()]
            assert found == [2, 5]


@both
@async_test
async def test_a_deep_list_has_each_item_once_with_its_whole_collections(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, prepare=with_collections) as service:
        await put_two_users_with_one_task(service)
        answer = await service.client.get("/deep")
        assert answer.status_code == 200
        users = answer.json()
        assert [each["name"] for each in users] == ["a", "b"]
        for user in users:
            (task,) = user["tasks"]
            assert (task["name"], len(task["executions"])) == ("shared", 2)
            assert (await service.client.get(f"/deep/{user['id']}")).json() == user


@both
@async_test
async def test_a_deep_create_takes_lists(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, prepare=with_collections) as service:
        sent = {
            **ADA,
            "tasks": [{"name": "new"}, {"name": "other", "executions": [{"note": "n"}]}],
        }
        answer = await service.client.post("/deep", json=sent)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert [each["name"] for each in made["tasks"]] == ["new", "other"]
        assert made["tasks"][1]["executions"][0]["note"] == "n"
        assert (await service.client.get(f"/deep/{made['id']}")).json() == made


@both
@async_test
async def test_a_deep_change_leaves_alone_what_was_not_sent_and_writes_collections(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        models, client = service.models, service.client
        client.headers.update(await service.as_user(ALICE))
        execution = models.TaskExecution(
            note="kept",
            secret_rate=9,
            task=models.Task(name="t", description="kept too"),
            measurements=[models.Measurement(seconds=1), models.Measurement(seconds=2)],
        )
        await service.put(execution)
        place = f"/api/v1/taskexecution/{execution.id}"
        before = (await client.get(place)).json()
        answer = await client.patch(place, json={"measurements": [{"seconds": 8}]})
        assert answer.status_code == 200, answer.text
        after = answer.json()
        assert [each["seconds"] for each in after["measurements"]] == [8]
        assert {**after, "measurements": before["measurements"]} == before
        async with service.manager.asession() as session:
            assert (await session.get(models.TaskExecution, execution.id)).secret_rate == 9
        assert await service.count(models.Measurement) == 1


@both
@async_test
async def test_deleting_a_user_leaves_a_shared_task_and_its_executions(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, prepare=with_collections) as service:
        user = await put_two_users_with_one_task(service)
        models, client = service.models, service.client
        assert (await client.delete(f"/deep/{user.id}")).status_code == 204
        assert await service.count(models.User) == 1
        assert await service.count(models.Task) == 1
        assert await service.count(models.TaskExecution) == 2
        assert await service.count(models.TaskUser) == 1  # the other's


@both
@async_test
async def test_a_row_that_others_refer_to_is_not_changed_by_way_of_them(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        models, client = service.models, service.client
        client.headers.update(await service.as_user(ALICE))
        await service.put(models.TaskExecution(id=1, task=models.Task(id=1, name="shared")))
        answer = await client.patch(
            "/api/v1/taskexecution/1", json={"task": {"id": 1, "name": "renamed"}}
        )
        assert answer.status_code == 422, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        item = (await client.get("/api/v1/taskexecution/1")).json()
        assert item["task"]["name"] == "shared"
