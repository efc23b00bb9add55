"""``rate_limit``: so many pass, wherever the dependency stands, and every answer says how it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient, WebSocketDenialResponse

from backstay.context import User
from backstay.errors import BadLimit, NotInstalled
from backstay.limits import RateLimit, add_limits, rate_limit
from backstay.testing import FakeClock, RunningApp, running
from backstay.web import install
from backstay.web.client_address import read_networks
from tests.support import async_test


class ByHeader:
    """Whoever ``X-User`` names is who asks."""

    async def verify(self, connection: HTTPConnection) -> User | None:
        name = connection.headers.get("x-user")
        return User(name) if name else None


def app_with(**options: Any) -> FastAPI:
    app = FastAPI()
    install(app, verify_user=ByHeader(), env_file=None, clock=FakeClock())
    add_limits(app, "memory", **options)
    return app


async def statuses(client: RunningApp, path: str, times: int, **options: Any) -> list[int]:
    return [(await client.get(path, **options)).status_code for _ in range(times)]


# ------------------------------------------------------------------ answers


@async_test
async def test_a_good_answer_says_what_is_left_and_a_refusal_when_there_is_more() -> None:
    app = app_with()

    @app.get("/", dependencies=[Depends(rate_limit("2/minute"))])
    async def index() -> int:
        return 1

    async with running(app) as client:
        first, second, third = [await client.get("/") for _ in range(3)]
    assert first.headers["ratelimit-policy"] == '"default";q=2;w=60'
    assert first.headers["ratelimit"] == '"default";r=1;t=60'
    assert second.headers["ratelimit"] == '"default";r=0;t=60'
    assert "retry-after" not in second.headers
    assert third.status_code == 429
    assert third.headers["content-type"] == "application/problem+json"
    assert third.headers["ratelimit"] == '"default";r=0;t=60'
    assert third.headers["ratelimit-policy"] == '"default";q=2;w=60'
    assert third.headers["retry-after"] == "60"
    assert third.json()["title"] == "Too Many Requests"
    assert "x-ratelimit-limit" not in third.headers


def stream() -> Iterator[str]:
    yield "a"
    yield "b"


@async_test
async def test_answers_of_every_kind_carry_the_headers() -> None:
    app = FastAPI(dependencies=[Depends(rate_limit("9/minute", name="all"))])
    install(app)

    @app.get("/dict")
    async def as_dict() -> dict[str, int]:
        return {}

    @app.get("/response")
    async def as_response() -> PlainTextResponse:
        return PlainTextResponse("x", headers={"x-mine": "1"})

    @app.get("/stream")
    async def as_stream() -> StreamingResponse:
        return StreamingResponse(stream())

    @app.get("/sync")
    def in_a_thread() -> int:
        return 1

    @app.get("/nothing", status_code=204)
    async def nothing() -> None: ...

    @app.get("/invalid")
    async def invalid(number: int) -> int:
        return number

    @app.get("/fails")
    async def fails() -> None:
        raise BadLimit("a mistake")

    @app.get("/crashes")
    async def crashes() -> None:
        raise RuntimeError("a mistake")

    async with running(app, raise_app_exceptions=False) as client:
        for left, path in enumerate(
            ("dict", "response", "stream", "sync", "nothing", "invalid", "fails", "crashes")
        ):
            answer = await client.get(f"/{path}")
            # Those with a bad request, too: FastAPI looks at dependencies first.
            assert answer.headers["ratelimit"] == f'"all";r={8 - left};t=60', path


@async_test
async def test_headers_can_be_left_out_or_given_in_the_old_way_too() -> None:
    quiet, chatty = app_with(headers=False), app_with(legacy_headers=True)
    for app in (quiet, chatty):

        @app.get(
            "/",
            dependencies=[
                Depends(rate_limit("5/minute", by="ip")),
                Depends(rate_limit("3/hour")),
                Depends(rate_limit("9/day")),
            ],
        )
        async def index() -> int:
            return 1

    async with running(quiet) as client:
        answers = [await client.get("/") for _ in range(4)]
        assert answers[-1].status_code == 429
        assert answers[-1].headers["retry-after"] == "3600"
        assert not any("ratelimit" in each.headers for each in answers)
    async with running(chatty) as client:
        answers = [await client.get("/") for _ in range(4)]
        assert answers[0].headers.get_list("x-ratelimit-limit") == ["3"]
        assert answers[0].headers.get_list("x-ratelimit-remaining") == ["2"]
        at = int(FakeClock().now().timestamp()) + 3600
        assert answers[0].headers.get_list("x-ratelimit-reset") == [str(at)]
        assert answers[-1].headers.get_list("x-ratelimit-remaining") == ["0"]
        assert answers[-1].headers["ratelimit"] == '"default-2";r=0;t=3600, "default";r=1;t=60'


@async_test
async def test_a_websocket_is_limited_like_a_request() -> None:
    app = app_with()

    @app.websocket("/", dependencies=[Depends(rate_limit("1/minute"))])
    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    with TestClient(app) as client:
        with client.websocket_connect("/"):
            pass
        with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/"):
            raise AssertionError("it was let in")
        assert denied.value.status_code == 429
        assert denied.value.headers["retry-after"] == "60"


# ------------------------------------------------------------------ where it stands


@async_test
async def test_limits_of_apps_and_routers_hold_for_what_is_included_at_any_depth() -> None:
    """Where a list of routes is gone through instead, FastAPI's routers since 0.137 are missed."""
    app = FastAPI(dependencies=[Depends(rate_limit("5/minute", name="app"))])
    install(app)
    inner = APIRouter(dependencies=[Depends(rate_limit("3/minute", name="inner"))])
    outer = APIRouter(prefix="/outer", dependencies=[Depends(rate_limit("4/minute", name="outer"))])

    @inner.get("/inner")
    async def in_inner() -> int:
        return 1

    @outer.get("/only")
    async def in_outer() -> int:
        return 1

    outer.include_router(inner)
    app.include_router(outer)
    app.include_router(inner, dependencies=[Depends(rate_limit("2/minute", name="included"))])
    async with running(app) as client:
        answer = await client.get("/outer/inner")
        assert answer.headers["ratelimit"] == ('"app";r=4;t=60, "outer";r=3;t=60, "inner";r=2;t=60')
        assert (await client.get("/inner")).headers["ratelimit"] == (
            '"app";r=3;t=60, "included";r=1;t=60, "inner";r=1;t=60'
        )
        assert await statuses(client, "/outer/only", 4) == [200, 200, 200, 429]


@pytest.mark.parametrize("own", [False, True], ids=["the outer app's", "its own"])
@async_test
async def test_mounted_apps_are_limited_by_their_own_backstay_or_the_outer_one(own: bool) -> None:
    app, sub = FastAPI(), FastAPI(dependencies=[Depends(rate_limit("2/minute"))])
    if own:
        add_limits(sub, "memory")
    install(app)
    app.mount("/sub", sub)

    @sub.get("/")
    async def index() -> int:
        return 1

    async with running(app) as client:
        assert await statuses(client, "/sub/", 3) == [200, 200, 429]


@async_test
async def test_each_route_counts_by_itself_unless_the_limit_has_a_name() -> None:
    app = app_with()
    alone, together = rate_limit("2/minute"), rate_limit("2/minute", name="both")
    for path, limit in (("/a", alone), ("/b", alone), ("/c", together), ("/d", together)):

        @app.get(path, dependencies=[Depends(limit)])
        @app.post(path, dependencies=[Depends(limit)])
        async def index() -> int:
            return 1

    async with running(app) as client:
        assert await statuses(client, "/a", 3) == [200, 200, 429]
        assert await statuses(client, "/b", 2) == [200, 200]
        assert (await client.post("/a")).status_code == 200
        assert await statuses(client, "/c", 1) == [200]
        assert await statuses(client, "/d", 2) == [200, 429]


@async_test
async def test_a_name_and_the_same_numbers_make_one_limit_of_two() -> None:
    app = app_with()
    limits = [
        rate_limit("2/minute"),
        rate_limit("2/minute"),
        rate_limit("2/minute", name="n"),
        rate_limit("120 per 60 minutes;1000/day", name="n"),
        rate_limit("120 / 1 hour;1000/day", name="n"),
        rate_limit("2/minute", name="n", scope="route"),
    ]
    for number, limit in enumerate(limits):

        @app.get(f"/{number}", dependencies=[Depends(limit)])
        async def index() -> int:
            return 1

    async with running(app) as client:
        left = [
            (await client.get(f"/{number}")).headers["ratelimit"].split("r=")[1].split(";")[0]
            for number in range(len(limits))
        ]
    assert left == ["1", "1", "1", "119", "118", "1"]


@async_test
async def test_two_limits_alike_at_one_route_do_not_count_a_request_twice() -> None:
    app = app_with()
    router = APIRouter(dependencies=[Depends(rate_limit("3/minute"))])

    @router.get("/", dependencies=[Depends(rate_limit("3/minute"))])
    async def index() -> int:
        return 1

    app.include_router(router)
    async with running(app) as client:
        assert (await client.get("/")).headers["ratelimit"] == (
            '"default";r=2;t=60, "default-2";r=2;t=60'
        )
        assert await statuses(client, "/", 3) == [200, 200, 429]


@async_test
async def test_the_same_limit_twice_in_one_request_counts_once() -> None:
    app = app_with()
    limit = rate_limit("3/minute", name="n")

    async def needs_it(_: None = Depends(limit)) -> None: ...

    @app.get("/", dependencies=[Depends(limit), Depends(needs_it)])
    async def index() -> int:
        return 1

    async with running(app) as client:
        assert (await client.get("/")).headers["ratelimit"] == '"n";r=2;t=60'


@async_test
async def test_a_limit_needs_backstay_but_not_add_limits() -> None:
    with_it, without = FastAPI(), FastAPI()
    install(with_it)
    for app in (with_it, without):

        @app.get("/", dependencies=[Depends(rate_limit("1/minute"))])
        async def index() -> int:
            return 1

    async with running(with_it) as client:
        assert await statuses(client, "/", 2) == [200, 429]
    with TestClient(without) as other, pytest.raises(NotInstalled, match="add_limits"):
        other.get("/")


# ------------------------------------------------------------------ who is counted, and for what


@async_test
async def test_users_are_counted_each_by_himself_and_the_others_by_address() -> None:
    app = app_with()

    @app.get("/", dependencies=[Depends(rate_limit("1/minute"))])
    async def index() -> int:
        return 1

    async with running(app) as client:
        assert await statuses(client, "/", 2, headers={"x-user": "alice"}) == [200, 429]
        assert await statuses(client, "/", 2, headers={"x-user": "bob"}) == [200, 429]
        assert await statuses(client, "/", 2) == [200, 429]


@async_test
async def test_nobody_gets_more_by_writing_headers() -> None:
    app = app_with()

    @app.get("/", dependencies=[Depends(rate_limit("1/minute", by="ip"))])
    async def index() -> int:
        return 1

    async with running(app) as client:
        for number in range(5):
            answer = await client.get(
                "/", headers={"x-forwarded-for": f"6.6.6.{number}", "x-user": str(number)}
            )
            assert answer.status_code == (200 if number == 0 else 429)


@async_test
async def test_behind_a_trusted_proxy_clients_are_told_apart_and_ipv6_by_its_network() -> None:
    app = app_with()
    app.state.backstay.trusted_proxies = read_networks(["127.0.0.1"])

    @app.get("/", dependencies=[Depends(rate_limit("1/minute", by="ip"))])
    async def index() -> int:
        return 1

    async with running(app) as client:

        async def status_from(address: str) -> int:
            return (await client.get("/", headers={"x-forwarded-for": address})).status_code

        assert await status_from("192.0.2.1") == 200
        assert await status_from("192.0.2.2") == 200
        assert await status_from("2001:db8::1") == 200
        assert await status_from("2001:db8::ffff:1") == 429
        assert await status_from("2001:db8:0:1::1") == 200


@async_test
async def test_a_request_costs_what_it_costs() -> None:
    app = app_with()

    async def cost(connection: HTTPConnection) -> int:
        return int(connection.query_params["n"])

    @app.get("/fixed", dependencies=[Depends(rate_limit("5/minute", cost=2))])
    @app.get("/asked", dependencies=[Depends(rate_limit("5/minute", cost=cost))])
    async def index() -> int:
        return 1

    async with running(app, raise_app_exceptions=False) as client:
        assert await statuses(client, "/fixed", 3) == [200, 200, 429]
        assert await statuses(client, "/asked?n=0", 9) == [200] * 9
        assert await statuses(client, "/asked?n=3", 2) == [200, 429]
        assert await statuses(client, "/asked?n=2", 1) == [200]
        assert await statuses(client, "/asked?n=6", 1) == [429]
        assert await statuses(client, "/asked?n=-1", 1) == [500]


@async_test
async def test_whoever_is_exempt_is_not_counted() -> None:
    app = app_with()

    async def is_staff(connection: HTTPConnection) -> bool:
        return connection.headers.get("x-user") == "staff"

    @app.get("/", dependencies=[Depends(rate_limit("1/minute", by="ip", exempt=is_staff))])
    async def index() -> int:
        return 1

    async with running(app) as client:
        assert await statuses(client, "/", 3, headers={"x-user": "staff"}) == [200] * 3
        assert await statuses(client, "/", 2) == [200, 429]


@async_test
async def test_a_refused_request_never_reaches_the_endpoint_and_costs_nothing() -> None:
    clock = FakeClock()
    app = FastAPI()
    install(app, clock=clock, env_file=None)
    calls = 0

    @app.get("/", dependencies=[Depends(rate_limit("2/minute"))])
    async def index() -> int:
        nonlocal calls
        calls += 1
        return 1

    async with running(app) as client:
        found = await asyncio.gather(*(client.get("/") for _ in range(50)))
        assert sorted(each.status_code for each in found) == [200] * 2 + [429] * 48
        assert calls == 2
        await clock.advance(60)
        assert await statuses(client, "/", 3) == [200, 200, 429]


@pytest.mark.parametrize("strategy", ["moving", "sliding", "fixed"])
@async_test
async def test_every_strategy_counts(strategy: Any) -> None:
    app = app_with()

    @app.get("/", dependencies=[Depends(rate_limit("2/day", strategy=strategy))])
    async def index() -> int:
        return 1

    async with running(app) as client:
        assert await statuses(client, "/", 3) == [200, 200, 429]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": 'quoted"'}, "stands in headers"),
        ({"name": "a b"}, "stands in headers"),
        ({"name": "x\r\nset-cookie"}, "stands in headers"),
        ({"name": ""}, "stands in headers"),
        ({"name": 7}, "stands in headers"),
        ({"scope": "shared"}, "needs name="),
        ({"scope": "global", "name": "n"}, "neither"),
        ({"strategy": "leaky"}, "strategy='leaky'"),
        ({"cost": 0}, "never fits"),
        ({"cost": 11}, "never fits"),
        ({"cost": True}, "whole number"),
        ({"cost": 1.5}, "whole number"),
        ({"by": "cookie"}, "by='cookie'"),
        ({"fail": "maybe"}, "fail='maybe'"),
        ({"exempt": "10.0.0.0/8"}, "function of the request"),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)
def test_what_could_never_work_is_refused_where_it_is_written(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadLimit) as caught:
        rate_limit("10/minute", **options)
    assert says in str(caught.value)


def test_a_subject_of_any_length_makes_a_short_key() -> None:
    limit = rate_limit("1/day", name="n")
    assert limit.key("by:x") == "n||1/day|by:x"
    assert len(limit.key("by:" + "x" * 100_000)) < 100
    assert limit.key("by:" + "x" * 1000) != limit.key("by:" + "x" * 1001)


def test_a_limit_shows_what_it_is() -> None:
    limit = rate_limit("10 per minute", name="login")
    assert isinstance(limit, RateLimit)
    assert repr(limit) == "rate_limit('10/minute', name='login')"
    assert repr(rate_limit("1/day")) == "rate_limit('1/day')"
