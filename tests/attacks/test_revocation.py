"""Sessions that were ended, and everything somebody may still hold of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.forging import Genuine
from tests.attacks.stage import GUARDED, Stage, assert_problem, assert_refused, bearer, service
from tests.db.places import at
from tests.jobs.desks import needs_postgres
from tests.support import async_test

DATABASES = ["sqlite", pytest.param("postgresql+asyncpg", marks=needs_postgres)]


@asynccontextmanager
async def two_services(database: str, folder: Path) -> AsyncIterator[tuple[Stage, Stage]]:
    """Two processes of one service, as far as they know of each other."""
    with at(database, folder) as url:
        async with service(folder, url=url) as here, service(folder, url=url) as there:
            yield here, there


async def assert_dead(stage: Stage, *grants: dict[str, Any]) -> None:
    for each in grants:
        await assert_refused(stage, each["access_token"])
        assert_problem(await stage.refresh(each["refresh_token"]), 400)


@async_test
async def test_logging_out_ends_one_session_and_no_other() -> None:
    async with service() as stage:
        phone, laptop, bob = [await stage.log_in(name) for name in ("ada", "ada", "bob")]
        await stage.client.post("/logout", headers=bearer(phone["access_token"]))
        await assert_dead(stage, phone)
        for each in (laptop, bob):
            assert await stage.is_in(each["access_token"])
            assert (await stage.refresh(each["refresh_token"])).status_code == 200


@async_test
async def test_all_access_tokens_of_a_session_end_with_it_older_ones_included() -> None:
    async with service() as stage:
        family = [await stage.log_in("ada")]
        for _ in range(3):
            family.append((await stage.refresh(family[-1]["refresh_token"])).json())
        assert [await stage.is_in(each["access_token"]) for each in family] == [True] * 4
        await stage.client.post("/logout", headers=bearer(family[1]["access_token"]))
        await assert_dead(stage, *family)


@pytest.mark.parametrize("database", DATABASES)
@async_test
async def test_logging_out_everywhere_ends_the_others_too(database: str, tmp_path: Path) -> None:
    async with two_services(database, tmp_path) as (here, there):
        sessions = [await here.log_in("ada"), await there.log_in("ada"), await here.log_in("ada")]
        bob = await here.log_in("bob")
        answer = await here.client.post(
            "/logout/everywhere", headers=bearer(sessions[0]["access_token"])
        )
        assert answer.status_code == 204
        await assert_dead(here, *sessions)
        await there.clock.advance(1)
        await assert_dead(there, *sessions)
        assert await here.is_in(bob["access_token"])
        # In the same moment, by this clock: who knows the password is in again at once.
        new = await here.log_in("ada")
        for stage in (here, there):
            assert await stage.is_in(new["access_token"])
        await there.clock.advance(60)
        assert await there.is_in(new["access_token"])


@pytest.mark.parametrize("what", ["/logout", "/logout/everywhere", "access token", "refresh token"])
@pytest.mark.parametrize("database", DATABASES)
@async_test
async def test_the_other_process_knows_within_the_delay(
    database: str, what: str, tmp_path: Path
) -> None:
    async with two_services(database, tmp_path) as (here, there):
        grant = await here.log_in("ada")
        token = grant["access_token"]
        assert await there.is_in(token)
        if what.startswith("/"):
            answer = await here.client.post(what, headers=bearer(token))
        else:
            shown = grant[what.replace(" ", "_")]
            answer = await here.client.post("/token/revoke", data={"token": shown})
        assert answer.is_success
        await assert_refused(here, token)
        await there.clock.advance(1)
        await assert_refused(there, token)
        if what == "access token":  # alone: its session goes on
            assert (await there.refresh(grant["refresh_token"])).status_code == 200
        else:
            assert_problem(await there.refresh(grant["refresh_token"]), 400)


@async_test
async def test_a_replay_ends_the_session_in_the_other_process_too(tmp_path: Path) -> None:
    async with two_services("sqlite", tmp_path) as (here, there):
        first = await here.log_in("ada")
        second = (await there.refresh(first["refresh_token"])).json()
        assert_problem(await here.refresh(first["refresh_token"]), 400)
        await there.clock.advance(1)
        await assert_dead(there, first, second)


@async_test
async def test_what_was_revoked_is_revoked_after_a_restart(tmp_path: Path) -> None:
    async with service(tmp_path) as stage:
        alone, everywhere = await stage.log_in("ada"), await stage.log_in("bob")
        await stage.client.post("/logout", headers=bearer(alone["access_token"]))
        await stage.client.post("/logout/everywhere", headers=bearer(everywhere["access_token"]))
    async with service(tmp_path) as stage:
        await assert_dead(stage, alone, everywhere)


@async_test
async def test_a_token_stays_revoked_for_as_long_as_it_would_have_counted() -> None:
    async with service() as stage:
        token = await stage.token("ada")
        await stage.client.post("/token/revoke", data={"token": token})
        for _ in range(20):
            await stage.clock.advance(120)
            await stage.auth.prune()
            await assert_refused(stage, token)


@async_test
async def test_of_somebody_elses_session_nobody_ends_anything() -> None:
    async with service() as stage:
        ada, bob = await stage.log_in("ada"), await stage.log_in("bob")
        claims = Genuine.of(ada["access_token"]).claims
        headers = bearer(bob["access_token"])
        for options in (
            {"params": {"sid": claims["sid"], "sub": "ada", "username": "ada"}},
            {"data": {"sid": claims["sid"], "sub": "ada"}},
            {"json": {"sid": claims["sid"], "sub": "ada"}},
        ):
            await stage.client.request("POST", "/token/revoke", headers=headers, **options)  # type: ignore[arg-type]  # each of them one option
        for shown in (claims["sid"], claims["jti"], "ada", "*", "%", "bsr_" + "%" * 43):
            await stage.client.post("/token/revoke", data={"token": shown}, headers=headers)
        await stage.client.post("/logout/everywhere?sub=ada", headers=headers)
        assert await stage.is_in(ada["access_token"])
        assert not await stage.is_in(bob["access_token"])
        assert (await stage.refresh(ada["refresh_token"])).status_code == 200


@pytest.mark.parametrize("path", ["/logout", "/logout/everywhere"])
@async_test
async def test_an_api_key_ends_no_sessions(path: str) -> None:
    async with service() as stage:
        token, key = await stage.token("ada"), await stage.api_key("ada")
        for headers in ({"X-API-Key": key}, bearer(key)):
            assert_problem(await stage.client.post(path, headers=headers), 403)
        assert await stage.is_in(token)


@async_test
async def test_giving_back_what_is_unknown_tells_nothing_apart() -> None:
    async with service() as stage:
        grant = await stage.log_in("ada")
        answers = [
            await stage.client.post("/token/revoke", data={"token": shown})
            for shown in ("x", "bsr_" + "A" * 43, grant["refresh_token"], grant["refresh_token"])
        ]
        assert {(each.status_code, each.text) for each in answers} == {(200, "null")}


@async_test
async def test_a_user_who_was_taken_out_keeps_no_session_beyond_the_next_refresh() -> None:
    async with service() as stage:
        grant = await stage.log_in("ada")
        stage.people["ada"].active = False
        assert_problem(await stage.refresh(grant["refresh_token"]), 400)
        await assert_dead(stage, grant)
        stage.people["ada"].active = True
        await assert_dead(stage, grant)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
@async_test
async def test_no_link_and_no_picture_logs_anybody_out(method: str) -> None:
    """A page of somebody else's can have a browser send these."""
    async with service() as stage:
        token = await stage.token("ada")
        for path in ("/logout", "/logout/everywhere", "/token/revoke", "/token"):
            answer = await stage.client.request(
                method, path, params={"token": token}, headers=bearer(token)
            )
            assert answer.status_code == 405
        assert await stage.is_in(token)


@async_test
async def test_every_guarded_route_forgets_a_session_at_once() -> None:
    async with service() as stage:
        for route in sorted(set(GUARDED) - {"a way out", "a view set, deleting"}):
            token = await stage.token("ada")
            assert (await stage.send(route, headers=bearer(token))).is_success
            await stage.client.post("/logout", headers=bearer(token))
            assert_problem(await stage.send(route, headers=bearer(token)), 401)
            assert await stage.connect(bearer(token)) == 401
