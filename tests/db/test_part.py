"""``ctx.db``: committed before the answer leaves, rolled back with the work, closed with it."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.testclient import TestClient
from sqlalchemy import event, text
from sqlalchemy.exc import InvalidRequestError
from starlette.requests import Request
from starlette.responses import Response

from backstay.context import Context, Moment, Origin, current_context
from backstay.db import ContextDatabase, Database, add_database
from backstay.db.part import DatabasePart
from backstay.web import Ctx
from backstay.web.installation import installed
from tests.support import async_test

INSERT = text("INSERT INTO orders (note) VALUES (:note)")


class Shop:
    """An app with a database, and a look at it from outside."""

    def __init__(self, file: Path, outside: sqlite3.Connection) -> None:
        self.app = FastAPI()
        self.database = add_database(self.app, f"sqlite:///{file}", busy_timeout_s=5.0)
        self.outside = outside
        self.connected = 0
        self.seen: list[Any] = []

    def orders(self) -> list[str]:
        return [note for (note,) in self.outside.execute("SELECT note FROM orders ORDER BY id")]

    def look(self, *_: object) -> None:
        self.seen.append(self.orders())

    def get(self, path: str = "/") -> Any:
        with TestClient(self.app, raise_server_exceptions=False) as client:
            answer = client.get(path)
            self.in_use = [
                engine.pool.checkedout()  # type: ignore[attr-defined]  # of a QueuePool
                for engine in (self.database.engine, self.database.async_engine)
            ]
        return answer


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with closing(sqlite3.connect(tmp_path / "shop.db", check_same_thread=False)) as outside:
        outside.execute("PRAGMA journal_mode=WAL")
        outside.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT UNIQUE CHECK (note <> 'bad'))"
        )
        outside.isolation_level = None
        yield Shop(tmp_path / "shop.db", outside)


async def order(db: ContextDatabase, note: str) -> None:
    await db.session.execute(INSERT, {"note": note})


def order_now(db: ContextDatabase, note: str) -> None:
    db.sync_session.execute(INSERT, {"note": note})


def test_what_an_endpoint_writes_is_committed_when_the_answer_leaves(shop: Shop) -> None:
    @shop.app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        await order(ctx.db, "async")
        shop.look()
        ctx.at(Moment.RETURNED, shop.look)

    assert shop.get().status_code == 200
    assert shop.orders() == ["async"]
    assert shop.seen == [[], ["async"]], "committed before RETURNED is told"
    assert shop.in_use == [0, 0]


def test_what_a_sync_endpoint_writes_is_committed_when_the_answer_leaves(shop: Shop) -> None:
    @shop.app.get("/")
    def endpoint(ctx: Ctx) -> None:
        order_now(ctx.db, "sync")
        ctx.at(Moment.RETURNED, shop.look)

    assert shop.get().status_code == 200
    assert shop.seen == [["sync"]]
    assert shop.in_use == [0, 0]


def test_a_context_has_one_session_of_each_kind(shop: Shop) -> None:
    @shop.app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        assert not ctx.db.opened
        assert (ctx.db.opened_session, ctx.db.opened_sync_session) == (None, None)
        assert ctx.db.session is current_context().db.session
        assert ctx.db.sync_session is ctx.db.sync_session
        assert ctx.db.opened
        assert ctx.db.opened_session is ctx.db.session
        assert ctx.db.opened_sync_session is ctx.db.sync_session
        assert ctx.db.database is shop.database

    assert shop.get().status_code == 200


@pytest.mark.parametrize("error", [HTTPException(418), ZeroDivisionError()])
def test_a_failing_endpoint_is_rolled_back(shop: Shop, error: Exception) -> None:
    @shop.app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        await order(ctx.db, "lost")
        raise error

    assert shop.get().status_code in {418, 500}
    assert shop.orders() == []
    assert shop.in_use == [0, 0]


def test_a_commit_that_fails_fails_the_request(shop: Shop) -> None:
    @shop.app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        await order(ctx.db, "fine")

        @event.listens_for(ctx.db.session.sync_session, "before_commit")
        def refuse(_: object) -> None:
            raise ZeroDivisionError

    assert shop.get().status_code == 500
    assert shop.orders() == []
    assert shop.in_use == [0, 0]


def test_dependencies_write_into_the_same_transaction_even_as_they_exit(shop: Shop) -> None:
    async def audit(ctx: Ctx) -> AsyncIterator[None]:
        await order(ctx.db, "entered")
        yield
        await order(ctx.db, "left")

    @shop.app.get("/")
    async def endpoint(ctx: Ctx, _: Annotated[None, Depends(audit, scope="function")]) -> None:
        await order(ctx.db, "inside")
        shop.look()

    assert shop.get().status_code == 200
    assert shop.seen == [[]]
    assert shop.orders() == ["entered", "inside", "left"]


def test_what_is_written_while_the_answer_is_streamed_is_committed_by_hand(shop: Shop) -> None:
    @shop.app.get("/{by_hand}")
    async def endpoint(ctx: Ctx, by_hand: bool) -> Response:
        async def body() -> AsyncIterator[str]:
            await order(ctx.db, f"late {by_hand}")
            if by_hand:
                await ctx.db.commit()
            yield "done"

        await order(ctx.db, f"early {by_hand}")
        return StreamingResponse(body())

    assert shop.get("/true").text == shop.get("/false").text == "done"
    assert shop.orders() == ["early True", "late True", "early False"]
    assert shop.in_use == [0, 0]


def test_a_route_of_starlettes_is_committed_when_its_answer_begins_unless_that_is_an_error(
    shop: Shop,
) -> None:
    async def endpoint(request: Request) -> Response:
        db = current_context().db
        status = int(request.path_params["status"])
        await order(db, f"rolled back {status}")
        await db.rollback()
        await order(db, f"written {status}")
        return PlainTextResponse("done", status_code=status)

    shop.app.router.add_route("/{status}", endpoint)
    assert shop.get("/200").text == "done"
    assert shop.get("/409").text == "done"
    assert shop.orders() == ["written 200"]
    assert shop.in_use == [0, 0]


def test_after_the_work_is_over_sessions_are_fresh_and_belong_to_whoever_opens_them(
    shop: Shop,
) -> None:
    kept: list[Context] = []

    @shop.app.get("/first")
    async def first(ctx: Ctx) -> None:
        await order(ctx.db, "first")
        kept.append(ctx)
        shop.seen.append(ctx.db.session)

    @shop.app.get("/second")
    async def second() -> None:
        ctx = kept[0]
        assert ctx.moment is Moment.CLOSED
        assert ctx.db.session is not shop.seen[0]
        await order(ctx.db, "afterwards")
        await ctx.db.commit()
        await order(ctx.db, "never committed")
        await ctx.db.close()
        assert not ctx.db.opened

    with TestClient(shop.app) as client:
        client.get("/first")
        client.get("/second")
    assert shop.orders() == ["first", "afterwards"]


def test_an_app_has_one_database() -> None:
    app = FastAPI()
    database = Database("sqlite:///shop.db")
    assert add_database(app, database) is database
    with pytest.raises(Exception, match="'db' is switched on for this app already"):
        add_database(app, "sqlite:///other.db")


class Piece:
    """A piece of work that is neither request nor job."""

    def __init__(self, app: FastAPI, origin: Origin) -> None:
        self.app = installed(app)
        self.context = self.app.open(origin, self)
        self.held: list[tuple[Callable[[], Awaitable[None]], bool]] = []

    def hold_answer(self, until: Callable[[], Awaitable[None]], *, first: bool = False) -> None:
        self.held.append((until, first))


@async_test
async def test_a_task_commits_when_it_returns_and_closes_when_it_ends(shop: Shop) -> None:
    await installed(shop.app).start()
    piece = Piece(shop.app, Origin.TASK)
    ctx = piece.context
    await order(ctx.db, "by a task")
    await asyncio.to_thread(lambda: ctx.db.sync_session)
    [(commit, first)] = piece.held
    assert first
    await commit()
    assert shop.orders() == ["by a task"]
    db = ctx.db
    assert db.opened
    ctx.close()
    await installed(shop.app).stop()  # which waits for the closing
    assert not db.opened


@async_test
async def test_a_task_that_is_tried_again_commits_what_its_last_attempt_wrote(shop: Shop) -> None:
    await installed(shop.app).start()
    piece = Piece(shop.app, Origin.TASK)
    await order(piece.context.db, "first attempt")
    piece.held.clear()  # as whoever runs the attempts does
    await piece.context.db.rollback()
    await order(piece.context.db, "second attempt")
    [(commit, _)] = piece.held
    await commit()
    assert shop.orders() == ["second attempt"]
    piece.context.close()
    await installed(shop.app).stop()


def test_a_request_that_rolls_back_and_goes_on_commits_the_rest(shop: Shop) -> None:
    @shop.app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        await order(ctx.db, "undone")
        await ctx.db.rollback()
        await order(ctx.db, "kept")

    assert shop.get().status_code == 200
    assert shop.orders() == ["kept"]
    assert shop.in_use == [0, 0]


@async_test
async def test_a_job_commits_by_itself(shop: Shop) -> None:
    piece = Piece(shop.app, Origin.JOB)
    await order(piece.context.db, "by a job")
    assert piece.held == []
    db = piece.context.db
    await db.rollback()
    await order(db, "by a job, again")
    await db.commit()
    await db.close()
    await db.close()
    await shop.database.close()
    assert shop.orders() == ["by a job, again"]


@async_test
async def test_both_kinds_of_session_end_together_each_with_its_own_transaction(
    shop: Shop,
) -> None:
    piece = Piece(shop.app, Origin.JOB)
    db = piece.context.db
    await order(db, "async")
    await db.session.commit()
    await asyncio.to_thread(order_now, db, "sync")
    await db.commit()
    assert shop.orders() == ["async", "sync"]
    await asyncio.to_thread(order_now, db, "undone")
    await db.rollback()
    await db.close()
    assert shop.orders() == ["async", "sync"]
    await shop.database.close()


@async_test
async def test_a_commit_is_carried_through_even_if_its_caller_is_cancelled(shop: Shop) -> None:
    part = DatabasePart(shop.database)
    db = part.bind(Piece(shop.app, Origin.JOB).context)
    await asyncio.to_thread(order_now, db, "kept")
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @event.listens_for(db.sync_session, "before_commit")
    def wait(_: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait()

    committing = asyncio.create_task(db.commit())
    await begun.wait()
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    closing_db = asyncio.create_task(db.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing_db
    await part.close()
    assert shop.orders() == ["kept"]


@async_test
async def test_a_session_that_cannot_be_closed_is_logged_and_keeps_nothing_else_open(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    db = Piece(shop.app, Origin.JOB).context.db
    await order(db, "lost")
    await asyncio.to_thread(lambda: db.sync_session)

    @event.listens_for(db.session.sync_session, "after_transaction_end")
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    await db.close()
    assert "closing a database session failed" in caplog.text
    assert not db.opened
    await shop.database.close()


# ------------------------------------------------------------------ reading


def test_fetch_sees_what_its_own_context_has_written(shop: Shop) -> None:
    notes = text("SELECT note FROM orders WHERE note <> :other ORDER BY id")

    @shop.app.get("/")
    async def endpoint(ctx: Ctx) -> list[Any]:
        before = await ctx.db.fetch(notes, {"other": "x"})
        assert not ctx.db.opened, "reading opens no session"
        await order(ctx.db, "mine")
        mine = await ctx.db.fetch(notes, {"other": "x"})
        await ctx.db.commit()
        await asyncio.to_thread(order_now, ctx.db, "sync")
        sync = await ctx.db.fetch(notes, {"other": "mine"})
        return [[row.note for row in rows] for rows in (before, mine, sync)]

    assert shop.get().json() == [[], ["mine"], ["sync"]]
    assert shop.in_use == [0, 0]


def test_reading_is_in_the_sessions_transaction_if_there_is_one(shop: Shop) -> None:
    count = text("SELECT count(*) FROM orders")

    @shop.app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        async with ctx.db.reading() as connection:
            assert (await connection.execute(count)).scalar_one() == 0
        assert not ctx.db.opened
        await order(ctx.db, "mine")
        async with ctx.db.reading() as connection:
            assert (await connection.execute(count)).scalar_one() == 1
        assert ctx.db.session.in_transaction(), "and goes on"

    assert shop.get().status_code == 200
    assert shop.orders() == ["mine"]
    assert shop.in_use == [0, 0]


def test_a_context_that_expects_to_read_waits_for_no_writer(shop: Shop) -> None:
    count = text("SELECT count(*) FROM orders")

    @shop.app.get("/{opened}")
    async def endpoint(ctx: Ctx, opened: bool) -> None:
        if opened:
            _ = ctx.db.session, ctx.db.sync_session
        ctx.db.expect_reads()
        shop.outside.execute("BEGIN IMMEDIATE")
        try:
            assert (await ctx.db.session.execute(count)).scalar_one() == 0
            found = await asyncio.to_thread(ctx.db.sync_session.execute, count)
            assert found.scalar_one() == 0
        finally:
            shop.outside.execute("ROLLBACK")

    assert shop.get("/false").status_code == 200
    assert shop.get("/true").status_code == 200


def test_a_transaction_that_has_begun_to_write_is_left_as_it_is(shop: Shop) -> None:
    @shop.app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        await order(ctx.db, "first")
        bind = ctx.db.session.bind
        ctx.db.expect_reads()
        assert ctx.db.session.bind is bind
        await order(ctx.db, "second")

    assert shop.get().status_code == 200
    assert shop.orders() == ["first", "second"]


def test_there_is_a_manager_for_a_database_that_was_named_by_its_url(shop: Shop) -> None:
    part = installed(shop.app).part("db")
    assert isinstance(part, DatabasePart)
    assert part.manager is part.manager
    assert part.manager.database is shop.database
    assert not part.manager.DEV_STATUS

    @shop.app.get("/")
    async def endpoint(ctx: Ctx) -> None:
        assert ctx.db.manager is part.manager

    assert shop.get().status_code == 200


@async_test
async def test_a_thread_that_was_left_behind_begins_nothing_after_the_end(shop: Shop) -> None:
    part = DatabasePart(shop.database)
    db = part.bind(Piece(shop.app, Origin.JOB).context)
    session = await asyncio.to_thread(lambda: db.sync_session)
    await db.close()
    with pytest.raises(InvalidRequestError, match="Autobegin is disabled"):
        session.execute(text("SELECT 1"))
    await part.close()
