"""Pages of other sites, and what they get to read: the matrix of origins, played over the wire.

A browser lets a page read an answer if ``Access-Control-Allow-Origin`` is its origin or ``*``, and
one with credentials if it is its origin and ``Access-Control-Allow-Credentials`` is ``true``
(Fetch §4.10). So an attack has succeeded as soon as the answer has these, whatever its status.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import HTMLResponse
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from backstay.cache import add_cache, cache_redis
from backstay.limits import rate_limit
from backstay.pattern import base_pattern
from tests.attacks.wire import Answer, Wire, assert_problem, on_the_wire
from tests.support import async_test
from tests.web.by_hand import ByHand

HOME = "https://shop.example"
OTHER_HOME = "https://admin.shop.example:8443"
EVIL = "https://evil.example"


def make_app(origins: list[str] | None) -> FastAPI:
    app = FastAPI()
    add_cache(app, "memory://")

    @app.get("/ok")
    async def ok() -> str:
        return "fine"

    @app.post("/ok")
    async def post_ok() -> str:
        return "fine"

    @app.get("/refused")
    async def refused() -> None:
        raise HTTPException(403, "no")

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("on purpose")

    @app.get("/number/{number}")
    async def number(number: int) -> int:
        return number

    @app.get("/page")
    async def page() -> HTMLResponse:
        return HTMLResponse("<p>hello</p>")

    @app.get("/early")
    @cache_redis(None, 600, public=True, early=True)
    async def early() -> str:
        return "from the cache"

    limit = rate_limit("1/day", by=lambda connection: "everybody", name="once")

    app.get("/once", dependencies=[Depends(limit)])(ok)

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    sub_app = FastAPI()
    sub_app.get("/ok")(ok)
    sub_app.get("/broken")(broken)
    app.mount("/sub", sub_app)

    async def plain(_: Any) -> Response:
        return PlainTextResponse("plain")

    app.mount("/starlette", Starlette(routes=[Route("/plain", plain)]))
    base_pattern(app, origins=origins, max_body_bytes=100)
    return app


@pytest.fixture(scope="module")
def wires() -> Iterator[dict[str, Wire]]:
    """Services that name origins, that let everybody read, and that let nobody."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(on_the_wire(make_app(origins)))
            for name, origins in {
                "named": [HOME, OTHER_HOME],
                "everybody": ["*"],
                "nobody": None,
            }.items()
        }


def may_read(answer: Answer, origin: str, *, credentials: bool = False) -> bool:
    """What a browser makes of an answer (Fetch §4.10)."""
    said = answer.all("access-control-allow-origin")
    if len(said) != 1:
        return False
    if credentials:
        return said == [origin] and answer.all("access-control-allow-credentials") == ["true"]
    return said[0] in (origin, "*")


def has_cors(answer: Answer) -> bool:
    names = {name for name, _ in answer.headers}
    return any(each.startswith("access-control-allow") for each in names)


# ---------------------------------------------------------------------- who is not who was named

STRANGERS = {
    "another site": EVIL,
    "null, as sandboxed frames and files say": "null",
    "null in capitals": "NULL",
    "a name below the named one": "https://a.shop.example",
    "the name with something before it": "https://evilshop.example",
    "the name with something behind it": "https://shop.example.evil.example",
    "the name as the beginning of another": "https://shop.exampleevil.com",
    "the name as a user of another": "https://shop.example@evil.example",
    "the name as a path of another": "https://evil.example/https://shop.example",
    "the name as a query of another": "https://evil.example?https://shop.example",
    "the name as a fragment of another": "https://evil.example#https://shop.example",
    "the name above the named one": "https://example",
    "another scheme": "http://shop.example",
    "a scheme of its own": "shop://shop.example",
    "no scheme": "shop.example",
    "no scheme but slashes": "//shop.example",
    "another port": "https://shop.example:444",
    "the scheme's own port": "https://shop.example:443",
    "the port of the other named one": "https://shop.example:8443",
    "the other named one without its port": "https://admin.shop.example",
    "a port that begins like the named one": "https://admin.shop.example:84430",
    "capitals in the name": "https://SHOP.example",
    "capitals in the scheme": "HTTPS://shop.example",
    "a dot at the end": "https://shop.example.",
    "a slash at the end": "https://shop.example/",
    "an underscore in place of the dot": "https://shop_example",
    "any letter in place of the dot": "https://shopxexample",
    "a letter that looks the same": "https://sh\xf6p.example",
    "its punycode": "https://xn--shp-sna.example",
    "a NUL's place taken by a percent sign": "https://shop.example%00.evil.example",
    "a backtick in the name": "https://shop.example`.evil.example",
    "an underscore behind the name": "https://shop.example_.evil.example",
    "a comma and another": "https://shop.example, https://evil.example",
    "a space and another": "https://shop.example https://evil.example",
    "a tab and another": "https://shop.example\thttps://evil.example",
    "the star": "*",
    "the star below the named one": "https://*.shop.example",
    "nothing": "",
    "an address of the machine itself": "http://127.0.0.1",
    "localhost": "http://localhost:3000",
    "a regular expression": "https://.*",
    "64 KB": "https://shop.example" + "a" * 60_000,
}


@pytest.mark.parametrize("origin", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_reads_nothing_where_origins_are_named(
    wires: dict[str, Wire], origin: str
) -> None:
    wire = wires["named"]
    answer = wire.call("GET", "/ok", {"Origin": origin, "Cookie": "session=1"})
    assert answer.status == 200
    assert not has_cors(answer)
    assert "Origin" in answer.all("vary")
    wire.assert_well()


@pytest.mark.parametrize("origin", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_not_told_that_it_may_send_anything(
    wires: dict[str, Wire], origin: str
) -> None:
    wire = wires["named"]
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = wire.call("OPTIONS", "/ok", asked)
    assert_problem(answer, 400)
    assert not has_cors(answer)


@pytest.mark.parametrize(
    "lines",
    {
        "the named one first": [HOME, EVIL],
        "the named one last": [EVIL, HOME],
        "the named one twice": [HOME, HOME],
        "both named ones": [HOME, OTHER_HOME],
        "an empty one first": ["", HOME],
    }.values(),
    ids=[
        *("the named one first", "the named one last", "the named one twice"),
        *("both named ones", "an empty one first"),
    ],
)
def test_several_origins_are_nobody(wires: dict[str, Wire], lines: list[str]) -> None:
    headers = [("Origin", each) for each in lines]
    assert not has_cors(wires["named"].call("GET", "/ok", headers))
    asked = [*headers, ("Access-Control-Request-Method", "GET")]
    answer = wires["named"].call("OPTIONS", "/ok", asked)
    assert_problem(answer, 400)
    assert not has_cors(answer)


# ---------------------------------------------------------------------- everybody, without credentials

NEVER_WITH_CREDENTIALS = {
    "a site with cookies": {"Origin": EVIL, "Cookie": "session=1"},
    "a site with a token": {"Origin": EVIL, "Authorization": "Bearer x"},
    "null": {"Origin": "null", "Cookie": "session=1"},
    "the star": {"Origin": "*", "Cookie": "session=1"},
    "a line break that is encoded": {"Origin": "https://a%0d%0aX: y", "Cookie": "session=1"},
    "no origin": {"Cookie": "session=1"},
}


@pytest.mark.parametrize("headers", NEVER_WITH_CREDENTIALS.values(), ids=NEVER_WITH_CREDENTIALS)
def test_everybody_reads_without_credentials_and_nobody_is_reflected(
    wires: dict[str, Wire], headers: dict[str, str]
) -> None:
    for method, more in (("GET", {}), ("OPTIONS", {"Access-Control-Request-Method": "PUT"})):
        if method == "OPTIONS" and "Origin" not in headers:
            continue
        answer = wires["everybody"].call(method, "/ok", {**headers, **more})
        assert answer.all("access-control-allow-origin") == ["*"]
        assert answer.all("access-control-allow-credentials") == []
        assert not may_read(answer, headers.get("Origin", EVIL), credentials=True)


@pytest.mark.parametrize("origin", [HOME, EVIL, "null", "*", ""], ids=str)
def test_where_nobody_is_named_nobody_reads(wires: dict[str, Wire], origin: str) -> None:
    assert not has_cors(wires["nobody"].call("GET", "/ok", {"Origin": origin}))
    asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    assert not has_cors(wires["nobody"].call("OPTIONS", "/ok", asked))


# ---------------------------------------------------------------------- what is asked for beforehand

BAD_PREFLIGHTS = {
    "a method with a line break that is encoded": {"Access-Control-Request-Method": "GET%0d%0aX:y"},
    "TRACE": {"Access-Control-Request-Method": "TRACE"},
    "CONNECT": {"Access-Control-Request-Method": "CONNECT"},
    "a method in lower case": {"Access-Control-Request-Method": "put"},
    "a method of its own": {"Access-Control-Request-Method": "BREW"},
    "every method": {"Access-Control-Request-Method": "*"},
    "several methods": {"Access-Control-Request-Method": "GET, PUT"},
    "no method": {"Access-Control-Request-Method": ""},
    "a header with a colon": {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "x: y",
    },
    "a header with a space": {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "x y",
    },
    "a header that ends a list": {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "x,",
    },
    "a header in quotation marks": {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": '"x"',
    },
    "a header of other letters": {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "\xe9",
    },
    "ten thousand headers": {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": ",".join(["x"] * 10_000),
    },
    "a header of 8 KB": {
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "x" * 8192,
    },
}


@pytest.mark.parametrize("who", ["named", "everybody"])
@pytest.mark.parametrize("asked", BAD_PREFLIGHTS.values(), ids=BAD_PREFLIGHTS)
def test_nothing_is_allowed_that_no_browser_asks(
    wires: dict[str, Wire], who: str, asked: dict[str, str]
) -> None:
    answer = wires[who].call("OPTIONS", "/ok", {"Origin": HOME, **asked})
    assert answer.status in (400, 405)  # one without a method is no preflight
    assert_problem(answer, answer.status)
    assert not answer.all("access-control-allow-methods")
    assert not answer.all("access-control-allow-headers")
    wires[who].assert_well()


def test_a_preflight_repeats_the_headers_asked_for_and_no_others(wires: dict[str, Wire]) -> None:
    asked = {
        "Origin": HOME,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization, x-own",
    }
    answer = wires["named"].call("OPTIONS", "/ok", asked)
    assert answer.get("access-control-allow-headers") == "authorization, x-own"
    assert answer.get("access-control-allow-origin") == HOME


def test_a_preflight_reaches_no_endpoint_and_tells_nothing_of_paths(wires: dict[str, Wire]) -> None:
    asked = {"Origin": EVIL, "Access-Control-Request-Method": "GET"}
    there, not_there = (wires["named"].call("OPTIONS", each, asked) for each in ("/ok", "/none"))
    assert there.status == not_there.status == 400
    said = [{**each.json(), "error_id": 0, "correlation_id": 0, "datetime": 0, "instance": 0}
            for each in (there, not_there)]  # fmt: skip
    assert said[0] == said[1]


# ---------------------------------------------------------------------- every kind of answer

ANSWERS = {
    "an answer": ("GET", "/ok", 200),
    "a refusal": ("GET", "/refused", 403),
    "a failure": ("GET", "/broken", 500),
    "an invalid request": ("GET", "/number/x", 422),
    "no such route": ("GET", "/none", 404),
    "no such method": ("PUT", "/ok", 405),
    "a page": ("GET", "/page", 200),
    "a redirection": ("GET", "/ok/", 307),
    "a mounted app's": ("GET", "/sub/ok", 200),
    "a mounted app's failure": ("GET", "/sub/broken", 500),
    "a mounted app's 404": ("GET", "/sub/none", 404),
    "a mounted Starlette's": ("GET", "/starlette/plain", 200),
    "a mounted Starlette's 404": ("GET", "/starlette/none", 404),
    "the probe's": ("GET", "/livez", 200),
    "the documentation's": ("GET", "/openapi.json", 200),
    "a body too large": ("POST", "/none", 404),
    "a limit's": ("GET", "/once", None),
    "the cache's": ("GET", "/early", 200),
    "options that are no preflight": ("OPTIONS", "/ok", 405),
}


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("origin", [HOME, EVIL], ids=["its own page", "another's page"])
def test_every_kind_of_answer_is_for_its_own_pages_alone(
    wires: dict[str, Wire], method: str, path: str, status: int | None, origin: str
) -> None:
    wire = wires["named"]
    headers = {"Origin": origin}
    body = b"x" * 200 if path == "/none" and method == "POST" else None
    for _ in range(2):  # the second time the cache, or the limit, answers
        answer = wire.call(method, path, headers, body)
        assert status is None or answer.status == status
        if origin == HOME:
            assert may_read(answer, origin, credentials=True)
        else:
            assert not has_cors(answer)
        assert "Origin" in answer.all("vary")


def test_a_cached_answer_is_not_told_to_the_page_that_did_not_ask_for_it_first(
    wires: dict[str, Wire],
) -> None:
    wire = wires["named"]
    for origin, is_told in ((None, False), (HOME, True), (EVIL, False), (OTHER_HOME, True)):
        headers = {} if origin is None else {"Origin": origin}
        for _ in range(3):
            answer = wire.call("GET", "/early", headers)
            assert answer.get("access-control-allow-origin") == (origin if is_told else None)
            assert "Origin" in answer.all("vary")


@pytest.mark.parametrize("origin", [HOME, EVIL, "null"], ids=str)
@async_test
async def test_a_websocket_s_handshake_gives_no_page_anything(origin: str) -> None:
    call = ByHand(
        make_app([HOME]),
        "/socket",
        kind="websocket",
        headers={"origin": origin, "host": "localhost"},
    )
    await call.run()
    names = {name.decode() for name, _ in call.sent[0].get("headers", ())}
    assert not {each for each in names if each.startswith("access-control")}
