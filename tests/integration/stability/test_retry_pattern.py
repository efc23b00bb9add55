"""Calls that failed are tried again, as often and as late as was said."""

import asyncio
import socket
from datetime import timedelta
from typing import Any

import httpx
import pytest

from backstay.errors import BadIntegration, CircuitBreakerError, MaxRetriesExceededError
from backstay.integration import sp
from backstay.integration.outgoing import OutgoingCall, current_call
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


def retried(flaky: Any, **options: Any) -> tuple[Any, list[float]]:
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
        {"failure_on": ()},
    ],
    ids=str,
)
def test_rules_that_could_never_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadIntegration):
        sp.RetryPattern(**options)


class Answer:
    def __init__(self, status: int, **headers: str) -> None:
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Failed(Exception):
    def __init__(self, status: int) -> None:
        self.response = Answer(status)


class Answering:
    """Returns each of ``answers``, or raises it."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls = 0

    def __call__(self) -> Any:
        self.calls += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_results_that_are_failures_are_tried_again() -> None:
    good = Answer(200)
    asked = Answering(Answer(503), Failed(500), None, good)
    ended, pauses = retried(
        asked, max_attempts=5, jitter=False, failure_on=(500, 503, lambda result: result is None)
    )
    assert (ended, pauses) == (good, [1, 2, 4])


def test_the_last_result_is_the_answer_though_it_is_a_failure() -> None:
    last = Answer(503)
    assert retried(Answering(Answer(503), Answer(503), last), failure_on=503)[0] is last
    late = Answer(503, Retry_After="31")
    assert retried(Answering(late), failure_on=503) == (late, [])
    asked = Answering(*[Answer(503) for _ in range(3)])
    ended, _ = retried(asked, failure_on=503, may_retry=lambda result, attempt: attempt < 2)
    assert ended.status_code == 503
    assert asked.calls == 2


def test_the_pause_that_such_a_result_asks_for_is_made() -> None:
    ended, pauses = retried(Answering(Answer(429, Retry_After="9"), "good"), failure_on=429)
    assert (ended, pauses) == ("good", [9])


def test_failure_on_says_which_errors_are_worth_it_unless_retry_on_does() -> None:
    for error in (Failed(404), CircuitBreakerError("open")):
        assert retried(Answering(error), failure_on=503) == (error, [])
    error = KeyError()
    assert retried(Answering(error), failure_on=OSError) == (error, [])
    assert retried(Answering(Failed(404), "good"), failure_on=503, retry_on=Failed)[0] == "good"
    assert (
        retried(Answering(CircuitBreakerError("open"), 1), failure_on=CircuitBreakerError)[0] == 1
    )


@async_test
async def test_async_results_are_tried_again() -> None:
    asked = Answering(Answer(503), "good")

    async def ask() -> Any:
        return asked()

    call = asyncio.create_task(sp.RetryPattern(failure_on=503, clock=(clock := FakeClock()))(ask)())
    await clock.until_waiting()
    await clock.advance(1)
    assert await call == "good"


class Sending:
    """Sends requests inside an endpoint, and ends with each of ``ends``."""

    def __init__(self, *ends: Any, requests: tuple[str, ...] = ("POST",)) -> None:
        self.ends = list(ends)
        self.requests = requests
        self.seen: list[int | None] = []

    def __call__(self) -> Any:
        call = current_call.get()
        assert call is not None
        self.seen.append(call.status)
        for each in self.requests:
            call.sent(each, has_key=call.idempotency_key is not None)
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        call.answered(end, retry_after="3" if end in {429, 503} else None)
        return {"status": end}


def inside(
    sending: Sending,
    method: str = "POST",
    *,
    key: str | None = None,
    is_watched: bool = True,
    **options: Any,
) -> tuple[Any, list[float], OutgoingCall]:
    call = OutgoingCall(object(), "bank.pay", method, idempotency_key=key)
    call.is_watched = is_watched
    call.begin_attempt()
    token = current_call.set(call)
    try:
        return *retried(sending, jitter=False, **options), call
    finally:
        current_call.reset(token)


def test_in_endpoints_what_was_sent_and_is_not_safe_is_not_sent_again() -> None:
    error = httpx.ReadTimeout("x")
    ended, pauses, call = inside(Sending(error, 200))
    assert (ended, pauses, call.requests) == (error, [], 1)
    ended, pauses, call = inside(Sending(503, 200), failure_on=503)
    assert (pauses, call.status, call.attempts) == ([], 503, 1)


@pytest.mark.parametrize(
    ("method", "requests", "options"),
    [
        ("GET", ("GET",), {}),
        ("POST", (), {}),
        ("POST", ("GET",), {}),
        ("POST", ("POST",), {"key": "k"}),
        ("POST", ("POST",), {"repeat_unsafe": True}),
        ("POST", ("POST",), {"may_retry": lambda error, attempt: True}),
        ("GET", ("POST",), {"is_watched": False}),
    ],
    ids=["get", "nothing sent", "get in post", "key", "told", "asked", "nobody knows"],
)
def test_what_is_safe_or_was_said_to_be_is(
    method: str, requests: tuple[str, ...], options: dict[str, Any]
) -> None:
    sending = Sending(httpx.ReadTimeout("x"), OSError(), 200, requests=requests)
    ended, pauses, call = inside(sending, method, **options)
    assert (ended, pauses) == ({"status": 200}, [1, 2])
    assert (call.attempts, call.requests, call.status) == (3, 3 * len(requests), 200)
    assert sending.seen == [None, None, None]


@pytest.mark.parametrize("is_watched", [True, False])
@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("x"),
        httpx.PoolTimeout("x"),
        ConnectionRefusedError(),
        socket.gaierror(),
        Failed(429),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_never_left_or_was_not_done_is_sent_again(error: Exception, is_watched: bool) -> None:
    ended, _, _ = inside(Sending(error, error, 200), is_watched=is_watched)
    assert ended == {"status": 200}


def test_where_one_of_several_requests_never_left_the_others_may_have_been_done() -> None:
    error = httpx.ConnectError("x")
    for requests in (("POST", "POST"), ("POST", "GET")):
        ended, _, _ = inside(Sending(error, 200, requests=requests))
        assert ended is error


def test_a_429_that_nobody_raised_is_asked_again_when_it_says() -> None:
    ended, pauses, call = inside(Sending(429, 429, 200), failure_on=429)
    assert (ended, pauses) == ({"status": 200}, [3, 3])
    assert (call.status, call.attempts, call.requests) == (200, 3, 3)


def test_retries_of_something_inside_an_endpoint_forget_nothing_of_what_the_endpoint_sent() -> None:
    tried = Sending(OSError(), 200, requests=("GET",))

    def look_up() -> Any:
        return retried(tried)[0]

    class Paying(Sending):
        def __call__(self) -> Any:
            call = current_call.get()
            assert call is not None
            call.sent("POST", has_key=False)
            assert look_up() == {"status": 200}
            raise OSError

    ended, pauses, call = inside(Paying())
    assert isinstance(ended, OSError)
    assert (pauses, call.requests, call.sent_unsafe) == ([], 3, True)
