"""What a service tells of its inside: nothing, whatever fails, however it is asked.

Each endpoint here fails with a canary in what it raises. It must not come out in an answer; and what
is a secret by its name or its form must not be kept in events, or said in a log line about a client's
mistake.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from pydantic import BaseModel, SecretStr, TypeAdapter, field_validator
from sqlalchemy import text
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from backstay.db import MainDatabaseManager
from backstay.errors import BackstayError
from backstay.events import add_events
from backstay.events.part import EventsPart
from backstay.pattern import HealthCheck, base_pattern
from backstay.tasks import add_tasks
from backstay.telemetry import add_metrics
from backstay.web import Ctx
from tests.attacks.wire import Answer, Wire, assert_problem, on_the_wire, request

CANARY = "canary-4711"
SECRET_KEY = "Wq7sZt2nLx9RcKv4YbJm6HdGf1PpUe8TaIo3XyVuB5MA0rEiSFkDlPjChQgNOwz4"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLW9mLXRoZS1jYW5hcnk"


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError(CANARY)


class PrivateProblem(BackstayError):
    """One whose message is for the operator."""

    status = 409
    title = "Conflict"
    public_detail = "Not now."


class Login(BaseModel):
    username: str
    password: SecretStr
    pin: int = 0

    @field_validator("username")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value == "admin":
            raise ValueError("this name is taken")
        return value


def fail(error: BaseException) -> Callable[[], Any]:
    async def endpoint() -> None:
        raise error

    return endpoint


def chained() -> None:
    try:
        raise KeyError(CANARY)
    except KeyError as error:
        noted = ValueError("the outer one")
        noted.add_note(CANARY)
        raise noted from error


def deep(left: int = 10_000, canary: str = CANARY) -> int:
    return deep(left - 1, canary) + 1


FAILURES: dict[str, Callable[[], Any]] = {
    "runtime": fail(RuntimeError(CANARY)),
    "key": fail(KeyError(CANARY)),
    "assertion": fail(AssertionError(CANARY)),
    "file": fail(FileNotFoundError(2, "No such file", f"/srv/{CANARY}/secret.key")),
    "connection": fail(ConnectionRefusedError(f"postgresql://shop:{CANARY}@10.0.0.5/shop")),
    "timeout": fail(TimeoutError(CANARY)),
    "unicode": fail(UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY)),
    "group": fail(ExceptionGroup(CANARY, [ValueError(CANARY)])),
    "unspeakable": fail(Unspeakable()),
    "own": fail(BackstayError(CANARY)),
    "chained": chained,
    "deep": deep,
    "attribute": lambda: getattr(object(), CANARY),
    "json": lambda: json.loads(f"{{{CANARY}"),
    "stop": lambda: next(iter(())),
    "long": fail(ValueError(CANARY * 100_000)),
    "bytes": fail(ValueError(CANARY.encode())),
    "lines": fail(ValueError(f"\r\n{CANARY}\r\nX-Evil: 1\r\n")),
    "surrogates": fail(ValueError(f"\ud800{CANARY}")),
    "type": lambda: TypeAdapter(int).validate_python(CANARY),
    "model": lambda: Login.model_validate({"username": CANARY, "password": None}),
}
"""Each a way to fail with 500."""


def make_app(folder: Path, **options: Any) -> FastAPI:
    app = FastAPI()
    manager = MainDatabaseManager(f"sqlite:///{folder / 'shop.db'}")

    @app.get("/ok")
    async def ok() -> str:
        return "fine"

    for name, endpoint in FAILURES.items():
        app.api_route(f"/fail/{name}", methods=["GET", "HEAD", "POST"])(endpoint)

    _add_database(app)
    _add_dependencies(app)
    _add_late(app)
    _add_forms(app)
    _add_mounts(app)

    class Fails(BaseHTTPMiddleware):
        async def dispatch(self, request: Request, call_next: Any) -> Response:
            if request.url.path == "/middleware":
                raise RuntimeError(CANARY)
            answer: Response = await call_next(request)
            if request.url.path == "/middleware/late":
                raise RuntimeError(CANARY)
            return answer

    app.add_middleware(Fails)
    app.add_middleware(FailsPlainly)
    add_tasks(app, database="memory://")
    add_metrics(app)
    add_events(app, every_s=0.01)

    async def unwell() -> None:
        raise ConnectionError(f"postgresql://shop:{CANARY}@10.0.0.5/shop")

    base_pattern(
        app,
        secret_key=SECRET_KEY,
        database_manager=manager,
        checks={"store": HealthCheck(check=unwell, vital=False)},
        **options,
    )
    return app


class FailsPlainly:
    """A middleware of plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") == "/plain-middleware":
            raise RuntimeError(CANARY)
        await self.app(scope, receive, send)


def _add_database(app: FastAPI) -> None:
    @app.get("/sql/syntax")
    async def syntax(ctx: Ctx) -> None:
        await ctx.db.session.execute(text(f"SELEC '{CANARY}'"))

    @app.get("/sql/table")
    async def table(ctx: Ctx) -> None:
        await ctx.db.session.execute(text("SELECT * FROM canary_4711"))

    @app.get("/sql/unique")
    async def unique(ctx: Ctx) -> None:
        for statement in (
            "CREATE TABLE IF NOT EXISTS canaries (name TEXT UNIQUE)",
            f"INSERT INTO canaries VALUES ('{CANARY}')",
            f"INSERT INTO canaries VALUES ('{CANARY}')",
        ):
            await ctx.db.session.execute(text(statement))

    @app.get("/sql/echo")
    async def echo(ctx: Ctx, name: str) -> None:
        await ctx.db.session.execute(text("SELECT :name FROM nowhere"), {"name": name})


def _add_dependencies(app: FastAPI) -> None:
    async def before() -> AsyncIterator[None]:
        raise RuntimeError(CANARY)
        yield

    async def after() -> AsyncIterator[None]:
        yield
        raise RuntimeError(CANARY)

    async def finally_() -> AsyncIterator[None]:
        try:
            yield
        finally:
            raise RuntimeError(CANARY)

    def sync_after() -> Iterator[None]:
        yield
        raise RuntimeError(CANARY)

    async def fine() -> str:
        return "fine"

    app.get("/yield/before", dependencies=[Depends(before)])(fine)
    scopes: tuple[Literal["function", "request"], ...] = ("function", "request")
    for scope in scopes:
        for name, dependency in (("after", after), ("finally", finally_), ("sync", sync_after)):
            depends = Depends(dependency, scope=scope)
            app.get(f"/yield/{name}/{scope}", dependencies=[depends])(fine)


def _add_late(app: FastAPI) -> None:
    async def sing() -> None:
        raise RuntimeError(CANARY)

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(sing)
        return "fine"

    @app.get("/task")
    async def task(ctx: Ctx) -> str:
        ctx.tasks.after_response.schedule(sing)
        return "fine"

    @app.get("/after-route")
    async def after_route(ctx: Ctx) -> str:
        ctx.tasks.after_route.schedule(sing)
        return "fine"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"fine"
            raise RuntimeError(CANARY)

        return StreamingResponse(chunks())

    @app.get("/stream/at-once")
    async def stream_at_once() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            raise RuntimeError(CANARY)
            yield b""

        return StreamingResponse(chunks())

    @app.get("/response/model")
    async def model() -> Login:
        return {"username": CANARY, "pin": CANARY}  # type: ignore[return-value]  # the point

    @app.get("/response/json")
    async def unserialisable() -> JSONResponse:
        return JSONResponse({"canary": {CANARY}})

    @app.get("/response/header")
    async def header() -> Response:
        return PlainTextResponse("fine", headers={"X-Own": "\ud800" + CANARY})


def _add_forms(app: FastAPI) -> None:
    @app.post("/login")
    async def login(login: Login) -> str:
        return "fine"

    @app.post("/form")
    async def form(username: Annotated[str, Form()], pin: Annotated[int, Form()]) -> str:
        return "fine"

    @app.get("/query")
    async def query(token: Annotated[int, Query()]) -> str:
        return "fine"

    @app.get("/reset/{token}")
    async def reset(token: str) -> None:
        raise RuntimeError(f"no reset with token={token}")

    @app.get("/private")
    async def private() -> None:
        raise PrivateProblem(CANARY)

    @app.get("/wrapped")
    async def wrapped() -> None:
        try:
            raise RuntimeError(CANARY)
        except RuntimeError as error:
            raise HTTPException(502, "The other service does not answer.") from error

    @app.get("/say")
    async def say(what: str) -> None:
        raise RuntimeError(what)


def _add_mounts(app: FastAPI) -> None:
    async def broken(_: Request) -> Response:
        raise RuntimeError(CANARY)

    sub_app = FastAPI(debug=True)
    sub_app.get("/broken")(fail(RuntimeError(CANARY)))
    app.mount("/sub", sub_app)
    app.mount("/plain", Starlette(debug=True, routes=[Route("/broken", broken)]))
    inner = Starlette(debug=True, routes=[Route("/broken", broken)])
    app.mount("/wrapped-plain", FailsPlainly(inner))
    app.router.routes.append(Route("/route", broken))

    @app.get("/page", response_class=HTMLResponse)
    async def page() -> str:
        raise RuntimeError(CANARY)


@dataclass
class Told:
    """All that was logged."""

    records: list[logging.LogRecord]

    def text(self, *, below: int = logging.CRITICAL) -> str:
        formatter = logging.Formatter()
        return "\n".join(
            formatter.format(each) + str(vars(each))
            for each in self.records
            if each.levelno < below
        )


@contextmanager
def listening() -> Iterator[Told]:
    told = Told([])

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.records.append(record)

    handler, root = Handler(), logging.getLogger("backstay")
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield told
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("leaks")


@pytest.fixture(scope="module")
def wire(folder: Path) -> Iterator[Wire]:
    with on_the_wire(make_app(folder)) as wire:
        yield wire


def assert_silent(answer: Answer, *secrets: str) -> None:
    for secret in (CANARY, SECRET_KEY, *secrets):
        assert secret.encode() not in answer.head + answer.body
    assert b"Traceback" not in answer.body


# ---------------------------------------------------------------------- what fails


@pytest.fixture(autouse=True)
def reports_that_travel(request: pytest.FixtureRequest) -> Iterator[None]:
    """Half of a surrogate pair in what pytest captures of the log could not be sent by xdist."""
    if "surrogates" in request.node.name:
        logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


BROKEN = [
    *(f"/fail/{name}" for name in FAILURES),
    *("/sql/syntax", "/sql/table", "/sql/unique", "/sql/echo?name=x"),
    *("/yield/before", "/yield/after/function", "/yield/finally/function", "/yield/sync/function"),
    *("/middleware", "/middleware/late", "/plain-middleware"),
    *("/response/model", "/response/json", "/response/header"),
    *("/sub/broken", "/plain/broken", "/wrapped-plain/broken", "/route", "/page"),
    *("/reset/abc", f"/say?what={CANARY}"),
]


@pytest.mark.parametrize("accept", ["application/json", "text/html", "*/*"])
@pytest.mark.parametrize("target", BROKEN)
def test_a_failure_tells_nothing_but_that_it_is_one(wire: Wire, target: str, accept: str) -> None:
    answer = wire.call("GET", target, {"Accept": accept, "User-Agent": "Mozilla/5.0"})
    assert_problem(answer, 500)
    assert_silent(answer)
    wire.assert_well()


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_tells_no_more_to_a_head_or_an_options(wire: Wire, name: str) -> None:
    head = wire.call("HEAD", f"/fail/{name}")
    assert (head.status, head.body) == (500, b"")
    assert_silent(head)
    options = wire.call("OPTIONS", f"/fail/{name}")
    assert_problem(options, 405)
    assert_silent(options)


LATE = [
    *("/background", "/task", "/yield/after/request", "/yield/finally/request"),
    *("/yield/sync/request", "/stream", "/stream/at-once", "/after-route"),
]


@pytest.mark.parametrize("target", LATE)
def test_what_fails_after_the_answer_adds_nothing_to_it(wire: Wire, target: str) -> None:
    with wire.line() as line:
        line.send(request("GET", target, {"Connection": "close"}))
        said = line.rest()
    assert said.count(b"HTTP/1.1 ") == 1
    assert CANARY.encode() not in said
    assert b"Traceback" not in said
    wire.assert_well()


@pytest.mark.parametrize(("target", "status"), [("/private", 409), ("/wrapped", 502)])
def test_what_is_said_in_public_is_said_and_no_more(wire: Wire, target: str, status: int) -> None:
    answer = wire.call("GET", target)
    assert_problem(answer, status)
    assert_silent(answer)


DEBUG_TRICKS = {
    "a query": ("/fail/runtime?debug=1&debug=true&_debug=1&trace=1&verbose=1", {}),
    "a header": ("/fail/runtime", {"X-Debug": "1", "X-Debug-Token": "1", "Debug": "true"}),
    "a cookie": ("/fail/runtime", {"Cookie": "debug=1; XDEBUG_SESSION=1"}),
    "a preference": ("/fail/runtime", {"Prefer": "return=representation; debug"}),
    "a type": ("/fail/runtime", {"Accept": "application/problem+json;debug=true"}),
    "this machine": ("/fail/runtime", {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "::1"}),
    "this machine's name": ("/fail/runtime", {"X-Forwarded-Host": "localhost"}),
    "the werkzeug console": ("/fail/runtime?__debugger__=yes&cmd=resource&f=debugger.js", {}),
    "a language": ("/fail/runtime", {"Accept-Language": "debug, x-debug"}),
    "a trace": ("/fail/runtime", {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}),
    "a mounted app in debug mode": ("/sub/broken?debug=1", {"X-Debug": "1"}),
    "a mounted Starlette in debug mode": ("/plain/broken", {"Accept": "text/html"}),
}


@pytest.mark.parametrize(("target", "headers"), DEBUG_TRICKS.values(), ids=DEBUG_TRICKS)
def test_nobody_switches_debug_mode_on_from_outside(
    wire: Wire, target: str, headers: dict[str, str]
) -> None:
    answer = wire.call("GET", target, headers)
    assert_problem(answer, 500)
    assert_silent(answer)
    assert not {"x-process-time", "server-timing"} & dict(answer.headers).keys()


# ---------------------------------------------------------------------- what is invalid

LOGIN = {
    "a wrong type beside it": {"username": 1, "password": "hunter2-canary"},
    "a wrong type of it": {"username": "ada", "password": {"value": "hunter2-canary"}},
    "it is a list": {"username": "ada", "password": ["hunter2-canary"]},
    "a number is none": {"username": "ada", "password": "x", "pin": "hunter2-canary"},
    "a validator's own words": {"username": "admin", "password": "hunter2-canary"},
    "it is the whole body": "hunter2-canary",
    "it is in a list": ["hunter2-canary"],
}


@pytest.mark.parametrize("body", LOGIN.values(), ids=LOGIN)
def test_an_invalid_request_is_not_repeated_in_answers_or_logs(wire: Wire, body: object) -> None:
    with listening() as told:
        answer = wire.call(
            "POST", "/login", {"Content-Type": "application/json"}, json.dumps(body).encode()
        )
    assert_problem(answer, 422)
    assert_silent(answer, "hunter2-canary")
    assert "hunter2-canary" not in told.text()


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/query?token=hunter2-canary", None, 422),
        ("POST", "/form", b"username=ada&pin=hunter2-canary", 422),
        ("POST", "/login", b'{"password": "hunter2-canary"', 422),
        ("POST", "/login", b"hunter2-canary", 422),
        ("DELETE", "/login?password=hunter2-canary", None, 405),
        ("GET", "/none?password=hunter2-canary", None, 404),
        ("GET", "/ok/?password=hunter2-canary&x=y", None, 307),
    ],
)
def test_a_query_or_body_that_is_wrong_is_not_repeated_in_logs(
    wire: Wire, method: str, target: str, body: bytes | None, status: int
) -> None:
    kind = "x-www-form-urlencoded" if target == "/form" else "json"
    with listening() as told:
        answer = wire.call(method, target, {"Content-Type": f"application/{kind}"}, body)
    assert answer.status == status
    assert b"hunter2-canary" not in answer.body
    assert "hunter2-canary" not in told.text()


# ---------------------------------------------------------------------- what is kept

SECRETS = {
    "a password by name": "password=hunter2-canary",
    "a password in JSON": '{"password": "hunter2-canary"}',
    "a password in a URL": "postgresql://shop:hunter2-canary@10.0.0.5/shop",
    "a bearer token": "Authorization: Bearer hunter2-canary.x.y",
    "a JWT anywhere": f"refused {JWT} for nothing",
    "an API key": "api_key: hunter2-canary",
    "a cookie": "Cookie: session=hunter2-canary",
    "a client's secret": "client_secret='hunter2-canary'",
    "a payment card": "card 4111 1111 1111 1111 was declined",
    "a private key": "-----BEGIN PRIVATE KEY-----\nhunter2-canary\n-----END PRIVATE KEY-----",
    "an argon2 hash": "$argon2id$v=19$m=8,t=1,p=1$aHVudGVyMi1jYW5hcnk$aHVudGVyMi1jYW5hcnk",
}


@pytest.mark.parametrize("what", SECRETS.values(), ids=SECRETS)
def test_no_secret_is_kept_with_a_failure(wire: Wire, folder: Path, what: str) -> None:
    answer = wire.call("GET", f"/say?what={encoded(what)}")
    assert_problem(answer, 500)
    kept = everything_kept(wire, folder)
    for secret in ("hunter2-canary", JWT, "4111 1111 1111 1111", "aHVudGVyMi1jYW5hcnk"):
        assert secret.encode() not in kept


def test_no_secret_of_a_path_a_query_or_a_header_is_kept(wire: Wire, folder: Path) -> None:
    headers = {
        "Authorization": "Bearer hunter2-canary",
        "Cookie": "session=hunter2-canary",
        "X-Api-Key": "hunter2-canary",
        "Referer": "https://shop.example/?token=hunter2-canary",
        "User-Agent": "hunter2-canary",
    }
    for target in (
        "/reset/hunter2-canary",
        "/ok?token=hunter2-canary",
        "/query?token=hunter2-canary",
    ):
        wire.call("GET", target, headers)
    kept = everything_kept(wire, folder)
    assert b"/reset/{token}" in kept, "something was kept"
    assert b"hunter2-canary" not in kept


def encoded(what: str) -> str:
    return "".join(f"%{byte:02x}" for byte in what.encode())


def everything_kept(wire: Wire, folder: Path) -> bytes:
    """The database's files, after everything that waits was written."""
    app = wire.app
    assert isinstance(app, FastAPI)
    part = app.state.backstay.part("events")
    assert isinstance(part, EventsPart)
    asyncio.run_coroutine_threadsafe(part.events.flush(), wire.loop).result(20)
    return b"".join(each.read_bytes() for each in sorted(folder.glob("shop.db*")))


# ---------------------------------------------------------------------- what the service says of itself


def test_readiness_says_which_check_fails_and_not_why(wire: Wire) -> None:
    answer = wire.call("GET", "/readyz")
    assert answer.json()["checks"]["store"].keys() == {"status", "duration_ms"}
    assert_silent(answer)


def test_metrics_have_no_paths_messages_or_secrets(wire: Wire) -> None:
    wire.call("GET", f"/none/{CANARY}?{CANARY}", {"X-Request-ID": CANARY})
    wire.call("GET", "/fail/runtime", {"X-Request-ID": CANARY})
    answer = wire.call("GET", "/metrics")
    assert b"backstay_http_requests_total" in answer.body
    assert_silent(answer)


def test_documentation_has_no_secrets(wire: Wire) -> None:
    for target in ("/openapi.json", "/docs", "/redoc"):
        assert_silent(wire.call("GET", target), "hunter2-canary")


def test_in_debug_mode_secrets_of_the_query_are_masked(tmp_path: Path) -> None:
    with on_the_wire(make_app(tmp_path, debug=True)) as wire, listening() as told:
        answer = wire.call(
            "GET",
            "/fail/runtime?password=hunter2-canary&token=hunter2-canary&page=7",
            {"Authorization": "Bearer hunter2-canary", "Cookie": "session=hunter2-canary"},
        )
    problem = answer.json()
    assert "page=7" in problem["request"]["query"]
    assert problem["traceback"]
    assert b"hunter2-canary" not in answer.body
    assert "hunter2-canary" not in told.text(below=logging.ERROR)
