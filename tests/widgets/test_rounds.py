"""Answers between the rounds of a call: kept for its owner, for ten minutes."""

import pytest
from mcp.shared.exceptions import MCPError

from backstay.state.memory import MemoryStore
from backstay.state.state import State
from backstay.testing import FakeClock
from backstay.widgets.rounds import Rounds
from tests.support import async_test

ASKED = {"name": {"method": "elicitation/create", "params": {}}}


async def new_rounds() -> tuple[Rounds, FakeClock]:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    await store.open()
    state = State.named(store, "rounds")
    return Rounds(lambda: state), clock


@async_test
async def test_a_ticket_brings_back_what_was_answered() -> None:
    rounds, _ = await new_rounds()
    asked = await rounds.ask("ada", {"first": 1}, ASKED)
    assert asked["resultType"] == "input_required"
    assert asked["inputRequests"] == ASKED
    found = await rounds.answers(asked["requestState"], "ada", {"name": 2, "unasked": 3})
    assert found == {"first": 1, "name": 2}


@async_test
async def test_a_client_may_answer_before_it_is_asked() -> None:
    rounds, _ = await new_rounds()
    assert await rounds.answers(None, "ada", {"name": 1}) == {"name": 1}
    assert await rounds.answers(None, "ada", None) == {}


@async_test
async def test_a_ticket_of_another_call_or_one_that_was_changed_is_none() -> None:
    rounds, _ = await new_rounds()
    ticket = (await rounds.ask("ada", {}, ASKED))["requestState"]
    for wrong, owner in ((ticket, "ben"), (f"{ticket}x", "ada"), ("", "ada"), ("x" * 9_999, "ada")):
        with pytest.raises(MCPError, match="requestState"):
            await rounds.answers(wrong, owner, {"name": 1})


@async_test
async def test_a_ticket_is_good_for_ten_minutes() -> None:
    rounds, clock = await new_rounds()
    ticket = (await rounds.ask("ada", {}, ASKED))["requestState"]
    await clock.advance(599)
    assert await rounds.answers(ticket, "ada", {}) == {}
    await clock.advance(2)
    with pytest.raises(MCPError, match="ten minutes"):
        await rounds.answers(ticket, "ada", {})
