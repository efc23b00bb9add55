"""``@cache_redis`` as people write it, over whatever they keep things in."""

import inspect
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import cashews
import pytest
import redis.asyncio
from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi import Path as PathParameter
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.requests import Request

from backstay.cache.cache import Cache
from backstay.cache.policy import policy_of
from backstay.cache.responses import cache_redis, cache_response
from backstay.context import current_context
from backstay.errors import BadCache
from backstay.web import Ctx
from tests.cache.serving import a_scope, an_app, asking, sent_by
from tests.cache.stores import a_namespace
from tests.state.stores import REDIS_URL, need_redis
from tests.support import async_test

Places = Callable[[Path], AbstractAsyncContextManager[Any]]


def path_of(directory: Path) -> str:
    """A path of this test's alone: clients of Redis are used under everybody's namespace."""
    return f"/{directory.parent.name}-{directory.name}"


@asynccontextmanager
async def the_apps(path: Path) -> AsyncIterator[None]:
    yield None


@asynccontextmanager
async def memory(path: Path) -> AsyncIterator[Cache]:
    async with Cache() as cache:
        yield cache


@asynccontextmanager
async def sqlite(path: Path) -> AsyncIterator[Cache]:
    async with Cache(f"sqlite:///{path}/cache.db") as cache:
        yield cache


@asynccontextmanager
async def over_redis(path: Path) -> AsyncIterator[Cache]:
    need_redis()
    with a_namespace() as namespace:
        async with Cache(REDIS_URL, namespace=namespace) as cache:
            yield cache


def client_of_redis(*, decode_responses: bool) -> Places:
    @asynccontextmanager
    async def make(path: Path) -> AsyncIterator[redis.asyncio.Redis]:
        need_redis()
        client = redis.asyncio.from_url(REDIS_URL, decode_responses=decode_responses)
        yield client
        async for name in client.scan_iter(f"backstay:k:{path_of(path)}*"):
            await client.delete(name)
        await client.aclose()

    return make


@asynccontextmanager
async def over_cashews(path: Path) -> AsyncIterator[cashews.Cache]:
    cache = cashews.Cache()
    cache.setup("mem://")
    yield cache
    await cache.close()


PLACES: dict[str, Places] = {
    "app": the_apps,
    "memory": memory,
    "sqlite": sqlite,
    "redis": over_redis,
    "redis-texts": client_of_redis(decode_responses=True),
    "redis-bytes": client_of_redis(decode_responses=False),
    "cashews": over_cashews,
}


class Base(DeclarativeBase): ...


class FileRow(Base):
    __tablename__ = "files"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    owner_token: Mapped[str]


class FileSchema(BaseModel):
    id: int
    name: str


@pytest.mark.parametrize("place", PLACES)
def test_the_second_time_the_handler_does_not_run_wherever_it_is_kept(
    place: str, tmp_path: Path
) -> None:
    @async_test
    async def ask() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/app.db")
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as session:
            session.add(FileRow(id=1, name="é", owner_token="secret"))
            await session.commit()

        async def a_session() -> AsyncIterator[AsyncSession]:
            async with AsyncSession(engine) as session:
                yield session

        runs: list[int] = []
        app, _ = an_app()
        async with PLACES[place](tmp_path) as where:

            @app.get(f"{path_of(tmp_path)}/{{item_id}}")
            @cache_redis(cache_class=where, cache_ttl=timedelta(minutes=10))
            async def get_item(
                request: Request,
                item_id: Annotated[int, PathParameter()],
                session: Annotated[AsyncSession, Depends(a_session)],
            ) -> FileSchema:
                runs.append(item_id)
                found = select(FileRow).where(FileRow.id == item_id)
                return await session.scalar(found)  # type: ignore[return-value]  # a model is made of it

            async with asking(app):
                found = [await sent_by(app, a_scope(f"{path_of(tmp_path)}/1")) for _ in range(3)]
        await engine.dispose()
        assert [each[1]["x-cache"] for each in found] == ["MISS", "HIT", "HIT"]
        assert {each[2] for each in found} == {'{"id":1,"name":"é"}'.encode()}
        assert runs == [1]

    ask()


@async_test
async def test_without_any_cache_the_handler_is_what_it_is() -> None:
    app = FastAPI()

    @app.get("/a")
    @cache_redis()
    async def handler() -> str:
        return "x"

    for _ in range(2):
        status, headers, body = await sent_by(app, a_scope("/a"))
        assert (status, body) == (200, b'"x"')
        assert headers == {"content-length": "3", "content-type": "application/json"}


@pytest.mark.parametrize(
    "options", [{"cache": False}, {"cache_class": False}, {"cache": False, "cache_ttl": None}]
)
def test_switched_off_it_leaves_the_handler_alone(options: dict[str, Any]) -> None:
    def handler() -> None: ...

    assert cache_redis(**options)(handler) is handler


def test_what_could_never_work_is_refused_where_it_is_written() -> None:
    for options in ({"cache_ttl": 0}, {"cache_class": 7}, {"early": True}, {"tags": "a"}):
        with pytest.raises(BadCache):
            cache_redis(**options)  # type: ignore[arg-type]  # wrong ones


def test_true_stands_for_the_apps_cache_and_there_are_two_names() -> None:
    async def handler() -> None: ...

    assert policy_of(cache_redis(True)(handler)) is not None
    assert cache_response is cache_redis


class ViewSet:
    """As a view set of the house's makes its routes, and one of a user's may."""

    pydantic_model = FileSchema
    cache_class: Any = None
    cache_ttl = timedelta(minutes=1)
    cache = True

    def __init__(self) -> None:
        self.router = APIRouter()
        self.runs = 0

    def retrieve(self) -> Any:
        @self.router.get("/{item_id}")
        @cache_redis(self.cache_class, self.cache_ttl, self.cache)
        async def get_item(item_id: int) -> self.pydantic_model:  # type: ignore[name-defined]  # as views do
            self.runs += 1
            return {"id": item_id, "name": "x", "token": "secret"}

        return get_item


@async_test
async def test_a_view_set_gives_its_options_by_position() -> None:
    app, _ = an_app()
    view = ViewSet()
    view.retrieve()
    app.include_router(view.router, prefix="/file")
    async with asking(app):
        for _ in range(2):
            assert (await sent_by(app, a_scope("/file/1")))[2] == b'{"id":1,"name":"x"}'
    assert view.runs == 1
    schema = app.openapi()["paths"]["/file/{item_id}"]["get"]["responses"]["200"]
    assert schema["content"]["application/json"]["schema"]["$ref"].endswith("FileSchema")


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_the_handler_runs_where_it_would_with_what_is_around_it(is_async: bool) -> None:
    import threading

    @async_test
    async def ask() -> None:
        app, _ = an_app()
        here = threading.get_ident()

        def work() -> tuple[bool, str]:
            return threading.get_ident() == here, current_context().correlation_id

        def handler(ctx: Ctx) -> bool:
            in_loop, correlation = work()
            assert correlation == ctx.correlation_id
            return in_loop

        async def async_handler(ctx: Ctx) -> bool:
            return handler(ctx)

        app.get("/a")(cache_redis()(async_handler if is_async else handler))
        async with asking(app):
            for _ in range(2):
                assert (await sent_by(app, a_scope("/a")))[2] == (b"true" if is_async else b"false")

    ask()


@async_test
async def test_parameters_of_the_handlers_own_are_handed_over() -> None:
    app, _ = an_app()

    @app.get("/{item_id}")
    @cache_redis(tags=["item:{item_id}"])
    async def handler(item_id: int, request: Request, out: Response, q: str = "none") -> str:
        out.headers["X-Path"] = request.url.path
        return f"{item_id} {q}"

    async with asking(app):
        for _ in range(2):
            _, headers, body = await sent_by(app, a_scope("/7?q=a"))
            assert (headers["x-path"], body) == ("/7", b'"7 a"')


@async_test
async def test_requests_that_do_not_fit_are_answered_as_without_it() -> None:
    app, _ = an_app()

    async def handler(item_id: int) -> int:
        return item_id

    app.get("/plain/{item_id}")(handler)
    app.get("/kept/{item_id}")(cache_redis()(handler))
    async with asking(app):
        plain, kept = [await sent_by(app, a_scope(path)) for path in ("/plain/x", "/kept/x")]
    assert (plain[0], plain[2]) == (kept[0], kept[2]) == (422, plain[2])


@async_test
async def test_what_is_yielded_is_streamed_and_not_kept() -> None:
    async def handler() -> AsyncIterator[int]:
        yield 1

    def plain() -> Any:
        yield 1

    assert cache_redis()(handler) is handler
    assert cache_redis()(plain) is plain


@async_test
async def test_called_by_hand_it_is_the_handler() -> None:
    @cache_redis()
    async def handler(item_id: int, request: Any = None) -> int:
        return item_id

    @cache_redis()
    def plain(item_id: int) -> int:
        return item_id

    assert await handler(7) == 7
    assert await handler(item_id=7) == 7
    assert await plain(7) == 7  # type: ignore[misc]  # sync handlers become async


@async_test
async def test_an_object_that_can_be_called_is_a_handler() -> None:
    class Handler:
        runs = 0

        async def __call__(self, item_id: int) -> int:
            self.runs += 1
            return item_id

    app, _ = an_app()
    handler = Handler()
    app.get("/{item_id}")(cache_redis()(handler))
    async with asking(app):
        for _ in range(2):
            assert (await sent_by(app, a_scope("/7")))[2] == b"7"
    assert handler.runs == 1


@async_test
async def test_a_plain_function_that_gives_an_awaitable_is_awaited() -> None:
    async def inner() -> int:
        return 7

    app, _ = an_app()
    app.get("/a")(cache_redis()(lambda: inner()))
    async with asking(app):
        for _ in range(2):
            assert (await sent_by(app, a_scope("/a")))[2] == b"7"


def test_its_own_parameters_are_not_seen_in_the_documentation() -> None:
    app, _ = an_app()

    @app.get("/{item_id}")
    @cache_redis()
    async def handler(item_id: int) -> int:
        return item_id

    [parameter] = app.openapi()["paths"]["/{item_id}"]["get"]["parameters"]
    assert parameter["name"] == "item_id"
    assert not [name for name in inspect.signature(handler).parameters if name == "request"]


def a_closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.mark.parametrize("decode_responses", [True, False])
def test_a_redis_that_is_down_is_no_error_of_anybodys(decode_responses: bool) -> None:
    @async_test
    async def ask() -> None:
        app, _ = an_app()
        client = redis.asyncio.from_url(
            f"redis://127.0.0.1:{a_closed_port()}", decode_responses=decode_responses
        )
        runs: list[int] = []

        @app.get("/{item_id}")
        @cache_redis(client, 60, tags=["items"], public=True, early=True, stale=10)
        async def handler(item_id: int) -> int:
            runs.append(item_id)
            return item_id

        async with asking(app):
            for _ in range(3):
                status, headers, body = await sent_by(app, a_scope("/7"))
                assert (status, headers["x-cache"], body) == (200, "BYPASS", b"7")
                condition = [("If-None-Match", headers["etag"])]
                assert (await sent_by(app, a_scope("/7", condition)))[0] == 304
        assert len(runs) == 6
        await client.aclose()

    ask()


@async_test
async def test_two_apps_share_a_handler_and_not_their_answers() -> None:
    runs: list[str] = []

    @cache_redis()
    async def handler(request: Request) -> int:
        runs.append(request.url.path)
        return len(runs)

    (one, _), (two, _) = an_app(), an_app()
    for app in (one, two):
        app.get("/a")(handler)
        async with asking(app):
            for _ in range(2):
                await sent_by(app, a_scope("/a"))
    assert len(runs) == 2
