"""Where a call fails, another one answers."""

import asyncio
from typing import Any

import pytest

from backstay.errors import BadAnswer, BadIntegration, BulkheadFull, UpstreamError
from backstay.integration import sp
from backstay.integration.outgoing import OutgoingCall, current_call
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


class Answer:
    def __init__(self, status: int) -> None:
        self.status_code = status


class Failed(Exception):
    def __init__(self, status: int) -> None:
        self.response = Answer(status)


@async_test
async def test_results_that_are_failures_have_an_alternative() -> None:
    def alternative(number: int, error: Exception) -> Exception:
        return error

    def ask(number: int) -> Any:
        return Answer(number) if number else None

    async def ask_later(number: int) -> Any:
        return ask(number)

    fallback = sp.Fallback(alternative, failure_on=(503, lambda result: result is None))
    for answer in (fallback(ask), fallback(ask_later)):

        async def asked(number: int, answer: Any = answer) -> Any:
            result = answer(number)
            return await result if asyncio.iscoroutine(result) else result

        assert (await asked(200)).status_code == 200
        busy, nothing = await asked(503), await asked(0)
        assert isinstance(busy, UpstreamError)
        assert busy.answered == 503
        assert isinstance(nothing, BadAnswer)


def test_errors_go_by_what_failure_on_says_and_refusals_fail_anyway() -> None:
    @sp.Fallback(lambda error: "sorry", failure_on=503)
    def ask(error: Exception) -> str:
        raise error

    assert ask(Failed(503)) == "sorry"
    assert ask(BulkheadFull("x")) == "sorry"
    with pytest.raises(Failed):
        ask(Failed(404))

    @sp.Fallback(lambda: "sorry", fallback_on=KeyError, failure_on=503)
    def look_up(error: Exception) -> str:
        raise error

    assert look_up(KeyError()) == "sorry"
    with pytest.raises(Failed):
        look_up(Failed(503))


def test_an_error_of_the_alternative_tells_of_the_first_one() -> None:
    def alternative() -> None:
        raise KeyError

    first = OSError()

    @sp.Fallback(alternative)
    def ask() -> None:
        raise first

    with pytest.raises(KeyError) as raised:
        ask()
    assert raised.value.__context__ is first


class Unreachable:
    """Stands for a response of a client."""

    status_code = 500
    headers: dict[str, str] = {}


@async_test
async def test_inside_an_endpoint_the_alternative_does_not_answer_with_the_status_of_the_first() -> (
    None
):
    call = OutgoingCall("owner", "Names.get", "GET")
    current_call.set(call)

    async def alternative() -> str:
        return "last known"

    @sp.Fallback(alternative, failure_on=500)
    async def ask() -> str:
        call.answered(500, Unreachable())
        return "error page"

    assert await ask() == "last known"
    assert (call.status, call.answer, call.retry_after) == (None, None, None)
