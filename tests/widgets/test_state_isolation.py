"""Nobody sees what a widget keeps for somebody else, wherever it is kept and whatever is claimed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from backstay.auth import VerifiedToken
from backstay.state import add_state
from backstay.testing import running
from backstay.widgets import BaseWidget, WidgetContext, WidgetMCPServer, optional_auth
from tests.state.stores import any_url
from tests.support import async_test
from tests.widgets.wire import MODERN, Wire

KINDS = ["memory", "sqlite", "postgres", "redis"]
Place = tuple[str, str]


class NoteInput(BaseModel):
    text: str | None = None


@optional_auth
class Notes(BaseWidget):
    """Adds a note, if there is one, and says all there are."""

    identifier = "notes"
    title = "Notes"
    input_schema = NoteInput

    async def execute(self, inputs: NoteInput, ctx: WidgetContext) -> dict[str, Any]:
        if inputs.text is not None:
            await ctx.state.update("notes", lambda all_: [*all_, inputs.text], default=[])
        return {"notes": await ctx.state.get("notes", [])}


@optional_auth
class OtherNotes(Notes):
    """The same key in another widget."""

    identifier = "other_notes"


@optional_auth
class Asking(BaseWidget):
    """A widget that asks another one."""

    identifier = "asking"
    title = "Asking"
    input_schema = NoteInput

    async def execute(self, inputs: NoteInput, ctx: WidgetContext) -> Any:
        return await ctx.widgets.call("notes", **inputs.model_dump(exclude_none=True))


@optional_auth
class Late(BaseWidget):
    """What is kept for a call, looked at when it is over."""

    identifier = "late"
    title = "Late"

    def __init__(self) -> None:
        self.contexts: list[WidgetContext] = []

    async def execute(self, inputs: BaseModel, ctx: WidgetContext) -> dict[str, Any]:
        await ctx.state.set("k", "of this call")
        self.contexts.append(ctx)
        return {}


class TwoIssuers:
    """``"west/ada"`` is Ada as the issuer in the west knows her."""

    async def verify_token(self, token: str) -> VerifiedToken | None:
        where, slash, name = token.partition("/")
        if not slash:
            return None
        return VerifiedToken(name, issuer=None if where == "none" else f"https://{where}.example")


def make_app(place: Place, *more: BaseWidget) -> FastAPI:
    app = FastAPI()
    add_state(app, place[0], table_prefix=place[1])
    WidgetMCPServer(
        "isolated", widgets=[Notes, OtherNotes, Asking, *more], token_verifier=TwoIssuers()
    ).mount(app)
    return app


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A store of this test's own, of every kind there is."""
    if request.param == "memory":
        yield "memory://", "backstay_"
    else:
        with any_url(request.param) as found:
            yield found


@asynccontextmanager
async def clients(place: Place, *more: BaseWidget) -> AsyncIterator[Any]:
    """``clients(token, session)`` gives somebody who speaks."""
    async with running(make_app(place, *more)) as http:

        def client(token: str | None = None, session: str | None = None) -> Wire:
            headers = {}
            if token is not None:
                headers["authorization"] = f"Bearer {token}"
            if session is not None:
                headers["mcp-session-id"] = f"session-{session}-of-this-test"
            return Wire(http, headers=headers)

        yield client


async def notes(
    wire: Wire, text: str | None = None, *, tool: str = "notes", meta: Any = None
) -> list[str]:
    arguments = {} if text is None else {"text": text}
    answer = await wire.ask("tools/call", {"name": tool, "arguments": arguments}, meta=meta)
    found: list[str] = answer["result"]["structuredContent"]["notes"]
    return found


@async_test
async def test_two_principals_two_sessions_and_two_widgets_keep_their_own(place: Place) -> None:
    async with clients(place) as client:
        everybody = {
            "ada": client("west/ada"),
            "ben": client("west/ben"),
            "ada of the east": client("east/ada"),
            "ada of nowhere": client("none/ada"),
            "session one": client(session="one"),
            "session two": client(session="two"),
        }

        async def write_much(name: str, wire: Wire) -> None:
            for number in range(3):
                for tool in ("notes", "other_notes"):
                    await notes(wire, f"{name} {number} {tool}", tool=tool)

        await asyncio.gather(*(write_much(*each) for each in everybody.items()))
        for name, wire in everybody.items():
            for tool in ("notes", "other_notes"):
                assert await notes(wire, tool=tool) == [f"{name} {n} {tool}" for n in range(3)]


@async_test
async def test_a_principal_finds_its_state_in_every_session(place: Place) -> None:
    async with clients(place) as client:
        await notes(client("west/ada", session="one"), "mine")
        assert await notes(client("west/ada", session="two")) == ["mine"]
        assert await notes(client(session="one")) == []


@async_test
async def test_who_is_nobody_and_has_no_session_keeps_nothing(place: Place) -> None:
    async with clients(place) as client:
        assert await notes(client(), "lost") == ["lost"]
        assert await notes(client()) == []


FORGED: list[Mapping[str, Any]] = [
    {"openai/subject": "ada"},
    {"openai/session": "session-one-of-this-test"},
    {"openai/subject": "ada", "openai/session": "one", "openai/organization": "west"},
    {"user": "ada", "sub": "ada", "authorization": "Bearer west/ada"},
]


@pytest.mark.parametrize("version", ["2025-11-25", MODERN])
@pytest.mark.parametrize("meta", FORGED)
@async_test
async def test_what_meta_claims_leads_to_nobody_elses_state(
    meta: Mapping[str, Any], version: str
) -> None:
    async with clients(("memory://", "backstay_")) as client:
        await notes(client("west/ada"), "Ada's")
        await notes(client("west/ben"), "Ben's")
        await notes(client(session="one"), "session one's")
        claiming = client()
        claiming.version = version
        assert await notes(claiming, meta=meta) == []
        ben = client("west/ben")
        ben.version = version
        assert await notes(ben, meta=meta) == ["Ben's"]


@async_test
async def test_the_clients_name_for_a_conversation_keeps_strangers_conversations_apart() -> None:
    async with clients(("memory://", "backstay_")) as client:
        one, two = {"openai/session": "v1/one"}, {"openai/session": "v1/two"}
        await notes(client(), "first", meta=one)
        assert await notes(client(), "second", meta=one) == ["first", "second"]
        assert await notes(client(), meta=two) == []


@pytest.mark.parametrize("token", ["west/ada", None])
@async_test
async def test_a_widget_that_asks_another_asks_for_whoever_asked_it(token: str | None) -> None:
    async with clients(("memory://", "backstay_")) as client:
        one, two = client(token, session="one"), client(None, session="two")
        assert await notes(one, "through", tool="asking") == ["through"]
        assert await notes(one) == ["through"]
        assert await notes(two, tool="asking") == []
        assert await notes(client(), tool="asking") == []


@async_test
async def test_what_is_kept_for_one_call_is_there_for_what_it_started() -> None:
    widget = Late()
    async with clients(("memory://", "backstay_"), widget) as client:
        await client().call("late")
        await client().call("late")
        first, second = widget.contexts
        await first.state.set("k", "changed later")
        assert await first.state.get("k") == "changed later"
        assert await second.state.get("k") == "of this call"


@async_test
async def test_named_scopes_lead_to_nobodys_state() -> None:
    async with clients(("memory://", "backstay_")) as client:
        await notes(client("west/ada"), "Ada's")

    class Prying(BaseWidget):
        identifier = "prying"
        title = "Prying"

        async def execute(self, inputs: BaseModel, ctx: WidgetContext) -> dict[str, Any]:
            names = [
                json.dumps(["widget", "isolated", "notes", "user", "https://west.example", "ada"]),
                "ada",
                "user",
                "app",
            ]
            return {"found": [await ctx.state.scope(each).get("notes") for each in names]}

    async with clients(("memory://", "backstay_"), Prying()) as client:
        await notes(client("west/ada"), "Ada's")
        found = await client("west/ben").call("prying")
    assert found["structuredContent"] == {"found": [None] * 4}


WORKER = """
import asyncio, json, sys
from tests.widgets.test_state_isolation import clients, notes

async def main(url, prefix, name):
    async with clients((url, prefix)) as client:
        for number in range(10):
            await notes(client(f"west/{name}"), f"{name} {number}")
            await notes(client(session=name), f"session {name} {number}")
        print(json.dumps([await notes(client(f"west/{name}")), await notes(client(session=name))]))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis"])
def test_several_processes_keep_everybodys_state_apart(kind: str) -> None:
    with any_url(kind) as (url, prefix):
        names = ["ada", "ben"]
        workers = [
            subprocess.Popen(
                [sys.executable, "-W", "error", "-c", WORKER, url, prefix, name],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in names
        ]
        ended = [worker.communicate(timeout=60) for worker in workers]
        for name, (out, err) in zip(names, ended, strict=True):
            assert err == ""
            assert json.loads(out) == [
                [f"{name} {number}" for number in range(10)],
                [f"session {name} {number}" for number in range(10)],
            ]
        # And a process that comes later finds what the others have kept.
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", WORKER, url, prefix, "ada"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert [len(each) for each in json.loads(done.stdout)] == [20, 20], done.stderr
