"""The other side is left alone while it fails, and never flooded when it comes back."""

import asyncio
import logging
import threading
from typing import Any

import pytest

from backstay.errors import BadIntegration, CircuitBreakerError, StabilityTimeoutError
from backstay.integration import sp
from backstay.integration.stability.answers import status_of
from backstay.testing import FakeClock
from tests.integration.stability.test_answers import Answer
from tests.support import PATIENCE_S, async_test


class Upstream:
    """Answers, fails or hangs, as it is told."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.calls = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self) -> str:
        self.calls += 1
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return "answer"


async def failed(call: Any, error: type[BaseException], times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(error):
            await call()


def test_an_open_circuit_says_when_to_come_back_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    error: Exception | None = OSError()
    caplog.set_level(logging.INFO, "backstay.integration")

    @sp.CircuitBreaker(fail_threshold=2, reset_timeout=10, clock=clock)
    def ask() -> str:
        if error is not None:
            raise error
        return "answer"

    for _ in range(2):
        with pytest.raises(OSError):
            ask()
    with pytest.raises(CircuitBreakerError) as raised:
        ask()
    assert (raised.value.status, raised.value.retry_after_s) == (503, 10)
    asyncio.run(clock.advance(10))
    error = None
    assert ask() == "answer"
    assert ["is open" in line for line in caplog.messages] == [True, False]


@async_test
async def test_one_of_fifty_tries_when_half_open() -> None:
    clock, upstream = FakeClock(), Upstream()
    ask = sp.CircuitBreaker(clock=clock)(upstream.ask)
    upstream.error = OSError()
    await failed(ask, OSError, 3)
    await clock.advance(10)
    upstream.error = None
    upstream.may_answer.clear()
    calls = [asyncio.create_task(ask()) for _ in range(50)]
    await asyncio.sleep(0)
    assert upstream.calls == 4
    upstream.may_answer.set()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert ends.count("answer") == 1
    assert sum(isinstance(each, CircuitBreakerError) for each in ends) == 49
    assert await ask() == "answer"


@async_test
async def test_a_cancelled_probe_lets_the_next_one_try() -> None:
    clock, upstream = FakeClock(), Upstream()
    ask = sp.CircuitBreaker(clock=clock)(upstream.ask)
    upstream.error = OSError()
    await failed(ask, OSError, 3)
    await clock.advance(10)
    upstream.may_answer.clear()
    probe = asyncio.create_task(ask())
    await asyncio.sleep(0)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    upstream.error = None
    upstream.may_answer.set()
    assert await ask() == "answer"


@async_test
async def test_an_error_that_does_not_count_neither_opens_nor_closes_it() -> None:
    clock, upstream = FakeClock(), Upstream()
    ask = sp.CircuitBreaker(clock=clock, failure_on=OSError)(upstream.ask)
    upstream.error = KeyError()
    await failed(ask, KeyError, 10)
    upstream.error = OSError()
    await failed(ask, OSError, 3)
    await clock.advance(10)
    upstream.error = KeyError()
    await failed(ask, KeyError, 2)  # both were probes
    upstream.error = OSError()
    await failed(ask, OSError)
    await failed(ask, CircuitBreakerError)


@async_test
async def test_cancellation_never_counts() -> None:
    upstream = Upstream()
    upstream.error = asyncio.CancelledError()
    ask = sp.CircuitBreaker(clock=FakeClock())(upstream.ask)
    await failed(ask, asyncio.CancelledError, 10)
    upstream.error = None
    assert await ask() == "answer"


@pytest.mark.parametrize("outside", [True, False])
@async_test
async def test_time_outs_count_wherever_they_stand(outside: bool) -> None:
    clock, upstream = FakeClock(), Upstream()
    upstream.may_answer.clear()
    limit, breaker = sp.Timeout(1, clock=clock), sp.CircuitBreaker(clock=clock)
    ask = limit(breaker(upstream.ask)) if outside else breaker(limit(upstream.ask))
    for _ in range(3):
        call = asyncio.create_task(ask())
        await clock.until_waiting()
        await clock.advance(1)
        await failed(lambda call=call: call, StabilityTimeoutError)
    await failed(ask, CircuitBreakerError)


@async_test
async def test_time_outs_count_in_tasks_that_a_call_is_made_of() -> None:
    clock, upstream = FakeClock(), Upstream()
    upstream.may_answer.clear()
    part = sp.CircuitBreaker(1, clock=clock)(upstream.ask)

    @sp.Timeout(1, clock=clock)
    async def both() -> None:
        await asyncio.gather(part(), part())

    call = asyncio.create_task(both())
    await clock.until_waiting()
    await asyncio.sleep(0)
    await clock.advance(1)
    await failed(lambda: call, StabilityTimeoutError)
    await failed(part, CircuitBreakerError)


@async_test
async def test_what_a_call_left_behind_is_judged_by_itself() -> None:
    clock, upstream = FakeClock(), Upstream()
    ask = sp.CircuitBreaker(1, clock=clock)(upstream.ask)
    go_on = asyncio.Event()
    left: list[asyncio.Task[list[str]]] = []

    async def later() -> list[str]:
        await go_on.wait()
        return [await ask() for _ in range(5)]

    @sp.Timeout(1, clock=clock)
    async def start() -> None:
        left.append(asyncio.create_task(later()))
        await asyncio.Event().wait()

    call = asyncio.create_task(start())
    await clock.until_waiting()
    await clock.advance(1)
    await failed(lambda: call, StabilityTimeoutError)
    go_on.set()
    assert await left[0] == ["answer"] * 5


def test_a_thread_that_is_left_behind_has_failed() -> None:
    may_end = threading.Event()
    breaker = sp.CircuitBreaker(1, key=lambda: "host")

    @sp.Timeout(0.01)
    @breaker
    def ask() -> None:
        may_end.wait(PATIENCE_S)

    ends = []
    for _ in range(100):  # on a busy machine, some threads do not get to the breaker in time
        with pytest.raises((StabilityTimeoutError, CircuitBreakerError)) as raised:
            ask()
        ends.append(raised.type)
        if raised.type is CircuitBreakerError:
            break
    may_end.set()
    assert ends[0] is StabilityTimeoutError
    assert ends[-1] is CircuitBreakerError


def test_answers_count_where_they_are_named() -> None:
    ask = sp.CircuitBreaker(1, failure_on=503)(lambda: Answer(status_code=503))
    assert status_of(ask()) == 503
    with pytest.raises(CircuitBreakerError):
        ask()


def test_one_host_that_fails_is_none_of_the_others_business() -> None:
    @sp.CircuitBreaker(1, key=lambda host: host)
    def ask(host: str) -> str:
        if host == "down":
            raise OSError
        return host

    with pytest.raises(OSError):
        ask("down")
    with pytest.raises(CircuitBreakerError):
        ask("down")
    assert ask("up") == "up"


def test_of_many_threads_one_is_the_probe() -> None:
    clock = FakeClock()
    is_down, at_it, may_end = True, threading.Event(), threading.Event()
    calls: list[int] = []

    @sp.CircuitBreaker(1, clock=clock)
    def ask() -> None:
        if is_down:
            raise OSError
        calls.append(1)
        at_it.set()
        may_end.wait(PATIENCE_S)

    with pytest.raises(OSError):
        ask()
    asyncio.run(clock.advance(10))
    is_down = False
    refused = threading.Semaphore(0)

    def one() -> None:
        try:
            ask()
        except CircuitBreakerError:
            refused.release()

    threads = [threading.Thread(target=one) for _ in range(20)]
    for each in threads:
        each.start()
    for _ in range(19):
        assert refused.acquire(timeout=PATIENCE_S)
    may_end.set()
    for each in threads:
        each.join(PATIENCE_S)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "options",
    [{"fail_threshold": 0}, {"reset_timeout": 0}, {"fail_rate": 50}, {"minimum_calls": 0}],
    ids=str,
)
def test_rules_that_could_never_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadIntegration):
        sp.CircuitBreaker(**options)
