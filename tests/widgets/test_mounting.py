"""A server in an app: where it answers, and that it lives as the app lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from backstay.errors import BadWidget
from backstay.tasks import add_tasks
from backstay.widgets import WidgetContext, WidgetMCPServer
from tests.support import async_test
from tests.widgets.wire import EVERY_ERA, MODERN, Book, Wire, envelope, reaching

RESOURCE = "https://shop.example.com/api/mcp"


def new_server(name: str = "shop", *, stateless: bool = True) -> WidgetMCPServer:
    server = WidgetMCPServer(name, stateless=stateless)

    @server.tool()
    async def count(ctx: WidgetContext) -> int:
        """Count."""
        return int(await ctx.state.incr("n"))

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    return server


def new_app(*, path: str = "/mcp") -> FastAPI:
    app = FastAPI()
    add_tasks(app, database="memory://")
    new_server().mount(app, path)
    return app


@pytest.mark.parametrize("version", EVERY_ERA)
@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
@async_test
async def test_the_path_answers_with_and_without_slash_and_never_redirects(
    path: str, version: str
) -> None:
    async with reaching(new_app(), follow_redirects=False) as http:
        wire = Wire(http, version, path=path)
        answer = await wire.post("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})
    assert answer.status_code == 200
    assert answer.json()["result"]["structuredContent"] == {"result": 3}


@async_test
async def test_a_path_may_be_given_with_a_slash_or_be_the_root() -> None:
    for mounted, asked in [("/mcp/", "/mcp"), ("/", "/"), ("/a/b", "/a/b/")]:
        async with reaching(new_app(path=mounted)) as http:
            assert (await Wire(http, path=asked).post("ping")).status_code == 200


def test_a_second_client_and_a_third_find_the_app_as_the_first_did() -> None:
    """The SDK's session manager runs once; the app starts as often as it is asked to."""
    app = new_app()
    for _ in range(3):
        with TestClient(app) as client:
            for version in ("2025-11-25", MODERN):
                body, headers = envelope(
                    "tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}, version=version
                )
                assert client.post("/mcp", json=body, headers=headers).status_code == 200


def test_a_stateful_server_starts_again_without_the_sessions_it_had() -> None:
    app = FastAPI()
    new_server(stateless=False).mount(app)
    body, headers = envelope(
        "initialize",
        {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        },
    )
    with TestClient(app) as client:
        session = client.post("/mcp", json=body, headers=headers).headers["mcp-session-id"]
    with TestClient(app) as client:
        body, headers = envelope("tools/list", version="2025-11-25")
        old = client.post("/mcp", json=body, headers={**headers, "mcp-session-id": session})
        assert old.status_code == 404


@async_test
async def test_the_server_lives_within_the_lifespan_of_the_app() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        log.append("app starts")
        yield
        log.append("app stops")

    app = FastAPI(lifespan=lifespan)

    class Noting(WidgetMCPServer):
        async def start(self) -> None:
            log.append("server starts")
            await super().start()

        async def stop(self) -> None:
            await super().stop()
            log.append("server stops")

    Noting("n").mount(app)
    async with reaching(app) as http:
        assert (await Wire(http).post("ping")).status_code == 200
    assert log == ["app starts", "server starts", "server stops", "app stops"]


@pytest.mark.parametrize("path", ["mcp", "", "/{tenant}/mcp"])
def test_a_path_that_is_none_is_told_at_once(path: str) -> None:
    with pytest.raises(BadWidget, match="mounted at a path such as /mcp"):
        new_server().mount(FastAPI(), path)


def test_a_path_that_is_taken_is_told_at_once() -> None:
    app = FastAPI()

    @app.post("/mcp/")
    def mine() -> None: ...

    with pytest.raises(BadWidget, match="'/mcp/' already"):
        new_server().mount(app)


def test_a_server_lives_in_one_app() -> None:
    server = new_server()
    server.mount(FastAPI())
    with pytest.raises(BadWidget, match="mounted already"):
        server.mount(FastAPI())


@async_test
async def test_a_route_that_catches_all_hides_no_server() -> None:
    app = FastAPI()

    @app.api_route("/{rest:path}", methods=["GET", "POST"])
    def everything(rest: str) -> str:
        return rest

    new_server().mount(app)
    async with reaching(app) as http:
        assert "result" in (await Wire(http).post("ping")).json()
        assert (await http.get("/other")).json() == "other"


@async_test
async def test_two_servers_in_one_app_are_two() -> None:
    app = FastAPI()
    add_tasks(app, database="memory://")
    new_server("one").mount(app, "/one")
    new_server("two").mount(app, "/two")
    async with reaching(app) as http:
        for path in ("/one", "/two"):
            wire = Wire(http, path=path, headers={"mcp-session-id": "the-same-for-both-of-them"})
            assert (await wire.call("count"))["structuredContent"] == {"result": 1}


@async_test
async def test_clients_find_the_issuer_at_the_root_under_the_address_they_know() -> None:
    """RFC 9728 §3.1: between the host and the path, not below the server."""
    app = FastAPI()
    server = WidgetMCPServer(
        "shop",
        auth_issuer_url="https://id.example.com",
        auth_resource_server_url=RESOURCE,
        auth_required_scopes=["orders"],
        token_verifier=Book(),
    )
    server.mount(app, "/mcp")
    async with reaching(app) as http:
        found = await http.get("/.well-known/oauth-protected-resource/api/mcp")
        assert found.status_code == 200
        assert found.json()["resource"] == RESOURCE
        assert found.json()["authorization_servers"] == ["https://id.example.com"]
        refused = await Wire(http).post("tools/list")
        assert refused.status_code == 401
        assert (
            'resource_metadata="https://shop.example.com/.well-known/'
            'oauth-protected-resource/api/mcp"'
        ) in refused.headers["www-authenticate"]


@async_test
async def test_a_server_that_asks_for_no_tokens_tells_of_no_issuer() -> None:
    async with reaching(new_app()) as http:
        assert (await http.get("/.well-known/oauth-protected-resource/mcp")).status_code == 404


@async_test
async def test_a_server_may_be_an_app_of_its_own() -> None:
    async with reaching(new_server().asgi()) as http:
        for version in EVERY_ERA:
            wire = Wire(http, version, headers={"mcp-session-id": f"alone-with-{version}"})
            assert (await wire.call("count"))["structuredContent"] == {"result": 1}
            assert (await wire.call("add", a=1, b=2))["structuredContent"] == {"result": 3}


@asynccontextmanager
async def inside_another(server: WidgetMCPServer) -> AsyncIterator[httpx.AsyncClient]:
    """The server's app mounted in an app that does not run its lifespan, as none does."""
    inner = FastAPI()
    server.mount(inner)
    async with reaching(Starlette(routes=[Mount("/api", inner)])) as http:
        yield http


@pytest.mark.parametrize("version", EVERY_ERA)
@async_test
async def test_in_an_app_that_is_mounted_itself_calls_work(version: str) -> None:
    async with inside_another(new_server()) as http:
        wire = Wire(http, version, path="/api/mcp")
        assert (await wire.call("add", a=1, b=2))["structuredContent"] == {"result": 3}


@async_test
async def test_in_an_app_that_is_mounted_itself_state_says_what_is_missing() -> None:
    async with inside_another(new_server()) as http:
        wire = Wire(http, path="/api/mcp", headers={"mcp-session-id": "somebody-at-a-distance"})
        result = await wire.call("count")
    assert result["isError"]
    assert result["_meta"]["backstay/error"]["error"] in {"unavailable", "internal_error"}
    assert result["_meta"]["backstay/error"]["error_id"]


@async_test
async def test_in_an_app_that_is_mounted_itself_sessions_are_refused_with_the_reason() -> None:
    async with inside_another(new_server(stateless=False)) as http:
        answer = await Wire(http, path="/api/mcp").hello()
        assert answer.status_code == 503
        assert "lifespan" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"]
        modern = Wire(http, MODERN, path="/api/mcp")
        assert (await modern.call("add", a=1, b=2))["structuredContent"] == {"result": 3}


@async_test
async def test_a_plain_starlette_app_will_do() -> None:
    async def hello(_: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    app = Starlette(routes=[Route("/", hello)])
    new_server().mount(app)
    async with reaching(app) as http:
        assert (await http.get("/")).text == "hello"
        assert (await Wire(http).call("add", a=2, b=2))["structuredContent"] == {"result": 4}
