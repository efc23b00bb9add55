"""Ways around a limit: another spelling, another credential, another address, all at once.

Each route here lets two requests pass, so whatever an attacker varies, two come in and the rest get
429 with when to come again.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from starlette.requests import HTTPConnection

from backstay.context import User
from backstay.errors import BadAuth
from backstay.limits import add_limits, rate_limit
from backstay.pattern import base_pattern
from backstay.testing import FakeClock, running
from backstay.web import install
from tests.attacks.wire import on_the_wire, request
from tests.support import async_test
from tests.web.by_hand import ByHand

TWO = "2/day"


class Keys:
    """A verifier: ``Bearer user-7`` is user-7; anything else is not good."""

    async def verify(self, connection: HTTPConnection) -> User | None:
        given = connection.headers.get("authorization")
        if given is None:
            return None
        scheme, _, name = given.partition(" ")
        if scheme.lower() != "bearer" or not name.startswith("user-"):
            raise BadAuth("no such key")
        person, _, key = name.partition("/")
        return User(subject=person, claims={"api_key": key} if key else {})


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()
    install(app, verify_user=Keys(), clock=FakeClock())
    add_limits(app, default=TWO, **options)

    async def fine() -> str:
        return "fine"

    app.api_route("/films", methods=["GET", "HEAD", "POST"])(fine)
    app.get("/films/{film}")(fine)
    app.get("/by-key", dependencies=[Depends(rate_limit(TWO, by="api_key"))])(fine)
    app.get("/by-ip", dependencies=[Depends(rate_limit(TWO, by="ip"))])(fine)
    app.get(
        "/by-header",
        dependencies=[Depends(rate_limit(TWO, by=lambda each: each.headers.get("x-client")))],
    )(fine)
    shared = Depends(rate_limit(TWO, name="shared"))
    app.get("/shared/a", dependencies=[shared])(fine)
    app.post("/shared/b", dependencies=[shared])(fine)

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    inner = APIRouter()
    inner.get("/deep")(fine)
    middle = APIRouter(prefix="/middle")
    middle.include_router(inner, prefix="/inner")
    middle.get("/films")(fine)
    app.include_router(middle)
    app.include_router(middle, prefix="/again")

    sub_app = FastAPI(dependencies=[Depends(rate_limit(TWO))])
    sub_app.get("/films")(fine)
    sub_router = APIRouter()
    sub_router.get("/deep")(fine)
    sub_app.include_router(sub_router, prefix="/router")
    app.mount("/sub", sub_app)
    app.mount("/tenants/{tenant}", sub_app)
    base_pattern(app, trusted_proxies=["127.0.0.1"])
    return app


Ask = tuple[str, str, Mapping[str, str]]


def get(path: str, **headers: str) -> Ask:
    return ("GET", path, {name.replace("_", "-"): value for name, value in headers.items()})


# What an attacker sends, ten of each, one after the other.
EVASIONS: dict[str, Callable[[int], Ask]] = {
    "the same again": lambda n: get("/films"),
    "a query that differs": lambda n: get(f"/films?x={n}"),
    "a fragment in the query": lambda n: get(f"/films?{'&' * n}"),
    "an encoded letter": lambda n: get(("/films", "/%66ilms", "/f%69lms", "/%66%69lms")[n % 4]),
    "GET and HEAD": lambda n: (("GET", "HEAD")[n % 2], "/films", {}),
    "GET, HEAD and POST": lambda n: (("GET", "HEAD", "POST")[n % 3], "/films", {}),
    "a method override": lambda n: (
        "GET",
        "/films",
        {"X-HTTP-Method-Override": ("POST", "PUT", "HEAD", "PATCH", "DELETE")[n % 5]},
    ),
    "a parameter of the path": lambda n: get(f"/films/{n}"),
    "a parameter that is encoded": lambda n: get(f"/films/%{0x61 + n:x}"),
    "a user agent that differs": lambda n: get("/films", user_agent=f"agent {n}"),
    "a language that differs": lambda n: get("/films", accept_language=f"x-{n}"),
    "a cookie that differs": lambda n: get("/films", cookie=f"session={n}"),
    "an origin that differs": lambda n: get("/films", origin=f"https://{n}.example"),
    "a host that differs": lambda n: get("/films", host=f"{n}.example"),
    "a correlation id that differs": lambda n: get("/films", x_request_id=f"id-{n}"),
    "a traceparent that differs": lambda n: get(
        "/films", traceparent=f"00-{n:032x}-{n + 1:016x}-01"
    ),
    "no cache": lambda n: get("/films", cache_control=("no-cache", "no-store", "max-age=0")[n % 3]),
    "keys that are none": lambda n: get("/films", authorization=f"Bearer guess-{n}"),
    "keys that are none, counted by key": lambda n: get(
        "/by-key", authorization=f"Bearer guess-{n}"
    ),
    "other schemes": lambda n: get("/films", authorization=f"Scheme{n} user-1"),
    "keys of one user": lambda n: get("/films", authorization=f"Bearer user-1/key-{n}"),
    "spellings of the scheme": lambda n: get(
        "/films", authorization=f"{('Bearer', 'bearer', 'BEARER', 'bEaReR')[n % 4]} user-1"
    ),
    "good keys, counted by address": lambda n: get("/by-ip", authorization=f"Bearer user-{n}"),
    "addresses of one network of IPv6": lambda n: get(
        "/films", x_forwarded_for=f"2001:db8:1:2:{n:x}:{n:x}::1"
    ),
    "the ends of one network of IPv6": lambda n: get(
        "/films", x_forwarded_for=("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff")[n % 2]
    ),
    "addresses before its own": lambda n: get(
        "/films", x_forwarded_for=f"203.0.113.{n}, 198.51.100.1"
    ),
    "IPv4 in IPv6": lambda n: get(
        "/films", x_forwarded_for=("198.51.100.1", "::ffff:198.51.100.1")[n % 2]
    ),
    "ports": lambda n: get("/films", x_forwarded_for=f"198.51.100.1:{1000 + n}"),
    "nonsense for an address": lambda n: get("/films", x_forwarded_for=f"evil-{n}"),
    "the header that the app counts by, too long and the same": lambda n: get(
        "/by-header", x_client="a" * 10_000
    ),
    "the header that the app counts by, left out": lambda n: get("/by-header"),
    "two routes of one limit": lambda n: (
        (("GET", "POST")[n % 2], ("/shared/a", "/shared/b")[n % 2], {})
    ),
    "a router's route": lambda n: get("/middle/films"),
    "a router's route in a router": lambda n: get("/middle/inner/deep"),
    "the same router's once more": lambda n: get("/again/middle/inner/deep"),
    "a mounted app's": lambda n: get("/sub/films"),
    "a mounted app's router's": lambda n: get("/sub/router/deep"),
    "a mounted app's with a tenant that differs": lambda n: get(f"/tenants/{n}/films"),
    "a mounted app by both of its names": lambda n: get(
        ("/sub/films", "/tenants/a/films", "/tenants/b/films")[n % 3]
    ),
}


async def send(client: httpx.AsyncClient, ask: Ask) -> int:
    method, path, headers = ask
    answer = await client.request(method, path, headers=dict(headers))
    if answer.status_code == 429:
        assert int(answer.headers["retry-after"]) > 0
        if method != "HEAD":
            assert answer.json()["status"] == 429
    return answer.status_code


@pytest.mark.parametrize("make", EVASIONS.values(), ids=EVASIONS)
@async_test
async def test_two_come_in_and_no_more(make: Callable[[int], Ask]) -> None:
    async with running(make_app(), raise_app_exceptions=False) as client:
        statuses = [await send(client, make(number)) for number in range(10)]
        assert statuses == [200] * 2 + [429] * 8


NO_ROUTE = {
    "capitals": "/FILMS",
    "two slashes": "//films",
    "a semicolon": "/films;x",
    "a slash at the end": "/films/",
    "a NUL": "/films%00",
    "an encoded slash": "/%2ffilms",
    "a suffix": "/films.json",
}


@pytest.mark.parametrize("path", NO_ROUTE.values(), ids=NO_ROUTE)
@async_test
async def test_a_spelling_that_is_not_counted_reaches_nothing(path: str) -> None:
    async with running(make_app()) as client:
        for _ in range(5):
            assert (await client.get(path)).status_code in (307, 404)


@async_test
async def test_a_redirection_leads_to_the_same_limit() -> None:
    app = make_app()
    async with running(app) as client:
        paths = ["/sub/films/"] * 5
        statuses = [(await client.get(path, follow_redirects=True)).status_code for path in paths]
        assert statuses == [200, 200, 429, 429, 429]


@async_test
async def test_good_keys_of_several_users_have_limits_of_their_own() -> None:
    async with running(make_app()) as client:
        for user in range(3):
            headers = {"authorization": f"Bearer user-{user}"}
            statuses = [(await client.get("/films", headers=headers)).status_code for _ in "123"]
            assert statuses == [200, 200, 429]


@async_test
async def test_other_networks_of_ipv6_have_limits_of_their_own() -> None:
    async with running(make_app()) as client:
        for network in range(3):
            headers = {"x-forwarded-for": f"2001:db8:{network:x}::1"}
            statuses = [(await client.get("/films", headers=headers)).status_code for _ in "123"]
            assert statuses == [200, 200, 429]


# ---------------------------------------------------------------------- all at once


def storage(kind: str, folder: Path) -> str:
    return "memory" if kind == "memory" else f"sqlite:///{folder / 'counts.db'}"


@pytest.mark.parametrize("kind", ["memory", "database"])
@async_test
async def test_fifty_at_once_are_two_and_forty_eight(kind: str, tmp_path: Path) -> None:
    app = make_app(storage=storage(kind, tmp_path), timeout_s=10)
    async with running(app) as client:
        statuses = await asyncio.gather(
            *(send(client, get("/films", x_request_id=str(n))) for n in range(50))
        )
        assert sorted(statuses) == [200] * 2 + [429] * 48


@pytest.mark.parametrize("server", ["httptools", "h11"])
def test_twenty_in_one_packet_are_two_and_eighteen(server: Any) -> None:
    with on_the_wire(make_app(), server=server) as wire, wire.line() as line:
        line.send(request("GET", "/films") * 20)
        statuses = [line.answer().status for _ in range(20)]
        assert statuses == [200] * 2 + [429] * 18


@pytest.mark.parametrize("kind", ["memory", "database"])
@async_test
async def test_clients_that_leave_do_not_get_more(kind: str, tmp_path: Path) -> None:
    app = make_app(storage=storage(kind, tmp_path), timeout_s=10)
    async with running(app) as client:
        asked = [asyncio.create_task(send(client, get("/films"))) for _ in range(20)]
        await asyncio.sleep(0)
        for each in asked[:10]:
            each.cancel()
        statuses = await asyncio.gather(*asked, return_exceptions=True)
        passed = [each for each in statuses if each == 200]
        assert len(passed) <= 2
        assert await send(client, get("/films")) in (200, 429)
        assert await send(client, get("/films")) in (200, 429)
        assert await send(client, get("/films")) == 429


# ---------------------------------------------------------------------- WebSockets


@pytest.mark.parametrize("can_deny", [True, False], ids=["with an answer", "by closing"])
@async_test
async def test_handshakes_are_counted_like_requests(can_deny: bool) -> None:
    app = make_app()
    ends: list[object] = []
    async with running(app):
        for number in range(5):
            call = ByHand(
                app,
                "/socket",
                kind="websocket",
                headers={"host": "localhost", "x-request-id": f"id-{number}"},
                extensions={"websocket.http.response": {}} if can_deny else {},
            )
            call.give({"type": "websocket.disconnect", "code": 1000})
            await call.run()
            first = call.sent[0]
            ends.append(first.get("status", first.get("code", "accepted")))
    refused = 429 if can_deny else 1013
    assert ends == ["accepted"] * 2 + [refused] * 3


# ---------------------------------------------------------------------- what answers say


@async_test
async def test_what_a_client_says_is_in_no_header_of_the_answer() -> None:
    async with running(make_app()) as client:
        for value in ("canary", "canary\tx", "canary;q=1", '"canary'):
            for _ in range(3):
                answer = await client.get("/by-header", headers={"x-client": value})
                assert "canary" not in str(answer.headers)
                assert "canary" not in answer.text


@async_test
async def test_a_refused_request_runs_nothing(tmp_path: Path) -> None:
    app = FastAPI()
    install(app, clock=FakeClock())
    ran: list[str] = []

    def note() -> None:
        ran.append("a dependency")

    @app.post("/films", dependencies=[Depends(rate_limit(TWO)), Depends(note)])
    async def films(request: Request) -> None:
        ran.append("the endpoint")

    base_pattern(app)
    async with running(app) as client:
        for _ in range(10):
            await client.post("/films", json={})
    assert ran == ["a dependency", "the endpoint"] * 2
