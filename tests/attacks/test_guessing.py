"""Passwords that are guessed: by one, by many, from everywhere, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from backstay.auth import LoginThrottle
from backstay.testing import FakeClock
from tests.attacks.stage import Stage, assert_problem, from_address, service
from tests.support import async_test, shown

WINDOW_S = 60
HOME = "203.0.113.7"
ATTACKER = "198.51.100.66"


@asynccontextmanager
async def braked(
    per_client: int = 5, per_account: int = 10, per_address: int = 20, **options: Any
) -> AsyncIterator[Stage]:
    """A service at which somebody may be wrong so often within a minute."""
    clock = FakeClock()
    throttle = LoginThrottle(
        per_client=(per_client, WINDOW_S),
        per_account=(per_account, WINDOW_S),
        per_address=(per_address, WINDOW_S),
        clock=clock,
    )
    async with service(clock=clock, client_limits=throttle, **options) as stage:
        yield stage


async def guess(
    client: httpx.AsyncClient, name: str = "ada", password: str = "wrong", **options: Any
) -> httpx.Response:
    form = {"username": name, "password": password}
    return await client.post("/token", data=form, **options)


async def guesses(
    stage: Stage, many: int, name: str = "ada", address: str = ATTACKER, **options: Any
) -> list[int]:
    async with from_address(stage, address) as client:
        return [(await guess(client, name, f"{n}", **options)).status_code for n in range(many)]


async def knows(stage: Stage, name: str = "ada", address: str = HOME) -> int:
    """What somebody hears who knows the password."""
    async with from_address(stage, address) as client:
        return (await guess(client, name, f"{name} of the shop")).status_code


def wrong(seen: Iterable[int]) -> int:
    """How many were looked at; the others were told to wait."""
    found = list(seen)
    assert set(found) <= {401, 429}
    return found.count(401)


@async_test
async def test_who_guesses_is_told_to_wait_and_how_long_and_may_come_back_then() -> None:
    async with braked() as stage:
        assert await guesses(stage, 8) == [401] * 5 + [429] * 3
        async with from_address(stage, ATTACKER) as client:
            answer = await guess(client, "ada", "ada of the shop")
            assert_problem(answer, 429)
            wait_s = int(answer.headers["retry-after"])
            assert 0 < wait_s <= WINDOW_S
            await stage.clock.advance(wait_s)
            assert (await guess(client, "ada", "ada of the shop")).status_code == 200


@async_test
async def test_what_is_refused_is_not_hashed_and_tells_nothing_of_the_password() -> None:
    async with braked() as stage:
        await guesses(stage, 5)
        before = stage.hasher.verified
        async with from_address(stage, ATTACKER) as client:
            right, false = [await guess(client, "ada", p) for p in ("ada of the shop", "wrong")]
        for each in (right, false):
            assert_problem(each, 429)
        assert right.json()["detail"] == false.json()["detail"]
        assert right.headers["retry-after"] == false.headers["retry-after"]
        assert stage.hasher.verified == before


@async_test
async def test_names_that_nobody_has_are_braked_like_others() -> None:
    async with braked() as stage:
        assert await guesses(stage, 7, "zoe") == await guesses(stage, 7, "bob", "198.51.100.67")


@async_test
async def test_many_machines_that_guess_at_one_account_are_braked_together() -> None:
    async with braked() as stage:
        seen = [await guesses(stage, 2, address=f"198.51.100.{n}") for n in range(20)]
        assert wrong(status for each in seen for status in each) == 10


@async_test
async def test_one_machine_that_tries_everybodys_name_is_braked() -> None:
    async with braked() as stage:
        seen = [await guesses(stage, 1, f"somebody {n}") for n in range(40)]
        assert wrong(status for each in seen for status in each) == 20


@async_test
async def test_a_hundred_guesses_at_once_are_no_more_than_one_after_the_other() -> None:
    async with braked() as stage, from_address(stage, ATTACKER) as client:
        answers = await asyncio.gather(*(guess(client, "ada", f"{n}") for n in range(100)))
        assert wrong(each.status_code for each in answers) == 5
        assert stage.hasher.verified == 5


@async_test
async def test_the_owner_gets_in_while_others_guess() -> None:
    async with braked() as stage:
        assert await knows(stage) == 200
        for n in range(20):
            await guesses(stage, 5, address=f"198.51.100.{n}")
        assert await knows(stage) == 200
        # From where nobody has seen him yet, he has to wait like the others.
        assert await knows(stage, address="192.0.2.99") == 429


@async_test
async def test_ones_own_account_washes_nothing_away() -> None:
    """Logging in to it between the guesses forgives the guesses at none but that."""
    async with braked() as stage:
        seen = []
        for _ in range(30):
            assert await knows(stage, "eve", ATTACKER) in (200, 429)
            seen += await guesses(stage, 1, "ada")
        assert wrong(seen) == 5
        for n in range(30):
            await knows(stage, "eve", ATTACKER)
            seen += await guesses(stage, 1, f"somebody {n}")
        assert wrong(seen) == 20


@async_test
async def test_a_success_lets_others_guess_no_longer() -> None:
    async with braked() as stage:
        for n in range(5):
            await guesses(stage, 2, address=f"198.51.100.{n}")
        await knows(stage)
        assert await guesses(stage, 1, address="198.51.100.77") == [429]


# ------------------------------------------------------------------ addresses that are made up

SPOOFED = {
    "X-Forwarded-For": "10.9.8.{}",
    "x-forwarded-for": "10.9.8.{}, 10.0.0.1",
    "X-Real-IP": "10.9.8.{}",
    "X-Client-IP": "10.9.8.{}",
    "Client-IP": "10.9.8.{}",
    "True-Client-IP": "10.9.8.{}",
    "CF-Connecting-IP": "10.9.8.{}",
    "Fastly-Client-IP": "10.9.8.{}",
    "X-Originating-IP": "10.9.8.{}",
    "X-Cluster-Client-IP": "10.9.8.{}",
    "Forwarded": "for=10.9.8.{}",
    "Via": "1.1 10.9.8.{}",
    "X-Forwarded-Host": "10.9.8.{}",
}


@pytest.mark.parametrize("header", SPOOFED)
@pytest.mark.parametrize("behind_proxy", [False, True])
@async_test
async def test_no_header_makes_a_client_another(behind_proxy: bool, header: str) -> None:
    options: dict[str, Any] = {"trusted_proxies": ["10.0.0.0/24"]} if behind_proxy else {}
    async with braked(**options) as stage:
        seen = []
        for n in range(30):
            seen += await guesses(stage, 1, headers={header: SPOOFED[header].format(n)})
        assert wrong(seen) == 5


@pytest.mark.parametrize(
    "written",
    [
        "10.9.8.{}, 198.51.100.66",
        "10.9.8.{}, garbage, 198.51.100.66",
        "10.9.8.{},198.51.100.66:44{}",
        "10.9.8.{}, ::ffff:198.51.100.66",
        "10.0.0.{}, 198.51.100.66, 10.0.0.9",
        "198.51.100.66, garbage {}",
        "garbage {}",
        "10.9.8.{}, ,198.51.100.66",
    ],
)
@async_test
async def test_behind_a_proxy_what_a_client_wrote_itself_counts_for_nothing(written: str) -> None:
    async with braked(trusted_proxies=["10.0.0.0/24"]) as stage:
        seen = []
        for n in range(30):
            headers = {"X-Forwarded-For": written.replace("{}", str(n))}
            seen += await guesses(stage, 1, address="10.0.0.1", headers=headers)
        assert wrong(seen) == 5


@async_test
async def test_behind_a_proxy_several_lines_of_the_header_are_one() -> None:
    async with braked(trusted_proxies=["10.0.0.0/24"]) as stage:
        seen = []
        for n in range(30):
            headers = [("X-Forwarded-For", f"10.9.8.{n}"), ("X-Forwarded-For", ATTACKER)]
            seen += await guesses(stage, 1, address="10.0.0.1", headers=headers)
        assert wrong(seen) == 5


@pytest.mark.parametrize(
    "address",
    [
        "2001:db8:1:2::{:x}",
        "2001:db8:1:2:{:x}::1",
        "2001:DB8:1:2::{:x}",
        "2001:db8:0001:0002:0:0:0:{:x}",
        "fe80::{:x}%eth0",
    ],
)
@async_test
async def test_the_addresses_of_one_ipv6_network_are_one_client(address: str) -> None:
    async with braked() as stage:
        seen = []
        for n in range(1, 31):
            seen += await guesses(stage, 1, address=address.format(n))
        assert wrong(seen) == 5


@async_test
async def test_an_ipv4_address_written_as_ipv6_is_the_same_client() -> None:
    async with braked() as stage:
        seen = []
        for n in range(30):
            seen += await guesses(stage, 1, address=[ATTACKER, f"::ffff:{ATTACKER}"][n % 2])
        assert wrong(seen) == 5


@async_test
async def test_another_ipv6_network_is_another_client_of_the_same_account() -> None:
    async with braked() as stage:
        seen = []
        for n in range(30):
            seen += await guesses(stage, 1, address=f"2001:db8:1:{n:x}::1")
        assert wrong(seen) == 10


# ------------------------------------------------------------------ names that look alike


@pytest.mark.parametrize(
    "names",
    [
        ["ada", "Ada", "ADA", "aDa"],
        ["ada", " ada", "ada ", "ada\t", "\nada", "\u00a0ada"],
        ["ada", "\uff41\uff44\uff41", "\U0001d41a\U0001d41d\U0001d41a", "\u24d0\u24d3\u24d0"],
        ["stra\u00dfe", "strasse", "STRASSE"],
        ["\ufb01n", "fin", "FIN"],
        ["\u00e9", "e\u0301", "\u00c9"],
        ["\u212b", "\u00e5", "a\u030a"],
    ],
    ids=shown,
)
@async_test
async def test_ways_to_write_a_name_are_one_account(names: list[str]) -> None:
    async with braked() as stage:
        seen = []
        for n in range(30):
            seen += await guesses(stage, 1, names[n % len(names)])
        assert wrong(seen) == 5


@async_test
async def test_made_up_names_push_nobodys_count_out() -> None:
    clock = FakeClock()
    throttle = LoginThrottle(
        per_client=(5, 60),
        per_account=(10, 60),
        per_address=(10_000, 60),
        clock=clock,
        most_keys=50,
    )
    async with service(clock=clock, client_limits=throttle) as stage:
        assert wrong(await guesses(stage, 6)) == 5
        for n in range(300):
            await guesses(stage, 1, f"made up {n}")
        assert await guesses(stage, 1) == [429]


# ------------------------------------------------------------------ other ways to guess


@async_test
async def test_no_way_to_write_the_form_gets_around_the_brake() -> None:
    async with braked() as stage, from_address(stage, ATTACKER) as client:
        seen = []
        for n in range(30):
            ways: list[dict[str, Any]] = [
                {"data": {"username": "ada", "password": f"{n}"}},
                {"data": {"username": "ada", "password": f"{n}", "grant_type": "password"}},
                {"data": {"username": "ada", "password": f"{n}", "scope": f"s{n}"}},
                {"data": {"username": "ada", "password": f"{n}", "client_id": f"{n}"}},
                {"files": {"username": (None, "ada"), "password": (None, f"{n}")}},
                {
                    "data": {"username": "ada", "password": f"{n}"},
                    "params": {"n": n},
                    "headers": {"User-Agent": f"{n}", "X-Request-ID": f"{n}", "Cookie": f"a={n}"},
                },
            ]
            seen.append((await client.post("/token", **ways[n % 6])).status_code)
        assert wrong(seen) == 5


@async_test
async def test_a_client_that_hangs_up_has_guessed_all_the_same() -> None:
    async with braked() as stage, from_address(stage, ATTACKER) as client:
        for n in range(10):
            trying = asyncio.create_task(guess(client, "ada", f"{n}"))
            before = stage.hasher.verified
            while stage.hasher.verified == before and not trying.done():
                await asyncio.sleep(0)
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)
        assert stage.hasher.verified <= 5
        assert (await guess(client)).status_code == 429


@async_test
async def test_the_brake_holds_on_the_wire() -> None:
    async with braked(wire=True) as stage:
        answers = await asyncio.gather(
            *(
                guess(stage.client, "ada", f"{n}", headers={"X-Forwarded-For": "garbage"})
                for n in range(12)
            )
        )
        assert wrong(each.status_code for each in answers) == 5
        for each in answers:
            assert_problem(each, 401, 429)
