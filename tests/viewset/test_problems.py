"""Problem details of view sets' routes: invalid requests, and errors as late as the commit."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, Field
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay.db import MainDatabaseManager, add_database
from backstay.testing import running
from backstay.viewset import FullViewSet
from backstay.viewset.problems import PROBLEM_RESPONSES, ProblemRoute
from backstay.web import Ctx, install
from tests.support import async_test
from tests.viewset.stage import both, url_of


class Base(DeclarativeBase):
    pass


class ParentRow(Base):
    __tablename__ = "parents"
    id: Mapped[int] = mapped_column(primary_key=True)


class ChildRow(Base):
    __tablename__ = "children"
    id: Mapped[int] = mapped_column(primary_key=True)
    parent_id: Mapped[int] = mapped_column(
        ForeignKey("parents.id", deferrable=True, initially="DEFERRED")
    )


class Child(BaseModel):
    id: int
    parent_id: int


class Children(FullViewSet):
    db_model = ChildRow
    pydantic_model = Child


class Loud(Children):
    """The same in a transaction of the request's."""

    async def before_commit(self, action: str, obj: Any, ctx: Any) -> None: ...


@both
@async_test
async def test_what_only_the_commit_finds_out_is_answered_as_well(
    database: str, tmp_path: Path
) -> None:
    with url_of(database, tmp_path) as url:
        manager = MainDatabaseManager(url, DEV_STATUS=True, base=Base)
        await manager.acreate_all()
        app = FastAPI()
        add_database(app, manager)
        router = APIRouter()
        Children().as_view(router, "/children")
        Loud().as_view(router, "/loud")
        app.include_router(router)
        async with running(app) as client:
            for path in ("/children", "/loud"):
                answer = await client.post(path, json={"parent_id": 99})
                assert answer.status_code == 422, answer.text
                assert answer.headers["content-type"] == "application/problem+json"
                assert "constraint" not in answer.text
                assert (await client.get(path)).json() == []


class Wish(BaseModel):
    name: str = Field(min_length=3)


def app_of_one_route() -> FastAPI:
    app = FastAPI()
    install(app, env_file=None)
    router = APIRouter(route_class=ProblemRoute)

    @router.post("/wishes/{number}")
    async def wish(number: int, wish: Wish, ctx: Ctx) -> None: ...

    app.include_router(router)
    return app


@async_test
async def test_an_invalid_request_says_where_and_does_not_repeat_what_was_sent() -> None:
    async with running(app_of_one_route()) as client:
        answer = await client.post("/wishes/x", json={"name": "s3"})
        assert answer.status_code == 422
        body = answer.json()
        assert body["title"] == "Unprocessable Content"
        assert body["instance"] == "/wishes/x"
        assert [each["loc"] for each in body["errors"]] == [["path", "number"], ["body", "name"]]
        assert all(set(each) == {"loc", "msg", "type"} for each in body["errors"])
        assert "s3" not in answer.text


@async_test
async def test_what_is_no_json_is_a_422_too() -> None:
    async with running(app_of_one_route()) as client:
        answer = await client.post(
            "/wishes/1", content=b"{", headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["type"] == "json_invalid"


def test_every_problem_is_documented_with_its_media_type() -> None:
    for status, response in PROBLEM_RESPONSES.items():
        assert response["content"]["application/problem+json"]["example"]["status"] == status
