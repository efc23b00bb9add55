"""How one request reaches the tables."""

from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from sqlalchemy import event, insert, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from backstay.viewset import FullViewSet
from backstay.viewset.access import Access, outcome_of
from backstay.web import Ctx
from tests.support import async_test
from tests.viewset.stage import Thing, ThingRow, both, serving


class Things(FullViewSet):
    db_model = ThingRow
    pydantic_model = Thing


def to_the_end() -> Any:
    yield


def add_routes(app: FastAPI) -> None:
    @app.post("/session")
    async def with_session(request: Request, ctx: Ctx) -> list[Any]:
        access = Access(request)
        ctx.db.session.add(ThingRow(name="unseen by others"))
        await ctx.db.session.flush()
        rows = await access.rows(select(ThingRow.name))
        outside = await access.database.fetch(select(ThingRow.name))
        return [access.in_transaction, access.may_write_alone, len(rows), len(outside)]

    @app.post("/alone")
    async def alone(request: Request) -> list[Any]:
        access = Access(request)
        (row,) = await access.write(insert(ThingRow).values(name="cup").returning(ThingRow.id))
        rows = await access.database.fetch(select(ThingRow.id))
        return [access.in_transaction, access.may_write_alone, [row[0]] == [one[0] for one in rows]]

    @app.post("/held", dependencies=[Depends(to_the_end, scope="function")])
    async def held(request: Request) -> bool:
        return Access(request).may_write_alone


@both
@async_test
async def test_a_request_sees_what_it_has_written_in_its_own_transaction(
    database: str, tmp_path: Path
) -> None:
    async with serving(database, tmp_path, prepare=add_routes) as client:
        assert (await client.post("/session")).json() == [True, False, 1, 0]


@both
@async_test
async def test_one_statement_by_itself_is_committed_at_once(database: str, tmp_path: Path) -> None:
    async with serving(database, tmp_path, prepare=add_routes) as client:
        assert (await client.post("/alone")).json() == [False, True, True]
        assert (await client.post("/held")).json() is False


@both
@async_test
async def test_who_filters_what_all_sessions_read_filters_view_sets_too(
    database: str, tmp_path: Path
) -> None:
    def only_adas(state: ORMExecuteState) -> None:
        if state.is_select:
            state.statement = state.statement.options(
                with_loader_criteria(ThingRow, ThingRow.owner == "ada")
            )

    async with serving(database, tmp_path, (Things, "/things")) as client:
        async with client.manager.asession() as session, session.begin():
            session.add_all([ThingRow(name="a", owner="ada"), ThingRow(name="b", owner="bob")])
        assert len((await client.get("/things")).json()) == 2
        event.listen(Session, "do_orm_execute", only_adas)
        try:
            assert [each["name"] for each in (await client.get("/things")).json()] == ["a"]
            assert (await client.get("/things/2")).status_code == 404
        finally:
            event.remove(Session, "do_orm_execute", only_adas)


@both
@async_test
async def test_who_notes_what_all_sessions_write_notes_view_sets_too(
    database: str, tmp_path: Path
) -> None:
    noted: list[str] = []

    def note(session: Session, *_: Any) -> None:
        noted.extend(each.name for each in session.new)

    async with serving(database, tmp_path, (Things, "/things")) as client:
        event.listen(Session, "before_flush", note)
        try:
            assert (await client.post("/things", json={"name": "cup"})).status_code == 201
        finally:
            event.remove(Session, "before_flush", note)
    assert noted == ["cup"]


@async_test
async def test_hooks_may_be_async_or_not() -> None:
    async def later() -> int:
        return 2

    assert [await outcome_of(1), await outcome_of(later())] == [1, 2]
