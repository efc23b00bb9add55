"""Answers for everybody are given before routing, and no others are."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
import redis.asyncio
from fastapi import Cookie, Depends, FastAPI, Header, Response
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp, Receive, Scope, Send

from backstay.cache.cache import Cache
from backstay.cache.early import EarlyAnswers, Spot
from backstay.cache.installation import add_cache
from backstay.cache.responses import cache_redis
from backstay.testing import FakeClock
from backstay.web import install
from tests.cache.serving import Front, a_scope, an_app, asking, sent_by
from tests.cache.stores import a_namespace
from tests.state.stores import REDIS_URL, need_redis
from tests.support import async_test


def counting(app: FastAPI, path: str = "/a", **options: Any) -> list[str]:
    """A route whose answers are given early, and how often its handler ran."""
    runs: list[str] = []

    @app.get(path)
    @cache_redis(None, 60, public=True, early=True, **options)
    async def handler() -> dict[str, int]:
        runs.append(path)
        return {"run": len(runs)}

    return runs


@async_test
async def test_what_was_asked_before_is_answered_without_the_app() -> None:
    app, _ = an_app()
    runs, front = counting(app), Front(app)
    async with asking(app):
        first = await sent_by(front, a_scope("/a"))
        again = await sent_by(front, a_scope("/a"))
    assert front.went_in == ["/a"]
    assert runs == ["/a"]
    assert first[2] == again[2] == b'{"run":1}'
    assert again[0] == 200
    assert again[1]["x-cache"] == "HIT"
    changed = {"x-cache", "x-request-id", "age"}
    assert {name for name in again[1] if again[1].get(name) != first[1].get(name)} <= changed


@async_test
async def test_proxies_are_told_that_requests_of_other_origins_are_answered_otherwise() -> None:
    app, _ = an_app()
    counting(app)
    async with asking(app):
        for _ in range(2):
            _, headers, _ = await sent_by(app, a_scope("/a"))
            assert headers["vary"] == "Accept, Origin"


@async_test
async def test_headers_that_go_with_every_answer_are_this_requests() -> None:
    app, _ = an_app()
    front = Front(app)

    @app.get("/a")
    @cache_redis(public=True, early=True)
    async def handler() -> Response:
        return Response(b"x", headers={"X-Request-ID": "the first one's"})

    async with asking(app):
        for _ in range(2):
            _, headers, _ = await sent_by(front, a_scope("/a", [("X-Request-ID", "mine")]))
        assert headers["x-request-id"] == "mine"
    assert front.went_in == ["/a"]


@async_test
async def test_the_client_that_has_it_is_answered_with_304() -> None:
    app, clock = an_app()
    counting(app)
    front = Front(app)
    async with asking(app):
        first = await sent_by(front, a_scope("/a"))
        await clock.advance(5)
        status, headers, body = await sent_by(
            front, a_scope("/a", [("If-None-Match", first[1]["etag"])])
        )
    assert front.went_in == ["/a"]
    assert (status, body) == (304, b"")
    assert headers["age"] == "5"
    assert headers["cache-control"] == "public, max-age=60"
    assert "content-length" not in headers


@async_test
async def test_head_is_answered_where_the_route_answers_it() -> None:
    app, _ = an_app()
    front = Front(app)

    @app.api_route("/both", methods=["GET", "HEAD"])
    @cache_redis(public=True, early=True)
    async def both() -> str:
        return "x"

    counting(app, "/get")
    async with asking(app):
        for path in ("/both", "/get"):
            await sent_by(front, a_scope(path))
        status, headers, body = await sent_by(front, a_scope("/both", method="HEAD"))
        assert (status, body, headers["content-length"]) == (200, b"", "3")
        assert front.went_in == ["/both", "/get"]
        status, _, _ = await sent_by(front, a_scope("/get", method="HEAD"))
        assert status == 405
        assert front.went_in == ["/both", "/get", "/get"]


@pytest.mark.parametrize(
    "other",
    [
        {"path": "/a?x=1"},
        {"path": "/a/"},
        {"scheme": "https"},
        {"headers": [("Host", "other.example")]},
        {"headers": [("Host", "shop.example"), ("Host", "shop.example")]},
        {"headers": [("Accept", "text/html")]},
        {"headers": [("Origin", "https://elsewhere.example")]},
        {"method": "POST"},
    ],
    ids=str,
)
def test_what_is_asked_otherwise_goes_the_usual_way(other: dict[str, Any]) -> None:
    @async_test
    async def ask() -> None:
        app, _ = an_app()
        counting(app)
        front = Front(app)
        async with asking(app):
            await sent_by(front, a_scope("/a"))
            await sent_by(front, a_scope("/a"))
            assert len(front.went_in) == 1
            await sent_by(front, a_scope(**{"path": "/a", **other}))
            assert len(front.went_in) == 2

    ask()


@async_test
async def test_the_order_of_the_query_leads_to_one_answer() -> None:
    app, _ = an_app()
    runs, front = counting(app), Front(app)
    async with asking(app):
        for query in ("x=1&y=2", "y=2&x=1"):
            for _ in range(2):
                assert (await sent_by(front, a_scope(f"/a?{query}")))[2] == b'{"run":1}'
    assert runs == ["/a"]
    assert len(front.went_in) == 2


@async_test
async def test_time_and_invalidation_end_it() -> None:
    app, clock = an_app()
    runs, front = counting(app, tags=["things"]), Front(app)
    async with asking(app) as client:
        await sent_by(front, a_scope("/a"))
        await sent_by(front, a_scope("/a"))
        assert (len(front.went_in), len(runs)) == (1, 1)
        await client.ctx.cache.invalidate("things")
        assert (await sent_by(front, a_scope("/a")))[2] == b'{"run":2}'
        assert (await sent_by(front, a_scope("/a")))[1]["x-cache"] == "HIT"
        assert len(front.went_in) == 2
        await clock.advance(61)
        assert (await sent_by(front, a_scope("/a")))[2] == b'{"run":3}'
        assert len(front.went_in) == 3


@async_test
async def test_headers_it_varies_on_lead_to_answers_of_their_own() -> None:
    app, _ = an_app()
    front = Front(app)

    @app.get("/a")
    @cache_redis(public=True, early=True, vary=["X-Tenant"])
    async def handler(
        accept_language: Annotated[str, Header()] = "none", theme: Annotated[str, Cookie()] = "none"
    ) -> str:
        return f"{accept_language} {theme}"

    asked: list[list[tuple[str, str]]] = [
        [],
        [("Accept-Language", "de")],
        [("Accept-Language", "en")],
        [("Cookie", "theme=dark")],
        [("X-Tenant", "t")],
    ]
    async with asking(app):
        routed = [await sent_by(front, a_scope("/a", headers)) for headers in asked]
        early = [await sent_by(front, a_scope("/a", headers)) for headers in asked]
    assert len(front.went_in) == len(asked)
    assert [each[2] for each in early] == [each[2] for each in routed]
    assert [each[2] for each in early] == [
        b'"none none"',
        b'"de none"',
        b'"en none"',
        b'"none dark"',
        b'"none none"',
    ]


@async_test
async def test_private_answers_and_routes_that_do_not_ask_for_it_are_never_given_early() -> None:
    app, _ = an_app()
    front = Front(app)

    @app.get("/private")
    @cache_redis()
    async def private() -> str:
        return "x"

    @app.get("/public")
    @cache_redis(public=True)
    async def public() -> str:
        return "x"

    async with asking(app):
        for path in ("/private", "/public"):
            for _ in range(3):
                await sent_by(front, a_scope(path))
        assert front.early is None
        counting(app)
    async with asking(app):
        for path in ("/private", "/public"):
            for _ in range(3):
                await sent_by(front, a_scope(path))
        assert front.early is not None
        assert len(front.early) == 0
    assert len(front.went_in) == 12


def guard(token: Annotated[Any, Depends(HTTPBearer())]) -> None: ...


@async_test
async def test_and_where_nobody_looks_at_the_start_it_is_not_given_early_all_the_same() -> None:
    app, _ = an_app()
    counting(app, "/other")
    front = Front(app)

    @cache_redis(public=True, early=True)
    async def handler() -> str:
        return "x"

    async with asking(app):
        app.get("/a", dependencies=[Depends(guard)])(handler)
        for _ in range(2):
            status, _, _ = await sent_by(front, a_scope("/a", [("Authorization", "Bearer t")]))
            assert status == 200
        status, _, _ = await sent_by(front, a_scope("/a"))
        assert status == 401
    assert len(front.went_in) == 3


@async_test
async def test_routes_of_mounted_apps_are_answered_early_as_well() -> None:
    app, _ = an_app()
    inner = FastAPI()
    runs = counting(inner)
    app.mount("/sub", inner)
    front = Front(app)
    async with asking(app):
        for _ in range(3):
            assert (await sent_by(front, a_scope("/sub/a")))[2] == b'{"run":1}'
        assert (await sent_by(front, a_scope("/a")))[0] == 404
    assert front.went_in == ["/sub/a", "/a"]
    assert runs == ["/a"]


class Changing:
    """A middleware that changes what is asked."""

    def __init__(self, app: ASGIApp, change: Callable[[Scope], None]) -> None:
        self.app = app
        self.change = change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.change(scope)
        await self.app(scope, receive, send)


def tenant_of_host(scope: Scope) -> None:
    tenant = dict(scope["headers"])[b"x-tenant"]
    scope["headers"] = [(b"host", tenant + b".example"), (b"x-tenant", tenant)]


def tenant_in_path(scope: Scope) -> None:
    scope["path"] = "/" + dict(scope["headers"])[b"x-tenant"].decode()


def language_added(scope: Scope) -> None:
    tenant = dict(scope["headers"])[b"x-tenant"]
    scope["headers"] = [*scope["headers"], (b"accept-language", tenant)]


@pytest.mark.parametrize("change", [tenant_of_host, tenant_in_path, language_added])
def test_what_a_middleware_makes_of_the_request_is_not_answered_without_it(
    change: Callable[[Scope], None],
) -> None:
    @async_test
    async def ask() -> None:
        app, _ = an_app()
        app.add_middleware(Changing, change=change)

        @app.get("/{anything}")
        @cache_redis(public=True, early=True, vary=["Accept-Language"])
        async def handler(
            anything: str,
            host: Annotated[str, Header()],
            accept_language: Annotated[str, Header()] = "",
        ) -> str:
            return f"{host} {anything} {accept_language}"

        front = Front(app)
        async with asking(app):
            for tenant in ("one", "two", "one", "two"):
                _, _, body = await sent_by(front, a_scope("/a", [("X-Tenant", tenant)]))
                assert tenant.encode() in body
        assert len(front.went_in) == 4

    ask()


@async_test
async def test_clients_that_may_have_it_made_anew_get_it_made_anew() -> None:
    app, _ = an_app()
    runs, front = counting(app, revalidate=True), Front(app)
    async with asking(app):
        await sent_by(front, a_scope("/a"))
        await sent_by(front, a_scope("/a"))
        assert len(runs) == 1
        await sent_by(front, a_scope("/a", [("Cache-Control", "No-Cache")]))
        assert len(runs) == 2


@async_test
async def test_others_do_not() -> None:
    app, _ = an_app()
    runs, front = counting(app), Front(app)
    async with asking(app):
        for _ in range(3):
            await sent_by(front, a_scope("/a", [("Cache-Control", "no-cache")]))
    assert (len(runs), len(front.went_in)) == (1, 1)


@async_test
async def test_the_lines_remembered_are_bounded_and_the_oldest_go_first() -> None:
    app, _ = an_app()
    counting(app)
    front = Front(app, EarlyAnswers(most_lines=3))
    async with asking(app):
        for n in range(3):
            await sent_by(front, a_scope(f"/a?n={n}"))
        await sent_by(front, a_scope("/a?n=0"))
        await sent_by(front, a_scope("/a?n=3"))
        assert front.early is not None
        assert len(front.early) == 3
        front.went_in.clear()
        await sent_by(front, a_scope("/a?n=0"))
        assert front.went_in == []
        await sent_by(front, a_scope("/a?n=1"))
        assert front.went_in == ["/a"]


@async_test
async def test_values_it_varies_on_are_bounded_as_well() -> None:
    app, _ = an_app()
    counting(app, vary=["X-V"])
    front = Front(app)
    async with asking(app):
        for n in range(250):
            await sent_by(front, a_scope("/a", [("X-V", str(n))]))
        assert front.early is not None
    [page] = front.early._pages.values()
    assert len(page.spots) <= 100


class Broken(Cache):
    """Fails in a way that no cache should."""

    def peek(self, key: str, tags: Any = ()) -> Any:
        raise RuntimeError("broken")


@async_test
async def test_a_cache_that_breaks_is_no_error_of_the_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    early = EarlyAnswers()
    scope = a_scope("/a")
    raw = ("http", "/a", b"", b"shop.example", ())
    early.learn(raw, (), Spot(Broken(), "k", (), (), True, False))
    assert not await early(scope, _nowhere)
    assert "could not be given before routing" in caplog.text


async def _nowhere(message: Any) -> None:
    raise AssertionError(message)


@async_test
async def test_foreign_bytes_under_the_key_go_the_usual_way() -> None:
    app, _ = an_app()
    runs, front = counting(app), Front(app)
    async with asking(app):
        await sent_by(front, a_scope("/a"))
        assert front.early is not None
        [page] = front.early._pages.values()
        [spot] = page.spots.values()
        await spot.cache.set(spot.key, "no answer")
        status, headers, _ = await sent_by(front, a_scope("/a"))
        assert (status, headers["x-cache"]) == (200, "BYPASS")
        assert (await sent_by(front, a_scope("/a")))[1]["x-cache"] == "MISS"
        assert (await sent_by(front, a_scope("/a")))[1]["x-cache"] == "HIT"
    assert len(runs) == 3


@async_test
async def test_it_works_over_redis_in_one_trip() -> None:
    need_redis()
    with a_namespace() as namespace:
        client = redis.asyncio.from_url(REDIS_URL)
        app = FastAPI()
        install(app, clock=FakeClock())
        add_cache(app, client, namespace=namespace)
        runs, front = counting(app, tags=["one", "two"]), Front(app)
        async with asking(app) as asked:
            await sent_by(front, a_scope("/a"))
            trips: list[Any] = []
            execute = client.execute_command

            async def counted(*command: Any, **options: Any) -> Any:
                trips.append(command[0])
                return await execute(*command, **options)

            client.execute_command = counted  # type: ignore[method-assign]  # to listen
            assert (await sent_by(front, a_scope("/a")))[1]["x-cache"] == "HIT"
            assert trips == ["MGET"]
            await asked.ctx.cache.invalidate("two")
            await sent_by(front, a_scope("/a"))
        assert (len(runs), len(front.went_in)) == (2, 2)
        await client.aclose()


@async_test
async def test_an_app_whose_cache_status_is_false_answers_nothing_before_routing() -> None:
    app, _ = an_app()
    runs, front = counting(app), Front(app)
    async with asking(app):
        for status in (True, True, False, False, None):
            app.state.CACHE_STATUS = status
            await sent_by(front, a_scope("/a"))
    assert front.went_in == ["/a"] * 3
    assert runs == ["/a"] * 3
