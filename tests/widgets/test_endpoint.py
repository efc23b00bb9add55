"""The endpoint: what HTTP, JSON-RPC and tokens have to be like, and what those hear that are not."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from starlette.requests import HTTPConnection

from backstay.auth.token import BadToken, VerifiedToken
from backstay.context import User
from backstay.tasks import add_tasks
from backstay.web import install
from backstay.widgets import (
    WidgetContext,
    WidgetMCPServer,
    auth_required,
    no_auth,
    optional_auth,
)
from tests.support import async_test
from tests.widgets.wire import EVERY_ERA, HANDSHAKES, MODERN, Book, Wire, envelope, reaching

JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def new_app(server: WidgetMCPServer | None = None, **options: Any) -> FastAPI:
    app = FastAPI()
    add_tasks(app, database="memory://")
    server = server or WidgetMCPServer("s", **options)

    @server.tool()
    async def who(ctx: WidgetContext) -> str:
        return "nobody" if ctx.user is None else ctx.user.subject

    @server.tool()
    @no_auth
    async def open_to_all(ctx: WidgetContext) -> str:
        return "nobody" if ctx.user is None else ctx.user.subject

    server.mount(app)
    return app


# ---------------------------------------------------------------- methods and bodies


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
@async_test
async def test_without_sessions_there_is_only_post_and_no_stream_is_held(method: str) -> None:
    async with reaching(new_app()) as http:
        answer = await http.request(method, "/mcp", headers={"accept": "text/event-stream"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "json"]
)
@async_test
async def test_a_body_that_does_not_say_it_is_json_is_not_read(kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    async with reaching(new_app()) as http:
        answer = await http.post("/mcp", content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["error"]["message"]


@async_test
async def test_the_content_type_may_have_parameters_and_any_case() -> None:
    body, _ = envelope("ping")
    async with reaching(new_app()) as http:
        answer = await http.post(
            "/mcp", json=body, headers={"content-type": "Application/JSON; charset=UTF-8"}
        )
    assert answer.status_code == 200


@async_test
async def test_a_body_that_is_declared_too_large_is_refused_before_it_comes() -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    async with reaching(new_app(max_body_bytes=1000)) as http:
        answer = await http.post(
            "/mcp", content=never(), headers={**JSON, "content-length": "1001"}
        )
        assert answer.status_code == 413
        assert "max_body_bytes of WidgetMCPServer" in answer.json()["error"]["message"]
        huge = await http.post(
            "/mcp", content=never(), headers={**JSON, "content-length": "9" * 5000}
        )
        assert huge.status_code == 413


@async_test
async def test_a_body_that_turns_out_too_large_is_refused_when_it_does() -> None:
    taken: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            taken.append(100)
            yield b" " * 100

    async with reaching(new_app(max_body_bytes=1000)) as http:
        answer = await http.post("/mcp", content=endless(), headers=JSON)
    assert answer.status_code == 413
    assert sum(taken) <= 1200


PARSE, INVALID = -32700, -32600
DEEP = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":%s}}'

BAD_BODIES = [
    (b"", PARSE),
    (b"hello", PARSE),
    (b"{", PARSE),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping"}}', PARSE),
    (b"\xff\xfe", PARSE),
    ('{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"), PARSE),
    (b'{"jsonrpc":"2.0","id":1,"method":"p\xe9"}', PARSE),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":NaN}}', PARSE),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":-Infinity}}', PARSE),
    (DEEP % (b"[" * 200 + b"]" * 200), PARSE),
    (DEEP % (b'{"a":' * 200 + b"1" + b"}" * 200), PARSE),
    (b"[" * 100_000, PARSE),
    (DEEP % (b"1" * 5000), PARSE),
    (b"[]", INVALID),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', INVALID),
    (b'"ping"', INVALID),
    (b"null", INVALID),
    (b"17", INVALID),
    (b"{}", INVALID),
    (b'{"id":1,"method":"ping"}', INVALID),
    (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', INVALID),
    (b'{"jsonrpc":2.0,"id":1,"method":"ping"}', INVALID),
    (b'{"jsonrpc":"2.0","id":1}', INVALID),
    (b'{"jsonrpc":"2.0","id":1,"method":null}', INVALID),
    (b'{"jsonrpc":"2.0","id":1,"method":["ping"]}', INVALID),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}', INVALID),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":null}', INVALID),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}', INVALID),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', INVALID),
    (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', INVALID),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', INVALID),
    (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', INVALID),
    (b'{"jsonrpc":"2.0","id":[1],"method":"ping"}', INVALID),
]


@pytest.mark.parametrize("version", [None, "2025-11-25", MODERN])
@pytest.mark.parametrize(("body", "code"), BAD_BODIES, ids=lambda each: repr(each)[:50])
@async_test
async def test_what_is_no_message_is_refused_as_json_rpc_refuses(
    body: bytes, code: int, version: str | None
) -> None:
    headers = JSON if version is None else {**JSON, "mcp-protocol-version": version}
    async with reaching(new_app()) as http:
        answer = await http.post("/mcp", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code
    assert answer.json()["id"] is None
    assert answer.json()["error"]["message"]


@async_test
async def test_brackets_within_text_do_not_count_as_depth() -> None:
    async with reaching(new_app()) as http:
        for text in ("[" * 300, '\\"' * 150 + "{" * 300, "\\" * 3 + '"' + "[" * 400):
            answer = await Wire(http).post("ping", {"a": text})
            assert answer.status_code == 200, text


@pytest.mark.parametrize("request_id", [0, -1, 2**70, "", "a", "1", "\ud800", "é" * 500])
@async_test
async def test_an_id_comes_back_as_it_was(request_id: str | int) -> None:
    body, headers = envelope("ping", request_id=request_id)
    async with reaching(new_app()) as http:
        answer = await http.post("/mcp", content=json.dumps(body), headers=headers)
    assert answer.status_code == 200
    found = json.loads(answer.content)["id"]
    assert found == request_id
    assert type(found) is type(request_id)


@pytest.mark.parametrize(
    "message",
    [
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
        {"jsonrpc": "2.0", "method": "notifications/whatever"},
        {"jsonrpc": "2.0", "id": 7, "result": {}},
        {"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": "no"}},
    ],
)
@async_test
async def test_what_needs_no_answer_is_taken_and_gets_none(message: dict[str, Any]) -> None:
    async with reaching(new_app()) as http:
        answer = await http.post("/mcp", json=message, headers=JSON)
    assert (answer.status_code, answer.content) == (202, b"")


# ---------------------------------------------------------------- revisions


@pytest.mark.parametrize("version", HANDSHAKES)
@async_test
async def test_every_revision_with_a_handshake_is_spoken(version: str) -> None:
    async with reaching(new_app()) as http:
        wire = Wire(http, version)
        hello = (await wire.hello()).json()["result"]
        assert hello["protocolVersion"] == version
        assert {each["name"] for each in (await wire.ask("tools/list"))["result"]["tools"]} == {
            "who",
            "open_to_all",
        }
        assert (await wire.call("who"))["content"] == [{"type": "text", "text": "nobody"}]


@async_test
async def test_the_revision_without_handshake_is_spoken() -> None:
    async with reaching(new_app()) as http:
        wire = Wire(http, MODERN)
        found = (await wire.ask("server/discover"))["result"]
        assert MODERN in found["supportedVersions"]
        result = await wire.call("who")
        assert result["resultType"] == "complete"
        assert result["content"] == [{"type": "text", "text": "nobody"}]


@async_test
async def test_a_client_of_the_future_is_answered_with_what_there_is() -> None:
    async with reaching(new_app()) as http:
        hello = (await Wire(http, "2099-01-01").hello()).json()
        assert hello["result"]["protocolVersion"] in HANDSHAKES
        body, headers = envelope("tools/list", version=MODERN)
        body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2099-01-01"
        headers["mcp-protocol-version"] = "2099-01-01"
        refused = await http.post("/mcp", json=body, headers=headers)
        assert refused.status_code == 400
        assert MODERN in json.dumps(refused.json()["error"])


@async_test
async def test_a_message_without_a_revision_is_one_of_the_default() -> None:
    body, headers = envelope("tools/call", {"name": "who", "arguments": {}})
    async with reaching(new_app()) as http:
        answer = await http.post("/mcp", json=body, headers=headers)
    assert answer.json()["result"]["content"][0]["text"] == "nobody"


@pytest.mark.parametrize(
    "wrong",
    [
        {"mcp-method": "tools/list"},
        {"mcp-name": "open_to_all"},
    ],
)
@async_test
async def test_headers_that_say_otherwise_than_the_message_are_refused(
    wrong: dict[str, str],
) -> None:
    """A proxy that decides by headers must not be told something else than the server."""
    async with reaching(new_app()) as http:
        answer = await Wire(http, MODERN).post(
            "tools/call", {"name": "who", "arguments": {}}, headers=wrong
        )
    assert answer.status_code == 400
    assert "error" in answer.json()


@async_test
async def test_a_routing_header_that_comes_twice_is_refused() -> None:
    body, headers = envelope("tools/call", {"name": "who"}, version=MODERN)
    async with reaching(new_app()) as http:
        answer = await http.post(
            "/mcp", json=body, headers=[*headers.items(), ("mcp-name", "open_to_all")]
        )
    assert answer.status_code == 400


# ---------------------------------------------------------------- browsers and names


@async_test
async def test_a_browser_may_ask_first_and_is_told_what_it_may_send_and_read() -> None:
    origin = "https://app.example.com"
    async with reaching(new_app(allowed_origins=[origin])) as http:
        preflight = await http.options(
            "/mcp",
            headers={
                "origin": origin,
                "access-control-request-method": "POST",
                "access-control-request-headers": "content-type, mcp-protocol-version, mcp-method",
            },
        )
        assert preflight.status_code == 204
        assert preflight.headers.get_list("access-control-allow-origin") == [origin]
        assert "POST" in preflight.headers["access-control-allow-methods"]
        for name in ("Mcp-Method", "Mcp-Name", "Mcp-Session-Id", "Mcp-Protocol-Version"):
            assert name in preflight.headers["access-control-allow-headers"]
        answer = await Wire(http, headers={"origin": origin}).post("ping")
        assert answer.headers.get_list("access-control-allow-origin") == [origin]
        assert "Mcp-Session-Id" in answer.headers["access-control-expose-headers"]
        assert "Mcp-Protocol-Version" in answer.headers["access-control-expose-headers"]


@async_test
async def test_a_browser_may_read_why_it_was_refused() -> None:
    origin = "https://app.example.com"
    server = WidgetMCPServer("s", allowed_origins=[origin], token_verifier=Book())
    async with reaching(new_app(server)) as http:
        answer = await Wire(http, headers={"origin": origin}).post(
            "tools/call", {"name": "who", "arguments": {}}
        )
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == origin
    assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]


@async_test
async def test_a_page_that_is_not_allowed_gets_nothing_and_is_told_the_remedy() -> None:
    async with reaching(new_app()) as http:
        for ask in (
            http.options("/mcp", headers={"origin": "https://evil.example"}),
            Wire(http, headers={"origin": "https://evil.example"}).post("ping"),
        ):
            answer = await ask
            assert answer.status_code == 403
            assert "allowed_origins of WidgetMCPServer" in answer.json()["error"]["message"]
            assert "access-control-allow-origin" not in answer.headers


@async_test
async def test_another_host_than_those_allowed_gets_nothing_and_is_told_the_remedy() -> None:
    async with reaching(new_app(allowed_hosts=["shop.example.com"])) as http:
        answer = await Wire(http).post("ping")
        assert answer.status_code == 421
        assert "allowed_hosts of WidgetMCPServer" in answer.json()["error"]["message"]
        good = await Wire(http, headers={"host": "shop.example.com"}).post("ping")
        assert good.status_code == 200


# ---------------------------------------------------------------- tokens


def guarded_app(book: Book, **options: Any) -> FastAPI:
    server = WidgetMCPServer("s", token_verifier=book, **options)

    @server.tool()
    @optional_auth(scopes=["photos"])
    async def either(ctx: WidgetContext) -> str:
        return "nobody" if ctx.user is None else ctx.user.subject

    @server.tool()
    @auth_required(scopes=["orders"])
    async def orders(ctx: WidgetContext) -> str:
        assert ctx.user is not None
        return ctx.user.subject

    @server.resource("orders://all")
    def all_orders() -> str:
        return "secret"

    @server.prompt()
    def advise() -> str:
        return "secret"

    return new_app(server)


async def call(
    http: httpx.AsyncClient, tool: str, token: str | None = None, version: str = "2025-11-25"
) -> httpx.Response:
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return await Wire(http, version, headers=headers).post(
        "tools/call", {"name": tool, "arguments": {}}
    )


@pytest.mark.parametrize("version", EVERY_ERA)
@pytest.mark.parametrize(
    ("tool", "token", "status", "said"),
    [
        ("who", None, 401, None),
        ("who", "ada:", 200, "ada"),
        ("who", "nonsense", 401, "invalid_token"),
        ("orders", None, 401, None),
        ("orders", "ada:", 403, "insufficient_scope"),
        ("orders", "ada:orders", 200, "ada"),
        ("either", None, 200, "nobody"),
        ("either", "ada:photos", 200, "ada"),
        ("either", "ada:", 403, "insufficient_scope"),
        ("either", "nonsense", 401, "invalid_token"),
        ("open_to_all", None, 200, "nobody"),
        ("open_to_all", "ada:", 200, "ada"),
        ("open_to_all", "nonsense", 401, "invalid_token"),
    ],
)
@async_test
async def test_who_may_call_what(
    tool: str, token: str | None, status: int, said: str | None, version: str
) -> None:
    async with reaching(guarded_app(Book())) as http:
        answer = await call(http, tool, token, version)
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["result"]["content"][0]["text"] == said
        return
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer")
    assert (said is None) == ("error=" not in challenge)
    if said is not None:
        assert f'error="{said}"' in challenge
    if tool == "orders":
        assert 'scope="orders"' in challenge
    result = answer.json()["result"]
    assert answer.json()["id"] == 1
    assert result["isError"] is True
    assert result["_meta"]["mcp/www_authenticate"], "ChatGPT offers to sign in because of it"


@async_test
async def test_a_server_where_nothing_is_open_asks_for_a_token_at_once() -> None:
    app = FastAPI()
    server = WidgetMCPServer("s", token_verifier=Book(), auth_required_scopes=["use"])

    @server.tool()
    def closed() -> str:
        return "in"

    server.mount(app)
    async with reaching(app) as http:
        for method in ("initialize", "tools/list", "ping", "notifications/initialized", "nope"):
            refused = await Wire(http).post(method)
            assert refused.status_code == 401
            assert 'scope="use"' in refused.headers["www-authenticate"]
        unknown = await call(http, "no_such_tool")
        assert unknown.status_code == 401, "a stranger is not told which tools there are"
        short = await Wire(http, headers={"authorization": "Bearer ada:"}).post("tools/list")
        assert short.status_code == 403
        good = await Wire(http, headers={"authorization": "bearer ada:use"}).post("tools/list")
        assert good.status_code == 200


@async_test
async def test_where_some_tools_are_open_what_there_is_may_be_seen_and_nothing_read() -> None:
    async with reaching(guarded_app(Book())) as http:
        wire = Wire(http)
        for method in ("ping", "tools/list", "resources/list", "prompts/list"):
            assert (await wire.post(method)).status_code == 200, method
        read = await wire.post("resources/read", {"uri": "orders://all"})
        written = await wire.post("prompts/get", {"name": "advise"})
        assert (read.status_code, written.status_code) == (401, 401)
        assert "secret" not in read.text + written.text
        wire.headers["authorization"] = "Bearer ada:"
        assert "secret" in (await wire.post("resources/read", {"uri": "orders://all"})).text
        assert "secret" in (await wire.post("prompts/get", {"name": "advise"})).text


@pytest.mark.parametrize("name", [None, 7, [], {}, ["who"], {"who": 1}])
@async_test
async def test_a_tool_that_is_named_by_no_name_is_an_error_of_the_clients(name: Any) -> None:
    async with reaching(guarded_app(Book())) as http:
        answer = await Wire(http).post("tools/call", {"name": name})
    assert answer.status_code in {200, 400}
    assert answer.json()["error"]["code"] == -32602


@async_test
async def test_two_authorization_headers_are_none_that_is_good() -> None:
    book = Book()
    body, headers = envelope("tools/call", {"name": "who"}, version="2025-11-25")
    async with reaching(guarded_app(book)) as http:
        answer = await http.post(
            "/mcp",
            json=body,
            headers=[
                *headers.items(),
                ("authorization", "Bearer ada:"),
                ("authorization", "Bearer ben:"),
            ],
        )
    assert answer.status_code == 401
    assert not {"ada:", "ben:"} & set(book.asked)


@async_test
async def test_another_scheme_than_bearer_is_no_token() -> None:
    async with reaching(guarded_app(Book())) as http:
        wire = Wire(http, headers={"authorization": "Basic YWRhOg=="})
        answer = await wire.post("tools/call", {"name": "who"})
        assert answer.status_code == 401
        assert "error=" not in answer.headers["www-authenticate"]
        assert (await wire.post("tools/call", {"name": "open_to_all"})).status_code == 200


@async_test
async def test_while_nobody_can_check_tokens_those_who_have_one_come_back_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with reaching(guarded_app(Book(open=False))) as http:
        for tool in ("who", "open_to_all", "either"):
            answer = await call(http, tool, "ada:")
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert "binder" not in answer.text
        assert (await call(http, "open_to_all")).status_code == 200
    assert "binder" in caplog.text


@async_test
async def test_a_verifier_that_fails_is_one_that_cannot_say() -> None:
    class Broken:
        async def verify_token(self, token: str) -> VerifiedToken | None:
            raise KeyError(token)

    class Strict:
        async def verify_token(self, token: str) -> VerifiedToken | None:
            raise BadToken("it has ended")

    for verifier, status in ((Broken(), 503), (Strict(), 401)):
        server = WidgetMCPServer("s", token_verifier=verifier)
        async with reaching(new_app(server)) as http:
            answer = await call(http, "who", "hidden-token")
            assert answer.status_code == status
            assert "hidden-token" not in answer.text
            assert "KeyError" not in answer.text


@pytest.mark.parametrize("version", ["2025-11-25", MODERN])
@async_test
async def test_what_a_client_says_of_its_user_is_never_who_the_user_is(version: str) -> None:
    meta = {
        "openai/subject": "ada",
        "openai/session": "ada",
        "user": {"subject": "ada"},
        "sub": "ada",
        "authorization": "Bearer ada:orders",
    }
    async with reaching(guarded_app(Book())) as http:
        wire = Wire(http, version)
        params: dict[str, Any] = {"arguments": {}}
        open_call = await wire.post("tools/call", {**params, "name": "open_to_all"}, meta=meta)
        assert open_call.json()["result"]["content"][0]["text"] == "nobody"
        closed_call = await wire.post("tools/call", {**params, "name": "who"}, meta=meta)
        assert closed_call.status_code == 401
        wire.headers["authorization"] = "Bearer ben:"
        own = await wire.post("tools/call", {**params, "name": "who"}, meta=meta)
        assert own.json()["result"]["content"][0]["text"] == "ben"


# ---------------------------------------------------------------- the app's own users


class Verifier:
    """Of an app that has users of its own."""

    async def verify(self, connection: HTTPConnection) -> User | None:
        name = connection.headers.get("x-user")
        if name == "wrong":
            raise HTTPException(401, "wrong password", {"WWW-Authenticate": "Basic"})
        if name == "odd":
            raise ZeroDivisionError("inner workings")
        return None if name is None else User(name, frozenset({"orders"}))


def app_with_users(**options: Any) -> FastAPI:
    app = FastAPI()
    install(app, verify_user=Verifier())
    server = WidgetMCPServer("s", **options)

    @server.tool()
    async def who(ctx: WidgetContext) -> str:
        return "nobody" if ctx.user is None else ctx.user.subject

    @server.tool()
    @auth_required(scopes=["orders"])
    async def orders() -> str:
        return "orders"

    @server.tool()
    @auth_required(scopes=["admin"])
    async def admin() -> str:
        return "admin"

    server.mount(app)
    return app


@pytest.mark.parametrize("version", ["2025-11-25", MODERN])
@async_test
async def test_users_of_the_app_are_users_of_its_widgets_with_their_scopes_and_no_more(
    version: str,
) -> None:
    async with reaching(app_with_users()) as http:
        wire = Wire(http, version)
        call: dict[str, Any] = {"arguments": {}}
        assert (await wire.call("who"))["content"][0]["text"] == "nobody"
        assert (await wire.post("tools/call", {**call, "name": "orders"})).status_code == 401
        wire.headers["x-user"] = "ada"
        assert (await wire.call("who"))["content"][0]["text"] == "ada"
        assert (await wire.call("orders"))["content"][0]["text"] == "orders"
        assert (await wire.post("tools/call", {**call, "name": "admin"})).status_code == 403


@async_test
async def test_the_app_says_itself_what_is_wrong_with_a_user() -> None:
    async with reaching(app_with_users()) as http:
        answer = await Wire(http, headers={"x-user": "wrong"}).post("tools/call", {"name": "who"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Basic"


@async_test
async def test_a_fault_of_ours_is_told_by_an_id_that_the_log_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with reaching(app_with_users()) as http:
        answer = await Wire(http, headers={"x-user": "odd", "x-request-id": "fault-17"}).post(
            "tools/call", {"name": "who"}
        )
    assert answer.status_code == 500
    assert "fault-17" in answer.json()["error"]["message"]
    assert "inner workings" not in answer.text
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.correlation_id == "fault-17"  # type: ignore[attr-defined]  # by extra=
    assert record.exc_info is not None


# ---------------------------------------------------------------- sessions


def stateful_app(book: Book | None = None) -> FastAPI:
    return new_app(WidgetMCPServer("s", stateless=False, token_verifier=book))


@async_test
async def test_a_session_belongs_to_whoever_opened_it() -> None:
    async with reaching(stateful_app(Book())) as http:
        ada = Wire(http, headers={"authorization": "Bearer ada:"})
        await ada.hello()
        stolen = {"mcp-session-id": ada.headers["mcp-session-id"]}
        strangers = [
            Wire(http, headers={**stolen, "authorization": "Bearer ben:"}),
            Wire(http, headers=stolen),
        ]
        for stranger in strangers:
            assert (await stranger.post("tools/list")).status_code == 404
            answer = await http.post(
                "/mcp",
                json={"jsonrpc": "2.0", "id": 1, "result": {"action": "accept"}},
                headers={**JSON, **stranger.headers},
            )
            assert answer.status_code == 404
            for method in ("GET", "DELETE"):
                gone = await http.request(
                    method, "/mcp", headers={**stranger.headers, "accept": "text/event-stream"}
                )
                assert gone.status_code == 404, method
        assert (await ada.call("who"))["content"][0]["text"] == "ada"


@async_test
async def test_a_session_ends_when_its_client_says_so_and_not_before() -> None:
    server = WidgetMCPServer("s", stateless=False, token_verifier=Book())
    ended: list[str] = []

    class Noting(WidgetMCPServer):
        def session_ended(self, session: str) -> None:
            ended.append(session)
            super().session_ended(session)

    server = Noting("s", stateless=False, token_verifier=Book())
    async with reaching(new_app(server)) as http:
        ada = Wire(http, headers={"authorization": "Bearer ada:"})
        await ada.hello()
        session = ada.headers["mcp-session-id"]
        foreign = await http.delete(
            "/mcp", headers={"mcp-session-id": session, "authorization": "Bearer ben:"}
        )
        assert (foreign.status_code, ended) == (404, [])
        assert (await http.delete("/mcp", headers=ada.headers)).status_code == 200
        assert ended == [session]
        assert (await ada.post("tools/list")).status_code == 404


@async_test
async def test_a_session_that_nobody_opened_is_unknown() -> None:
    async with reaching(stateful_app()) as http:
        wire = Wire(http, headers={"mcp-session-id": "never-heard-of-that-one"})
        assert (await wire.post("tools/list")).status_code == 404


@async_test
async def test_without_a_handshake_nothing_is_kept_by_the_stateful_server_either() -> None:
    async with reaching(stateful_app()) as http:
        assert (await Wire(http, MODERN).call("who"))["content"][0]["text"] == "nobody"


@async_test
async def test_a_websocket_is_closed() -> None:
    from tests.web.by_hand import ByHand

    server = WidgetMCPServer("s")
    socket = ByHand(server.endpoint, "/mcp", kind="websocket")
    (message,) = await socket.run()
    assert message["type"] == "websocket.close"


@async_test
async def test_since_2026_there_is_only_post_where_sessions_are_kept_as_well() -> None:
    async with reaching(stateful_app()) as http:
        for method in ("GET", "DELETE"):
            answer = await http.request(method, "/mcp", headers={"mcp-protocol-version": MODERN})
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        put = await http.put("/mcp")
        assert (put.status_code, put.headers["allow"]) == (405, "GET, POST, DELETE")
