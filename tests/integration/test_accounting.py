"""Thousands of calls through all patterns at once: each one ends in exactly one way."""

import asyncio
import functools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from backstay.integration import sp
from backstay.integration.stability.pattern import patterns_of
from backstay.testing import FakeClock
from tests.support import async_test

CALLS, AT_A_TIME = 10_000, 200
CALLS_IN_THREADS, THREADS = 2_000, 40


class Gate:
    """Counts what passes between two patterns, and how it comes back."""

    def __init__(self) -> None:
        self.entered = 0
        self.ended: Counter[str] = Counter()
        self._lock = threading.Lock()

    def around(self, func: Callable[..., Any]) -> Callable[..., Any]:
        if asyncio.iscoroutinefunction(func):

            @functools.wraps(func)
            async def counted_async(*args: Any) -> Any:
                self._enter()
                try:
                    result = await func(*args)
                except BaseException as error:
                    self._end(type(error).__name__)
                    raise
                self._end("answer" if result is not None else "nothing")
                return result

            return counted_async

        @functools.wraps(func)
        def counted(*args: Any) -> Any:
            self._enter()
            try:
                result = func(*args)
            except BaseException as error:
                self._end(type(error).__name__)
                raise
            self._end("answer" if result is not None else "nothing")
            return result

        return counted

    def _enter(self) -> None:
        with self._lock:
            self.entered += 1

    def _end(self, how: str) -> None:
        with self._lock:
            self.ended[how] += 1


def stack(
    func: Callable[..., Any], patterns: list[Callable[..., Any]]
) -> tuple[Callable[..., Any], dict[str, Gate]]:
    """The patterns around ``func``, innermost first, with a gate outside each and around it."""
    gates = {"function": Gate()}
    func = gates["function"].around(func)
    for pattern in patterns:
        name = type(pattern).__name__
        gates[name] = Gate()
        func = gates[name].around(pattern(func))
    return func, gates


def check(gates: dict[str, Gate], calls: int) -> None:
    """Every gate got back what it let in, and each pattern accounts for the difference."""
    for name, gate in gates.items():
        assert gate.entered == gate.ended.total(), name
    function, timeout, bulkhead = gates["function"], gates["Timeout"], gates["Bulkhead"]
    throttling, breaker = gates["Throttling"], gates["CircuitBreaker"]
    assert gates["Fallback"].entered == calls

    assert timeout.entered == function.entered
    assert timeout.ended["answer"] <= function.ended["answer"]
    for inner, outer, refusal in (
        (timeout, bulkhead, "BulkheadFull"),
        (bulkhead, throttling, "ThrottlingError"),
        (throttling, breaker, "CircuitBreakerError"),
    ):
        gone = outer.ended["CancelledError"] - inner.ended["CancelledError"]
        assert outer.entered - inner.entered == outer.ended[refusal] + gone
        assert inner.ended[refusal] == 0
        assert outer.ended["answer"] == inner.ended["answer"]
        assert outer.ended["OSError"] == inner.ended["OSError"]
        assert outer.ended["StabilityTimeoutError"] == inner.ended["StabilityTimeoutError"]

    retry, fallback = gates["RetryPattern"], gates["Fallback"]
    assert retry.entered == calls
    good = {"answer", "CancelledError"}
    assert set(fallback.ended) <= {*good, "fallback"}
    assert fallback.ended["CancelledError"] == retry.ended["CancelledError"]


class Fallen:
    """What the alternative answers, counted apart."""

    def __init__(self) -> None:
        self.errors: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, error: Exception) -> str:
        with self._lock:
            self.errors[type(error).__name__] += 1
        return "fallback"


@async_test
async def test_ten_thousand_async_calls_are_all_accounted_for() -> None:
    chance, clock, fallen = random.Random(1), FakeClock(), Fallen()
    down = False

    async def ask(number: int) -> str | None:
        kind = chance.random()
        if down or kind < 0.08:
            await clock.sleep(0.01)
            raise OSError
        if kind < 0.11:
            await asyncio.Event().wait()
        if kind < 0.16:
            return None  # a failure that nobody raised
        await clock.sleep(chance.uniform(0.05, 0.9 if kind < 0.9 else 1.9))
        return "answer"

    def is_nothing(result: object) -> bool:
        return result is None

    call, gates = stack(
        ask,
        [
            sp.Timeout(1.5, clock=clock),
            sp.Bulkhead(80, max_queue=60, max_wait=0.3, clock=clock),
            sp.Throttling(250, burst=100, max_wait=0.2, clock=clock),
            # Failures are quicker than answers, so the first few calls look worse than they are.
            sp.CircuitBreaker(
                10,
                2,
                minimum_calls=100,
                window=3,
                failure_on=(OSError, TimeoutError, is_nothing),
                clock=clock,
            ),
            sp.Hedge(0.8, failure_on=is_nothing, clock=clock),
            sp.RetryPattern(3, 0.1, failure_on=is_nothing, clock=clock),
            sp.Fallback(fallen, failure_on=is_nothing),
        ],
    )
    ends: Counter[str] = Counter()
    numbers = iter(range(CALLS))

    async def work() -> None:
        nonlocal down
        for number in numbers:
            down = CALLS * 0.4 < number < CALLS * 0.5
            task = asyncio.create_task(call(number))
            if number % 20 == 0:  # whoever asked goes away
                clock.call_later(chance.uniform(0, 1), task.cancel)
            try:
                ends[await task] += 1
            except asyncio.CancelledError:
                ends["cancelled"] += 1
            await clock.sleep(chance.uniform(0, 0.2))

    working = asyncio.gather(*(work() for _ in range(AT_A_TIME)))
    while not working.done():
        await asyncio.sleep(0)
        await clock.advance(0.02)
    await working

    check(gates, CALLS)
    assert ends.total() == CALLS
    retry, fallback, hedge = gates["RetryPattern"], gates["Fallback"], gates["Hedge"]
    assert ends["cancelled"] == fallback.ended["CancelledError"]
    assert ends["answer"] == retry.ended["answer"]
    assert ends["fallback"] == fallen.errors.total()
    assert fallen.errors.total() == CALLS - ends["answer"] - ends["cancelled"]
    for refused in ("BulkheadFull", "ThrottlingError", "CircuitBreakerError"):
        assert fallen.errors[refused] == retry.ended[refused]

    live = {each.name: each.live() for each in patterns_of(call)}
    [hedging] = live["Hedge"]
    assert hedging["calls"] == hedge.entered
    assert hedging["copies"] == gates["CircuitBreaker"].entered - hedge.entered

    # All of it happened, or this says nothing.
    assert min(ends.values()) > 100
    assert hedging["copies"] > 100
    assert hedging["won"] > 20
    assert gates["Timeout"].ended["StabilityTimeoutError"] > 20
    for pattern, refusal in (
        ("Bulkhead", "BulkheadFull"),
        ("Throttling", "ThrottlingError"),
        ("CircuitBreaker", "CircuitBreakerError"),
    ):
        assert gates[pattern].ended[refusal] > 20, refusal

    # Nothing is left behind: no place, no turn, no probe, no timer, no task.
    assert len(asyncio.all_tasks()) == 1
    await clock.advance(60)
    assert clock.waiting == []
    [places] = live["Bulkhead"]
    assert (places["running"], places["waiting"]) == (0, 0)
    chance.seed(0)
    chance.random = lambda: 0.5  # type: ignore[method-assign]  # all is well from now on
    for _ in range(30):
        once = asyncio.create_task(call(0))
        while not once.done():
            await asyncio.sleep(0)
            await clock.advance(0.1)
        assert once.result() == "answer"


def test_two_thousand_calls_in_threads_are_all_accounted_for() -> None:
    chance, fallen, released = random.Random(1), Fallen(), threading.Event()
    lock = threading.Lock()
    others = set(threading.enumerate())  # of tests before this one

    def ask(number: int) -> str:
        with lock:
            kind = chance.random()
        if kind < 0.02:
            released.wait()  # hangs until all is over
        elif kind < 0.4:
            raise OSError
        return "answer"

    call, gates = stack(
        ask,
        [
            sp.Timeout(0.05),
            sp.Bulkhead(10, max_queue=10, max_wait=0.01),
            sp.Throttling(5_000, burst=10, max_wait=0.001),
            sp.CircuitBreaker(10, 0.02, window=0.1, fail_rate=0.4),
            sp.RetryPattern(3, 0, sleep=lambda seconds: time.sleep(0)),
            sp.Fallback(fallen),
        ],
    )
    with ThreadPoolExecutor(THREADS) as threads:
        ends = Counter(threads.map(call, range(CALLS_IN_THREADS)))
    released.set()
    for each in set(threading.enumerate()) - others:
        each.join()

    check(gates, CALLS_IN_THREADS)
    assert ends.total() == CALLS_IN_THREADS
    assert ends["answer"] == gates["RetryPattern"].ended["answer"]
    assert ends["fallback"] == fallen.errors.total()
    assert gates["Timeout"].ended["StabilityTimeoutError"] > 0
    assert gates["CircuitBreaker"].ended["CircuitBreakerError"] > 0
    live = {each.name: each.live() for each in patterns_of(call)}
    [places] = live["Bulkhead"]
    assert (places["running"], places["waiting"]) == (0, 0)
