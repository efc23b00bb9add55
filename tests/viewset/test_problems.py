"""What a client hears when a request cannot be: problem details (RFC 9457) for view sets' routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from backstay.context import Context
from backstay.errors import ItemInvalid
from backstay.viewset import FullViewSet, ViewSetBulk, action
from backstay.viewset.problems import PROBLEM_RESPONSES, Problem, ProblemRoute, explained
from tests.support import async_test
from tests.viewset.stage import POSTGRES, Base, Thing, ThingRow, both, serving

PROBLEM = "application/problem+json"


class MemberRow(Base):
    """Somebody whose reference is checked when the transaction ends."""

    __tablename__ = "members"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    thing_id: Mapped[int | None] = mapped_column(
        ForeignKey("things.id", deferrable=True, initially="DEFERRED")
    )


class Member(BaseModel):
    id: int
    name: str
    thing_id: int | None = None


class Members(FullViewSet):
    db_model = MemberRow
    pydantic_model = Member

    async def before_commit(self, action: str, obj: Any, ctx: Context) -> None:
        """So that the transaction ends at the request's end, and not in the endpoint."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    id: int
    name: str = Field(min_length=1, max_length=50, alias="theName")
    price: int = Field(0, ge=0)


class Stricts(FullViewSet, ViewSetBulk):
    db_model = ThingRow
    pydantic_model = Strict


class Cheap(BaseModel):
    id: int
    name: str
    price: int = 0

    @model_validator(mode="after")
    def cups_are_cheap(self) -> Cheap:
        # It asks for the key, so it has nothing to say before there is one.
        if self.id and self.name.startswith("cup") and self.price > 10:
            raise ValueError("cups are cheap")
        return self


class Cheaps(FullViewSet, ViewSetBulk):
    db_model = ThingRow
    pydantic_model = Cheap

    async def before_commit(self, action: str, obj: Any, ctx: Context) -> None:
        """So that what is new can be undone."""

    @action(detail=False)
    async def faulty(self) -> dict[str, str]:
        """Fail as code of one's own does."""
        return {"key": "\ud800".encode().decode()}


def places(answer: Any) -> list[list[str | int]]:
    return [each["loc"] for each in answer.json()["errors"]]


@both
@async_test
async def test_every_wrong_part_is_named_as_the_client_knows_it(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Stricts, "/things")) as client:
        sent = {"theName": "", "price": -1, "bogus": "secret value"}
        answer = await client.post("/things", json=sent)
        assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
        assert places(answer) == [["body", "theName"], ["body", "price"], ["body", "bogus"]]
        assert "body.price: Input should be greater than or equal to 0" in answer.json()["detail"]
        assert "secret value" not in answer.text
        assert answer.json()["instance"] == "/things"

        for path, where in (
            ("/things/x", ["path", "item_id"]),
            ("/things?limit=x", ["query", "limit"]),
        ):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
            assert places(answer) == [where]


@async_test
async def test_a_body_that_is_no_json_or_no_text_is_a_422(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path, (Stricts, "/things")) as client:
        headers = {"content-type": "application/json"}
        for body in (b'{"theName"', b'{"\\ud800": 1}', b'{"theName": "\\ud800"}', b"[]", b"null"):
            answer = await client.post("/things", content=body, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM), body


@both
@async_test
async def test_a_taken_value_is_a_409_by_the_name_that_clients_know(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Stricts, "/things")) as client:
        for status in (201, 409):
            answer = await client.post("/things", json={"theName": "cup"})
            assert answer.status_code == status
        assert answer.json()["errors"] == [
            {
                "loc": ["body", "theName"],
                "msg": "there is one with this value already",
                "type": "taken",
            }
        ]
        assert answer.json()["detail"] == "theName: there is one with this value already."


@both
@async_test
async def test_what_is_found_out_when_the_transaction_ends_is_answered_too(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Members, "/members")) as client:
        answer = await client.post("/members", json={"name": "ada", "thing_id": 99})
        assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
        assert "FOREIGN KEY" not in answer.text
        if database != "sqlite":  # which does not say which
            assert places(answer) == [["body", "thing_id"]]
        assert (await client.get("/members")).json() == []


@both
@async_test
async def test_what_does_not_fit_together_is_a_422_and_not_written(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, (Cheaps, "/things")) as client:
        cup = {"name": "cup", "price": 11}
        requests: list[tuple[str, str, Any]] = [
            ("POST", "/things", cup),
            ("POST", "/things/bulk", [{"name": "pot"}, cup]),
        ]
        for method, path, body in requests:
            answer = await client.request(method, path, json=body)
            assert answer.status_code == 422, answer.text
            assert "cups are cheap" in answer.json()["detail"]
        assert (await client.get("/things")).json() == []

        before = (await client.post("/things", json={**cup, "price": 1})).json()
        place, key = f"/things/{before['id']}", before["id"]
        requests = [
            ("PATCH", place, {"price": 11}),
            ("PUT", place, cup),
            ("PATCH", "/things/bulk", [{"id": key, "price": 11}]),
        ]
        for method, path, body in requests:
            answer = await client.request(method, path, json=body)
            assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)
            assert (await client.get("/things")).json() == [before]


@async_test
async def test_what_is_stored_and_does_not_fit_is_the_servers_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving("sqlite", tmp_path, (Cheaps, "/things")) as client:
        async with client.manager.asession() as session, session.begin():  # type: ignore[attr-defined]  # the stage's
            session.add(ThingRow(name="cup", price=99))
        for path in ("/things", "/things/1"):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
            assert "cups are cheap" not in answer.text
    assert "Cheap does not take 1 of the values it is to answer" in caplog.text


@async_test
async def test_a_fault_in_code_of_ones_own_is_a_500(tmp_path: Path) -> None:
    async with serving(
        "sqlite", tmp_path, (Cheaps, "/things"), raise_app_exceptions=False
    ) as client:
        assert (await client.post("/things/faulty")).status_code == 500


@async_test
async def test_a_database_that_is_gone_is_a_503_that_says_when_to_come_again(
    tmp_path: Path,
) -> None:
    async with serving("postgresql", tmp_path, (Stricts, "/things")) as client:
        database = client.manager.database  # type: ignore[attr-defined]  # the stage's
        with database.redirected(f"{POSTGRES.replace('5432', '1')}"):
            for method, body in (("GET", None), ("POST", {"theName": "cup"})):
                answer = await client.request(method, "/things", json=body)
                assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
                assert answer.headers["retry-after"] == "2"
                assert "127.0.0.1" not in answer.text


@async_test
async def test_other_routes_of_the_app_stay_as_fastapi_has_them(tmp_path: Path) -> None:
    def prepare(app: FastAPI) -> None:
        @app.post("/other")
        async def other(item: Thing) -> None: ...

    async with serving("sqlite", tmp_path, (Stricts, "/things"), prepare=prepare) as client:
        answer = await client.post("/other", json={})
        assert (answer.status_code, list(answer.json())) == (422, ["detail"])


def test_a_route_class_of_the_routers_own_is_kept() -> None:
    class Timed(ProblemRoute):
        pass

    router = APIRouter(route_class=Timed)
    Stricts().as_view(router, "/things")
    assert router.route_class is Timed
    assert all(isinstance(each, Timed) for each in router.routes)
    assert {each.db_model for each in router.routes if isinstance(each, Timed)} == {ThingRow}


def test_the_documentation_of_problems_stands_by_itself() -> None:
    app = FastAPI()
    router = APIRouter()
    Stricts().as_view(router, "/things")
    app.include_router(router)
    operation = app.openapi()["paths"]["/things/{item_id}"]["patch"]
    assert {"404", "409", "422"} <= operation["responses"].keys()
    for status, described in PROBLEM_RESPONSES.items():
        (media, content), *others = described["content"].items()
        assert (media, others) == (PROBLEM, [])
        assert "$ref" not in str(content)
        assert "$defs" not in str(content)
        Draft202012Validator.check_schema(content["schema"])
        Draft202012Validator(content["schema"]).validate(content["example"])
        assert content["example"]["status"] == status
    assert "Retry-After" in PROBLEM_RESPONSES[503]["headers"]


@async_test
async def test_problems_are_what_the_documentation_says(tmp_path: Path) -> None:
    async with serving("sqlite", tmp_path, (Stricts, "/things")) as client:
        for answer in (
            await client.post("/things", json={"price": -1}),
            await client.get("/things/99"),
        ):
            schema = PROBLEM_RESPONSES[answer.status_code]["content"][PROBLEM]["schema"]
            Draft202012Validator(schema).validate(answer.json())
            assert Problem.model_validate(answer.json()).status == answer.status_code


def test_a_long_list_of_errors_is_told_in_a_short_sentence() -> None:
    errors = [{"loc": ("body", i), "msg": "no", "type": "x"} for i in range(9)]
    found = explained(errors)
    assert isinstance(found, ItemInvalid)
    assert found.public_detail.endswith("body.4: no. And 4 more.")
    assert len(found.public_members["errors"]) == 9


def test_what_utf8_cannot_have_is_replaced() -> None:
    found = explained([{"loc": ("body", "\ud800", 1), "msg": "\ud800 no", "type": "x"}])
    assert found.public_members["errors"] == [{"loc": ["body", "?", 1], "msg": "? no", "type": "x"}]
