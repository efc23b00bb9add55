"""Who asks the same is answered the same, and nobody is given what is another's."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Response,
)
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.security import APIKeyCookie, APIKeyHeader, APIKeyQuery, HTTPBearer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.requests import HTTPConnection, Request

from backstay import User
from backstay.cache.cache import Cache
from backstay.cache.responses import cache_redis
from backstay.errors import BadCache
from backstay.testing import FakeClock
from backstay.web import Ctx, installed
from tests.cache.serving import Front, a_scope, an_app, asking, sent_by
from tests.support import async_test


class Counter:
    """How often something ran."""

    def __init__(self) -> None:
        self.n = 0

    def up(self) -> int:
        self.n += 1
        return self.n


def counted(app: FastAPI, path: str = "/a", **options: Any) -> Counter:
    runs = Counter()

    @app.get(path)
    @cache_redis(None, 60, **options)
    async def handler() -> int:
        return runs.up()

    return runs


# ------------------------------------------------------------------ what is the same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {}, True),
        ({"path": "/a?x=1&y=2"}, {"path": "/a?y=2&x=1"}, True),
        ({"path": "/a?x=1&x=2"}, {"path": "/a?x=2&x=1"}, False),
        ({"path": "/a?x=1"}, {"path": "/a?x=2"}, False),
        ({"path": "/a?x="}, {"path": "/a"}, False),
        ({"path": "/a?x=%31"}, {"path": "/a?x=1"}, True),
        ({"path": "/a?x=1&%78=2"}, {"path": "/a?%78=2&x=1"}, False),
        ({}, {"headers": [("Host", "other.example")]}, False),
        ({}, {"headers": [("Accept", "text/html")]}, False),
        ({}, {"headers": [("X-Unread", "1")]}, True),
        ({}, {"headers": [("X-Varied", "1")]}, False),
        ({}, {"headers": [("X-Declared", "1")]}, False),
        ({}, {"headers": [("X-By-Dependency", "1")]}, False),
        ({}, {"scheme": "https"}, False),
        ({}, {"root_path": "/v1"}, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("public", [True, False], ids=["public", "private"])
def test_the_same_question_has_the_same_answer_and_another_has_its_own(
    one: dict[str, Any], other: dict[str, Any], same: bool, public: bool
) -> None:
    def dependency(x_by_dependency: Annotated[str, Header()] = "") -> None: ...

    @async_test
    async def ask() -> None:
        app, _ = an_app()
        runs = Counter()

        @app.get("/a", dependencies=[Depends(dependency)])
        @cache_redis(public=public, vary=["X-Varied"])
        async def handler(x_declared: Annotated[str, Header()] = "") -> int:
            return runs.up()

        async with asking(app):
            await sent_by(app, a_scope(**{"path": "/a", **one}))
            _, headers, _ = await sent_by(app, a_scope(**{"path": "/a", **other}))
        assert headers["x-cache"] == ("HIT" if same else "MISS")
        assert runs.n == (1 if same else 2)

    ask()


@async_test
async def test_without_a_host_the_address_that_was_called_counts() -> None:
    app, _ = an_app()
    runs = counted(app, public=True)
    async with asking(app):
        for server in (("10.0.0.1", 80), ("10.0.0.2", 80), ("10.0.0.1", 80)):
            await sent_by(app, {**a_scope("/a", server=server), "headers": []})
    assert runs.n == 2


@async_test
async def test_answers_of_another_class_are_others() -> None:
    cache = Cache()
    for response_class in (JSONResponse, PlainTextResponse):
        app = FastAPI()
        app.get("/a", response_class=response_class)(cache_redis(cache)(lambda: "x"))
        _, headers, _ = await sent_by(app, a_scope("/a"))
        assert headers["x-cache"] == "MISS"
        assert headers["content-type"].startswith(str(response_class.media_type))


@async_test
async def test_a_function_may_say_what_the_question_is() -> None:
    app, _ = an_app()
    runs = counted(app, key=lambda request: request.query_params.get("page", "1"))
    async with asking(app):
        for path in ("/a", "/a?utm=x", "/a?page=1"):
            assert (await sent_by(app, a_scope(path)))[2] == b"1"
        await sent_by(app, a_scope("/a?page=2"))
        assert (await sent_by(app, a_scope("/a", [("Authorization", "x")])))[2] == b"3"
    assert runs.n == 3


@async_test
async def test_and_is_told_if_it_gives_no_text() -> None:
    app = FastAPI()

    @app.get("/b")
    @cache_redis("memory://", key=lambda request: 7)  # type: ignore[arg-type, return-value]  # wrong
    async def handler() -> None: ...

    with pytest.raises(BadCache, match="gave 7 of type int"):
        await sent_by(app, a_scope("/b"))


# ------------------------------------------------------------------ who is asking

KEY = APIKeyHeader(name="X-Shop-Key", auto_error=False)
SCHEMES: dict[str, tuple[Any, Callable[[str], dict[str, Any]]]] = {
    "none, bearer sent": (None, lambda who: {"headers": [("Authorization", f"Bearer {who}")]}),
    "none, cookie sent": (None, lambda who: {"headers": [("Cookie", f"sid={who}")]}),
    "none, proxy says": (None, lambda who: {"headers": [("X-Forwarded-User", who)]}),
    "bearer": (HTTPBearer(), lambda who: {"headers": [("Authorization", f"Bearer {who}")]}),
    "key in header": (KEY, lambda who: {"headers": [("X-Shop-Key", who)]}),
    "key in query": (APIKeyQuery(name="k"), lambda who: {"path": f"/me?k={who}"}),
    "key in cookie": (APIKeyCookie(name="k"), lambda who: {"headers": [("Cookie", f"k={who}")]}),
}


@pytest.mark.parametrize("case", SCHEMES)
def test_nobody_is_given_anothers_answer(case: str) -> None:
    scheme, credentials = SCHEMES[case]

    def who_is(request: Request) -> str:
        return str(request.headers) + str(request.query_params)

    @async_test
    async def ask() -> None:
        app, _ = an_app()

        @app.get("/me", dependencies=[] if scheme is None else [Depends(scheme)])
        @cache_redis()
        async def me(who: Annotated[str, Depends(who_is)]) -> str:
            return who

        async with asking(app):
            for who in ("alice", "bob", "alice", "bob"):
                status, headers, body = await sent_by(
                    app, a_scope(**{"path": "/me", **credentials(who)})
                )
                assert status == 200
                assert who.encode() in body
            assert headers["x-cache"] == "HIT"
            assert headers["cache-control"].startswith("private")

    ask()


@async_test
async def test_a_key_in_a_header_counts_if_only_an_including_router_asks_for_it() -> None:
    app, _ = an_app()
    router = APIRouter()
    runs = Counter()

    @router.get("/a")
    @cache_redis()
    async def handler() -> int:
        return runs.up()

    app.include_router(router, prefix="/guarded", dependencies=[Depends(KEY)])
    app.include_router(router, prefix="/free")
    async with asking(app):
        for who in ("alice", "bob"):
            await sent_by(app, a_scope("/guarded/a", [("X-Shop-Key", who)]))
        assert runs.n == 2
        for who in ("alice", "bob"):
            await sent_by(app, a_scope("/free/a", [("X-Shop-Key", who)]))
        assert runs.n == 3


class ByHeader:
    """A verifier that reads what no one else knows of."""

    async def verify(self, connection: HTTPConnection) -> User | None:
        name = connection.headers.get("x-whoever")
        if name == "mallory":
            raise HTTPException(401)
        return None if name is None else User(name)


@async_test
async def test_whom_the_apps_verifier_finds_has_answers_of_his_own() -> None:
    app, _ = an_app(verify_user=ByHeader())
    runs = counted(app)
    async with asking(app):
        for who in ("alice", "bob", "alice", "bob"):
            await sent_by(app, a_scope("/a", [("X-Whoever", who)]))
        await sent_by(app, a_scope("/a"))
        await sent_by(app, a_scope("/a"))
    assert runs.n == 3


@async_test
async def test_whom_the_verifier_refuses_is_served_by_the_handler_alone() -> None:
    app, _ = an_app(verify_user=ByHeader())
    runs = counted(app)

    @app.get("/known")
    @cache_redis()
    async def known(ctx: Ctx) -> str:
        return "x"

    async with asking(app):
        for n in (1, 2):
            status, headers, body = await sent_by(app, a_scope("/a", [("X-Whoever", "mallory")]))
            assert (status, headers["x-cache"], body) == (200, "BYPASS", b"%d" % n)
        status, _, _ = await sent_by(app, a_scope("/known", [("X-Whoever", "mallory")]))
        assert status == 401
    assert runs.n == 2


@async_test
async def test_a_public_answer_is_everybodys() -> None:
    app, _ = an_app(verify_user=ByHeader())
    runs = counted(app, public=True)
    async with asking(app):
        for who in ("alice", "bob", "mallory"):
            _, headers, body = await sent_by(
                app,
                a_scope("/a", [("X-Whoever", who), ("Authorization", who), ("Cookie", f"s={who}")]),
            )
            assert body == b"1"
    assert headers["cache-control"] == "public, max-age=60"
    assert headers["vary"] == "Accept"
    assert runs.n == 1


@async_test
async def test_dependencies_are_asked_on_hits_so_that_no_one_else_gets_in() -> None:
    app, _ = an_app()
    allowed, runs = {"Bearer good"}, Counter()

    def check(request: Request) -> None:
        if request.headers.get("authorization") not in allowed:
            raise HTTPException(401)

    for public in (True, False):

        @app.get(f"/{public}", dependencies=[Depends(check)])
        @cache_redis(public=public)
        async def handler() -> int:
            return runs.up()

    async with asking(app):
        for path in ("/True", "/False"):
            for _ in range(2):
                found = await sent_by(app, a_scope(path, [("Authorization", "Bearer good")]))
            assert found[1]["x-cache"] == "HIT"
            assert (await sent_by(app, a_scope(path)))[0] == 401
        allowed.clear()
        for path in ("/True", "/False"):
            assert (await sent_by(app, a_scope(path, [("Authorization", "Bearer good")])))[0] == 401
    assert runs.n == 2


@async_test
async def test_no_credential_can_be_read_from_a_key() -> None:
    app, _ = an_app()
    keys: list[str] = []

    class Listening(Cache):
        async def get_or_fill(self, key: str, *args: Any, **options: Any) -> Any:
            keys.append(key)
            return await super().get_or_fill(key, *args, **options)

    @app.get("/a/{secret_id}")
    @cache_redis(Listening())
    async def handler(secret_id: str) -> str:
        return secret_id

    async with asking(app):
        await sent_by(
            app,
            a_scope(
                "/a/pssst?k=hidden", [("Authorization", "Bearer s3cret"), ("Cookie", "c=c00kie")]
            ),
        )
    [key] = keys
    assert key.startswith("/a/{secret_id}:")
    for word in ("pssst", "hidden", "s3cret", "c00kie"):
        assert word not in key


# ------------------------------------------------------------------ what is kept, and what is not


class Item(BaseModel):
    id: int


@async_test
async def test_what_the_model_leaves_out_is_not_in_the_cache_either() -> None:
    app, _ = an_app()
    cache = Cache()

    @app.get("/a")
    @cache_redis(cache)
    async def handler() -> Item:
        return {"id": 1, "password_hash": "x"}  # type: ignore[return-value]  # as rows are

    async with asking(app):
        bodies = [(await sent_by(app, a_scope("/a")))[2] for _ in range(2)]
    assert bodies == [b'{"id":1}'] * 2
    for raw, _ in cache._shelf.store._entries.values():  # type: ignore[attr-defined]  # in memory
        assert b"password_hash" not in raw


@async_test
async def test_a_response_is_kept_as_what_it_sends() -> None:
    app, _ = an_app()

    @app.get("/a")
    @cache_redis()
    async def handler() -> Response:
        return PlainTextResponse("hé", 203, {"X-A": "1"})

    async with asking(app):
        for expected in ("MISS", "HIT"):
            status, headers, body = await sent_by(app, a_scope("/a"))
            assert (status, headers["x-a"], body) == (203, "1", "hé".encode())
            assert headers["content-type"] == "text/plain; charset=utf-8"
            assert headers["x-cache"] == expected


UNKEPT: dict[str, Callable[[], Any]] = {
    "stream": lambda: StreamingResponse(iter([b"a", b"b"])),
    "background": lambda: Response(b"ab", background=BackgroundTask(int)),
    "cookie": lambda: Response(b"ab", headers={"Set-Cookie": "a=b"}),
    "no-store": lambda: Response(b"ab", headers={"Cache-Control": "no-store"}),
    "error": lambda: JSONResponse("ab", 500),
}


@pytest.mark.parametrize("case", UNKEPT)
def test_what_must_not_be_kept_is_sent_as_it_is(case: str) -> None:
    @async_test
    async def ask() -> None:
        app, _ = an_app()
        runs = Counter()

        @app.get("/a", response_model=None)
        @cache_redis(public=True)
        async def handler() -> Any:
            runs.up()
            return UNKEPT[case]()

        async with asking(app):
            for _ in range(2):
                _, headers, body = await sent_by(app, a_scope("/a"))
                assert body.strip(b'"') == b"ab"
                assert headers["x-cache"] == "BYPASS"
                assert "etag" not in headers
        assert runs.n == 2

    ask()


@async_test
async def test_what_is_raised_is_not_kept() -> None:
    app, _ = an_app()
    runs = Counter()

    @app.get("/a")
    @cache_redis()
    async def handler() -> int:
        if runs.up() < 3:
            raise HTTPException(404, headers={"X-Why": "gone"})
        return runs.n

    async with asking(app):
        for _ in range(2):
            status, headers, _ = await sent_by(app, a_scope("/a"))
            assert (status, headers["x-why"]) == (404, "gone")
        assert (await sent_by(app, a_scope("/a")))[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_than_get_run_the_handler(method: str) -> None:
    @async_test
    async def ask() -> None:
        app, _ = an_app()
        runs = Counter()

        @app.api_route("/a", methods=["GET", method])
        @cache_redis(public=True)
        async def handler() -> int:
            return runs.up()

        async with asking(app):
            await sent_by(app, a_scope("/a"))
            _, headers, _ = await sent_by(app, a_scope("/a", method=method))
            assert "x-cache" not in headers
        assert runs.n == 2

    ask()


@async_test
async def test_head_is_answered_from_what_get_left_and_leaves_nothing() -> None:
    app, _ = an_app()
    runs = Counter()

    @app.api_route("/a", methods=["GET", "HEAD"])
    @cache_redis(public=True)
    async def handler() -> int:
        return runs.up()

    async with asking(app):
        status, headers, _ = await sent_by(app, a_scope("/a", method="HEAD"))
        assert (status, headers["x-cache"]) == (200, "BYPASS")
        _, got, _ = await sent_by(app, a_scope("/a"))
        assert got["x-cache"] == "MISS"
        status, headers, body = await sent_by(app, a_scope("/a", method="HEAD"))
        assert (status, headers["x-cache"], body) == (200, "HIT", b"")
        for name in ("etag", "content-length", "content-type", "cache-control"):
            assert headers[name] == got[name]
    assert runs.n == 2


@async_test
async def test_a_question_with_a_body_is_not_kept() -> None:
    app, _ = an_app()
    runs = Counter()

    @app.api_route("/a", methods=["GET"])
    @cache_redis(public=True)
    async def handler(x: Annotated[int, Body()] = 0) -> int:
        return runs.up()

    async with asking(app):
        for n in (1, 2):
            _, headers, body = await sent_by(app, a_scope("/a"))
            assert (headers["x-cache"], body) == ("BYPASS", b"%d" % n)


@async_test
async def test_a_client_that_wants_nothing_stored_is_answered_from_what_is_there_already() -> None:
    app, _ = an_app()
    runs = counted(app, public=True)
    no_store = [("Cache-Control", "no-store")]
    async with asking(app):
        for n in (1, 2):
            _, headers, body = await sent_by(app, a_scope("/a", no_store))
            assert (headers["x-cache"], body) == ("BYPASS", b"%d" % n)
        await sent_by(app, a_scope("/a"))
        _, headers, body = await sent_by(app, a_scope("/a", no_store))
        assert (headers["x-cache"], body) == ("HIT", b"3")
    assert runs.n == 3


@pytest.mark.parametrize(
    ("options", "anew"),
    [
        ({}, True),
        ({"public": True}, False),
        ({"public": True, "revalidate": True}, True),
        ({"revalidate": False}, False),
    ],
    ids=str,
)
def test_a_client_has_an_answer_made_anew_if_it_may(options: dict[str, Any], anew: bool) -> None:
    @async_test
    async def ask() -> None:
        app, _ = an_app()
        runs = counted(app, **options)
        async with asking(app):
            await sent_by(app, a_scope("/a"))
            _, headers, body = await sent_by(app, a_scope("/a", [("Cache-Control", "no-cache")]))
            assert (headers["x-cache"], body) == (("MISS", b"2") if anew else ("HIT", b"1"))
            _, headers, body = await sent_by(app, a_scope("/a"))
            assert headers["x-cache"] == "HIT"
        assert runs.n == (2 if anew else 1)

    ask()


# ------------------------------------------------------------------ conditions and headers


@async_test
async def test_who_names_the_tag_is_answered_with_304_from_the_first_time_on() -> None:
    app, _ = an_app()
    runs, other = counted(app), an_app()[0]
    counted(other)
    async with asking(other):
        _, headers, _ = await sent_by(other, a_scope("/a"))
    condition = [("If-None-Match", f'"x", W/{headers["etag"]}')]
    async with asking(app):
        for expected in ("MISS", "HIT"):
            status, headers, body = await sent_by(app, a_scope("/a", condition))
            assert (status, body, headers["x-cache"]) == (304, b"", expected)
            assert {"etag", "cache-control", "vary"} <= headers.keys()
            assert "content-type" not in headers
        status, _, body = await sent_by(app, a_scope("/a", [("If-None-Match", '"x"')]))
        assert (status, body) == (200, b"1")
    assert runs.n == 1


@async_test
async def test_age_grows_and_the_answer_stays() -> None:
    app, clock = an_app()
    counted(app, public=True)
    async with asking(app):
        _, headers, body = await sent_by(app, a_scope("/a"))
        assert "age" not in headers
        await clock.advance(42)
        _, headers, again = await sent_by(app, a_scope("/a"))
        assert headers["age"] == "42"
        assert body == again
        await clock.advance(18)
        _, headers, _ = await sent_by(app, a_scope("/a"))
        assert headers["x-cache"] == "MISS"


@async_test
async def test_headers_of_dependencies_are_each_requests_own() -> None:
    app, _ = an_app()
    visits = Counter()

    def session(response: Response) -> None:
        n = visits.up()
        response.headers["X-Visit"] = str(n)
        response.set_cookie("visit", str(n))

    @app.get("/{kind}", dependencies=[Depends(session)])
    @cache_redis(public=True)
    async def handler(kind: str) -> str:
        return kind

    async with asking(app):
        for n in (1, 2, 3):
            _, headers, body = await sent_by(app, a_scope("/a"))
            assert headers["x-visit"] == str(n)
            assert headers["set-cookie"].startswith(f"visit={n};")
            assert body == b'"a"'
            # Or a proxy would give the cookie to the next one.
            assert headers["cache-control"] == "private, max-age=0, must-revalidate"
        assert headers["x-cache"] == "HIT"
        condition = [("If-None-Match", headers["etag"])]
        status, headers, _ = await sent_by(app, a_scope("/a", condition))
        assert (status, headers["x-visit"]) == (304, "4")


@async_test
async def test_background_tasks_of_the_handler_run_when_it_does() -> None:
    app, _ = an_app()
    done = Counter()

    @app.get("/a")
    @cache_redis()
    async def handler(tasks: BackgroundTasks) -> str:
        tasks.add_task(done.up)
        return "x"

    async with asking(app):
        for _ in range(3):
            await sent_by(app, a_scope("/a"))
    assert done.n == 1


# ------------------------------------------------------------------ whoever asks whatever

Asked = tuple[str, str, list[tuple[str, str]]]


def some(name: str, *values: str) -> st.SearchStrategy[list[tuple[str, str]]]:
    """That header, once or several times or not at all."""
    return st.lists(st.sampled_from(values).map(lambda value: (name, value)), max_size=2)


questions: st.SearchStrategy[Asked] = st.builds(
    lambda path, query, host, *headers: (
        path,
        query,
        [host, *(one for each in headers for one in each)],
    ),
    st.sampled_from(["/x/a", "/x/b", "/x/a%2Fb"]),
    st.lists(st.sampled_from(["p=1", "p=2", "q=1", "%70=1", "p", "p=", ""]), max_size=3).map(
        "&".join
    ),
    st.sampled_from([("host", "one.example"), ("host", "two.example")]),
    some("accept", "text/html", "*/*"),
    some("authorization", "Bearer a", "Bearer b"),
    some("cookie", "theme=dark", "theme=light; sid=1", "sid=2", "sid=2; theme=dark"),
    some("x-declared", "1", "2", "1,2"),
    some("x-forwarded-user", "ann", "bob"),
)


def echo(request: Request, *, public: bool) -> list[Any]:
    """All that an answer may depend on without the policy saying so."""
    headers = request.headers
    names = ["host", "accept", "x-declared"]
    if not public:
        names += ["authorization", "cookie", "x-forwarded-user"]
    by_name: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        by_name.setdefault(name, []).append(value)
    theme = request.cookies.get("theme")
    return [request.url.path, sorted(by_name.items()), theme, [headers.getlist(n) for n in names]]


@pytest.mark.parametrize("public", [True, False], ids=["public", "private"])
@given(asked=st.lists(questions, min_size=2, max_size=8))
def test_nobody_ever_gets_what_the_handler_would_not_have_answered(
    public: bool, asked: list[Asked]
) -> None:
    @async_test
    async def ask() -> None:
        app, _ = an_app()

        @app.get("/x/{anything:path}")
        @cache_redis(public=public, early=public, tags=["x:{anything}"])
        async def kept(
            request: Request,
            anything: str,
            x_declared: Annotated[list[str] | None, Header()] = None,
            theme: Annotated[str | None, Cookie()] = None,
        ) -> list[Any]:
            return echo(request, public=public)

        front = Front(app)
        async with asking(app):
            for path, query, headers in [*asked, *asked]:
                scope = a_scope(path, headers, query_string=query.encode())
                expected = echo(Request(scope), public=public)
                status, _, body = await sent_by(front, scope)
                assert status == 200
                assert json.loads(body) == json.loads(json.dumps(expected))

    ask()


# ------------------------------------------------------------------ many at once, and time


class Gate:
    """Holds handlers until it is opened."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.runs = 0

    async def through(self) -> int:
        self.runs += 1
        n = self.runs
        self.entered.set()
        await self.open.wait()
        return n


@async_test
async def test_of_twenty_who_ask_at_once_one_runs_the_handler() -> None:
    app, _ = an_app()
    gate = Gate()

    @app.get("/a")
    @cache_redis(public=True)
    async def handler() -> int:
        return await gate.through()

    async with asking(app):
        asks = [asyncio.create_task(sent_by(app, a_scope("/a"))) for _ in range(20)]
        await gate.entered.wait()
        gate.open.set()
        found = await asyncio.gather(*asks)
    assert gate.runs == 1
    assert {each[2] for each in found} == {b"1"}
    assert sorted(each[1]["x-cache"] for each in found) == ["HIT"] * 19 + ["MISS"]


@async_test
async def test_one_who_leaves_does_not_spoil_it_for_the_others() -> None:
    app, _ = an_app()
    gate = Gate()

    @app.get("/a")
    @cache_redis(public=True)
    async def handler() -> int:
        return await gate.through()

    async with asking(app):
        leaving = asyncio.create_task(sent_by(app, a_scope("/a")))
        await gate.entered.wait()
        staying = [asyncio.create_task(sent_by(app, a_scope("/a"))) for _ in range(3)]
        await asyncio.sleep(0)
        gate.entered.clear()
        leaving.cancel()
        await gate.entered.wait()
        gate.open.set()
        found = await asyncio.gather(*staying)
    assert {each[0] for each in found} == {200}
    assert gate.runs == 2


@async_test
async def test_those_who_wait_for_what_cannot_be_kept_run_the_handler_themselves() -> None:
    app, _ = an_app()
    gate = Gate()

    @app.get("/a")
    @cache_redis(public=True)
    async def handler(response: Response) -> int:
        n = await gate.through()
        response.set_cookie("n", str(n))
        return n

    async with asking(app):
        asks = [asyncio.create_task(sent_by(app, a_scope("/a"))) for _ in range(3)]
        await gate.entered.wait()
        gate.open.set()
        found = await asyncio.gather(*asks)
    assert sorted(each[2] for each in found) == [b"1", b"2", b"3"]
    for _, headers, body in found:
        assert headers["set-cookie"].startswith(f"n={body.decode()};")


@async_test
async def test_an_old_answer_is_given_while_a_request_of_its_own_makes_it_anew() -> None:
    app, clock = an_app()
    runs, sessions = Counter(), []

    async def session() -> AsyncIterator[list[str]]:
        mine = ["open"]
        sessions.append(mine)
        yield mine
        mine[:] = ["closed"]

    @app.get("/a")
    @cache_redis(None, 10, stale=30, public=True)
    async def handler(mine: Annotated[list[str], Depends(session)], ctx: Ctx) -> int:
        assert mine == ["open"]
        return runs.up()

    async with asking(app) as client:
        cache = client.ctx.cache
        await sent_by(app, a_scope("/a"))
        await clock.advance(15)
        _, headers, body = await sent_by(app, a_scope("/a"))
        assert (headers["x-cache"], headers["age"], body) == ("STALE", "15", b"1")
        await cache.settle()
        assert runs.n == 2
        assert len(sessions) == 3, "the replay had a session of its own"
        _, headers, body = await sent_by(app, a_scope("/a"))
        assert (headers["x-cache"], headers["age"], body) == ("HIT", "0", b"2")
        await clock.advance(41)
        _, headers, body = await sent_by(app, a_scope("/a"))
        assert (headers["x-cache"], body) == ("MISS", b"3")
    assert {state for mine in sessions for state in mine} == {"closed"}


@async_test
async def test_who_may_not_ask_any_more_gets_nothing_made_anew() -> None:
    app, clock = an_app()
    runs, allowed = Counter(), [True]

    @app.get("/a")
    @cache_redis(None, 10, stale=30)
    async def handler(request: Request) -> int:
        if not allowed:
            raise HTTPException(403)
        return runs.up()

    async with asking(app) as client:
        await sent_by(app, a_scope("/a", [("Authorization", "x")]))
        await clock.advance(15)
        allowed.clear()
        for _ in range(2):
            _, headers, body = await sent_by(app, a_scope("/a", [("Authorization", "x")]))
            assert (headers["x-cache"], body) == ("STALE", b"1")
            await client.ctx.cache.settle()
        await clock.advance(30)
        status, _, _ = await sent_by(app, a_scope("/a", [("Authorization", "x")]))
        assert status == 403


@async_test
async def test_an_answer_of_a_mounted_app_is_made_anew_through_the_whole_of_it() -> None:
    app, clock = an_app()
    inner, runs = FastAPI(), Counter()
    installed(app).door = app

    @inner.get("/a")
    @cache_redis(None, 10, stale=30)
    async def handler(ctx: Ctx) -> int:
        return runs.up()

    app.mount("/sub", inner)
    async with asking(app) as client:
        for body in (b"1", b"1", b"2"):
            assert (await sent_by(app, a_scope("/sub/a")))[2] == body
            await client.ctx.cache.settle()
            await clock.advance(15)
    assert runs.n == 3


@async_test
async def test_what_is_asked_again_otherwise_is_not_kept_as_the_answer() -> None:
    app, clock = an_app()
    runs = Counter()

    @app.get("/a")
    @cache_redis(None, 10, stale=30, public=True)
    async def handler(cache_control: Annotated[str, Header()] = "none") -> str:
        runs.up()
        return cache_control

    async with asking(app) as client:
        for _ in range(2):
            _, headers, body = await sent_by(app, a_scope("/a", [("Cache-Control", "max-age=1")]))
            assert body == b'"max-age=1"'
            await client.ctx.cache.settle()
            await clock.advance(15)
        assert headers["x-cache"] == "STALE"
        _, headers, body = await sent_by(app, a_scope("/a", [("Cache-Control", "max-age=1")]))
        assert (headers["x-cache"], body) == ("STALE", b'"max-age=1"')
        assert runs.n == 2


@async_test
async def test_an_answer_that_must_be_asked_about_is_not_given_when_it_is_old() -> None:
    app, clock = an_app()
    runs = Counter()

    @app.get("/a")
    @cache_redis(None, 10, stale=30)
    async def handler(response: Response) -> int:
        response.headers["Cache-Control"] = "max-age=10, must-revalidate"
        return runs.up()

    async with asking(app) as client:
        await sent_by(app, a_scope("/a"))
        await clock.advance(15)
        _, headers, body = await sent_by(app, a_scope("/a"))
        assert headers["x-cache"] == "BYPASS"
        assert body != b"1"
        await client.ctx.cache.settle()


# ------------------------------------------------------------------ tags


def a_shop(**options: Any) -> tuple[FastAPI, FakeClock, dict[int, str]]:
    app, clock = an_app()
    items = {1: "one", 2: "two"}

    @app.get("/items/{item_id}")
    @cache_redis(None, 60, tags=["items", "item:{item_id}"], **options)
    async def get_item(item_id: int) -> str:
        return items[item_id]

    @app.put("/items/{item_id}")
    async def put_item(item_id: int, name: str, ctx: Ctx, fail: bool = False) -> None:
        items[item_id] = name
        await ctx.cache.invalidate(f"item:{item_id}")
        assert (await sent_by(app, a_scope(f"/items/{item_id}")))[1]["x-cache"] == "HIT"
        if fail:
            raise HTTPException(500)

    return app, clock, items


@pytest.mark.parametrize("public", [True, False], ids=["public", "private"])
def test_a_change_is_seen_by_whoever_asks_after_it(public: bool) -> None:
    @async_test
    async def ask() -> None:
        app, _, _ = a_shop(public=public)
        async with asking(app):
            for path in ("/items/1", "/items/01", "/items/2"):
                await sent_by(app, a_scope(path))
            status, _, _ = await sent_by(app, a_scope("/items/1?name=new", method="PUT"))
            assert status == 200
            for path in ("/items/1", "/items/01"):
                _, headers, body = await sent_by(app, a_scope(path))
                assert (headers["x-cache"], body) == ("MISS", b'"new"')
            assert (await sent_by(app, a_scope("/items/2")))[1]["x-cache"] == "HIT"

    ask()


@async_test
async def test_a_change_that_failed_leaves_what_there_is() -> None:
    app, _, _ = a_shop()
    async with asking(app):
        await sent_by(app, a_scope("/items/1"))
        status, _, _ = await sent_by(app, a_scope("/items/1?name=new&fail=true", method="PUT"))
        assert status == 500
        assert (await sent_by(app, a_scope("/items/1")))[1]["x-cache"] == "HIT"


@async_test
async def test_what_was_read_before_a_change_and_comes_after_it_is_not_kept() -> None:
    app, _ = an_app()
    gate = Gate()

    @app.get("/a")
    @cache_redis(None, 60, tags=["a"], public=True)
    async def handler() -> int:
        return await gate.through()

    async with asking(app) as client:
        old = asyncio.create_task(sent_by(app, a_scope("/a")))
        await gate.entered.wait()
        await client.ctx.cache.invalidate("a")
        gate.open.set()
        assert (await old)[1]["x-cache"] == "BYPASS"
        _, headers, body = await sent_by(app, a_scope("/a"))
        assert (headers["x-cache"], body) == ("MISS", b"2")


@async_test
async def test_a_tag_that_names_no_parameter_is_told_at_the_first_request_at_the_latest() -> None:
    app = FastAPI()

    @app.get("/a")
    @cache_redis("memory://", tags=["item:{item_id}"])
    async def handler() -> None: ...

    with pytest.raises(BadCache, match=r"name \['item_id'\], which are no parameters of it"):
        await sent_by(app, a_scope("/a"))


@pytest.mark.parametrize("status", [True, None, False])
@async_test
async def test_an_app_whose_cache_status_is_false_keeps_nothing(status: bool | None) -> None:
    app, _ = an_app()
    app.state.CACHE_STATUS = status
    runs: list[int] = []

    @app.get("/a")
    @cache_redis(None, 60)
    async def handler() -> int:
        runs.append(1)
        return len(runs)

    async with asking(app) as client:
        said = [(await client.get("/a")).headers["x-cache"] for _ in range(2)]
    assert said == (["BYPASS", "BYPASS"] if status is False else ["MISS", "HIT"])
    assert len(runs) == (2 if status is False else 1)
