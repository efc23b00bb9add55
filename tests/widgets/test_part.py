"""Widgets as a part of an app."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

from backstay.app import Backstay
from backstay.context import Origin
from backstay.errors import UnknownWidget
from backstay.testing import running
from backstay.web import Ctx
from backstay.widgets import WidgetMCPServer
from backstay.widgets.part import WidgetsPart
from tests.support import async_test


class Server:
    """A server as far as an app knows it."""

    def __init__(self, log: list[str], name: str, *, fails: bool = False) -> None:
        self._log, self._name, self._fails = log, name, fails

    async def start(self) -> None:
        if self._fails:
            raise OSError("no")
        self._log.append(f"start {self._name}")

    async def stop(self) -> None:
        self._log.append(f"stop {self._name}")

    def has_tool(self, name: str) -> bool:
        return name.startswith(self._name)

    async def call(self, identifier: str, /, **inputs: Any) -> Any:
        return (self._name, identifier, inputs)


@async_test
async def test_servers_start_in_order_and_stop_in_reverse_every_time() -> None:
    log: list[str] = []
    part = WidgetsPart()
    part.servers += [Server(log, "a"), Server(log, "b")]
    for _ in range(2):
        await part.open()
        await part.close()
    assert log == ["start a", "start b", "stop b", "stop a"] * 2


@async_test
async def test_a_server_that_does_not_start_leaves_none_running() -> None:
    log: list[str] = []
    part = WidgetsPart()
    part.servers += [Server(log, "a"), Server(log, "b", fails=True)]
    with pytest.raises(OSError, match="no"):
        await part.open()
    assert log == ["start a", "stop a"]


@async_test
async def test_a_call_goes_to_the_server_that_has_the_widget() -> None:
    part = WidgetsPart()
    part.servers += [Server([], "a"), Server([], "b")]
    bound = part.bind(Backstay().open(Origin.SCRIPT))
    assert await bound.call("a.find", city="Oslo") == ("a", "a.find", {"city": "Oslo"})
    assert await bound.call("b.find") == ("b", "b.find", {})
    assert await bound.call("nobody's") == ("b", "nobody's", {}), "the last says that it has none"


@async_test
async def test_a_route_calls_the_widgets_of_its_app() -> None:
    app = FastAPI()
    first, second = WidgetMCPServer("first"), WidgetMCPServer("second")

    @first.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @second.tool()
    def shout(text: str) -> str:
        return text.upper()

    first.mount(app, "/first")
    second.mount(app, "/second")

    @app.get("/")
    async def both(ctx: Ctx) -> list[Any]:
        widgets = ctx.widgets
        with pytest.raises(UnknownWidget, match="'nothing'"):
            await widgets.call("nothing")
        return [await widgets.call("add", a=1, b=2), await widgets.call("shout", text="hey")]

    async with running(app) as client:
        assert (await client.get("/")).json() == [{"result": 3}, "HEY"]


@async_test
async def test_a_server_that_does_not_stop_keeps_no_other_from_stopping() -> None:
    log: list[str] = []

    class Stuck(Server):
        async def stop(self) -> None:
            raise OSError("stuck")

    part = WidgetsPart()
    part.servers += [Server(log, "a"), Stuck(log, "b"), Server(log, "c")]
    await part.open()
    with pytest.raises(OSError, match="stuck"):
        await part.close()
    assert log == ["start a", "start b", "start c", "stop c", "stop a"]
