"""Where a call fails, another one answers."""

import asyncio
from typing import Any

import pytest

from backstay.errors import BadIntegration
from backstay.integration import sp
from tests.support import async_test


def test_the_alternative_gets_the_calls_arguments_and_the_error_if_it_takes_it() -> None:
    failure = OSError("no route")

    def ask(a: int, *, b: int) -> Any:
        raise failure

    assert sp.Fallback(lambda a, b: (a, b))(ask)(1, b=2) == (1, 2)
    assert sp.Fallback(lambda *args, error, **kwargs: error)(ask)(1, b=2) is failure
    assert sp.Fallback(lambda error: error)(ask)(1, b=2) is failure
    assert sp.Fallback(lambda: "sorry")(ask)(1, b=2) == "sorry"


def test_an_error_that_is_the_functions_own_argument_stays_that() -> None:
    def report(error: str) -> str:
        raise OSError

    assert sp.Fallback(lambda error: error)(report)("mine") == "mine"
    assert sp.Fallback(lambda error: error)(report)(error="mine") == "mine"


def test_other_errors_are_raised() -> None:
    @sp.Fallback(lambda: "sorry", fallback_on=(OSError, KeyError))
    def ask(error: Exception) -> str:
        raise error

    assert ask(KeyError()) == "sorry"
    with pytest.raises(ValueError):
        ask(ValueError())


def test_what_failed_is_logged_without_what_it_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "backstay.integration")

    @sp.Fallback(lambda: "sorry")
    def ask() -> str:
        raise OSError("token=secret")

    ask()
    assert "failed with OSError" in caplog.text
    assert "secret" not in caplog.text


@async_test
async def test_async_functions_have_alternatives_of_both_kinds() -> None:
    async def ask() -> str:
        raise OSError

    async def later() -> str:
        await asyncio.sleep(0)
        return "later"

    assert await sp.Fallback(later)(ask)() == "later"
    assert await sp.Fallback(lambda: "now")(ask)() == "now"


@async_test
async def test_cancelled_calls_have_no_fallback() -> None:
    async def ask() -> str:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await sp.Fallback(lambda: "sorry")(ask)()


def test_alternatives_that_could_never_work_are_refused() -> None:
    async def later() -> None: ...

    with pytest.raises(BadIntegration, match="make both alike"):
        sp.Fallback(later)(lambda: None)
    with pytest.raises(TypeError):
        sp.Fallback(None)  # type: ignore[arg-type]  # as a sloppy user does
    with pytest.raises(BadIntegration):
        sp.Fallback(lambda: None, fallback_on=())
