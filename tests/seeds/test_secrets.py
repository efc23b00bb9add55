"""What fastapi-accelerator's view sets let out, or in, does not pass here."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter

from backstay.testing import track_queries
from backstay.viewset import DefaultPaginator, FullViewSet
from tests.seeds.service import ALICE, Service, both, serving
from tests.support import async_test

SECRETS = ("password_hash", "$argon2", "is_admin", "storage_key", "s3://", "secret_rate", "4711")


def with_pages(service: Service) -> None:
    """Users in pages, kept, with none of the overrides that the service's own view set has."""

    class PagedUserViewSet(FullViewSet):
        db_model = service.models.User
        pydantic_model = service["schemas.user"].User
        paginator_class = DefaultPaginator
        cache_class = service["core.cache"].redis_client

    class PlainUserViewSet(FullViewSet):
        db_model = service.models.User
        pydantic_model = service["schemas.user"].User

    router = APIRouter()
    router.views = [  # type: ignore[attr-defined]  # as the documentation writes it
        PagedUserViewSet().as_view(router, prefix="/paged"),
        PlainUserViewSet().as_view(router, prefix="/plain"),
    ]
    service.app.include_router(router)


def ada(service: Service, **more: Any) -> Any:
    values = {"name": "Ada", "login": "ada", "email": "ada@example.com", **more}
    return service.models.User(**values)


@both
@async_test
async def test_no_answer_has_a_column_that_the_schema_does_not_have(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, prepare=with_pages) as service:
        models, client = service.models, service.client
        file = models.File(filename="a")
        await service.put(
            file, ada(service), models.TaskExecution(id=1, task=models.Task(name="t"))
        )
        client.headers.update(await service.as_user(ALICE))
        for path in (
            *("/paged", "/paged/1", "/plain", "/plain/1", "/api/v1/user", "/api/v1/user/1"),
            *("/api/v1/file", f"/api/v1/file/{file.uid}", f"/cached/files/{file.uid}"),
            *("/api/v1/taskexecution", "/api/v1/taskexecution/1", "/file", f"/file/{file.uid}"),
        ):
            for _ in range(2):
                answer = await client.get(path)
                assert answer.status_code == 200
                assert not [each for each in SECRETS if each in answer.text], path
        answers = [
            await client.put("/paged/1", json={"name": "A", "login": "a", "email": "a@a.aa"}),
            await client.post("/paged", json={"name": "B", "login": "b", "email": "b@b.bb"}),
            await client.patch("/paged/1", json={"name": "C"}),
            await client.get("/openapi.json"),
        ]
        for answer in answers:
            assert not [each for each in SECRETS if each in answer.text]


@both
@async_test
async def test_secret_columns_are_not_even_asked_for(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, prepare=with_pages) as service:
        await service.put(ada(service))
        with track_queries(service.manager) as tracker:
            await service.client.get("/paged")
            await service.client.get("/plain/1")
        assert tracker.count >= 2
        assert not any("password_hash" in str(each) for each in tracker.queries)


@both
@async_test
async def test_clients_do_not_choose_the_key_that_the_database_makes(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        client = service.client
        sent = {"id": 999, "name": "Ada", "login": "ada", "email": "ada@example.com"}
        made = (await client.post("/api/v1/user", json=sent)).json()
        assert made["id"] == 1
        for change in (client.put, client.patch):
            answer = await change("/api/v1/user/1", json={**sent, "id": 5})
            assert answer.status_code == 200
            assert answer.json()["id"] == 1
        assert (await client.get("/api/v1/user/5")).status_code == 404


@both
@async_test
async def test_clients_write_no_column_that_the_schema_does_not_have(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path) as service:
        client, models = service.client, service.models
        sent = {"name": "Eve", "login": "eve", "email": "e@e.ee"}
        evil = {"is_admin": True, "password_hash": "mine"}
        await client.post("/api/v1/user", json={**sent, **evil})
        await client.put("/api/v1/user/1", json={**sent, **evil})
        await client.patch("/api/v1/user/1", json=evil)
        async with service.manager.asession() as session:
            eve = await session.get(models.User, 1)
            assert (eve.is_admin, eve.password_hash) == (False, "$argon2id$secret")


@both
@async_test
async def test_a_conflict_shows_neither_sql_nor_what_is_there(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, prepare=with_pages) as service:
        await service.put(ada(service, phone="+49 1"))
        sent = {"name": "Eve", "login": "eve", "email": "ada@example.com"}
        answer = await service.client.post("/api/v1/user", json=sent)
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert "email" in answer.text
        for each in ("INSERT", "users", "+49 1", "UNIQUE", "constraint", *SECRETS):
            assert each not in answer.text
