"""Whether a name and a password belong together, and how often somebody may guess."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backstay.auth import Audit, BaseAuthJWT, LoginThrottle
from backstay.auth.hooks import Hooks
from backstay.auth.login_check import LoginCheck
from backstay.errors import BadAuth, RateLimited
from backstay.testing import FakeClock
from tests.auth.service import People
from tests.support import async_test


def check_of(
    declared: Any = People, *, most: int | None = None, heard: list[str] | None = None
) -> LoginCheck:
    audit = Audit(clock=FakeClock())
    if heard is not None:
        audit.add_sink(lambda event: heard.append(event.name))
    throttle = None if most is None else LoginThrottle(per_client=(most, 60), clock=FakeClock())
    return LoginCheck(Hooks(declared), throttle=throttle, audit=audit)


@pytest.mark.parametrize("most", [None, 3], ids=["unlimited", "limited"])
@async_test
async def test_the_app_says_who_may_log_in(most: int | None) -> None:
    check = check_of(most=most)
    assert await check.passes("ada", "adaada", None)
    assert not await check.passes("ada", "wrong", None)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("", ""),
        ("x" * 257, "x"),
        ("ada", "x" * 4097),
        ("ada\0", "x"),
        ("ada", "x\0"),
    ],
    ids=["nobody", "long name", "long password", "zero in the name", "zero in the password"],
)
@async_test
async def test_the_app_is_not_bothered_with_what_nobody_is_called(name: str, password: str) -> None:
    class Anybody(BaseAuthJWT):
        async def check_auth(self, username: str, password: str) -> bool:
            raise AssertionError("it was asked")

    assert not await check_of(Anybody, most=3).passes(name, password, "10.0.0.1")


@async_test
async def test_guessing_is_slowed_down_and_success_is_not() -> None:
    heard: list[str] = []
    check = check_of(most=3, heard=heard)
    for _ in range(10):
        assert await check.passes("ada", "adaada", "10.0.0.1")
    for _ in range(3):
        assert not await check.passes("ada", "wrong", "10.0.0.1")
    with pytest.raises(RateLimited):
        await check.passes("ada", "adaada", "10.0.0.1")
    assert heard == ["throttled"]
    assert await check.passes("ada", "adaada", "10.0.0.2")


@async_test
async def test_a_hundred_guesses_at_once_are_not_a_hundred_guesses() -> None:
    tried = []

    class Counting(BaseAuthJWT):
        async def check_auth(self, username: str, password: str) -> bool:
            tried.append(password)
            await asyncio.sleep(0)
            return False

    check = check_of(Counting, most=5)
    await asyncio.gather(
        *(check.passes("ada", f"{n}", "10.0.0.1") for n in range(100)), return_exceptions=True
    )
    assert len(tried) == 5


@async_test
async def test_a_check_that_fails_counts_as_a_guess() -> None:
    class Broken(BaseAuthJWT):
        async def check_auth(self, username: str, password: str) -> Any:
            return "yes"

    check = check_of(Broken, most=2)
    for _ in range(2):
        with pytest.raises(BadAuth):
            await check.passes("ada", "x", "10.0.0.1")
    with pytest.raises(RateLimited):
        await check.passes("ada", "x", "10.0.0.1")


@async_test
async def test_a_client_that_leaves_has_guessed_all_the_same() -> None:
    begun = asyncio.Event()

    class Slow(BaseAuthJWT):
        async def check_auth(self, username: str, password: str) -> bool:
            begun.set()
            await asyncio.Event().wait()
            return True

    check = check_of(Slow, most=1)
    guess = asyncio.create_task(check.passes("ada", "x", "10.0.0.1"))
    await begun.wait()
    guess.cancel()
    await asyncio.gather(guess, return_exceptions=True)
    with pytest.raises(RateLimited):
        await check.passes("ada", "y", "10.0.0.1")
