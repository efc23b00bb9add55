"""``WidgetMCPServer``: what it takes, what it refuses, and what the program can ask of it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from backstay.errors import BadWidget, UnknownWidget, ValidationError, WidgetFailed
from backstay.state import add_state
from backstay.testing import FakeClock, running
from backstay.web import install
from backstay.widgets import BaseWidget, Image, Result, UserContext, WidgetContext, WidgetMCPServer
from tests.support import async_test
from tests.widgets.wire import Book, Wire


class In(BaseModel):
    count: int = 1


class Stock(BaseWidget):
    identifier = "stock"
    title = "Stock"
    input_schema = In
    html = "<p>stock</p>"
    widget_csp: ClassVar[dict[str, list[str]]] = {"connect_domains": ["https://own.example"]}

    async def execute(self, inputs: In, ctx: WidgetContext) -> Any:
        if inputs.count < 0:
            raise ValidationError("not below nothing", field="count")
        if inputs.count > 100:
            raise RuntimeError("swordfish")
        return {"count": inputs.count, "locale": ctx.locale}


def in_app(server: WidgetMCPServer, app: FastAPI | None = None) -> FastAPI:
    app = app or FastAPI()
    add_state(app, "memory://")
    server.mount(app)
    return app


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"name": ""}, BadWidget, r"a server has a name; got ''"),
        ({"name": None}, BadWidget, r"a server has a name; got None"),
        ({"resumable": True}, ValueError, r"so it needs stateless=False"),
        ({"max_body_bytes": 0}, ValueError, r"max_body_bytes is 1 or more; got 0"),
        ({"max_body_bytes": "1"}, TypeError, r"is a number of bytes; got '1'"),
        ({"auth_required_scopes": ["a"]}, BadWidget, r"nobody checks any: give auth_issuer_url"),
        ({"auth_audience": "a"}, BadWidget, r"give auth_issuer_url or token_verifier"),
        ({"auth_issuer_url": "https://a.example"}, BadWidget, r"needs auth_resource_server_url"),
        ({"global_connect_domains": ["a"]}, BadWidget, r"'a', which is no origin"),
        ({"widgets": [Stock, Stock]}, BadWidget, r"two tools or widgets are called 'stock'"),
        ({"widgets": [3]}, BadWidget, r"got 3"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_a_server_that_could_never_work_is_refused_where_it_is_made(
    options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        WidgetMCPServer(**{"name": "shop", **options})


def test_declarations_that_could_never_work_are_refused() -> None:
    server = WidgetMCPServer("shop")
    with pytest.raises(BadWidget, match=r"write @server\.tool\(\) with brackets"):
        server.tool(lambda: None)  # type: ignore[arg-type]  # that is the mistake
    with pytest.raises(BadWidget, match=r"is a URI, such as shop://terms; got 'terms'"):
        server.resource("terms")

    def needing(order: str, ctx: WidgetContext) -> str:
        return order

    with pytest.raises(BadWidget, match=r"has no variables, and .*needing takes \['order'\]"):
        server.resource("shop://orders")(needing)
    with pytest.raises(BadWidget, match=r"describes 'why', which is no parameter of it"):
        server.prompt(arguments={"why": "?"})(needing)
    with pytest.raises(BadWidget, match=r"declare it first"):
        server.completion("greet", "who")(lambda value: [])


@async_test
async def test_nothing_can_be_declared_after_the_start() -> None:
    server = WidgetMCPServer("shop", [Stock])
    async with running(in_app(server)):
        for declare in (
            lambda: server.add(Stock),
            server.tool,
            lambda: server.resource("a:b"),
            server.prompt,
            lambda: server.completion("a", "b"),
        ):
            with pytest.raises(RuntimeError, match="came after the server had started"):
                declare()


def test_one_server_lives_in_one_app() -> None:
    server = WidgetMCPServer("shop", [Stock])
    in_app(server)
    with pytest.raises(BadWidget, match=r"'shop' is mounted already; make another"):
        in_app(server)


# ------------------------------------------------------------------ what is declared


def test_the_servers_domains_are_on_every_page() -> None:
    server = WidgetMCPServer(
        "shop", [Stock], global_connect_domains=["https://all.example"], global_resource_domains=[]
    )
    (page,) = server.registry.pages()
    assert page.meta["ui"]["csp"]["connectDomains"] == [
        "https://own.example",
        "https://all.example",
    ]


def test_decorators_give_back_the_function() -> None:
    server = WidgetMCPServer("shop")

    def function(who: str) -> str:
        return who

    assert server.tool()(function) is function
    assert server.tool("other_name", title="T", read_only=True)(function) is function
    assert server.resource("shop://{who}")(function) is function
    assert server.prompt(arguments={"who": "a name"})(function) is function
    complete = lambda value: [value]  # noqa: E731  # the smallest there is
    assert server.completion("function", "who")(complete) is complete
    assert server.has_tool("function")
    assert server.registry.tools["other_name"].annotations == {"title": "T", "readOnlyHint": True}
    assert server.registry.prompts["function"].described["arguments"] == [
        {"name": "who", "required": True, "description": "a name"}
    ]
    assert not server.has_tool("nothing")
    assert repr(server) == "<WidgetMCPServer 'shop' with 2 tools>"


def test_tokens_are_meant_for_the_address_with_and_without_its_slash() -> None:
    server = WidgetMCPServer(
        "shop", auth_resource_server_url="https://a.example/mcp", token_verifier=Book()
    )
    assert server.audience == ("https://a.example/mcp", "https://a.example/mcp/")


# ------------------------------------------------------------------ calls by the program


@async_test
async def test_call_gives_the_data_or_raises() -> None:
    server = WidgetMCPServer("shop", [Stock])

    @server.tool()
    def text() -> str:
        return "text"

    @server.tool()
    def picture() -> Image:
        return Image(b"x")

    @server.tool()
    def refused() -> Result:
        return Result(text="sold out", is_error=True)

    async with running(in_app(server)) as client:
        assert await server.call("stock", count=3) == {"count": 3, "locale": "en"}
        assert await server.call("text") == "text"
        assert (await server.call("picture"))[0]["type"] == "image"
        assert await client.ctx.widgets.call("text") == "text"
        with pytest.raises(UnknownWidget, match=r"no widget or tool 'stok'; did you mean 'stock'"):
            await server.call("stok")
        with pytest.raises(ValidationError, match="not below nothing") as caught:
            await server.call("stock", count=-1)
        assert caught.value.field == "count"
        with pytest.raises(ValidationError, match="should be a valid integer") as misfit:
            await server.call("stock", count="many")
        assert misfit.value.field == "count"
        with pytest.raises(WidgetFailed, match="could not finish") as failed:
            await server.call("stock", count=101)
        assert "swordfish" not in str(failed.value)
        assert failed.value.result is not None
        with pytest.raises(WidgetFailed, match="sold out"):
            await server.call("refused")


@async_test
async def test_call_with_says_on_whose_behalf_and_in_which_language() -> None:
    server = WidgetMCPServer("shop", [Stock])
    users: list[Any] = []

    @server.tool()
    async def who(ctx: WidgetContext) -> None:
        users.append((ctx.user, ctx.correlation_id))

    async with running(in_app(server)):
        found = await server.call_with("stock", {"count": 1}, meta={"openai/locale": "da"})
        await server.call_with("who", user=UserContext("ada"), correlation_id="abc")
    assert found["structuredContent"] == {"count": 1, "locale": "da"}
    assert users == [(UserContext("ada"), "abc")]


@async_test
async def test_a_server_without_an_app_can_be_called_too() -> None:
    server = WidgetMCPServer("shop")

    @server.tool()
    def sync() -> str:
        return "from a thread"

    assert [await server.call("sync") for _ in range(3)] == ["from a thread"] * 3


@async_test
async def test_resources_prompts_and_completion_are_served() -> None:
    server = WidgetMCPServer("shop", [Stock], title="The shop", version="3", instructions="Ask.")

    @server.resource("shop://terms")
    async def terms(ctx: WidgetContext) -> str:
        return f"be kind, {ctx.locale}"

    @server.resource("shop://orders/{number}")
    def order(number: str) -> dict[str, str]:
        return {"number": number}

    @server.prompt()
    def greet(who: str, how: str = "kindly") -> str:
        return f"Greet {who} {how}."

    @server.completion("greet", "who")
    def complete(value: str) -> list[str]:
        return [name for name in ("Ada", "Ben") if name.startswith(value)]

    async with running(in_app(server)) as client:
        wire = Wire(client)
        hello = (await wire.hello()).json()["result"]
        read = await wire.ask("resources/read", {"uri": "shop://terms"})
        one = await wire.ask("resources/read", {"uri": "shop://orders/7"})
        greeting = await wire.ask("prompts/get", {"name": "greet", "arguments": {"who": "Ada"}})
        completed = await wire.ask(
            "completion/complete",
            {
                "ref": {"type": "ref/prompt", "name": "greet"},
                "argument": {"name": "who", "value": "A"},
            },
        )
    assert hello["serverInfo"] == {"name": "shop", "title": "The shop", "version": "3"}
    assert hello["instructions"] == "Ask."
    assert read["result"]["contents"][0]["text"] == "be kind, en"
    assert one["result"]["contents"][0]["text"] == '{"number":"7"}'
    assert greeting["result"]["messages"][0]["content"]["text"] == "Greet Ada kindly."
    assert completed["result"]["completion"]["values"] == ["Ada"]


# ------------------------------------------------------------------ whose state


def diary(**options: Any) -> WidgetMCPServer:
    server = WidgetMCPServer("diary", **options)

    @server.tool()
    async def write(text: str, ctx: WidgetContext) -> None:
        await ctx.state.set("text", text)
        await ctx.shared_state.set("text", text)

    @server.tool()
    async def read(ctx: WidgetContext) -> list[str | None]:
        return [await ctx.state.get("text"), await ctx.shared_state.get("text")]

    return server


@async_test
async def test_shared_state_is_the_same_for_all_tools_and_never_for_two_users() -> None:
    server = diary()
    async with running(in_app(server)):
        await server.call_with("write", {"text": "mine"}, user=UserContext("ada"))
        mine = await server.call_with("read", user=UserContext("ada"))
        others = await server.call_with("read", user=UserContext("eve"))
        nobodys = await server.call_with("read", session="ada")
    assert mine["structuredContent"] == {"result": [None, "mine"]}
    assert others["structuredContent"] == nobodys["structuredContent"] == {"result": [None, None]}


@async_test
async def test_state_that_nobody_could_find_again_is_said_to_be_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = diary()
    async with running(in_app(server)):
        for _ in range(2):
            await server.call_with("write", {"text": "lost"}, session=None)
    said = [each for each in caplog.messages if "kept for this call alone" in each]
    assert len(said) == 1


@async_test
async def test_state_of_strangers_is_not_kept_for_ever() -> None:
    clock, server = FakeClock(), diary(keep_session_state_s=10)
    app = FastAPI()
    install(app, clock=clock)
    async with running(in_app(server, app)):
        await server.call_with("write", {"text": "mine"}, user=UserContext("ada"))
        await server.call_with("write", {"text": "some"}, session="s")
        await clock.advance(11)
        mine = await server.call_with("read", user=UserContext("ada"))
        theirs = await server.call_with("read", session="s")
    assert mine["structuredContent"] == {"result": [None, "mine"]}
    assert theirs["structuredContent"] == {"result": [None, None]}


def test_loading_widgets_and_mounting_a_server_loads_no_sdk() -> None:
    code = (
        "import sys\nfrom fastapi import FastAPI\nfrom backstay.widgets import WidgetMCPServer\n"
        "WidgetMCPServer('shop').mount(FastAPI())\n"
        "print(sorted({each.partition('.')[0] for each in sys.modules} & {'mcp', 'mcp_types'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@async_test
async def test_a_process_that_only_runs_jobs_starts_no_server_and_can_call_its_widgets() -> None:
    server = WidgetMCPServer("shop", [Stock])
    app = in_app(server)
    app.state.backstay.serves = False
    async with running(app):
        assert server.sessions() is None
        assert (await server.call("stock", count=2))["count"] == 2
