"""Guessing is slow, whoever guesses and however many at once; logging in is not."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.auth.auth_throttle import LoginThrottle
from backstay.errors import BadAuth, LimitsUnavailable, RateLimited
from backstay.testing import FakeClock
from tests.support import async_test

HERE = "192.0.2.1"


class Shared:
    """Counts for several throttles, as Redis would."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.times: dict[str, list[float]] = {}
        self.down = False

    async def hit(self, key: str, limit: int, window_s: int) -> None:
        self._require()
        self.times.setdefault(key, []).append(self.clock.monotonic())

    async def peek(self, key: str, limit: int, window_s: int) -> float:
        self._require()
        recent = [
            each for each in self.times.get(key, []) if each + window_s > self.clock.monotonic()
        ]
        return 0 if len(recent) < limit else recent[-limit] + window_s - self.clock.monotonic()

    def _require(self) -> None:
        if self.down:
            raise LimitsUnavailable("no Redis")


async def fail(throttle: LoginThrottle, account: str, address: str | None = HERE) -> bool:
    """A guess. Whether it was let through."""
    try:
        await throttle.check(account, address)
    except RateLimited:
        return False
    await throttle.failed(account, address)
    return True


async def guesses(throttle: LoginThrottle, account: str, count: int, address: str = HERE) -> int:
    return sum([await fail(throttle, account, address) for _ in range(count)])


@async_test
async def test_after_so_many_failures_nobody_may_try_until_one_is_old_enough() -> None:
    clock = FakeClock()
    throttle = LoginThrottle(per_client=(3, 60), clock=clock)
    for _ in range(3):
        assert await fail(throttle, "ann")
        await clock.advance(10)
    with pytest.raises(RateLimited) as caught:
        await throttle.check("ann", HERE)
    assert caught.value.retry_after_s == 30
    assert caught.value.status == 429
    await clock.advance(29.9)
    with pytest.raises(RateLimited) as caught:
        await throttle.check("ann", HERE)
    assert caught.value.retry_after_s == 1
    await clock.advance(0.1)
    assert await guesses(throttle, "ann", 2) == 1


@async_test
async def test_an_attempt_that_was_refused_does_not_prolong_it() -> None:
    clock = FakeClock()
    throttle = LoginThrottle(per_client=(2, 60), clock=clock)
    assert await guesses(throttle, "ann", 100) == 2
    await clock.advance(60)
    assert await guesses(throttle, "ann", 100) == 2


@async_test
async def test_a_hundred_at_once_are_no_more_than_one_after_the_other() -> None:
    throttle = LoginThrottle(per_client=(10, 300), clock=FakeClock())
    hashing = asyncio.Event()

    async def guess() -> bool:
        try:
            await throttle.check("ann", HERE)
        except RateLimited:
            return False
        await hashing.wait()
        await throttle.failed("ann", HERE)
        return True

    tasks = [asyncio.create_task(guess()) for _ in range(100)]
    await asyncio.sleep(0)
    hashing.set()
    assert sum(await asyncio.gather(*tasks)) == 10


@async_test
async def test_logins_are_not_counted() -> None:
    throttle = LoginThrottle(per_client=(2, 60), per_account=(2, 60), per_address=(2, 60))
    for number in range(20):
        name = f"user{number % 3}"
        await throttle.check(name, HERE)
        await throttle.succeeded(name, HERE)
    assert await guesses(throttle, "ann", 5) == 2


@async_test
async def test_whoever_logs_in_has_his_own_failures_forgotten() -> None:
    throttle = LoginThrottle(per_client=(3, 60), clock=FakeClock())
    assert await guesses(throttle, "ann", 2) == 2
    await throttle.check("ann", HERE)
    await throttle.succeeded("ann", HERE)
    assert await guesses(throttle, "ann", 9) == 3


@async_test
async def test_an_own_account_washes_nothing_away() -> None:
    throttle = LoginThrottle(
        per_client=(1000, 60), per_account=(1000, 60), per_address=(10, 60), clock=FakeClock()
    )
    tried = 0
    for number in range(50):
        tried += await fail(throttle, f"victim{number}")
        try:
            await throttle.check("mallory", HERE)
        except RateLimited:
            continue
        await throttle.succeeded("mallory", HERE)
    assert tried == 10


@async_test
async def test_a_crowd_guesses_no_faster_than_one() -> None:
    throttle = LoginThrottle(clock=FakeClock())
    tried = [await fail(throttle, "ann", f"192.0.2.{number}") for number in range(200)]
    assert sum(tried) == 30
    assert await fail(throttle, "bob", "192.0.2.1")


@async_test
async def test_a_crowd_locks_nobody_out_who_has_logged_in_from_there_before() -> None:
    clock = FakeClock()
    throttle = LoginThrottle(clock=clock)
    await throttle.check("ann", HERE)
    await throttle.succeeded("ann", HERE)
    await clock.advance(100_000)
    for number in range(200):
        await fail(throttle, "ann", f"198.51.100.{number}")
    with pytest.raises(RateLimited):
        await throttle.check("ann", "203.0.113.9")
    await throttle.check("ann", HERE)
    await throttle.succeeded("ann", HERE)
    assert await guesses(throttle, "ann", 20) == 10, "for that it is no free pass"


@async_test
async def test_one_address_that_tries_everybody_is_stopped() -> None:
    throttle = LoginThrottle(clock=FakeClock())
    assert sum([await fail(throttle, f"user{number}") for number in range(300)]) == 100
    assert await fail(throttle, "user7", "192.0.2.2")


@async_test
async def test_a_client_has_one_network_however_many_addresses() -> None:
    throttle = LoginThrottle(per_client=(3, 60), clock=FakeClock())
    addresses = ["2001:db8::1", "2001:db8::2", "2001:DB8:0:0:ffff::3", "2001:db8::4%eth0"]
    assert sum([await fail(throttle, "ann", each) for each in addresses]) == 3
    assert await fail(throttle, "ann", "2001:db8:0:1::1")


@async_test
async def test_one_address_is_one_however_it_is_written() -> None:
    throttle = LoginThrottle(per_client=(1, 60), clock=FakeClock())
    assert await fail(throttle, "ann", "192.0.2.1")
    assert not await fail(throttle, "ann", "::ffff:192.0.2.1")
    assert await fail(throttle, "ann", "::ffff:192.0.2.2"), "not all IPv4 is one network"


@async_test
async def test_a_name_is_one_however_it_is_written() -> None:
    throttle = LoginThrottle(per_client=(1, 60), clock=FakeClock())
    assert await fail(throttle, "Änn")
    for name in ("änn", "ÄNN", " änn\t", "a\u0308nn", "\uff41\u0308nn"):
        assert not await fail(throttle, name), name
    assert await fail(throttle, "ann")


@async_test
async def test_without_an_address_only_accounts_are_limited() -> None:
    throttle = LoginThrottle(per_address=(5, 60), clock=FakeClock())
    assert all([await fail(throttle, f"user{number}", None) for number in range(50)])
    assert sum([await fail(throttle, "ann", None) for _ in range(50)]) == 10


@async_test
async def test_a_client_that_goes_away_has_failed() -> None:
    throttle = LoginThrottle(per_client=(3, 60), clock=FakeClock())

    async def attempt() -> None:
        await throttle.check("ann", HERE)
        await asyncio.Event().wait()

    for _ in range(3):
        task = asyncio.create_task(attempt())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert not await fail(throttle, "ann")


# ------------------------------------------------------------------ memory


def size_of(throttle: LoginThrottle) -> int:
    kinds = (throttle._clients, throttle._accounts, throttle._addresses)
    return max(*(len(each._times) for each in kinds), len(throttle._known))


@async_test
async def test_it_remembers_no_more_than_it_was_told() -> None:
    throttle = LoginThrottle(per_address=(100_000, 300), most_keys=50, clock=FakeClock())
    for number in range(500):
        await fail(throttle, f"user{number}", f"10.0.{number // 200}.{number % 200}")
        await throttle.check(f"good{number}", HERE)
        await throttle.succeeded(f"good{number}", HERE)
    assert size_of(throttle) <= 50


@async_test
async def test_made_up_names_do_not_push_out_what_was_counted() -> None:
    throttle = LoginThrottle(per_address=(10**6, 300), most_keys=100, clock=FakeClock())
    assert await guesses(throttle, "ann", 10) == 10
    for number in range(5000):
        await fail(throttle, f"made up {number}")
    assert await guesses(throttle, "ann", 10) == 0


@async_test
async def test_what_is_over_makes_room_first() -> None:
    clock = FakeClock()
    throttle = LoginThrottle(
        per_client=(10, 60), per_address=(10**6, 60), most_keys=20, clock=clock
    )
    for number in range(10):
        await guesses(throttle, f"long ago {number}", 9)
    await clock.advance(60)
    for number in range(12):
        await fail(throttle, f"now {number}")
    assert sum([await guesses(throttle, f"now {number}", 20) for number in range(12)]) == 12 * 9


@async_test
async def test_names_are_kept_as_digests() -> None:
    throttle = LoginThrottle(clock=FakeClock())
    await fail(throttle, "ann canary" * 100_000)
    kept = repr([each._times for each in (throttle._clients, throttle._accounts)])
    assert "canary" not in kept
    assert len(kept) < 1000


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["fail", "good", "leave", "wait"]),
            st.sampled_from("ab"),
            st.sampled_from(["192.0.2.1", "192.0.2.2", None]),
        ),
        max_size=60,
    )
)
def test_within_any_window_no_client_fails_more_often_than_it_may(
    steps: list[tuple[str, str, str | None]],
) -> None:
    async def play() -> None:
        clock = FakeClock()
        throttle = LoginThrottle(per_client=(3, 10), per_address=(5, 10), clock=clock)
        failed: list[tuple[float, str, str | None]] = []
        waits: list[int] = []
        for what, account, address in steps:
            if what == "wait":
                await clock.advance(3)
                continue
            try:
                await throttle.check(account, address)
            except RateLimited as refusal:
                waits.append(refusal.retry_after_s)
                continue
            if what == "good":
                await throttle.succeeded(account, address)
                failed = [each for each in failed if each[1:] != (account, address)]
                continue
            if what == "fail":
                await throttle.failed(account, address)
            failed.append((clock.monotonic(), account, address))
        assert all(1 <= each <= 10 for each in waits)
        for at_s, _, _ in failed:
            recent = [each[1:] for each in failed if at_s <= each[0] < at_s + 10]
            assert max(Counter(recent).values()) <= 3

    asyncio.run(play())


# ------------------------------------------------------------------ several processes


@async_test
async def test_a_counter_makes_several_processes_one() -> None:
    clock = FakeClock()
    shared = Shared(clock)
    processes = [LoginThrottle(per_client=(4, 60), clock=clock, counter=shared) for _ in range(3)]
    tried = [await fail(processes[number % 3], "ann") for number in range(30)]
    assert sum(tried) == 4
    with pytest.raises(RateLimited) as caught:
        await processes[0].check("ann", HERE)
    assert caught.value.retry_after_s == 60
    await clock.advance(60)
    assert await fail(processes[1], "ann")
    for key in shared.times:
        assert key.isascii()
        assert key.isprintable()
        assert len(key) <= 64
        assert "ann" not in key


@async_test
async def test_whoever_the_counter_refuses_is_not_counted_here() -> None:
    clock = FakeClock()
    shared = Shared(clock)
    one, other = (LoginThrottle(per_client=(2, 60), clock=clock, counter=shared) for _ in range(2))
    assert await guesses(one, "ann", 2) == 2
    await clock.advance(30)
    assert await guesses(other, "ann", 50) == 0
    await clock.advance(30)
    assert await guesses(other, "ann", 50) == 2


@async_test
async def test_without_the_counter_each_process_counts_for_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = FakeClock()
    shared = Shared(clock)
    shared.down = True
    throttle = LoginThrottle(per_client=(4, 60), clock=clock, counter=shared)
    assert await guesses(throttle, "ann", 20) == 4
    assert caplog.text.count("this process alone") == 1
    await clock.advance(60)
    await fail(throttle, "ann")
    assert caplog.text.count("this process alone") == 2


@async_test
async def test_a_counter_that_was_given_is_not_replaced() -> None:
    clock = FakeClock()
    given, another = Shared(clock), Shared(clock)
    throttle = LoginThrottle(clock=clock, counter=given)
    throttle.count_with(another)
    await fail(throttle, "ann")
    assert given.times
    assert not another.times
    alone = LoginThrottle(clock=clock)
    alone.count_with(another)
    await fail(alone, "ann")
    assert another.times


@pytest.mark.parametrize(
    "options",
    [
        {"per_client": (0, 300)},
        {"per_account": (1, 0)},
        {"per_address": (-1, 5)},
        {"most_keys": 0},
    ],
    ids=str,
)
def test_limits_that_could_not_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadAuth, match=next(iter(options))):
        LoginThrottle(**options)
