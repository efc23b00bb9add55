"""``ctx``: what a call may reach, and when it is too late."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from backstay import Backstay, Origin
from backstay.context import Moment
from backstay.errors import ContextClosed, ValidationError
from backstay.state.part import StatePart
from backstay.widgets import Answer, ClientContext, UserContext, WidgetContext
from backstay.widgets.client import NoChannel
from backstay.widgets.declaration import function_tool
from backstay.widgets.tool import Tool
from tests.support import async_test


class Place(BaseModel):
    city: str


def find(a: int, b: int = 2) -> None:
    """What is called."""


class Reports(NoChannel):
    """A way back that takes its time and writes down what is said."""

    wants_progress = True

    def __init__(self, answer: tuple[str, dict[str, Any]] = ("accept", {"city": "Oslo"})) -> None:
        self.said: list[Any] = []
        self.answer = answer

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        # The earlier, the slower: whoever did not wait for the one before would be first.
        for _ in range(10 - int(done)):
            await asyncio.sleep(0)
        self.said.append((done, total, message))

    async def elicit(
        self, message: str, schema: dict[str, Any], key: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        self.said.append((message, sorted(schema["properties"])))
        return self.answer


class Call:
    """All that a context asks of its call."""

    def __init__(self, channel: Any, meta: dict[str, Any] | None = None) -> None:
        self.app = Backstay()
        self.app.add(StatePart(self.app, "memory://"))
        self.tool: Tool = function_tool(find)
        self.user: UserContext | None = UserContext("ada")
        self.channel = channel
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self.meta = meta
        self.asked = 0

    def client(self) -> ClientContext:
        self.asked += 1
        return ClientContext(self.meta)

    def state(self, *, shared: bool = False) -> Any:
        part = self.app.part("state")
        assert isinstance(part, StatePart)
        return part.state("this call's")

    async def elicit(
        self, message: str, schema: dict[str, Any], key: str | None = None
    ) -> tuple[str, dict[str, Any]]:
        found: tuple[str, dict[str, Any]] = await self.channel.elicit(message, schema, key)
        return found


def context_of(call: Call) -> WidgetContext:
    ctx = call.app.open_as(WidgetContext, Origin.WIDGET)
    ctx.belongs_to(call)
    return ctx


@async_test
async def test_the_client_is_asked_for_once_and_only_if_somebody_wants_to_know() -> None:
    call = Call(NoChannel(), {"openai/locale": "fr", "openai/userAgent": "x"})
    ctx = context_of(call)
    assert call.asked == 0
    assert (ctx.locale, ctx.user_agent, ctx.user_location) == ("fr", "x", None)
    assert ctx.raw_meta == call.meta
    assert ctx.client is ctx.client
    assert call.asked == 1


@async_test
async def test_state_is_the_calls_own_and_the_same_while_it_runs() -> None:
    ctx = context_of(Call(NoChannel()))
    assert not ctx.has("state")
    assert ctx.state is ctx.state
    assert ctx.has("state")
    assert "this call's" in repr(ctx.state)
    ctx.close()
    assert "this call's" in repr(ctx.state)


@async_test
async def test_a_key_for_equal_inputs_is_equal() -> None:
    call = Call(NoChannel())
    ctx = context_of(call)
    one, same, other = (
        ctx.cache_key(call.tool.inputs.validate(each))
        for each in ({"a": 1}, {"b": 2, "a": 1}, {"a": 1, "b": 3})
    )
    assert one == same != other


@async_test
async def test_reports_arrive_in_order_whether_awaited_or_not() -> None:
    channel = Reports()
    ctx = context_of(Call(channel))
    ctx.progress(1)
    await ctx.progress(2, 4, "half")
    ctx.progress(3)
    await ctx.all_reported()
    assert channel.said == [(1, None, None), (2, 4, "half"), (3, None, None)]
    assert ctx.latest_progress is not None
    assert ctx.latest_progress.done == 3


@async_test
async def test_reports_that_nobody_wants_are_kept_and_not_sent() -> None:
    ctx = context_of(Call(NoChannel()))
    await ctx.progress(1, 2)
    await ctx.all_reported()
    assert ctx.latest_progress is not None
    assert ctx.latest_progress.fraction == 0.5


@async_test
async def test_reports_from_a_thread_come_by_the_event_loop() -> None:
    channel = Reports()
    ctx = context_of(Call(channel))

    def work() -> None:
        for step in range(5):
            ctx.progress(step)

    await asyncio.to_thread(work)
    await ctx.all_reported()
    assert [each[0] for each in channel.said] == list(range(5))


@async_test
async def test_whoever_waits_for_a_report_and_is_cancelled_does_not_stop_it() -> None:
    channel = Reports()
    ctx = context_of(Call(channel))

    async def report() -> None:
        await ctx.progress(1)

    waiting = asyncio.create_task(report())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await ctx.all_reported()
    assert channel.said == [(1, None, None)]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (("accept", {"city": "Oslo"}), ("accept", Place(city="Oslo"), True)),
        (("decline", {}), ("decline", None, False)),
        (("cancel", {}), ("cancel", None, False)),
        (("whatever", {"city": "Oslo"}), ("cancel", None, False)),
    ],
)
@async_test
async def test_an_answer_is_checked_and_one_that_is_none_counts_as_closed(
    answer: tuple[str, dict[str, Any]], expected: tuple[str, Any, bool]
) -> None:
    channel = Reports(answer)
    ctx = context_of(Call(channel))
    ctx.progress(1)
    found: Answer[Place] = await ctx.elicit("Where?", Place)
    assert (found.action, found.data, found.accepted) == expected
    assert channel.said == [(1, None, None), ("Where?", ["city"])], "reports before the question"


@async_test
async def test_an_answer_that_does_not_fit_is_the_users_error() -> None:
    ctx = context_of(Call(Reports(("accept", {"city": 3}))))
    with pytest.raises(ValidationError, match="the answer will not do"):
        await ctx.elicit("Where?", Place)


@pytest.mark.parametrize("moment", [Moment.RETURNED, Moment.ANSWERED, Moment.CLOSED])
@async_test
async def test_after_the_return_nobody_can_be_asked(moment: Moment) -> None:
    ctx = context_of(Call(Reports()))
    ctx.reach(moment, True)
    with pytest.raises(ContextClosed, match=r"elicit\('Where\?'\) came after .*ask inside execute"):
        await ctx.elicit("Where?")


@async_test
async def test_after_the_end_there_is_nothing_to_report_on() -> None:
    channel = Reports()
    ctx = context_of(Call(channel))
    ctx.close()
    with pytest.raises(ContextClosed, match=r"came after this widget was over"):
        ctx.progress(1)
    assert channel.said == []


def test_nobody_is_a_user_without_a_name() -> None:
    nobody = UserContext.anonymous()
    assert not nobody.is_authenticated
    assert nobody.subject is None
    assert not nobody.has_scope("anything")
    assert UserContext("ada", scopes=frozenset({"orders"})).has_scope("orders")
