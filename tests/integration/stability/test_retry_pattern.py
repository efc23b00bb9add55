"""Calls that failed are tried again, as often and as late as was said."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from backstay.errors import BadIntegration, CircuitBreakerError, MaxRetriesExceededError
from backstay.integration import sp
from backstay.testing import FakeClock
from tests.support import async_test


class Flaky:
    """Fails with each of ``errors``, then answers."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"

    async def ask(self) -> str:
        return self()


class Refused(Exception):
    def __init__(self, retry_after: str) -> None:
        self.headers = {"Retry-After": retry_after}


def retried(flaky: Flaky, **options: Any) -> tuple[str | Exception, list[float]]:
    """How a call ends, and the pauses it made."""
    pauses: list[float] = []
    pattern = sp.RetryPattern(clock=FakeClock(chance=0), sleep=pauses.append, **options)
    try:
        return pattern(flaky)(), pauses
    except Exception as error:
        return error, pauses


def test_it_answers_with_the_first_success() -> None:
    flaky = Flaky(OSError(), OSError())
    assert retried(flaky, jitter=False) == ("answer", [1, 2])
    assert flaky.calls == 3


def test_the_last_failure_is_the_cause_of_its_error() -> None:
    errors = OSError("1"), OSError("2"), OSError("3")
    ended, pauses = retried(Flaky(*errors))
    assert isinstance(ended, MaxRetriesExceededError)
    assert ended.__cause__ is errors[2]
    assert (ended.attempts, ended.status) == (3, 502)
    assert pauses == [0.5, 1]  # chance is 0: half of what the rule says


def test_errors_that_are_not_worth_it_are_raised_as_they_are() -> None:
    assert isinstance(retried(Flaky(OSError()), retry_on=ValueError)[0], OSError)
    refused = CircuitBreakerError("open")
    assert retried(Flaky(refused)) == (refused, [])


def test_who_is_asked_whether_it_may_be_repeated_decides() -> None:
    asked: list[int] = []

    def may_retry(error: Exception, attempt: int) -> bool:
        asked.append(attempt)
        return attempt < 2

    ended, _ = retried(Flaky(OSError(), OSError(), OSError()), may_retry=may_retry)
    assert isinstance(ended, OSError)
    assert asked == [1, 2]


def test_the_other_side_may_ask_for_longer_pauses() -> None:
    assert retried(Flaky(Refused("7"), Refused("0")), jitter=False) == ("answer", [7, 2])


def test_longer_ones_than_anybody_waits_end_it() -> None:
    ended, pauses = retried(Flaky(Refused("31")))
    assert isinstance(ended, MaxRetriesExceededError)
    assert "31 s" in str(ended)
    assert pauses == []


def test_there_are_no_more_retries_than_the_budget_allows() -> None:
    clock = FakeClock()
    calls = 0

    @sp.RetryPattern(3, 0, clock=clock)
    def ask() -> None:
        nonlocal calls
        calls += 1
        raise OSError

    for _ in range(100):
        with pytest.raises(MaxRetriesExceededError):
            ask()
    assert 100 < calls <= 100 + 10 + 20


@async_test
async def test_async_calls_wait_by_the_clock() -> None:
    clock = FakeClock()
    flaky = Flaky(OSError(), OSError())
    delay = timedelta(seconds=4)
    pattern = sp.RetryPattern(3, delay, backoff="constant", jitter=False, clock=clock)
    call = asyncio.create_task(pattern(flaky.ask)())
    await clock.until_waiting()
    assert clock.waiting == [4]
    await clock.advance(8)
    assert await call == "answer"


@async_test
async def test_cancelled_calls_are_not_tried_again() -> None:
    flaky = Flaky(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await sp.RetryPattern(clock=FakeClock())(flaky.ask)()
    assert flaky.calls == 1


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"delay": -1},
        {"backoff": "fast"},
        {"retry_on": "OSError"},
        {"retry_on": asyncio.CancelledError},
        {"may_retry": True},
        {"budget": 2},
    ],
    ids=str,
)
def test_rules_that_could_never_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadIntegration):
        sp.RetryPattern(**options)
