"""A request is asked again as a request of its own."""

import asyncio

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from backstay.cache.outcome import Fill
from backstay.cache.replay import Replay, door_of, replayed
from backstay.web import install
from backstay.web.exchange import SCOPE_KEY, Exchange
from tests.cache.serving import a_scope
from tests.support import async_test


class Door:
    """An app that writes down what it is asked, and fills the replay."""

    def __init__(self, fill: Fill | None = None) -> None:
        self.scopes: list[Scope] = []
        self.fill = fill

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(dict(scope))
        assert await receive() == {"type": "http.request", "body": b"", "more_body": False}
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})
        replay = Replay.of(scope)
        assert replay is not None
        replay.fill = self.fill


async def again(scope: Scope, key: str) -> Fill | None:
    """Ask again, when the request is over."""
    door = door_of(scope)
    scope.pop(SCOPE_KEY, None)
    return await replayed(scope, door, key)


@async_test
async def test_what_the_route_made_is_what_comes_back() -> None:
    fill = Fill(b"made")
    assert await again(a_scope(app=Door(fill)), "k") is fill
    assert await again(a_scope(app=Door()), "k") is None


@async_test
async def test_the_same_is_asked_without_what_was_about_the_client() -> None:
    door = Door()
    state = {"pool": object()}
    scope = a_scope(
        "/a?b=c",
        [
            ("Host", "shop.example"),
            ("Authorization", "Bearer a"),
            ("If-None-Match", '"x"'),
            ("If-Modified-Since", "x"),
            ("Cache-Control", "no-cache"),
            ("Range", "bytes=0-1"),
        ],
        method="HEAD",
        app=door,
        state=state,
        root_path="/v1",
        path_params={"old": 1},
        endpoint=print,
    )
    await again(scope, "the key")
    [asked] = door.scopes
    replay = Replay.of(asked)
    assert replay is not None
    assert replay.key == "the key"
    assert asked["method"] == "GET"
    assert (asked["path"], asked["query_string"], asked["root_path"]) == ("/a", b"b=c", "/v1")
    assert asked["headers"] == [(b"host", b"shop.example"), (b"authorization", b"Bearer a")]
    assert asked["state"] == state
    assert asked["state"] is not state
    assert not {"path_params", "endpoint", "app"} & asked.keys()


@async_test
async def test_where_backstay_is_around_the_app_it_goes_in_by_the_outermost_door() -> None:
    door, inner = Door(), Door()
    backstay = install(FastAPI())
    backstay.door = door
    scope = a_scope("/v1/sub/a", app=inner, root_path="/v1/sub", app_root_path="/v1")
    Exchange(backstay, scope, "0")
    await again(scope, "k")
    assert inner.scopes == []
    assert door.scopes[0]["root_path"] == "/v1"


@async_test
async def test_the_client_of_a_replay_never_leaves() -> None:
    waited = asyncio.Event()

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        leaving = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert not leaving.done()
        leaving.cancel()
        waited.set()

    await again(a_scope(app=door), "k")
    assert waited.is_set()


@async_test
async def test_what_the_app_does_not_handle_is_raised() -> None:
    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("broken")

    app: ASGIApp = door
    with pytest.raises(RuntimeError, match="broken"):
        await again(a_scope(app=app), "k")


def test_requests_of_clients_are_no_replays() -> None:
    scope = a_scope("/", [("backstay.cache.replay", "k")])
    assert Replay.of(scope) is None
