"""Sessions as dependencies: committed before the answer leaves, whatever their scope, or not at all."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import anyio
import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from sqlalchemy import Column, Integer, String, event, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from backstay.context import Moment
from backstay.db import MainDatabaseManager, add_database
from backstay.db.dependencies import carried_through
from backstay.tasks import Tasks, add_tasks
from backstay.testing import running
from backstay.web import Ctx, install
from tests.db.places import EVERY_KIND, at, in_use
from tests.support import async_test
from tests.tasks.notebook import note_task, noted, notes

HOW = ["alone", "installed", "beside another"]
"""Without backstay around the app; with this manager in it; with another manager in it."""

SCOPES = ["request", "function"]


class Shop:
    """An app, a manager, and what is committed."""

    def __init__(self, url: str, how: str, folder: Path, **options: Any) -> None:
        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            yield
            await self.manager.dispose()

        self.app = FastAPI(lifespan=lifespan)
        self.manager = MainDatabaseManager(url, pool_size=4, DEV_STATUS=True, **options)

        class Order(self.manager.Base):  # type: ignore[misc, name-defined]  # made here
            __tablename__ = "orders"
            id = Column(Integer, primary_key=True)
            note = Column(String, unique=True)

        self.model: Any = Order
        self.manager.create_all()
        self.other: Any = None
        self.seen: list[Any] = []
        if how == "installed":
            add_database(self.app, self.manager)
        elif how == "beside another":
            self.other = add_database(self.app, f"sqlite:///{folder / 'another.db'}")

    def notes(self) -> list[str]:
        with self.manager.database.sync_session(reading=True) as session:
            return list(session.scalars(select(self.model.note).order_by(self.model.id)))

    def write(self, session: Any, note: str) -> None:
        session.add(self.model(note=note))

    def ask(self, method: str = "POST", path: str = "/") -> Any:
        """The answer, and then nothing may be in use any more."""
        with TestClient(self.app, raise_server_exceptions=False) as client:
            answer = client.request(method, path)
            assert in_use(self.manager.database) == [0, 0]
        return answer

    def look_when_the_answer_leaves(self) -> None:
        """Have ``seen`` filled with what is committed at the first byte of each answer."""
        inner = self.app.build_middleware_stack

        def build() -> Any:
            stack = inner()

            async def watched(scope: Any, receive: Any, send: Any) -> None:
                async def look(message: Any) -> None:
                    if message["type"] == "http.response.start":
                        self.seen.append((message["status"], await asyncio.to_thread(self.notes)))
                    await send(message)

                await stack(scope, receive, look if scope["type"] == "http" else send)

            return watched

        self.app.build_middleware_stack = build  # type: ignore[method-assign]  # for this test


@pytest.fixture(params=EVERY_KIND)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with at(request.param, tmp_path) as found:
        yield found


@pytest.fixture(params=HOW)
def shop(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(url, request.param, tmp_path)
    yield shop
    shop.manager.engine.dispose()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(f"sqlite:///{tmp_path / 'x.db'}", "alone", tmp_path)
    yield shop
    shop.manager.engine.dispose()


@pytest.mark.parametrize("scope", SCOPES)
def test_what_an_endpoint_writes_is_committed_before_its_answer_leaves(
    shop: Shop, scope: Any
) -> None:
    manager = shop.manager

    @shop.app.post("/async")
    async def endpoint(
        session: Annotated[AsyncSession, Depends(manager.aget_session_transaction, scope=scope)],
    ) -> None:
        shop.write(session, "async")

    @shop.app.post("/orm")
    async def with_orm(orm: Annotated[Any, Depends(manager.aget_orm, scope=scope)]) -> None:
        shop.write(orm.asession, "orm")

    @shop.app.post("/sync")
    def sync(
        session: Annotated[Session, Depends(manager.get_session_transaction, scope=scope)],
    ) -> None:
        shop.write(session, "sync")

    shop.look_when_the_answer_leaves()
    for path in ("async", "orm", "sync"):
        assert shop.ask(path=f"/{path}").status_code == 200
    assert shop.seen == [
        (200, ["async"]),
        (200, ["async", "orm"]),
        (200, ["async", "orm", "sync"]),
    ]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
def test_a_commit_that_fails_fails_the_request(shop: Shop, scope: Any, sync: bool) -> None:
    manager = shop.manager
    dependency: Any = manager.get_session_transaction if sync else manager.aget_session_transaction

    @shop.app.post("/")
    async def endpoint(session: Annotated[Any, Depends(dependency, scope=scope)]) -> str:
        shop.write(session, "same")
        shop.write(session, "same")
        return "ordered"

    shop.look_when_the_answer_leaves()
    assert shop.ask().status_code == 500
    assert shop.seen == [(500, [])]
    assert shop.notes() == []


@pytest.mark.parametrize("error", [HTTPException(418), ZeroDivisionError()], ids=["http", "fault"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
def test_whatever_the_endpoint_raises_rolls_back(
    shop: Shop, error: Exception, scope: Any, sync: bool
) -> None:
    manager = shop.manager
    dependency: Any = manager.get_session_transaction if sync else manager.aget_session_transaction

    @shop.app.post("/")
    def endpoint(session: Annotated[Any, Depends(dependency, scope=scope)]) -> None:
        shop.write(session, "lost")
        if sync:
            session.flush()
        raise error

    assert shop.ask().status_code in {418, 500}
    assert shop.notes() == []


def test_an_answer_that_does_not_fit_its_model_rolls_back(shop: Shop) -> None:
    @shop.app.post("/")
    async def endpoint(
        session: Annotated[AsyncSession, Depends(shop.manager.aget_session_transaction)],
    ) -> int:
        shop.write(session, "lost")
        return "no number"  # type: ignore[return-value]  # the point

    assert shop.ask().status_code == 500
    assert shop.notes() == []


def test_dependencies_write_into_it_even_as_they_exit_and_one_that_fails_undoes_it(
    shop: Shop,
) -> None:
    transaction = shop.manager.aget_session_transaction

    async def audit(
        session: Annotated[AsyncSession, Depends(transaction)], fail: bool = False
    ) -> AsyncIterator[None]:
        yield
        shop.write(session, "left")
        await session.flush()
        if fail:
            raise ZeroDivisionError

    async def before() -> AsyncIterator[None]:
        yield
        shop.seen.append("exited")

    @shop.app.post("/")
    async def endpoint(
        _: Annotated[None, Depends(before, scope="function")],
        __: Annotated[None, Depends(audit, scope="function")],
        session: Annotated[AsyncSession, Depends(transaction)],
    ) -> None:
        event.listen(session.sync_session, "after_commit", lambda _: shop.seen.append("committed"))
        shop.write(session, "inside")

    assert shop.ask(path="/?fail=true").status_code == 500
    assert shop.notes() == []
    shop.seen.clear()
    assert shop.ask().status_code == 200
    assert shop.notes() == ["inside", "left"]
    assert shop.seen == ["exited", "committed"]


def test_one_request_has_one_session_for_all_who_ask(shop: Shop) -> None:
    manager = shop.manager

    def inner(session: Annotated[Any, Depends(manager.aget_session_transaction)]) -> Any:
        return session

    @shop.app.post("/")
    async def endpoint(
        one: Annotated[Any, Depends(inner)],
        two: Annotated[Any, Depends(manager.aget_session_transaction)],
    ) -> bool:
        return one is two

    assert shop.ask().json() is True


def test_two_managers_both_commit_and_if_one_cannot_the_answer_says_so(
    alone: Shop, tmp_path: Path
) -> None:
    second = Shop(f"sqlite:///{tmp_path / 'second.db'}", "alone", tmp_path)

    @alone.app.post("/{note}")
    async def endpoint(
        note: str,
        one: Annotated[AsyncSession, Depends(alone.manager.aget_session_transaction)],
        two: Annotated[AsyncSession, Depends(second.manager.aget_session_transaction)],
    ) -> None:
        alone.write(one, note)
        second.write(two, note)

    assert alone.ask(path="/a").status_code == 200
    assert alone.notes() == second.notes() == ["a"]
    assert alone.ask(path="/a").status_code == 500
    assert alone.notes() == second.notes() == ["a"]
    asyncio.run(second.manager.dispose())


def test_a_session_without_transaction_is_committed_by_whoever_writes(shop: Shop) -> None:
    @shop.app.post("/{by_hand}")
    async def endpoint(
        by_hand: bool, session: Annotated[AsyncSession, Depends(shop.manager.aget_session)]
    ) -> None:
        shop.write(session, f"async {by_hand}")
        await session.flush()
        if by_hand:
            await session.commit()

    @shop.app.post("/sync/{by_hand}")
    def sync(by_hand: bool, session: Annotated[Session, Depends(shop.manager.get_session)]) -> None:
        shop.write(session, f"sync {by_hand}")
        session.flush()
        if by_hand:
            session.commit()

    for path in ("/true", "/false", "/sync/true", "/sync/false"):
        assert shop.ask(path=path).status_code == 200
    assert shop.notes() == ["async True", "sync True"]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_streamed_body_may_read_on_and_what_it_writes_is_its_own_affair(
    shop: Shop, scope: Any
) -> None:
    shop.manager.database.engine.dispose()

    @shop.app.post("/{by_hand}")
    async def endpoint(
        by_hand: bool,
        session: Annotated[
            AsyncSession, Depends(shop.manager.aget_session_transaction, scope=scope)
        ],
    ) -> Response:
        async def body() -> AsyncIterator[str]:
            for note in await session.scalars(select(shop.model.note)):
                yield f"{note};"
            shop.write(session, f"late {by_hand}")
            await session.flush()
            if by_hand:
                await session.commit()

        shop.write(session, f"early {by_hand}")
        return StreamingResponse(body())

    assert shop.ask(path="/true").text == "early True;"
    assert shop.ask(path="/false").text == "early True;late True;early False;"
    assert shop.notes() == ["early True", "late True", "early False"]


@pytest.mark.parametrize("leaves", [False, True], ids=["endpoint returns", "client leaves"])
def test_a_websocket_commits_when_the_conversation_ends(shop: Shop, leaves: bool) -> None:
    done: list[str] = []

    @shop.app.websocket("/")
    async def endpoint(
        socket: WebSocket,
        session: Annotated[AsyncSession, Depends(shop.manager.aget_session_transaction)],
    ) -> None:
        await socket.accept()
        shop.write(session, await socket.receive_text())
        await session.flush()
        await socket.send_text("noted")
        if not leaves:
            return await socket.close()
        try:
            await socket.receive_text()
        except WebSocketDisconnect:
            done.append("left")
            raise

    with TestClient(shop.app) as client:
        # The test client may see what the endpoint raised; servers take it for what it is.
        with suppress(WebSocketDisconnect), client.websocket_connect("/") as socket:
            socket.send_text("said")
            assert socket.receive_text() == "noted"
            if not leaves:
                assert socket.receive()["type"] == "websocket.close"
    assert done == (["left"] if leaves else [])
    assert shop.notes() == ["said"]
    assert in_use(shop.manager.database) == [0, 0]


def test_a_websocket_that_fails_is_rolled_back(shop: Shop) -> None:
    @shop.app.websocket("/")
    async def endpoint(
        socket: WebSocket,
        session: Annotated[AsyncSession, Depends(shop.manager.aget_session_transaction)],
    ) -> None:
        await socket.accept()
        shop.write(session, "lost")
        await session.flush()
        raise ZeroDivisionError

    with TestClient(shop.app) as client, pytest.raises(ZeroDivisionError):
        with client.websocket_connect("/") as socket:
            socket.receive()
    assert shop.notes() == []
    assert in_use(shop.manager.database) == [0, 0]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["aget_orm", "aget_session", "aget_session_transaction"], ids=str)
def test_get_and_head_take_no_write_lock_of_sqlites(tmp_path: Path, how: str, name: str) -> None:
    shop = Shop(f"sqlite:///{tmp_path / 'x.db'}", how, tmp_path, busy_timeout_s=0.05)
    dependency = getattr(shop.manager, name)

    @shop.app.api_route("/", methods=["GET", "HEAD", "POST"])
    async def endpoint(found: Annotated[Any, Depends(dependency)]) -> list[str]:
        session = getattr(found, "asession", found)
        return list(await session.scalars(select(shop.model.note)))

    with shop.manager.session() as writer:
        shop.write(writer, "not yet")
        writer.flush()
        with TestClient(shop.app, raise_server_exceptions=False) as client:
            assert client.get("/").json() == []
            assert client.head("/").status_code == 200
            assert client.post("/").status_code == 500, "a writer waits for the other one"
        writer.commit()
    assert shop.ask("GET").json() == ["not yet"]


@pytest.mark.parametrize("how", HOW)
def test_a_get_that_writes_all_the_same_is_committed(tmp_path: Path, how: str) -> None:
    shop = Shop(f"sqlite:///{tmp_path / 'x.db'}", how, tmp_path)

    @shop.app.get("/")
    async def endpoint(
        session: Annotated[AsyncSession, Depends(shop.manager.aget_session_transaction)],
    ) -> None:
        assert (await session.scalars(select(shop.model.note))).all() == []
        shop.write(session, "seen")

    @shop.app.get("/sync")
    def sync(session: Annotated[Session, Depends(shop.manager.get_session_transaction)]) -> None:
        assert len(session.scalars(select(shop.model.note)).all()) == 1
        shop.write(session, "seen again")

    assert shop.ask("GET").status_code == 200
    assert shop.ask("GET", "/sync").status_code == 200
    assert shop.notes() == ["seen", "seen again"]


def test_in_an_app_with_this_manager_it_is_the_session_of_the_context(
    url: str, tmp_path: Path
) -> None:
    shop = Shop(url, "installed", tmp_path)
    manager = shop.manager

    @shop.app.post("/")
    async def endpoint(
        ctx: Ctx,
        session: Annotated[AsyncSession, Depends(manager.aget_session_transaction)],
        orm: Annotated[Any, Depends(manager.aget_orm)],
    ) -> None:
        assert ctx.db.session is session is orm.asession
        assert ctx.db.manager is manager
        ctx.at(Moment.RETURNED, lambda _: shop.seen.append(shop.notes()))
        shop.write(ctx.db.session, "together")

    @shop.app.post("/sync")
    def sync(
        ctx: Ctx, session: Annotated[Session, Depends(manager.get_session_transaction)]
    ) -> None:
        assert ctx.db.sync_session is session

    assert shop.ask().status_code == 200
    assert shop.ask(path="/sync").status_code == 200
    assert shop.seen == [["together"]], "committed before anybody hears of RETURNED"
    manager.engine.dispose()


@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
@async_test
async def test_durable_tasks_are_written_in_its_transaction_or_not_at_all(
    tmp_path: Path, sync: bool
) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    shop = Shop(url, "installed", tmp_path)
    add_tasks(shop.app, database=url, worker=False)
    note = note_task()

    @shop.app.post("/async/{fail}")
    async def endpoint(
        tasks: Tasks, orm: Annotated[Any, Depends(shop.manager.aget_orm)], fail: bool
    ) -> None:
        shop.write(orm.asession, f"async {fail}")
        tasks.durable.schedule(note, f"async {fail}")
        if fail:
            raise HTTPException(409)

    @shop.app.post("/sync/{fail}")
    def sync_endpoint(
        tasks: Tasks,
        session: Annotated[Session, Depends(shop.manager.get_session_transaction)],
        fail: bool,
    ) -> None:
        shop.write(session, f"sync {fail}")
        tasks.durable.schedule(note, f"sync {fail}")
        if fail:
            raise HTTPException(409)

    kind = "sync" if sync else "async"
    async with running(shop.app) as client:
        assert (await client.post(f"/{kind}/true")).status_code == 409
        assert shop.notes() == await notes(client) == []
        assert (await client.post(f"/{kind}/false")).status_code == 200
        assert await notes(client) == noted(f"{kind} False")
    assert shop.notes() == [f"{kind} False"]
    shop.manager.engine.dispose()


def test_a_manager_beside_the_apps_own_is_committed_before_anybody_hears_of_returned(
    tmp_path: Path,
) -> None:
    shop = Shop(f"sqlite:///{tmp_path / 'x.db'}", "beside another", tmp_path)

    @shop.app.post("/")
    async def endpoint(
        ctx: Ctx,
        session: Annotated[AsyncSession, Depends(shop.manager.aget_session_transaction)],
    ) -> None:
        assert ctx.db.session is not session
        ctx.at(Moment.RETURNED, lambda _: shop.seen.append(shop.notes()))
        shop.write(session, "here")

    assert shop.ask().status_code == 200
    assert shop.seen == [["here"]]


def test_a_get_that_has_begun_to_write_goes_on_in_its_transaction(tmp_path: Path) -> None:
    shop = Shop(f"sqlite:///{tmp_path / 'x.db'}", "installed", tmp_path)

    async def last_seen(ctx: Ctx) -> None:
        shop.write(ctx.db.session, "last seen")
        await ctx.db.session.flush()

    @shop.app.get("/", dependencies=[Depends(last_seen)])
    async def endpoint(ctx: Ctx, orm: Annotated[Any, Depends(shop.manager.aget_orm)]) -> Any:
        assert orm.asession is ctx.db.session
        return [row.note for row in await ctx.db.fetch(select(shop.model.note))]

    assert shop.ask("GET").json() == ["last seen"]
    assert shop.notes() == ["last seen"]


def test_included_routers_and_mounted_apps_are_served_too(shop: Shop) -> None:
    transaction = Annotated[AsyncSession, Depends(shop.manager.aget_session_transaction)]
    router, mounted = APIRouter(prefix="/router"), FastAPI()

    async def endpoint(session: transaction, note: str) -> None:  # type: ignore[valid-type]  # made here
        shop.write(session, note)

    router.post("/")(endpoint)
    mounted.post("/")(endpoint)
    shop.app.include_router(router)
    shop.app.mount("/mounted", mounted)
    assert shop.ask(path="/router/?note=a").status_code == 200
    assert shop.ask(path="/mounted/?note=b").status_code == 200
    assert shop.notes() == ["a", "b"]


def test_where_nobody_tells_when_the_work_is_done_it_says_what_to_do(alone: Shop) -> None:
    async def endpoint(request: Request) -> Response:
        with pytest.raises(RuntimeError, match="call it without arguments, as a generator"):
            await anext(alone.manager.aget_session_transaction(request))
        async for session in alone.manager.aget_session_transaction():
            alone.write(session, "by hand")
        return PlainTextResponse("done")

    alone.app.router.add_route("/", endpoint, methods=["POST"])
    assert alone.ask().text == "done"
    assert alone.notes() == ["by hand"]


def test_it_shows_in_no_schema(alone: Shop) -> None:
    manager = alone.manager
    every = [
        manager.get_session,
        manager.get_session_transaction,
        manager.aget_session,
        manager.aget_session_transaction,
        manager.aget_orm,
    ]

    @alone.app.get("/", dependencies=[Depends(each) for each in every])
    async def endpoint() -> None: ...

    operation = alone.app.openapi()["paths"]["/"]["get"]
    assert "parameters" not in operation
    assert "requestBody" not in operation


# ------------------------------------------------------------------ cancellation


@asynccontextmanager
async def client_of(shop: Shop) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(shop.app, raise_app_exceptions=True)
    async with httpx2.AsyncClient(transport=transport, base_url="http://shop") as client:
        yield client


@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
@async_test
async def test_a_request_cancelled_anywhere_keeps_no_connection_and_commits_all_or_nothing(
    shop: Shop, sync: bool
) -> None:
    manager = shop.manager
    await manager.dispose()
    others = set(threading.enumerate())

    @shop.app.post("/async/{number}")
    async def endpoint(
        number: int, session: Annotated[AsyncSession, Depends(manager.aget_session_transaction)]
    ) -> list[str]:
        shop.write(session, f"{number} a")
        await session.flush()
        shop.write(session, f"{number} b")
        return list(await session.scalars(select(shop.model.note)))

    @shop.app.post("/sync/{number}")
    def sync_endpoint(
        number: int, session: Annotated[Session, Depends(manager.get_session_transaction)]
    ) -> None:
        shop.write(session, f"{number} a")
        session.flush()
        shop.write(session, f"{number} b")

    async with client_of(shop) as client:
        for turns in range(0, 45 if sync else 120, 3):
            path = f"/{'sync' if sync else 'async'}/{turns}"
            task = asyncio.create_task(client.post(path))
            for _ in range(turns):
                await asyncio.sleep(0.0003 if sync else 0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        while in_use(manager.database) != [0, 0]:
            await asyncio.sleep(0.001)
    notes = await asyncio.to_thread(shop.notes)
    for number in {note.split()[0] for note in notes}:
        assert {f"{number} a", f"{number} b"} <= set(notes)
    await manager.dispose()
    # aiosqlite's threads may still be ending what was cancelled, and speak to this loop then.
    while any("_connection_worker" in each.name for each in {*threading.enumerate()} - others):
        await asyncio.sleep(0.001)


@async_test
async def test_what_has_begun_to_end_ends_whoever_is_cancelled() -> None:
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def ending() -> None:
        begun.set()
        await go_on.wait()
        ended.set()

    task = asyncio.create_task(carried_through(ending()))
    await begun.wait()
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


@async_test
async def test_anyios_cancellation_is_waited_out_as_well() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def ending() -> None:
        begun.set()
        await go_on.wait()
        ended.append("ended")

    async with anyio.create_task_group() as group:
        group.start_soon(carried_through, ending())
        await begun.wait()
        group.cancel_scope.cancel()
        asyncio.get_running_loop().call_later(0.01, go_on.set)
    assert ended == ["ended"]


@async_test
async def test_an_ending_that_fails_says_so() -> None:
    async def ending() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await carried_through(ending())


def test_backstay_without_a_database_leaves_the_manager_alone(alone: Shop) -> None:
    install(alone.app)

    @alone.app.post("/")
    async def endpoint(
        session: Annotated[AsyncSession, Depends(alone.manager.aget_session_transaction)],
    ) -> None:
        alone.write(session, "written")
        await session.execute(text("SELECT 1"))

    assert alone.ask().status_code == 200
    assert alone.notes() == ["written"]
