"""Refresh tokens that are copied, replayed, raced, guessed, or shown in the wrong place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.forging import Genuine, hmac_signed
from tests.attacks.stage import (
    SECRET,
    Stage,
    Standing,
    assert_problem,
    assert_refused,
    bearer,
    service,
)
from tests.db.places import at
from tests.jobs.desks import needs_postgres
from tests.support import async_test

DATABASES = ["sqlite", pytest.param("postgresql+asyncpg", marks=needs_postgres)]
AT_ONCE = 20
DAY_S = 86_400


@asynccontextmanager
async def on(database: str, folder: Path, **options: Any) -> AsyncIterator[Stage]:
    with at(database, folder) as url:
        async with service(folder, url=url, **options) as stage:
            yield stage


async def exchanged(stage: Stage, refresh_token: str, **fields: str) -> dict[str, Any]:
    answer = await stage.refresh(refresh_token, **fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def assert_dead(stage: Stage, *grants: dict[str, Any]) -> None:
    """Neither token of any of these counts."""
    for each in grants:
        assert_problem(await stage.refresh(each["refresh_token"]), 400)
        await assert_refused(stage, each["access_token"])


@pytest.mark.parametrize("database", DATABASES)
@async_test
async def test_a_copy_that_is_replayed_ends_the_whole_family(database: str, tmp_path: Path) -> None:
    async with on(database, tmp_path) as stage:
        family = [await stage.log_in("ada")]
        for _ in range(3):
            family.append(await exchanged(stage, family[-1]["refresh_token"]))
        bystander, other = await stage.log_in("ada"), await stage.log_in("bob")
        assert_problem(await stage.refresh(family[1]["refresh_token"]), 400)
        await assert_dead(stage, *family)
        for each in (bystander, other):
            assert await stage.is_in(each["access_token"])
            await exchanged(stage, each["refresh_token"])


@pytest.mark.parametrize("generation", range(4))
@async_test
async def test_any_generation_gives_the_thief_away(generation: int) -> None:
    async with service() as stage:
        family = [await stage.log_in("ada")]
        for _ in range(4):
            family.append(await exchanged(stage, family[-1]["refresh_token"]))
        assert_problem(await stage.refresh(family[generation]["refresh_token"]), 400)
        await assert_dead(stage, *family)


@pytest.mark.parametrize("database", DATABASES)
@async_test
async def test_of_twenty_replays_at_once_one_at_most_gets_in_and_then_nobody(
    database: str, tmp_path: Path
) -> None:
    async with on(database, tmp_path) as stage:
        first = await stage.log_in("ada")
        answers = await asyncio.gather(
            *(stage.refresh(first["refresh_token"]) for _ in range(AT_ONCE))
        )
        assert all(each.status_code in (200, 400) for each in answers)
        won = [each.json() for each in answers if each.status_code == 200]
        assert len(won) <= 1
        for each in answers:
            if each.status_code != 200:
                assert_problem(each, 400)
        await assert_dead(stage, first, *won)


@pytest.mark.parametrize("database", DATABASES)
@async_test
async def test_replays_at_two_services_at_once_are_found_out_as_well(
    database: str, tmp_path: Path
) -> None:
    with at(database, tmp_path) as url:
        async with service(tmp_path, url=url) as here, service(tmp_path, url=url) as there:
            first = await here.log_in("ada")
            answers = await asyncio.gather(
                *(stage.refresh(first["refresh_token"]) for stage in (here, there) * (AT_ONCE // 2))
            )
            won = [each.json() for each in answers if each.status_code == 200]
            assert len(won) <= 1
            assert {each.status_code for each in answers} <= {200, 400}
            for stage in (here, there):
                await stage.clock.advance(2)  # what the other has revoked is known by now
                await assert_dead(stage, first, *won)


@pytest.mark.parametrize("where", ["/logout", "/logout/everywhere", "/token/revoke"])
@async_test
async def test_nothing_is_exchanged_after_logging_out(where: str) -> None:
    async with service() as stage:
        grant = await stage.log_in("ada")
        form = {"token": grant["refresh_token"]} if where == "/token/revoke" else {}
        answer = await stage.client.post(where, headers=bearer(grant["access_token"]), data=form)
        assert answer.is_success
        await assert_dead(stage, grant)


@pytest.mark.parametrize("days", [30, 31, 3650])
@async_test
async def test_nothing_is_exchanged_after_its_end(days: int) -> None:
    async with service() as stage:
        grant = await stage.log_in("ada")
        await stage.clock.advance(days * DAY_S)
        await assert_dead(stage, grant)


@async_test
async def test_exchanging_goes_on_for_as_long_as_somebody_does_and_each_token_for_its_own_time() -> (
    None
):
    async with service(terms={"REFRESH_TOKEN_EXPIRE_DAYS": 2}) as stage:
        grant = await stage.log_in("ada")
        for _ in range(4):
            await stage.clock.advance(1.5 * DAY_S)
            assert not await stage.is_in(grant["access_token"])
            grant = await exchanged(stage, grant["refresh_token"])
        await stage.clock.advance(2 * DAY_S)
        await assert_dead(stage, grant)


# ------------------------------------------------------------------ what is no refresh token

Change = Callable[[str], str]
CHANGES: dict[str, Change] = {
    "without its last character": lambda token: token[:-1],
    "its first half": lambda token: token[:24],
    "its beginning alone": lambda token: token[:4],
    "without its beginning": lambda token: token[4:],
    "with another beginning": lambda token: f"bsk_{token[4:]}",
    "in capitals": lambda token: token.upper(),
    "the other case": lambda token: f"bsr_{token[4:].swapcase()}",
    "one character is another": lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
    "twice": lambda token: token * 2,
    "with a zero byte behind it": lambda token: f"{token}\0",
    "with a zero byte in it": lambda token: f"{token[:9]}\0{token[9:]}",
    "with a zero byte in place of one": lambda token: f"{token[:9]}\0{token[10:]}",
    "with a line break": lambda token: f"{token}\n",
    "with a space before it": lambda token: f" {token}",
    "with a space behind it": lambda token: f"{token} ",
    "padded": lambda token: f"{token}=",
    "quoted": lambda token: f'"{token}"',
    "percent-encoded": lambda token: token.replace("_", "%5F"),
    "with a full-width letter": lambda token: f"\uff42{token[1:]}",
    "with a joiner in it": lambda token: f"{token[:9]}\u200d{token[9:]}",
    "as a bearer": lambda token: f"Bearer {token}",
    "guessed": lambda _: "bsr_" + "A" * 43,
    "a percent sign for LIKE": lambda _: "bsr_" + "%" * 43,
    "SQL": lambda _: "' OR 1=1 --",
    "very long": lambda token: token + "A" * 100_000,
    "the word null": lambda _: "null",
    "JSON": lambda token: f'{{"$gt": "{token[:9]}"}}',
}


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    with Standing() as found:
        yield found


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_looks_like_a_refresh_token_is_none(change: Change, standing: Standing) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        grant = await stage.log_in("ada")
        answer = await stage.refresh(change(grant["refresh_token"]))
        assert_problem(answer, 400)
        assert answer.json()["error"] == "invalid_grant"
        # Nor does it end the session: it is no copy of anything.
        assert await stage.is_in(grant["access_token"])
        await exchanged(stage, grant["refresh_token"])
        await stage.assert_untouched()

    standing.run(try_it)


PLACES: dict[str, Callable[[Stage, str], Awaitable[Any]]] = {
    "in the query": lambda stage, token: stage.client.post(
        "/token", params={"grant_type": "refresh_token", "refresh_token": token}
    ),
    "in JSON": lambda stage, token: stage.client.post(
        "/token", json={"grant_type": "refresh_token", "refresh_token": token}
    ),
    "in a cookie": lambda stage, token: stage.client.post(
        "/token",
        data={"grant_type": "refresh_token"},
        headers={"Cookie": f"refresh_token={token}"},
    ),
    "in the header": lambda stage, token: stage.client.post(
        "/token", data={"grant_type": "refresh_token"}, headers=bearer(token)
    ),
    "as a file": lambda stage, token: stage.client.post(
        "/token", files={"grant_type": (None, "refresh_token"), "refresh_token": ("x", token)}
    ),
    "twice": lambda stage, token: stage.client.post(
        "/token", data={"grant_type": "refresh_token", "refresh_token": [token, token]}
    ),
    "as a password": lambda stage, token: stage.client.post(
        "/token", data={"grant_type": "password", "username": "ada", "password": token}
    ),
    "for another grant": lambda stage, token: stage.client.post(
        "/token", data={"grant_type": "authorization_code", "refresh_token": token}
    ),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_refresh_token_is_exchanged_in_its_place_alone(
    place: Callable[[Stage, str], Awaitable[Any]], standing: Standing
) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        grant = await stage.log_in("ada")
        assert_problem(await place(stage, grant["refresh_token"]), 400, 401, 422)
        await exchanged(stage, grant["refresh_token"])

    standing.run(try_it)


def test_a_refresh_token_opens_nothing_and_an_access_token_gets_nothing(
    standing: Standing,
) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        grant = await stage.log_in("ada")
        await assert_refused(stage, grant["refresh_token"])
        answer = await stage.send("a dependency", headers={"X-API-Key": grant["refresh_token"]})
        assert_problem(answer, 401)
        assert_problem(await stage.refresh(grant["access_token"]), 400)
        access = Genuine.of(grant["access_token"])
        dressed_up = hmac_signed(access.headed(typ="refresh+jwt"), access.claims, SECRET)
        assert_problem(await stage.refresh(dressed_up), 400)
        await exchanged(stage, grant["refresh_token"])

    standing.run(try_it)


def test_a_refresh_token_stays_its_users(standing: Standing) -> None:
    """Whatever else is in the form, and whoever's access token comes with it."""
    stage = standing.stage()

    async def try_it() -> None:
        ada, bob = await stage.log_in("ada"), await stage.log_in("bob")
        answer = await stage.client.post(
            "/token",
            data={
                "grant_type": "refresh_token",
                "refresh_token": bob["refresh_token"],
                "username": "ada",
                "password": "ada of the shop",
                "sub": "ada",
                "client_id": "ada",
                "scope": "articles orders",
            },
            headers=bearer(ada["access_token"]),
        )
        claims = Genuine.of(answer.json()["access_token"]).claims
        assert (claims["sub"], claims["scope"], claims["roles"]) == ("bob", "orders", [])

    standing.run(try_it)


# ------------------------------------------------------------------ the window for lost answers


@pytest.mark.parametrize("database", DATABASES)
@async_test
async def test_within_the_window_there_is_one_token_that_counts(
    database: str, tmp_path: Path
) -> None:
    async with on(database, tmp_path, terms={"REFRESH_REUSE_SECONDS": 10}) as stage:
        first = await stage.log_in("ada")
        lost = await exchanged(stage, first["refresh_token"])
        await stage.clock.advance(9)
        found = await exchanged(stage, first["refresh_token"])
        # The one whose answer was lost is a copy now: whoever shows it is found out.
        assert_problem(await stage.refresh(lost["refresh_token"]), 400)
        await assert_dead(stage, first, lost, found)


@pytest.mark.parametrize("wait_s", [10, 11, 3600])
@async_test
async def test_after_the_window_a_replay_is_a_replay(wait_s: int) -> None:
    async with service(terms={"REFRESH_REUSE_SECONDS": 10}) as stage:
        first = await stage.log_in("ada")
        second = await exchanged(stage, first["refresh_token"])
        await stage.clock.advance(wait_s)
        assert_problem(await stage.refresh(first["refresh_token"]), 400)
        await assert_dead(stage, first, second)


@async_test
async def test_within_the_window_too_a_replay_after_the_next_exchange_is_a_replay() -> None:
    async with service(terms={"REFRESH_REUSE_SECONDS": 10}) as stage:
        first = await stage.log_in("ada")
        second = await exchanged(stage, first["refresh_token"])
        third = await exchanged(stage, second["refresh_token"])
        assert_problem(await stage.refresh(first["refresh_token"]), 400)
        await assert_dead(stage, first, second, third)


@pytest.mark.parametrize("database", DATABASES)
@async_test
async def test_a_race_within_the_window_leaves_no_two_tokens_that_count(
    database: str, tmp_path: Path
) -> None:
    async with on(database, tmp_path, terms={"REFRESH_REUSE_SECONDS": 10}) as stage:
        first = await stage.log_in("ada")
        answers = await asyncio.gather(
            *(stage.refresh(first["refresh_token"]) for _ in range(AT_ONCE))
        )
        assert {each.status_code for each in answers} <= {200, 400}
        won = [each.json() for each in answers if each.status_code == 200]
        next_ones = [await stage.refresh(each["refresh_token"]) for each in won]
        assert sum(each.status_code == 200 for each in next_ones) <= 1
        await assert_dead(stage, first, *won)


@async_test
async def test_no_refresh_token_is_in_the_database_or_the_events() -> None:
    async with service() as stage:
        first = await stage.log_in("ada")
        second = await exchanged(stage, first["refresh_token"])
        await stage.refresh(first["refresh_token"])
        await stage.assert_nowhere(
            *(each[name] for each in (first, second) for name in ("refresh_token", "access_token")),
            "ada of the shop",
        )
