"""Bodies that are too large, too slow, too deep, or not what they say: over the wire.

After each of them the service answers somebody else as ever, and has no line in its log that would
wake anybody up.
"""

import gzip
import logging
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Form, HTTPException, Request, UploadFile
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from backstay.pattern import base_pattern, body_limits
from tests.attacks.wire import Line, Server, Wire, assert_problem, on_the_wire, request
from tests.support import PATIENCE_S

MOST = 1_000
ROOMY = 3_000_000
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PARTS = {"Content-Type": "multipart/form-data; boundary=b"}


class Film(BaseModel):
    name: str
    price: float = 0.0
    stock: int = 0


def refuse() -> None:
    raise HTTPException(403, "no")


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/ok")
    async def ok() -> str:
        return "fine"

    @app.post("/count")
    async def count(request: Request) -> int:
        return len(await request.body())

    @app.post("/stream")
    async def stream(request: Request) -> int:
        return sum([len(each) async for each in request.stream()])

    @app.post("/json")
    async def as_json(value: dict[str, Any]) -> int:
        return len(value)

    @app.post("/films")
    async def films(film: Film) -> Film:
        return film

    @app.post("/form")
    async def form(name: Annotated[str, Form()]) -> int:
        return len(name)

    @app.post("/file")
    async def file(file: UploadFile) -> int:
        return len(await file.read())

    @app.post("/fields")
    async def fields(request: Request) -> int:
        async with request.form() as form:
            return len(form)

    @app.post("/guarded", dependencies=[Depends(refuse)])
    async def guarded(request: Request) -> int:
        return len(await request.body())

    @app.post("/unread")
    async def unread() -> str:
        return "who cares"

    @app.post("/large")
    @body_limits(max_bytes=2 * MOST)
    async def large(request: Request) -> int:
        return len(await request.body())

    @app.post("/small")
    @body_limits(max_bytes=10)
    async def small(request: Request) -> int:
        return len(await request.body())

    @app.post("/hasty")
    @body_limits(timeout_s=0.2)
    async def hasty(request: Request) -> int:
        return len(await request.body())

    sub_app = FastAPI()
    sub_app.post("/count")(count)
    sub_app.post("/small")(small)
    app.mount("/sub", sub_app)

    async def plain(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    app.mount("/plain", Starlette(routes=[Route("/count", plain, methods=["POST"])]))
    app.mount("/static", StaticFiles(directory=Path(__file__).parent))
    base_pattern(app, origins=["https://shop.example"], **options)
    return app


@pytest.fixture(scope="module", params=["httptools", "h11"])
def wires(request: pytest.FixtureRequest) -> Iterator[dict[str, Wire]]:
    """Services that are small, roomy and impatient."""
    server: Server = request.param
    made: dict[str, dict[str, Any]] = {
        "small": {"max_body_bytes": MOST},
        "roomy": {"max_body_bytes": ROOMY},
        "impatient": {"max_body_bytes": MOST, "body_timeout_s": 0.2},
    }
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(on_the_wire(make_app(**options), server=server))
            for name, options in made.items()
        }


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    loud = [each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR]
    assert loud == []


def head(path: str, *lines: str, method: str = "POST", version: str = "1.1") -> bytes:
    return "\r\n".join(
        [f"{method} {path} HTTP/{version}", "Host: localhost", *lines, "", ""]
    ).encode()


CHUNKED = "Transfer-Encoding: chunked"


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


# ---------------------------------------------------------------------- too large

TOO_LARGE = {
    "one byte more than is read": [head("/count", "Content-Length: 1001"), b"x" * 1001],
    "an exabyte that never comes": [head("/count", "Content-Length: 1000000000000000000")],
    "an exabyte to who streams": [head("/stream", "Content-Length: 1000000000000000000")],
    "an exabyte of JSON": [
        head("/json", "Content-Length: 1000000000000000000", "Content-Type: application/json")
    ],
    "an exabyte of files": [
        head(
            "/file",
            "Content-Length: 1000000000000000000",
            "Content-Type: multipart/form-data; boundary=b",
        )
    ],
    "an exabyte of form": [
        head(
            "/form",
            "Content-Length: 1000000000000000000",
            "Content-Type: application/x-www-form-urlencoded",
        )
    ],
    "an exabyte to a mounted app": [head("/sub/count", "Content-Length: 1000000000000000000")],
    "an exabyte to a mounted Starlette": [
        head("/plain/count", "Content-Length: 1000000000000000000")
    ],
    "one chunk": [head("/count", CHUNKED), chunk(b"x" * 1001)],
    "a thousand chunks and one": [head("/count", CHUNKED), chunk(b"x") * 1001],
    "a chunk that says a gigabyte": [head("/count", CHUNKED), b"3b9aca00\r\n" + b"x" * 1001],
    "chunks to who streams": [head("/stream", CHUNKED), chunk(b"x" * 600) * 2],
    "chunks of JSON": [
        head("/json", CHUNKED, "Content-Type: application/json"),
        chunk(b'{"a": "' + b"x" * 1001),
    ],
    "chunks of a file": [
        head("/file", CHUNKED, "Content-Type: multipart/form-data; boundary=b"),
        chunk(b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'),
        chunk(b"x" * 1001),
    ],
    "chunks of a form": [
        head("/form", CHUNKED, "Content-Type: application/x-www-form-urlencoded"),
        chunk(b"name=" + b"x" * 1001),
    ],
    "chunks to a mounted app": [head("/sub/count", CHUNKED), chunk(b"x" * 1001)],
    "chunks to a mounted Starlette": [head("/plain/count", CHUNKED), chunk(b"x" * 1001)],
    "chunks that never end": [head("/count", CHUNKED), chunk(b"x" * 10_000) * 1000],
    "one byte more than the route's own": [head("/small", "Content-Length: 11"), b"x" * 11],
    "chunks, more than the route's own": [head("/small", CHUNKED), chunk(b"x" * 11)],
    "more than a mounted app's route's own": [head("/sub/small", "Content-Length: 11")],
    "more than the route that takes more": [head("/large", "Content-Length: 2001")],
    "chunks, more than the route that takes more": [head("/large", CHUNKED), chunk(b"x" * 2001)],
    "a request with a method that has none": [
        head("/count", "Content-Length: 1001", "X-HTTP-Method-Override: GET"),
        b"x" * 1001,
    ],
    "a length with zeros before it": [head("/count", "Content-Length: 0000000001001")],
    "a length of 5000 digits": [head("/count", f"Content-Length: {'0' * 4990}1000001001")],
}


@pytest.mark.parametrize("pieces", TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_is_too_large_is_refused_and_the_connection_closed(
    wires: dict[str, Wire], pieces: list[bytes]
) -> None:
    wire = wires["small"]
    with wire.line() as line:
        line.send(*pieces)
        answer = line.answer()
        if len(pieces[0]) < 4000 or answer.status != 400:  # h11 refuses so many digits itself
            assert_problem(answer, 413)
            assert answer.says_close
        line.rest()
    wire.assert_well()


def test_a_length_of_thousands_of_digits_is_no_failure(wires: dict[str, Wire]) -> None:
    wire = wires["small"]
    with wire.line() as line:
        line.send(head("/count", f"Content-Length: {'0' * 5000}5"), b"abcde")
        answer = line.answer()
        assert answer.status in (200, 400), "or the server itself refuses it"
    wire.assert_well()


EXPECTING = {
    "too large": ("/count", "Content-Length: 1001", 413),
    "an exabyte": ("/count", "Content-Length: 1000000000000000000", 413),
    "too large for the route": ("/small", "Content-Length: 11", 413),
    "for no route": ("/none", "Content-Length: 1000000000", 404),
    "for no method": ("/ok", "Content-Length: 1000000000", 405),
    "for a route that refuses": ("/guarded", "Content-Length: 1000000000", 403),
    "for one that reads nothing": ("/unread", "Content-Length: 1000000000", 200),
}


@pytest.mark.parametrize(("path", "length", "status"), EXPECTING.values(), ids=EXPECTING)
def test_nobody_is_told_to_go_on_with_what_is_not_read(
    wires: dict[str, Wire], path: str, length: str, status: int
) -> None:
    with wires["small"].line() as line:
        line.send(head(path, length, "Expect: 100-continue"))
        answer = line.answer()  # the first word is the last: no 100 before it
        assert answer.status == status
        assert answer.says_close
        line.rest()


def test_who_may_go_on_is_told_so(wires: dict[str, Wire]) -> None:
    with wires["small"].line() as line:
        line.send(head("/count", "Content-Length: 5", "Expect: 100-continue"))
        assert line.answer().status == 100
        line.send(b"abcde")
        assert line.answer().body == b"5"


@pytest.mark.parametrize(
    ("path", "size"), [("/count", MOST), ("/large", 2 * MOST), ("/small", 10), ("/sub/small", 10)]
)
def test_what_just_fits_is_read(wires: dict[str, Wire], path: str, size: int) -> None:
    wire = wires["small"]
    assert wire.call("POST", path, body=b"x" * size).body == str(size).encode()
    assert wire.ask(head(path, CHUNKED), chunk(b"x") * size, b"0\r\n\r\n").body == (
        str(size).encode()
    )


NOBODY_READS = {
    "no route": ("POST", "/none", 404),
    "no route of a mounted app": ("POST", "/sub/none", 404),
    "no route of a mounted Starlette": ("POST", "/plain/none", 404),
    "no method": ("PUT", "/count", 405),
    "a probe": ("POST", "/livez", 405),
    "the documentation": ("POST", "/openapi.json", 405),
    "a file": ("POST", "/static/a", 405),
    "a route that refuses before": ("POST", "/guarded", 403),
    "a route that does not read": ("POST", "/unread", 200),
    "a GET": ("GET", "/ok", 200),
    "a DELETE": ("DELETE", "/none", 404),
}


@pytest.mark.parametrize(("method", "path", "status"), NOBODY_READS.values(), ids=NOBODY_READS)
def test_what_nobody_reads_does_not_keep_the_connection(
    wires: dict[str, Wire], method: str, path: str, status: int
) -> None:
    wire = wires["small"]
    with wire.line() as line:
        line.send(head(path, "Content-Length: 1000000000", method=method), b"x" * 1000)
        answer = line.answer()
        assert answer.status == status
        if status >= 400:
            assert_problem(answer, status)
        assert answer.says_close
        line.rest()
    wire.assert_well()


@pytest.mark.parametrize("path", ["/none", "/guarded", "/unread", "/livez", "/sub/none"])
def test_chunks_that_nobody_reads_are_answered_at_once_and_kept_by_nobody(
    wires: dict[str, Wire], path: str
) -> None:
    wire = wires["small"]
    with wire.line() as line:
        line.send(head(path, CHUNKED), chunk(b"x" * 1000))
        assert line.answer().status < 500
        line.send(chunk(b"x" * 65_536) * 100)
    wire.assert_well()


@pytest.mark.parametrize("version", ["2.0", "2.1", "3.0", "1.0", "9.9"])
def test_a_version_that_is_not_spoken_opens_no_way_around(
    wires: dict[str, Wire], version: str
) -> None:
    wire = wires["small"]
    with wire.line() as line:
        raw = head("/count", "Content-Length: 1001", "Connection: keep-alive", version=version)
        line.send(raw, b"x" * 1001)
        assert line.answer().status in (400, 413)
    wire.assert_well()


# ---------------------------------------------------------------------- too slow

SLOW = {
    "nothing comes": ("/count", "Content-Length: 10", b""),
    "a byte, and no more": ("/count", "Content-Length: 10", b"x"),
    "all but one": ("/count", "Content-Length: 10", b"x" * 9),
    "a chunk's size, and no more": ("/count", CHUNKED, b"5\r\n"),
    "half of a chunk": ("/count", CHUNKED, b"5\r\nxx"),
    "chunks without an end": ("/count", CHUNKED, chunk(b"x") * 3),
    "half of a chunk's size": ("/count", CHUNKED, b"5"),
    "to who streams": ("/stream", CHUNKED, chunk(b"x")),
    "to a mounted app": ("/sub/count", "Content-Length: 10", b"x"),
    "to a mounted Starlette": ("/plain/count", "Content-Length: 10", b"x"),
    "JSON": ("/json", "Content-Length: 10\r\nContent-Type: application/json", b"{"),
    "a form": (
        "/form",
        "Content-Length: 10\r\nContent-Type: application/x-www-form-urlencoded",
        b"n",
    ),
    "a file": (
        "/file",
        "Content-Length: 500\r\nContent-Type: multipart/form-data; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx',
    ),
    "a trailer that does not end": ("/count", CHUNKED, chunk(b"x") + b"0\r\nX: y"),
}


@pytest.mark.parametrize(("path", "lines", "body"), SLOW.values(), ids=SLOW)
def test_what_does_not_come_is_not_waited_for(
    wires: dict[str, Wire], path: str, lines: str, body: bytes
) -> None:
    wire = wires["impatient"]
    with wire.line() as line:
        line.send(head(path, lines), body)
        answer = line.answer()
        assert_problem(answer, 408)
        assert answer.says_close
        line.rest()
    wire.assert_well()


def drip(line: Line, piece: bytes) -> None:
    """Send a byte now and then, until something is answered."""
    for _ in range(int(PATIENCE_S / 0.02)):
        line.send(piece)
        if select.select([line.socket], [], [], 0.02)[0]:
            return
    raise AssertionError("nobody minds")


@pytest.mark.parametrize(
    ("lines", "piece"),
    [("Content-Length: 900", b"x"), (CHUNKED, chunk(b"x")), (CHUNKED, b"0" * 3)],
    ids=["bytes", "chunks", "zeros of a chunk's size"],
)
def test_a_body_that_drips_is_not_waited_for(
    wires: dict[str, Wire], lines: str, piece: bytes
) -> None:
    wire = wires["impatient"]
    with wire.line() as line:
        line.send(head("/count", lines))
        drip(line, piece)
        assert line.answer().status in (400, 408)  # the server may have had enough of zeros
    wire.assert_well()


def test_a_route_may_be_more_hasty_than_its_app(wires: dict[str, Wire]) -> None:
    with wires["roomy"].line() as line:
        line.send(head("/hasty", "Content-Length: 10"), b"x")
        assert_problem(line.answer(), 408)


def test_a_hundred_that_wait_keep_nobody_else_waiting(wires: dict[str, Wire]) -> None:
    wire = wires["small"]  # patient
    with ExitStack() as stack:
        lines = [stack.enter_context(wire.line()) for _ in range(100)]
        for number, line in enumerate(lines):
            line.send(head("/count" if number % 2 else "/json", CHUNKED), b"1\r\n")
        for _ in range(3):
            wire.assert_well()
    wire.assert_well()


# ---------------------------------------------------------------------- cut off

CUT_OFF = {
    "before anything of the body": ("/count", "Content-Length: 10", b""),
    "in the middle": ("/count", "Content-Length: 10", b"xxx"),
    "in the middle of a chunk": ("/count", CHUNKED, b"5\r\nxx"),
    "between two chunks": ("/stream", CHUNKED, chunk(b"xx")),
    "in a mounted app": ("/sub/count", "Content-Length: 10", b"xxx"),
    "in a mounted Starlette": ("/plain/count", "Content-Length: 10", b"xxx"),
    "in JSON": ("/json", "Content-Length: 10\r\nContent-Type: application/json", b"{"),
    "in a form": ("/fields", "Content-Length: 10\r\nContent-Type: multipart/form-data; boundary=b", b"-"),
    "by a chunk that is none": ("/count", CHUNKED, b"zz\r\n"),
    "by a chunk that is too long": ("/count", CHUNKED, b"1\r\nxx\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize(("path", "lines", "body"), CUT_OFF.values(), ids=CUT_OFF)
def test_a_body_that_is_cut_off_is_no_failure_of_the_server(
    wires: dict[str, Wire], path: str, lines: str, body: bytes, how: str
) -> None:
    """Anybody can do that, so it must not look like one: that is what ``quiet`` is about."""
    wire = wires["small"]
    with wire.line() as line:
        line.send(head(path, lines), body)
        if how == "reset":
            # With nothing to linger for, closing sends RST.
            line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wire.assert_well()


# ---------------------------------------------------------------------- not what they say


def nested(open_: bytes, close: bytes, depth: int) -> Callable[[], bytes]:
    return lambda: open_ * depth + b"1" + close * depth


ODD_JSON: dict[str, Callable[[], bytes]] = {
    "arrays 100 000 deep": nested(b"[", b"]", 100_000),
    "arrays that do not end": lambda: b"[" * 1_000_000,
    "objects 100 000 deep": nested(b'{"a":', b"}", 100_000),
    "an object with an array 1000 deep": lambda: b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}",
    "a number of 100 000 digits": lambda: b'{"a":' + b"9" * 100_000 + b"}",
    "a negative number of 100 000 digits": lambda: b'{"a":-' + b"9" * 100_000 + b"}",
    "a fraction of 100 000 digits": lambda: b'{"a":0.' + b"9" * 100_000 + b"}",
    "an exponent of 100 000": lambda: b'{"a":1e100000}',
    "an exponent of 10 000 digits": lambda: b'{"a":1e' + b"9" * 10_000 + b"}",
    "NaN": lambda: b'{"a":NaN}',
    "infinity": lambda: b'{"a":-Infinity}',
    "a lone surrogate": lambda: b'{"\\ud800":"\\udfff"}',
    "bytes that are no UTF-8": lambda: b'{"a":"\xff\xfe\xc0\xaf"}',
    "UTF-16": lambda: '{"a":1}'.encode("utf-16"),
    "UTF-32": lambda: '{"a":1}'.encode("utf-32"),
    "a byte order mark": lambda: b'\xef\xbb\xbf{"a":1}',
    "a NUL": lambda: b'{"a":"\0"}',
    "an escaped NUL": lambda: b'{"a\\u0000":"\\u0000"}',
    "200 000 members": lambda: b"{" + b",".join(b'"%d":1' % n for n in range(200_000)) + b"}",
    "one member 200 000 times": lambda: b"{" + b'"a":1,' * 200_000 + b'"a":1}',
    "members of dunders": lambda: b'{"__proto__":{},"__class__":1,"constructor":{}}',
    "a name of 1 MB": lambda: b'{"' + b"a" * 1_000_000 + b'":1}',
    "two values": lambda: b'{"a":1}{"b":2}',
    "a comment": lambda: b'{"a":1/*b*/}',
    "nothing": lambda: b"",
    "spaces": lambda: b" " * 1_000_000,
    "null": lambda: b"null",
    "gzip": lambda: gzip.compress(b'{"a":1}'),
    "a pickle": lambda: b"\x80\x04\x95\x0f\x00\x00\x00",
}


@pytest.mark.parametrize("target", ["/json", "/films"])
@pytest.mark.parametrize("make", ODD_JSON.values(), ids=ODD_JSON)
def test_json_that_is_odd_is_taken_or_refused(
    wires: dict[str, Wire], make: Callable[[], bytes], target: str
) -> None:
    wire = wires["roomy"]
    answer = wire.call("POST", target, JSON, make())
    assert answer.status in (200, 400, 422)
    if answer.status != 200:
        assert_problem(answer, answer.status)
        assert len(answer.body) < 5_000
    wire.assert_well()


ODD_FILMS = {
    "NaN as a price": b'{"name":"a","price":NaN}',
    "infinity as a price": b'{"name":"a","price":1e999}',
    "a number of 5000 digits as a text": b'{"name":"a","stock":"' + b"9" * 5_000 + b'"}',
    "a number beyond 64 bits": b'{"name":"a","stock":99999999999999999999999999}',
    "a NUL in a name": b'{"name":"a\\u0000b"}',
    "a name of half a megabyte": b'{"name":"' + b"a" * 500_000 + b'"}',
    "ten thousand members too many": b'{"name":1,'
    + b",".join(b'"%d":1' % n for n in range(10_000))
    + b"}",
}


@pytest.mark.parametrize("body", ODD_FILMS.values(), ids=ODD_FILMS)
def test_values_that_are_odd_are_taken_or_refused(wires: dict[str, Wire], body: bytes) -> None:
    wire = wires["roomy"]
    answer = wire.call("POST", "/films", JSON, body)
    assert answer.status in (200, 400, 422), answer.body
    wire.assert_well()


@pytest.mark.parametrize("name", ["\\ud800", "\\udfff\\ud800", "a\\udc00"])
def test_a_text_that_no_answer_can_carry_fails_as_everything_does(
    wires: dict[str, Wire], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of a surrogate pair: pydantic takes it from JSON, and cannot write it."""
    wire = wires["roomy"]
    answer = wire.call("POST", "/films", JSON, b'{"name":"%s"}' % name.encode())
    assert_problem(answer, 500)
    wire.assert_well()
    caplog.clear()


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "application/jsonx", "application/json; charset=utf-7", "", "*/*"),
        *("application/json, text/html", "application/" + "x" * 10_000, "a" * 10_000, "/"),
        *("application/x-www-form-urlencoded", "multipart/form-data", "application/json;;;"),
        *("multipart/form-data; boundary=", "multipart/form-data; boundary=" + "b" * 10_000),
        *("application/vnd.api+json", "application/json\t", "application/octet-stream"),
    ],
    ids=lambda kind: kind[:40],
)
@pytest.mark.parametrize("target", ["/json", "/form", "/file", "/fields", "/count"])
def test_a_body_of_another_kind_is_taken_or_refused(
    wires: dict[str, Wire], target: str, kind: str
) -> None:
    wire = wires["roomy"]
    answer = wire.call("POST", target, {"Content-Type": kind}, b'{"a": 1}')
    assert answer.status in (200, 400, 415, 422), answer.body
    wire.assert_well()


@pytest.fixture(scope="module")
def bomb() -> bytes:
    return gzip.compress(bytes(50_000_000), compresslevel=1)


@pytest.mark.parametrize("target", ["/json", "/count", "/fields"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity"])
def test_a_bomb_that_is_compressed_stays_so(
    wires: dict[str, Wire], bomb: bytes, coding: str, target: str
) -> None:
    wire = wires["roomy"]
    headers = {**(FORM if target == "/fields" else JSON), "Content-Encoding": coding}
    answer = wire.call("POST", target, headers, bomb)
    if target == "/count":
        assert answer.body == str(len(bomb)).encode(), "nobody unpacks what nobody asked for"
    else:
        assert answer.status in (200, 400, 422)
    wire.assert_well()


def part(name: str, body: bytes = b"x", file: str | None = None, *more: str) -> bytes:
    told = f'form-data; name="{name}"' + ("" if file is None else f'; filename="{file}"')
    lines = "\r\n".join(["--b", f"Content-Disposition: {told}", *more, "", ""])
    return lines.encode("latin-1") + body + b"\r\n"


END = b"--b--\r\n"
BAD_PARTS: dict[str, Callable[[], bytes]] = {
    "ten thousand fields": lambda: b"".join(part(f"f{n}") for n in range(10_000)) + END,
    "two thousand files": lambda: b"".join(part(f"f{n}", file="a") for n in range(2_000)) + END,
    "a field of two megabytes": lambda: part("name", b"x" * 2_000_000) + END,
    "a thousand headers": lambda: part("a", b"x", None, *(["X: y"] * 1_000)) + END,
    "a header of a megabyte": lambda: part("a", b"x", None, "X: " + "y" * 1_000_000) + END,
    "a header without an end": lambda: b"--b\r\nContent-Disposition: " + b"x" * 500_000,
    "no header": lambda: b"--b\r\n\r\nx\r\n" + END,
    "no name": lambda: b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END,
    "no end": lambda: part("a"),
    "no beginning": lambda: b"x" * 1_000,
    "only ends": lambda: END * 10_000,
    "another boundary": lambda: part("a").replace(b"--b", b"--c") + END,
    "a boundary within": lambda: part("a", b"\r\n--" * 100_000) + END,
    "parts in parts": lambda: (
        part("a", part("c") * 100, None, "Content-Type: multipart/mixed; boundary=b") + END
    ),
    "a file of the name ../../etc/passwd": lambda: part("file", file="../../etc/passwd") + END,
    "a file of the name NUL": lambda: part("file", file="\0") + END,
    "a file of 100 KB of name": lambda: part("file", file="a" * 100_000) + END,
    "a charset that is none": lambda: part("_charset_", b"utf-9") + part("a", b"\xff") + END,
    "bytes that are no text": lambda: part("name", b"\xff\xfe") + END,
    "lines of LF": lambda: part("a").replace(b"\r\n", b"\n") + b"--b--\n",
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("target", ["/file", "/fields", "/form"])
@pytest.mark.parametrize("make", BAD_PARTS.values(), ids=BAD_PARTS)
def test_parts_that_are_odd_or_many_are_taken_or_refused(
    wires: dict[str, Wire], make: Callable[[], bytes], target: str
) -> None:
    wire = wires["roomy"]
    answer = wire.call("POST", target, PARTS, make())
    assert answer.status in (200, 400, 413, 422), answer.body
    if answer.status != 200:
        assert_problem(answer, answer.status)
        assert len(answer.body) < 5_000
    wire.assert_well()


FORM_BOMBS: dict[str, Callable[[], bytes]] = {
    "100 000 fields": lambda: b"a=1&" * 100_000,
    "100 000 names": lambda: b"&".join(b"%d=" % n for n in range(100_000)),
    "a megabyte of ampersands": lambda: b"&" * 1_000_000,
    "a megabyte of percent signs": lambda: b"a=" + b"%" * 1_000_000,
    "a field of two megabytes": lambda: b"name=" + b"x" * 2_000_000,
    "a name of two megabytes": lambda: b"x" * 2_000_000,
    "names that are nested": lambda: b"a" + b"[b]" * 10_000 + b"=1",
    "bytes that are no text": lambda: b"name=%ff%fe%c0%af",
    "a NUL": lambda: b"name=%00",
    "semicolons": lambda: b"a=1;" * 10_000,
}


@pytest.mark.parametrize("target", ["/fields", "/form"])
@pytest.mark.parametrize("make", FORM_BOMBS.values(), ids=FORM_BOMBS)
def test_forms_that_are_bombs_are_taken_or_refused(
    wires: dict[str, Wire], make: Callable[[], bytes], target: str
) -> None:
    wire = wires["roomy"]
    answer = wire.call("POST", target, FORM, make())
    assert answer.status in (200, 400, 413, 422), answer.body
    wire.assert_well()


# ---------------------------------------------------------------------- WebSockets and preflights


def test_a_handshake_with_a_body_is_not_a_way_around(wires: dict[str, Wire]) -> None:
    wire = wires["small"]
    with wire.line() as line:
        line.send(
            head(
                "/count",
                "Content-Length: 100000",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            ),
            b"x" * 100_000,
        )
        answer = line.answer()
        # httptools takes what comes behind an upgrade for no body; then there is none to read.
        assert answer.status == 413 or answer.body == b"0"
    wire.assert_well()


def test_a_preflight_with_a_body_is_answered_without_reading_it(wires: dict[str, Wire]) -> None:
    wire = wires["small"]
    with wire.line() as line:
        line.send(
            head(
                "/count",
                "Content-Length: 1000000000",
                "Origin: https://shop.example",
                "Access-Control-Request-Method: POST",
                method="OPTIONS",
            ),
            b"x" * 100_000,
        )
        assert line.answer().status == 200
    wire.assert_well()


def test_two_that_say_close_are_not_answered_both(wires: dict[str, Wire]) -> None:
    """What comes behind a body that was refused would be read as a request of somebody's."""
    wire = wires["small"]
    said = wire.everything(
        head("/count", "Content-Length: 1001"), request("GET", "/ok") + b"x" * 1_000
    )
    assert said.count(b"HTTP/1.1 ") == 1
    assert int(said.split(b" ")[1]) in (400, 413)
