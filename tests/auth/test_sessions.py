"""Logins, what comes of them, and how they end, races included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from backstay.auth import AuthPart
from backstay.auth.port import Revocation
from backstay.auth.sessions import Grant, Sessions
from backstay.errors import GrantRefused, TokensUncheckable
from backstay.testing import FakeClock
from tests.auth.service import FragileStore, People, service
from tests.support import async_test


@dataclass
class Desk:
    """Everything that a test of sessions wants to have in its hands."""

    auth: AuthPart
    sessions: Sessions
    store: FragileStore
    clock: FakeClock
    heard: list[tuple[str, str | None]]

    async def good(self, grant: Grant | str) -> bool:
        token = grant if isinstance(grant, str) else grant.access_token
        return await self.auth.verify_own(token) is not None

    async def refresh(self, grant: Grant, **options: Any) -> Grant:
        assert grant.refresh_token is not None
        return await self.sessions.refresh(grant.refresh_token, **options)


@asynccontextmanager
async def desk(declared: Any = People, **options: Any) -> AsyncIterator[Desk]:
    clock, store = FakeClock(), FragileStore()
    _, auth = service(declared, clock=clock, store=store, **options)
    heard: list[tuple[str, str | None]] = []
    auth.audit.add_sink(lambda event: heard.append((event.name, event.subject)))
    await auth.awake()
    yield Desk(auth, auth.sessions, store, clock, heard)
    await auth.close()


def people(**attributes: Any) -> Any:
    return type("Declared", (People,), attributes)


@async_test
async def test_a_login_gives_an_access_token_and_a_refresh_token() -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada", address="10.0.0.1")
        found = await at.auth.verify_own(grant.access_token)
        assert found is not None
        assert found.subject == "ada"
        assert found.scopes == {"orders", "photos"}
        assert found.claims["roles"] == ["admin"]
        assert found.claims["sid"] == grant.session
        assert grant.expires_in_s == 1800
        assert at.heard == [("login", "ada")]
        for token in (grant.access_token, grant.refresh_token):
            assert token is not None
            assert token not in repr(grant)


@async_test
async def test_nothing_of_a_refresh_token_is_stored() -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada")
        assert grant.refresh_token is not None
        assert grant.refresh_token.removeprefix("bsr_") not in repr(vars(at.store))


@async_test
async def test_a_wrong_login_is_refused_the_same_to_everybody() -> None:
    async with desk() as at:
        said = set()
        for name, password in (("ada", "wrong"), ("nobody", "x"), ("", ""), ("x" * 300, "x" * 600)):
            with pytest.raises(GrantRefused) as raised:
                await at.sessions.login(name, password)
            said.add((raised.value.status, str(raised.value)))
        assert said == {(401, "invalid_grant: Incorrect username or password.")}
        assert [event for event, _ in at.heard] == ["login_refused"] * 4


@async_test
async def test_a_client_gets_of_what_it_asks_for_what_the_user_may() -> None:
    async with desk() as at:
        assert (await at.sessions.login("ada", "adaada", scopes=["orders", "root"])).scopes == {
            "orders"
        }
        assert (await at.sessions.login("ada", "adaada", scopes=["root"])).scopes == set()


@async_test
async def test_a_refresh_gives_the_next_tokens_of_the_session_for_ever() -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada")
        seen = {grant.refresh_token}
        for _ in range(10):
            await at.clock.advance(29 * 86_400)
            following = await at.refresh(grant)
            assert following.session == grant.session
            assert following.refresh_token not in seen
            assert await at.good(following)
            seen.add(following.refresh_token)
            grant = following


@async_test
async def test_a_refresh_token_ends() -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada")
        await at.clock.advance(30 * 86_400)
        with pytest.raises(GrantRefused, match="invalid_grant"):
            await at.refresh(grant)


@async_test
async def test_a_used_refresh_token_ends_the_session_for_everybody() -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada")
        other = await at.sessions.login("ada", "adaada")
        following = await at.refresh(grant)
        with pytest.raises(GrantRefused) as raised:
            await at.refresh(grant)
        assert raised.value.status == 400
        assert ("refresh_reused", "ada") in at.heard
        assert not await at.good(grant)
        assert not await at.good(following)
        with pytest.raises(GrantRefused):
            await at.refresh(following)
        assert await at.good(other), "the other session is somebody else's"
        await at.refresh(other)


@async_test
async def test_a_lost_answer_may_be_asked_for_again_if_the_app_allows_it() -> None:
    async with desk(people(REFRESH_REUSE_SECONDS=10)) as at:
        grant = await at.sessions.login("ada", "adaada")
        await at.refresh(grant)
        again = await at.refresh(grant)
        assert await at.good(again)
        await at.refresh(again)
        with pytest.raises(GrantRefused):
            await at.refresh(grant)


@async_test
async def test_of_many_refreshes_at_once_one_succeeds() -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada")
        answers = await asyncio.gather(
            *(at.refresh(grant) for _ in range(20)), return_exceptions=True
        )
        given = [each for each in answers if isinstance(each, Grant)]
        assert len(given) <= 1
        assert all(isinstance(each, Grant | GrantRefused) for each in answers)
        for each in given:
            assert not await at.good(each), "twenty copies are nineteen too many"


@pytest.mark.parametrize(
    "token",
    ["", "bsr_", "bsr_" + "x" * 43, "bsr_" + "x" * 44, "BSR_" + "x" * 43, "x" * 100_000, "bsr_é"],
    ids=lambda token: f"{token:.8}",
)
@async_test
async def test_what_is_no_refresh_token_is_refused(token: str) -> None:
    async with desk() as at:
        with pytest.raises(GrantRefused, match="invalid_grant"):
            await at.sessions.refresh(token)


@async_test
async def test_an_access_token_is_no_refresh_token() -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada")
        with pytest.raises(GrantRefused):
            await at.sessions.refresh(grant.access_token)
        assert grant.refresh_token is not None
        assert not await at.good(grant.refresh_token)


@async_test
async def test_a_refresh_never_gives_more_than_the_login_gave_or_the_user_has_now() -> None:
    class Changing(People):
        has = "orders photos"

        async def add_jwt_body(self, username: str) -> dict[str, Any]:
            return {"scope": Changing.has}

    async with desk(Changing) as at:
        grant = await at.sessions.login("ada", "adaada", scopes=["orders"])
        grant = await at.refresh(grant, scopes=["orders", "photos"])
        assert grant.scopes == {"orders"}
        Changing.has = "photos"
        grant = await at.refresh(grant)
        assert grant.scopes == set()
        Changing.has = "orders root"
        assert (await at.refresh(grant)).scopes == {"orders"}


@async_test
async def test_a_user_who_may_not_go_on_is_logged_out_at_the_next_refresh() -> None:
    class Blocking(People):
        blocked = False

        def check_refresh(self, username: str) -> bool:
            return not Blocking.blocked

    async with desk(Blocking) as at:
        grant = await at.refresh(await at.sessions.login("ada", "adaada"))
        Blocking.blocked = True
        with pytest.raises(GrantRefused):
            await at.refresh(grant)
        assert not await at.good(grant)
        Blocking.blocked = False
        with pytest.raises(GrantRefused):
            await at.refresh(grant)


@async_test
async def test_a_hook_that_fails_costs_the_client_nothing() -> None:
    class Failing(People):
        fails = False

        async def add_jwt_body(self, username: str) -> dict[str, Any]:
            if Failing.fails:
                raise OSError("no database")
            return {}

    async with desk(Failing) as at:
        grant = await at.sessions.login("ada", "adaada")
        Failing.fails = True
        with pytest.raises(OSError, match="no database"):
            await at.refresh(grant)
        Failing.fails = False
        await at.refresh(grant)


@async_test
async def test_a_store_out_of_reach_gives_no_tokens() -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada")
        at.store.down = True
        for call in (
            at.sessions.login("ada", "adaada"),
            at.refresh(grant),
            at.sessions.end(grant.session, subject="ada"),
            at.sessions.end_all("ada"),
        ):
            with pytest.raises(TokensUncheckable):
                await call


@async_test
async def test_without_refresh_tokens_the_store_remembers_no_session() -> None:
    async with desk(people(REFRESH_TOKENS=False)) as at:
        grant = await at.sessions.login("ada", "adaada")
        assert grant.refresh_token is None
        assert await at.store.sessions("ada", now=at.clock.now()) == []
        await at.sessions.end_all("ada")
        assert not await at.good(grant)


@async_test
async def test_a_session_that_was_ended_is_over_at_once() -> None:
    async with desk() as at:
        grant, other = [await at.sessions.login("ada", "adaada") for _ in range(2)]
        await at.sessions.end(grant.session, subject="ada")
        assert not await at.good(grant)
        assert await at.good(other)
        with pytest.raises(GrantRefused):
            await at.refresh(grant)


@async_test
async def test_logging_out_everywhere_ends_what_is_and_not_what_comes() -> None:
    async with desk() as at:
        grants = [await at.sessions.login("ada", "adaada") for _ in range(3)]
        bobs = await at.sessions.login("bob", "bobbob")
        assert await at.sessions.end_all("ada") == 3
        assert [await at.good(each) for each in grants] == [False] * 3
        assert await at.good(bobs)
        # In the same moment: this clock stands still.
        again = await at.sessions.login("ada", "adaada")
        assert await at.good(again)
        assert await at.good(await at.refresh(again))


@async_test
async def test_a_login_right_after_it_counts_also_where_the_clock_is_behind() -> None:
    async with desk() as at:
        _, ahead = service(clock=FakeClock(at.clock.now() + timedelta(seconds=3)), store=at.store)
        grant = await at.sessions.login("ada", "adaada")
        await ahead.end_sessions("ada")
        await at.clock.advance(1)
        assert not await at.good(grant)
        assert await at.good(await at.sessions.login("ada", "adaada"))


@async_test
async def test_a_refresh_that_overtakes_the_logout_is_ended_by_it() -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada")

        async def log_out() -> None:
            await at.sessions.end_all("ada")

        at.store.before_rotation = log_out
        await at.clock.advance(5)
        following = await at.refresh(grant)
        assert not await at.good(following)
        with pytest.raises(GrantRefused):
            await at.refresh(following)


@async_test
async def test_a_login_that_overtakes_the_logout_is_ended_by_it() -> None:
    async with desk() as at:
        _, elsewhere = service(clock=at.clock, store=at.store)

        async def log_out() -> None:
            at.store.before_adding = None
            await elsewhere.end_sessions("ada")

        # The old password was checked already when it is changed, and everybody logged out.
        at.store.before_adding = log_out
        with pytest.raises(GrantRefused):
            await at.sessions.login("ada", "adaada")
        assert await at.store.sessions("ada", now=at.clock.now()) == []


@async_test
async def test_one_token_can_be_revoked_and_its_session_goes_on() -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada")
        found = await at.auth.verify_own(grant.access_token)
        assert found is not None
        await at.sessions.revoke(found)
        assert not await at.good(grant)
        assert await at.good(await at.refresh(grant))


@async_test
async def test_of_a_token_that_does_not_count_nothing_is_remembered() -> None:
    async with desk() as at:
        grant, ended = [await at.sessions.login("ada", "adaada") for _ in range(2)]
        tokens = [await at.auth.verify_own(each.access_token) for each in (grant, ended)]
        await at.sessions.end(ended.session, subject="ada")
        for _ in range(3):
            for each in tokens:
                assert each is not None
                await at.sessions.revoke(each)
        found = await at.store.revocations(now=at.clock.now())
        assert sorted(each.kind for each in found) == ["session", "token"]
        assert at.heard.count(("token_revoked", "ada")) == 1


@async_test
async def test_logging_out_everywhere_writes_all_of_it_at_once() -> None:
    class Counted(FragileStore):
        writes = 0

        async def revoke(self, *revocations: Revocation, now: datetime) -> None:
            Counted.writes += 1
            await super().revoke(*revocations, now=now)

    _, auth = service(store=Counted())
    for _ in range(50):
        await auth.issue("ada")
    assert await auth.end_sessions("ada") == 50
    assert Counted.writes == 2


@pytest.mark.parametrize("everywhere", [False, True])
@async_test
async def test_a_logout_that_the_store_has_not_heard_of_is_made_up_for(everywhere: bool) -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada")
        at.store.down = True
        ending: Any = (
            at.sessions.end_all("ada")
            if everywhere
            else at.sessions.end(grant.session, subject="ada")
        )
        with pytest.raises(TokensUncheckable):
            await ending
        assert not await at.good(grant)
        at.store.down = False
        await at.clock.advance(1)
        assert not await at.good(grant), "and what was not written is written now"
        _, elsewhere = service(clock=at.clock, store=at.store)
        await at.clock.advance(86_400)
        assert grant.refresh_token is not None
        with pytest.raises(GrantRefused):
            await elsewhere.sessions.refresh(grant.refresh_token)


@async_test
async def test_an_exchange_that_nobody_knows_of_has_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with desk(people(STORE_PATIENCE_SECONDS=0.01)) as at:
        grant = await at.sessions.login("ada", "adaada")

        async def hang() -> None:
            await asyncio.Event().wait()

        at.store.before_rotation = hang  # it has been exchanged when it hangs
        with pytest.raises(TokensUncheckable, match="has not answered within"):
            await at.refresh(grant)
        [told] = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
        assert grant.session in told
        at.store.before_rotation = None
        with pytest.raises(GrantRefused):
            await at.refresh(grant)
        assert ("refresh_reused", "ada") in at.heard


@async_test
async def test_a_refresh_token_that_is_given_back_ends_its_session() -> None:
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada")
        assert grant.refresh_token is not None
        assert await at.sessions.revoke_refresh(grant.refresh_token)
        assert not await at.sessions.revoke_refresh(grant.refresh_token)
        assert not await at.sessions.revoke_refresh("bsr_" + "x" * 43)
        assert not await at.good(grant)


@async_test
async def test_the_app_can_give_tokens_to_whom_it_knows_otherwise() -> None:
    async with desk() as at:
        grant = await at.sessions.begin("bob", scopes=["orders"])
        assert grant.scopes == {"orders"}
        assert await at.good(await at.refresh(grant))


@async_test
async def test_the_log_has_no_password_and_no_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="backstay")
    async with desk() as at:
        grant = await at.sessions.login("ada", "adaada", address="10.0.0.1")
        following = await at.refresh(grant)
        for call in (at.refresh(grant), at.sessions.login("ada", "canary-of-a-password")):
            with pytest.raises(GrantRefused):
                await call
        await at.good(following)
        said = caplog.text + repr([vars(each) for each in caplog.records])
        for secret in (
            "adaada",
            "canary",
            grant.access_token,
            grant.refresh_token,
            following.access_token,
        ):
            assert secret is not None
            assert secret not in said
