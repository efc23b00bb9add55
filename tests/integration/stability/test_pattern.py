"""What stands around a function looks like the function, and knows it from others."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.errors import BadIntegration, ThrottlingError
from backstay.integration import sp
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
