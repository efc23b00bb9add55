"""What stands around a function looks like the function, and knows it from others."""

import asyncio
import functools
import gc
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.errors import BadIntegration, ThrottlingError
from backstay.integration import sp
from backstay.integration.outgoing import OutgoingCall, current_call
from backstay.integration.stability.pattern import patterns_of
from backstay.testing import FakeClock, running
from backstay.web import install


def test_a_function_keeps_its_name_its_signature_and_whether_it_is_async() -> None:
    @sp.Throttling()
    async def ask(host: str, *, page: int = 1) -> str:
        """Asks."""
        return f"{host} {page}"

    @sp.Throttling()
    def ask_now(host: str) -> str:
        return host

    assert ask.__name__ == "ask"
    assert ask.__doc__ == "Asks."
    assert list(inspect.signature(ask).parameters) == ["host", "page"]
    assert inspect.iscoroutinefunction(ask)
    assert not inspect.iscoroutinefunction(ask_now)
    assert asyncio.run(ask("a", page=2)) == "a 2"
    assert ask_now("a") == "a"


def test_it_works_on_methods() -> None:
    class Api:
        @sp.Fallback(lambda self, a: (self, a))
        def ask(self, a: int) -> Any:
            raise OSError

    api = Api()
    assert api.ask(3) == (api, 3)


def test_each_function_is_counted_by_itself() -> None:
    once = sp.Throttling(1, clock=FakeClock())
    first, second = once(lambda: 1), once(lambda: 2)
    assert (first(), second()) == (1, 2)
    with pytest.raises(ThrottlingError):
        first()


def test_with_a_key_calls_are_counted_by_what_it_says() -> None:
    once = sp.Throttling(1, key=lambda host: host, clock=FakeClock())
    first, second = once(lambda host: 1), once(lambda host: 2)
    assert first("a") == 1
    assert second("b") == 2
    with pytest.raises(ThrottlingError):
        second("a")


def test_what_is_no_plain_function_is_refused() -> None:
    def count() -> Iterator[int]:
        yield 1

    async def count_async() -> AsyncIterator[int]:
        yield 1

    for bad in (count, count_async):
        with pytest.raises(BadIntegration, match="generator"):
            sp.Timeout()(bad)
    with pytest.raises(BadIntegration, match="above it"):
        sp.Timeout()(staticmethod(lambda: 1))
    with pytest.raises(BadIntegration, match="class"):
        sp.Timeout()(FakeClock)
    with pytest.raises(TypeError):
        sp.Timeout()(3)  # type: ignore[arg-type]  # as a sloppy user does
    with pytest.raises(BadIntegration, match="key"):
        sp.Throttling(key="host")  # type: ignore[arg-type]  # as above


def test_a_function_that_hides_that_it_is_async_is_refused() -> None:
    async def ask() -> None: ...

    hidden: Callable[[], Any] = sp.CircuitBreaker()(lambda: ask())
    with pytest.raises(BadIntegration, match="make it an async function"):
        hidden()


def test_time_is_the_running_apps_and_each_clock_begins_anew() -> None:
    @sp.Throttling(1)
    async def ask() -> str:
        return "answer"

    async def in_an_app() -> list[int]:
        clock = FakeClock()
        app = FastAPI()
        install(app, clock=clock)
        app.get("/")(ask)
        statuses = []
        async with running(app) as client:
            for pause_s in (0.0, 0.0, 1.0):
                await clock.advance(pause_s)
                statuses.append((await client.get("/")).status_code)
        return statuses

    assert asyncio.run(in_an_app()) == [200, 503, 200]
    assert asyncio.run(in_an_app()) == [200, 503, 200]


class Owner:
    """An instance of an integration."""


def called_by(owner: object, func: Callable[[], Any]) -> Any:
    token = current_call.set(OutgoingCall(owner, "bank.ask", "GET"))
    try:
        return func()
    finally:
        current_call.reset(token)


@pytest.mark.parametrize("key", [None, lambda: "host"], ids=["function", "key"])
def test_in_endpoints_each_instance_is_counted_by_itself(key: Any) -> None:
    once = sp.Throttling(1, key=key, clock=FakeClock())(lambda: "answer")
    owners = Owner(), Owner()
    for owner in owners:
        assert called_by(owner, once) == "answer"
    assert once() == "answer"
    for owner in owners:
        with pytest.raises(ThrottlingError):
            called_by(owner, once)


def test_instances_that_are_gone_leave_nothing_behind() -> None:
    @sp.RetryPattern()
    @sp.CircuitBreaker(clock=FakeClock())
    @sp.Bulkhead(key=lambda: "host")
    def ask() -> str:
        return "answer"

    for _ in range(2_000):
        called_by(Owner(), ask)
    gc.collect()
    assert [len(each._states) for each in patterns_of(ask)] == [0, 0, 0]


def logged(func: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(func)
    def around(*args: Any) -> Any:
        return func(*args)

    return around


def test_patterns_can_be_found_whatever_stands_between_them() -> None:
    class Bank:
        @logged
        @sp.Fallback(lambda self: "sorry")
        @logged
        @sp.RetryPattern(2, 0.5, failure_on=503, may_retry=called_by)
        @sp.Bulkhead(key=called_by)
        @logged
        @sp.Timeout(3)
        def ask(self) -> str:
            return "answer"

    for func in (Bank.ask, Bank().ask, functools.partial(Bank.ask, Bank())):
        assert [each.name for each in patterns_of(func)] == [
            "Fallback",
            "RetryPattern",
            "Bulkhead",
            "Timeout",
        ]
    options = [each.options for each in patterns_of(Bank.ask)]
    assert json.loads(json.dumps(options)) == options
    assert options[1] == {
        "max_attempts": 2,
        "delay_s": 0.5,
        "backoff": "exponential",
        "max_delay_s": 30,
        "jitter": True,
        "budget": 0.2,
        "failure_on": ["503"],
        "may_retry": "called_by",
    }
    assert options[2]["key"] == "called_by"
    assert options[3] == {"seconds": 3}
    assert patterns_of(logged) == []


def test_a_pattern_that_was_found_can_stand_at_something_else() -> None:
    @sp.Fallback(lambda: "sorry")
    @sp.Bulkhead()
    def ask() -> str:
        return "answer"

    def mock() -> str:
        raise OSError

    for each in reversed(patterns_of(ask)):
        mock = each.pattern(mock)
    assert mock() == "sorry"


def test_how_things_stand_can_be_shown_for_each_instance_and_key() -> None:
    clock = FakeClock()

    @sp.Bulkhead(2, key=lambda host: host, clock=clock)
    def ask(host: str) -> Any:
        return patterns_of(ask)[0].live(owner)

    owner = Owner()
    called_by(owner, lambda: ask("a"))
    at_rest = {"running": 0, "waiting": 0, "max_calls": 2, "max_queue": 0}
    assert called_by(owner, lambda: ask("b")) == [
        {"key": "a", **at_rest},
        {"key": "b", **at_rest, "running": 1},
    ]
    [applied] = patterns_of(ask)
    assert applied.live() == applied.live(Owner()) == []
    ask("c")
    assert applied.live() == [{"key": "c", **at_rest}]
    [stateless] = patterns_of(sp.Timeout()(lambda: None))
    assert stateless.live() == []


def test_all_that_remember_something_say_how_it_stands() -> None:
    async def ask() -> None: ...

    clock, patterns = FakeClock(), [sp.Hedge, sp.RetryPattern, sp.CircuitBreaker, sp.Throttling]
    for pattern in patterns:
        asked = pattern(clock=clock)(ask)
        asyncio.run(asked())
        [applied] = patterns_of(asked)
        [live] = applied.live()
        assert len(live) > 1
        assert json.loads(json.dumps(live)) == live
        assert len(applied.options) > 2


def test_only_the_clock_of_whoever_looks_is_looked_at() -> None:
    @sp.RetryPattern()
    async def ask() -> Any:
        return patterns_of(ask)[0].live()

    async def in_an_app() -> Any:
        app = FastAPI()
        install(app, clock=FakeClock())
        app.get("/")(ask)
        async with running(app) as client:
            return (await client.get("/")).json()

    for _ in range(2):
        assert asyncio.run(in_an_app()) == [{"key": None, "retries_left": 10}]
    assert patterns_of(ask)[0].live() == []
