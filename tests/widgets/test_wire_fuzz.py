"""Whatever is sent: an answer in time, never a 5xx but the one that is documented, no internals."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Coroutine, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from backstay.tasks import add_tasks
from backstay.web.lifespan import started
from backstay.widgets import (
    BaseWidget,
    ValidationError,
    WidgetContext,
    WidgetMCPServer,
    auth_required,
    no_auth,
)
from tests.support import PATIENCE_S
from tests.widgets.wire import EVERY_ERA, MODERN, Book, Wire

INTERNALS = re.compile(
    r"Traceback|File \"|\.py\b|backstay\.|pydantic|site-packages|0x[0-9a-f]{6}|Error\(|"
    r"object at|NoneType|has no attribute|unhashable|RecursionError|codec can't"
)
SETTINGS = settings(
    max_examples=int(os.environ.get("BACKSTAY_FUZZ_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Deep(BaseModel):
    name: str = ""
    more: list[Deep] = Field(default_factory=list)


class Inputs(BaseModel):
    text: str = "x"
    number: int = Field(0, le=10**6)
    ratio: float = 0.0
    data: bytes = b""
    deep: Deep | None = None
    free: dict[str, Any] = Field(default_factory=dict)


@no_auth
class Fuzzed(BaseWidget):
    identifier = "fuzzed"
    title = "Fuzzed"
    input_schema = Inputs
    template = "list"

    async def execute(self, inputs: Inputs, ctx: WidgetContext) -> dict[str, Any]:
        if inputs.number == 13:
            raise ValidationError("not that one", field="number")
        await ctx.state.set("last", inputs.text[:50].encode("utf-8", "replace").decode())
        await ctx.progress(1, 2, inputs.text)
        return {"text": inputs.text, "free": inputs.free, "where": ctx.client.user_location}


def new_app(*, stateless: bool) -> FastAPI:
    app = FastAPI()
    add_tasks(app, database="memory://")
    server = WidgetMCPServer(
        "fuzz",
        [Fuzzed],
        token_verifier=Book(),
        stateless=stateless,
        allowed_origins=["https://app.example.com"],
        max_body_bytes=1_000_000,
        timeout_s=5,
    )

    @server.tool()
    @no_auth
    async def asks(ctx: WidgetContext) -> str:
        return (await ctx.elicit("Sure?")).action

    @server.tool()
    @auth_required(scopes=["orders"])
    async def closed() -> str:
        return "in"

    @server.resource("fuzz://{name}")
    def read(name: str) -> str:
        return name

    @server.prompt()
    def write(topic: str) -> str:
        return topic

    @server.completion("write", "topic")
    def complete(value: str) -> list[str]:
        return [value]

    server.mount(app)
    return app


class Running:
    """An app in an event loop that many examples share."""

    def __init__(self, *, stateless: bool) -> None:
        self._runner = asyncio.Runner()
        self.app = new_app(stateless=stateless)
        self._life = started(self.app, {})
        self._run(self._life.__aenter__())
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
        self._http = httpx.AsyncClient(transport=transport, base_url="http://testserver")
        wire = Wire(self._http)
        self._run(wire.hello())
        self.session = wire.headers["mcp-session-id"].encode()

    def _run(self, doing: Coroutine[Any, Any, Any]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE_S):
                return await doing

        return self._runner.run(bounded())

    def send(
        self, body: bytes, headers: list[tuple[bytes, bytes]], method: str = "POST"
    ) -> httpx.Response:
        """One request, answered in time."""
        answer: httpx.Response = self._run(
            self._http.request(method, "/mcp", content=body, headers=headers)
        )
        return answer

    def close(self) -> None:
        self._run(self._http.aclose())
        self._run(self._life.__aexit__(None, None, None))
        self._runner.close()


@pytest.fixture(scope="module", params=[True, False], ids=["stateless", "sessions"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    found = Running(stateless=request.param)
    yield found
    found.close()


def check(answer: httpx.Response) -> None:
    assert answer.status_code < 500, (answer.status_code, answer.text)
    assert not INTERNALS.search(answer.text), answer.text[:2000]
    text = answer.text
    if not text:
        assert answer.status_code in {202, 204}
    elif answer.headers.get("content-type", "").startswith("application/json"):
        found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        if isinstance(found.get("error"), dict) and found["error"].get("code") == -32603:
            assert found["error"]["data"]["error_id"], found
            pytest.fail(f"a fault of ours: {found}")


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**63, max_value=2**200)
    | st.floats(allow_nan=True)
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(["fuzzed", "asks", "closed", "fuzz://a", "write", "\ud800", "", "__class__"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec=None), max_size=10), inner, max_size=4)
    ),
    max_leaves=15,
)
METHODS = [
    "initialize",
    "ping",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "server/discover",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "tasks/get",
    "elicitation/create",
]
metas: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "progressToken": scalars,
        "openai/locale": scalars,
        "openai/session": scalars,
        "openai/subject": scalars,
        "openai/userLocation": values,
        "openai/userAgent": scalars,
        "io.modelcontextprotocol/logLevel": scalars | st.just("debug"),
        "io.modelcontextprotocol/clientInfo": values | st.just({"name": "fuzz", "version": "1"}),
        "io.modelcontextprotocol/clientCapabilities": values
        | st.just({})
        | st.just({"elicitation": {"form": {}}}),
        "io.modelcontextprotocol/protocolVersion": scalars | st.just(MODERN),
    },
)
params = st.fixed_dictionaries(
    {},
    optional={
        "name": scalars,
        "uri": scalars | st.just("fuzz://a"),
        "arguments": values
        | st.fixed_dictionaries(
            {},
            optional={
                "text": scalars,
                "number": scalars | st.just(13),
                "ratio": scalars,
                "data": scalars | st.just("aGVsbG8="),
                "deep": values,
                "free": values,
                "topic": scalars,
            },
        ),
        "_meta": metas | values,
        "cursor": scalars,
        "level": scalars,
        "requestId": scalars,
        "requestState": scalars,
        "inputResponses": values,
        "ref": values | st.just({"type": "ref/prompt", "name": "write"}),
        "argument": values | st.just({"name": "topic", "value": "x"}),
        "protocolVersion": scalars | st.sampled_from(EVERY_ERA),
        "capabilities": values,
        "clientInfo": values,
        "task": values,
    },
)
messages = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.sampled_from(METHODS)},
    optional={"id": st.integers(0, 5) | scalars, "params": params | values},
)
headers = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"mcp-session-id",
                b"mcp-name",
                b"mcp-method",
                b"mcp-param-text",
                b"authorization",
                b"accept",
                b"origin",
                b"last-event-id",
                b"content-length-not",
                b"x-request-id",
                b"user-agent",
                b"host",
            ]
        ),
        st.binary(max_size=40).map(lambda raw: re.sub(rb"[\r\n\0]", b"", raw))
        | st.sampled_from(
            [
                b"Bearer ada:orders",
                b"Bearer x",
                b"Bearer",
                b"bearer ",
                b"https://app.example.com",
                b"http://[",
                b"application/json",
                b"text/event-stream",
                b"fuzzed",
                b"tools/call",
                b"testserver",
                b"a-session-of-somebodys",
            ]
        ),
    ),
    max_size=4,
)
versions = st.sampled_from([None, *EVERY_ERA, "2099-01-01", "", "\xff"])


def with_version(
    extra: list[tuple[bytes, bytes]], version: str | None, message: Any
) -> list[tuple[bytes, bytes]]:
    found = [(b"content-type", b"application/json"), *extra]
    if not any(name == b"accept" for name, _ in extra):
        found.append((b"accept", b"application/json, text/event-stream"))
    if version is not None:
        found.append((b"mcp-protocol-version", version.encode("latin-1")))
    if version == MODERN and isinstance(message, dict):
        method, about = message.get("method"), message.get("params")
        if isinstance(method, str):
            found.append((b"mcp-method", method.encode("ascii", "ignore")))
        if isinstance(about, dict):
            about.setdefault("_meta", {})
            if isinstance(about["_meta"], dict):
                about["_meta"].setdefault("io.modelcontextprotocol/protocolVersion", MODERN)
                about["_meta"].setdefault("io.modelcontextprotocol/clientCapabilities", {})
            name = about.get("uri" if method == "resources/read" else "name")
            if isinstance(name, str) and name.isascii() and name.isprintable():
                found.append((b"mcp-name", name.encode()))
    return found


@SETTINGS
@given(message=messages, extra=headers, version=versions, known=st.booleans())
def test_messages_of_every_make_are_answered(
    running: Running,
    message: dict[str, Any],
    extra: list[tuple[bytes, bytes]],
    version: str | None,
    known: bool,
) -> None:
    if known:
        extra = [(b"mcp-session-id", running.session), *extra]
    sent = with_version(extra, version, message)
    check(running.send(json.dumps(message).encode(), sent))


@SETTINGS
@given(arguments=params, meta=metas, version=st.sampled_from(EVERY_ERA), token=st.booleans())
def test_calls_of_a_widget_with_any_arguments_are_answered(
    running: Running, arguments: Any, meta: dict[str, Any], version: str, token: bool
) -> None:
    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "fuzzed",
            "arguments": arguments.get("arguments", {}),
            "_meta": meta,
        },
    }
    extra = [(b"authorization", b"Bearer ada:orders")] if token else []
    if not token:
        extra.append((b"mcp-session-id", running.session))
    check(running.send(json.dumps(message).encode(), with_version(extra, version, message)))


@SETTINGS
@given(body=values, version=versions)
def test_json_that_is_no_message_is_answered(
    running: Running, body: Any, version: str | None
) -> None:
    check(running.send(json.dumps(body).encode(), with_version([], version, body)))


@SETTINGS
@given(
    body=st.binary(max_size=300)
    | st.tuples(
        st.sampled_from([b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":', b"[", b"{"]),
        st.binary(max_size=100),
    ).map(b"".join),
    extra=headers,
    version=versions,
    method=st.sampled_from(["POST", "DELETE", "PUT", "OPTIONS"]),
)
def test_bytes_of_any_kind_are_answered(
    running: Running,
    body: bytes,
    extra: list[tuple[bytes, bytes]],
    version: str | None,
    method: str,
) -> None:
    check(running.send(body, with_version(extra, version, None), method))
