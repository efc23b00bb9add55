"""What every store of sessions, revocations and API keys has to prove, as a class of pytest tests.

Whoever writes an ``AuthStore`` subclasses ``AuthStoreConformance`` in a test module and says how to
make one; the tests come along. ::

    pytest.register_assert_rewrite("backstay.testing.auth_conformance")  # in a conftest.py

    from backstay.testing.auth_conformance import AuthStoreConformance

    class TestMyStore(AuthStoreConformance):
        def new_store(self):
            return MyStore("my://" + fresh_database())

        def same_store(self, store):      # optional
            return MyStore(store.url)

Neither plug-ins nor fixtures of pytest are needed: each test is a function that runs an event loop
of its own, twenty seconds (``patience_s``) at most. Fixtures of the subclass (``autouse``) work as
in any class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeVar

from backstay.auth.port import (
    ApiKeyRecord,
    AuthStore,
    RefreshRecord,
    Revocation,
    Rotation,
    Turn,
)
from backstay.errors import BadAuth

__all__ = ["AuthStage", "AuthStoreConformance", "at"]

Home = TypeVar("Home", bound="AuthStoreConformance")

START = datetime(2027, 1, 1, 12, 0, 30, 123456, tzinfo=UTC)
_ODD = ["ann", "Ann", "ann ", "'; DROP TABLE x; --", '"', "\\", "%", "Grüße 👋", "a" * 500, "\n"]


class AuthStage:
    """One test's store, open.

    Attributes:
        store: the store.
    """

    store: AuthStore

    def __init__(self, home: AuthStoreConformance) -> None:
        self._home = home
        self._opened: list[AuthStore] = []

    async def open(self) -> None:
        """Open the store of this test."""
        self.store = self._home.new_store()
        self._opened.append(self.store)
        await self.store.open()

    async def close(self) -> None:
        """Close every store of this test."""
        try:
            for store in reversed(self._opened):
                await store.close()
        finally:
            if self._opened:
                self._home.clean_up(self._opened[0])

    async def another(self) -> AuthStore | None:
        """The store as another process sees it; ``None`` if only one can reach it."""
        store = self._home.same_store(self.store)
        if store is not None:
            self._opened.append(store)
            await store.open()
        return store

    def token(self, number: int, *, at_s: float = 0.0, life_s: float = 1000.0) -> RefreshRecord:
        """A refresh token that was issued so many seconds after the start."""
        return RefreshRecord(
            digest=number.to_bytes(32, "big"),
            session=f"session-{number}",
            subject="ann",
            scopes=("orders:read", "orders:write"),
            issued_at=at(at_s),
            expires_at=at(at_s + life_s),
            begun_at=at(at_s),
        )

    async def login(
        self, number: int, *, subject: str = "ann", at_s: float = 0.0, life_s: float = 1000.0
    ) -> RefreshRecord:
        """A new session of a subject's, and its first token."""
        first = replace(self.token(number, at_s=at_s, life_s=life_s), subject=subject)
        await self.store.add_refresh(first)
        return first

    async def exchange(
        self,
        number: int,
        successor: int,
        *,
        at_s: float = 1.0,
        reuse_s: float = 0.0,
        life_s: float = 1000.0,
        store: AuthStore | None = None,
    ) -> Rotation:
        """Exchange one token for another one, whose session and subject are wrong on purpose."""
        new = replace(
            self.token(successor, at_s=at_s, life_s=life_s),
            session="nobody's",
            subject="nobody",
            scopes=("everything",),
        )
        return await (self.store if store is None else store).rotate_refresh(
            number.to_bytes(32, "big"), new, now=at(at_s), reuse_s=reuse_s
        )

    async def turn(
        self, number: int, successor: int, *, at_s: float = 1.0, reuse_s: float = 0.0
    ) -> Turn:
        """The same, and what came of it."""
        return (await self.exchange(number, successor, at_s=at_s, reuse_s=reuse_s)).turn

    def api_key(self, number: int, *, owner: str = "ann", at_s: float = 0.0) -> ApiKeyRecord:
        """An API key."""
        return ApiKeyRecord(
            id=f"key-{number}",
            digest=number.to_bytes(32, "big"),
            name="the warehouse's",
            owner=owner,
            scopes=("orders:read",),
            created_at=at(at_s),
        )


def at(seconds: float) -> datetime:
    """A time, so many seconds after the start."""
    return START + timedelta(seconds=seconds)


def _test(test: Callable[[Home, AuthStage], Awaitable[None]]) -> Callable[[Home], None]:
    def run(self: Home) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(self.patience_s):
                stage = AuthStage(self)
                try:
                    await stage.open()
                    await test(self, stage)
                finally:
                    await stage.close()

        asyncio.run(bounded())

    # Not functools.wraps: pytest would take the wrapped test's parameters for fixtures.
    run.__name__ = test.__name__
    run.__qualname__ = test.__qualname__
    run.__doc__ = test.__doc__
    run.__module__ = test.__module__
    return run


def _skip(why: str) -> None:
    import pytest  # whoever runs this has it, and nobody else needs it

    pytest.skip(why)


class AuthStoreConformance:
    """The promises of ``backstay.auth.port.AuthStore``, one test each.

    To override: ``new_store`` at least; ``same_store`` for stores that others can reach;
    ``clean_up`` for what has to be done after each test.

    Attributes:
        patience_s: seconds after which a test is failed rather than left hanging.
    """

    patience_s = 20.0

    def new_store(self) -> AuthStore:
        """A store with nothing in it, not opened."""
        raise NotImplementedError(f"{type(self).__name__} has to say how a store is made")

    def same_store(self, store: AuthStore) -> AuthStore | None:
        """Another one with the same records, as another process would have it, not opened.

        ``None``: this process alone reaches it.
        """
        return None

    def clean_up(self, store: AuthStore) -> None:
        """After a test; its stores are closed."""

    # ------------------------------------------------------------------ refresh tokens

    @_test
    async def test_a_login_is_remembered_as_it_was(self, stage: AuthStage) -> None:
        first = await stage.login(1)
        assert await stage.store.find_refresh(first.digest) == first
        assert await stage.store.find_refresh(bytes(32)) is None
        for number, subject in enumerate(_ODD, 10):
            odd = replace(stage.token(number), subject=subject, scopes=("a b", "", '["x"]', "é"))
            await stage.store.add_refresh(odd)
            assert await stage.store.find_refresh(odd.digest) == odd

    @_test
    async def test_a_login_makes_a_new_session_and_a_new_token(self, stage: AuthStage) -> None:
        first = await stage.login(1)
        for again in (first, replace(stage.token(2), session=first.session)):
            try:
                await stage.store.add_refresh(again)
            except BadAuth:
                continue
            raise AssertionError("it was remembered already")
        assert await stage.store.find_refresh(stage.token(2).digest) is None
        assert await stage.store.sessions("ann", now=at(0)) == [first]

    @_test
    async def test_a_token_is_exchanged_for_one_of_the_same_session(self, stage: AuthStage) -> None:
        first = await stage.login(1)
        assert await stage.exchange(1, 2, at_s=5) == Rotation(Turn.DONE, first)
        second = await stage.store.find_refresh(stage.token(2).digest)
        assert second == replace(
            stage.token(2, at_s=5),
            session=first.session,
            subject=first.subject,
            scopes=first.scopes,
            begun_at=first.begun_at,
        )
        assert await stage.store.find_refresh(first.digest) == replace(first, used_at=at(5))
        assert await stage.exchange(2, 3, at_s=6) == Rotation(Turn.DONE, second)

    @_test
    async def test_what_is_no_token_is_unknown(self, stage: AuthStage) -> None:
        await stage.login(1)
        for digest in (b"", b"\x00", b"\x00" * 31 + b"\x01\x00"):
            done = await stage.store.rotate_refresh(digest, stage.token(9), now=at(0))
            assert done == Rotation(Turn.UNKNOWN, None)
        assert await stage.store.find_refresh(stage.token(9).digest) is None

    @_test
    async def test_a_token_counts_until_it_ends_and_not_then(self, stage: AuthStage) -> None:
        first = await stage.login(1, life_s=10)
        assert await stage.exchange(1, 2, at_s=10) == Rotation(Turn.EXPIRED, first)
        assert await stage.turn(1, 2, at_s=9.999999) == Turn.DONE

    @_test
    async def test_a_token_that_was_used_is_never_good_again(self, stage: AuthStage) -> None:
        first = await stage.login(1)
        await stage.exchange(1, 2, at_s=5)
        used = replace(first, used_at=at(5))
        # 4 s: somebody's clock is behind.
        for seconds in (4.0, 5.0, 5.000001, 500.0, 1000.0, 5000.0):
            assert await stage.exchange(1, 3, at_s=seconds) == Rotation(Turn.REUSED, used)
        assert await stage.turn(2, 4, at_s=6) == Turn.DONE, "what to do about it is not ours to say"

    @_test
    async def test_of_many_that_exchange_one_token_one_succeeds(self, stage: AuthStage) -> None:
        stores = [stage.store, await stage.another() or stage.store]
        await stage.login(1)
        done = await asyncio.gather(
            *(stage.exchange(1, 100 + each, store=stores[each % 2]) for each in range(20))
        )
        turns = [each.turn for each in done]
        assert turns.count(Turn.DONE) == 1
        assert turns.count(Turn.REUSED) == 19
        [winner] = await stage.store.sessions("ann", now=at(1))
        assert winner.digest == stage.token(100 + turns.index(Turn.DONE)).digest
        lost = [each for each in range(20) if turns[each] is not Turn.DONE]
        for each in lost:
            assert await stage.store.find_refresh(stage.token(100 + each).digest) is None

    # ------------------------------------------------------------------ lost answers

    @_test
    async def test_a_client_that_lost_the_answer_may_ask_again_for_a_while(
        self, stage: AuthStage
    ) -> None:
        first = await stage.login(1)
        assert await stage.turn(1, 2, at_s=5, reuse_s=10) == Turn.DONE
        again = await stage.exchange(1, 3, at_s=14.9, reuse_s=10)
        assert again == Rotation(Turn.DONE, replace(first, used_at=at(5)))
        assert await stage.turn(1, 4, at_s=15, reuse_s=10) == Turn.REUSED, "the first use counts"

    @_test
    async def test_the_token_of_a_lost_answer_stops_counting(self, stage: AuthStage) -> None:
        await stage.login(1)
        await stage.exchange(1, 2, at_s=5, reuse_s=10)
        await stage.exchange(1, 3, at_s=6, reuse_s=10)
        assert await stage.turn(2, 4, at_s=7, reuse_s=10) == Turn.REUSED
        [latest] = await stage.store.sessions("ann", now=at(7))
        assert latest.digest == stage.token(3).digest
        assert await stage.turn(3, 5, at_s=8, reuse_s=10) == Turn.DONE

    @_test
    async def test_a_client_that_went_on_has_lost_nothing(self, stage: AuthStage) -> None:
        await stage.login(1)
        await stage.exchange(1, 2, at_s=5, reuse_s=10)
        await stage.exchange(2, 3, at_s=6, reuse_s=10)
        assert await stage.turn(1, 4, at_s=7, reuse_s=10) == Turn.REUSED

    @_test
    async def test_of_many_that_lost_the_answer_one_has_the_token_that_counts(
        self, stage: AuthStage
    ) -> None:
        stores = [stage.store, await stage.another() or stage.store]
        await stage.login(1)
        await asyncio.gather(
            *(
                stage.exchange(1, 100 + each, reuse_s=10, store=stores[each % 2])
                for each in range(12)
            )
        )
        turns = [await stage.turn(100 + each, 200 + each, at_s=2) for each in range(12)]
        assert turns.count(Turn.DONE) == 1

    # ------------------------------------------------------------------ sessions

    @_test
    async def test_of_an_ended_session_nothing_counts(self, stage: AuthStage) -> None:
        first = await stage.login(1)
        await stage.login(2)
        await stage.exchange(1, 3)
        assert await stage.store.end_session(first.session, now=at(2))
        assert not await stage.store.end_session(first.session, now=at(2)), "it was ended before"
        assert not await stage.store.end_session("no such session", now=at(2))
        for number in (1, 3):
            assert await stage.store.find_refresh(stage.token(number).digest) is None
            done = await stage.exchange(number, 9, at_s=2, reuse_s=100)
            assert done.turn == Turn.REVOKED
            assert done.record is not None
            assert done.record.session == first.session
        assert await stage.turn(2, 4) == Turn.DONE, "another session goes on"

    @_test
    async def test_a_session_that_came_to_its_end_is_not_ended_any_more(
        self, stage: AuthStage
    ) -> None:
        first = await stage.login(1, life_s=10)
        assert not await stage.store.end_session(first.session, now=at(10))
        await stage.login(2, life_s=10)
        assert await stage.store.end_sessions("ann", now=at(10)) == []

    @_test
    async def test_a_session_that_ends_while_its_token_is_exchanged_has_ended(
        self, stage: AuthStage
    ) -> None:
        other = await stage.another() or stage.store
        for number in range(1, 9):
            first = await stage.login(number)
            await asyncio.gather(
                stage.exchange(number, 100 + number),
                other.end_session(first.session, now=at(1)),
                stage.exchange(number, 200 + number, store=other),
            )
            for each in (number, 100 + number, 200 + number):
                assert await stage.store.find_refresh(stage.token(each).digest) is None
                assert await stage.turn(each, 300 + each, at_s=2) in {Turn.REVOKED, Turn.UNKNOWN}

    @_test
    async def test_all_sessions_of_a_subject_end_and_nobody_elses(self, stage: AuthStage) -> None:
        for number, subject in enumerate(["ann", "ann", "Ann", "bob", "an"], 1):
            await stage.login(number, subject=subject)
        await stage.store.end_session("session-2", now=at(1))
        await stage.login(6)
        ended = await stage.store.end_sessions("ann", now=at(1))
        assert sorted(ended) == ["session-1", "session-6"]
        assert await stage.store.end_sessions("ann", now=at(1)) == []
        turns = [await stage.turn(number, 10 + number, at_s=2) for number in range(1, 7)]
        revoked, done = Turn.REVOKED, Turn.DONE
        assert turns == [revoked, revoked, done, done, done, revoked]
        await stage.login(7)
        assert await stage.turn(7, 17) == Turn.DONE, "whoever logs in afterwards may"

    @_test
    async def test_sessions_are_told_by_their_latest_token_newest_first(
        self, stage: AuthStage
    ) -> None:
        await stage.login(1, at_s=0)
        await stage.login(2, at_s=20)
        await stage.login(3, at_s=10)
        await stage.login(4, at_s=10, life_s=20)
        await stage.login(5, subject="bob")
        await stage.login(6, at_s=15)
        await stage.exchange(1, 7, at_s=25)
        await stage.store.end_session("session-6", now=at(25))

        async def told(seconds: float) -> list[tuple[str, bytes]]:
            found = await stage.store.sessions("ann", now=at(seconds))
            return [(each.session, each.digest[-1:]) for each in found]

        living = [("session-2", b"\x02"), ("session-3", b"\x03")]
        assert await told(29.9) == [*living, ("session-4", b"\x04"), ("session-1", b"\x07")]
        assert await told(30) == [*living, ("session-1", b"\x07")]
        assert await stage.store.sessions("nobody", now=at(30)) == []

    # ------------------------------------------------------------------ revocations

    @_test
    async def test_a_later_revocation_replaces_an_earlier_one(self, stage: AuthStage) -> None:
        early = Revocation("subject", "ann", at=at(0), expires_at=at(100))
        late = replace(early, at=at(10.000001), expires_at=at(110))
        await stage.store.revoke(early, now=at(0))
        assert await stage.store.revocations(now=at(0)) == [early]
        await stage.store.revoke(late, now=at(10))
        assert await stage.store.revocations(now=at(0)) == [late]
        await stage.store.revoke(early, now=at(0))  # it was long on its way
        assert await stage.store.revocations(now=at(0)) == [late]

    @_test
    async def test_revocations_are_told_apart_and_end(self, stage: AuthStage) -> None:
        all_of_them = [
            Revocation(kind, value, at=at(0), expires_at=at(10 + number))
            for number, (kind, value) in enumerate(
                [("token", "1"), ("session", "1"), ("subject", "1"), *(("token", o) for o in _ODD)]
            )
        ]
        await asyncio.gather(*(stage.store.revoke(each, now=at(0)) for each in all_of_them))

        async def told(seconds: float) -> list[Revocation]:
            found = await stage.store.revocations(now=at(seconds))
            return sorted(found, key=lambda each: each.expires_at)

        assert await told(0) == all_of_them
        assert await told(10) == all_of_them[1:]
        assert await told(11.999999) == all_of_them[2:]
        assert await told(1000) == []

    @_test
    async def test_several_are_revoked_at_once_the_later_of_the_same_counting(
        self, stage: AuthStage
    ) -> None:
        await stage.store.revoke(now=at(0))
        early = Revocation("session", "1", at=at(0), expires_at=at(100))
        late = replace(early, at=at(10), expires_at=at(110))
        other = replace(early, value="2")
        await stage.store.revoke(late, other, early, now=at(0))
        found = await stage.store.revocations(now=at(0))
        assert sorted(found, key=lambda each: each.value) == [late, other]

    @_test
    async def test_of_many_who_revoke_the_same_nobody_waits_for_ever(
        self, stage: AuthStage
    ) -> None:
        stores = [stage.store, await stage.another() or stage.store]
        same = [Revocation("token", f"{each}", at=at(0), expires_at=at(9)) for each in range(20)]
        await asyncio.gather(
            *(
                stores[number % 2].revoke(*same[number:], *same[:number][::-1], now=at(0))
                for number in range(20)
            )
        )
        assert len(await stage.store.revocations(now=at(0))) == 20

    @_test
    async def test_what_was_revoked_since_a_time_is_told_apart(self, stage: AuthStage) -> None:
        early = Revocation("token", "1", at=at(50), expires_at=at(100))
        late = Revocation("token", "2", at=at(0), expires_at=at(100))
        await stage.store.revoke(early, now=at(10))
        await stage.store.revoke(late, now=at(20.000001))

        async def told(since_s: float, now_s: float = 0.0) -> list[str]:
            found = await stage.store.revocations(now=at(now_s), since=at(since_s))
            return sorted(each.value for each in found)

        assert await told(10) == ["1", "2"]
        assert await told(10.000001) == ["2"], "by when it was done, not by what it is about"
        assert await told(20.000001) == ["2"]
        assert await told(20.000002) == []
        assert await told(0, now_s=100) == [], "expired is expired"
        await stage.store.revoke(early, now=at(30))
        assert await told(20.000002) == ["1"], "it was done again"
        await stage.store.revoke(early, now=at(5))
        assert await told(20.000002) == ["1"], "somebody's clock is behind"

    # ------------------------------------------------------------------ API keys

    @_test
    async def test_an_api_key_is_remembered_as_it_was(self, stage: AuthStage) -> None:
        plain = stage.api_key(1)
        full = replace(
            stage.api_key(2, owner="Grüße 👋"),
            name="a 'key'",
            scopes=(),
            expires_at=at(5),
            revoked_at=at(6),
            last_used_at=at(7),
        )
        for each in (plain, full):
            await stage.store.add_api_key(each)
        assert await stage.store.find_api_key("key-1") == plain
        assert await stage.store.find_api_key("key-2") == full
        for unknown in ("", "key-3", "KEY-1", "key-1 ", "key-_", "%"):
            assert await stage.store.find_api_key(unknown) is None
        try:
            await stage.store.add_api_key(replace(full, id="key-1"))
        except BadAuth:
            assert await stage.store.find_api_key("key-1") == plain
        else:
            raise AssertionError("there was one of that id already")

    @_test
    async def test_api_keys_are_told_newest_first(self, stage: AuthStage) -> None:
        keys = [stage.api_key(1, at_s=5), stage.api_key(2, at_s=7), stage.api_key(3, owner="bob")]
        for each in keys:
            await stage.store.add_api_key(each)
        one, two, three = keys
        assert await stage.store.api_keys() == [two, one, three]
        assert await stage.store.api_keys("ann") == [two, one]
        assert await stage.store.api_keys("") == []

    @_test
    async def test_a_revoked_api_key_stays_in_the_list(self, stage: AuthStage) -> None:
        key = stage.api_key(1)
        await stage.store.add_api_key(key)
        await stage.store.add_api_key(replace(stage.api_key(2), expires_at=at(5)))
        did = await asyncio.gather(
            *(stage.store.revoke_api_key("key-1", now=at(3)) for _ in range(5))
        )
        assert sorted(did) == [False, False, False, False, True]
        assert await stage.store.find_api_key("key-1") == replace(key, revoked_at=at(3))
        assert not await stage.store.revoke_api_key("key-2", now=at(5)), "it had ended"
        assert not await stage.store.revoke_api_key("key-3", now=at(5)), "there is none"
        assert len(await stage.store.api_keys("ann")) == 2

    @_test
    async def test_when_an_api_key_was_last_used_is_known_to_the_minute(
        self, stage: AuthStage
    ) -> None:
        await stage.store.add_api_key(stage.api_key(1))
        minute = START.replace(second=0, microsecond=0)
        for now, expected in [
            (START, minute),
            (START + timedelta(seconds=29), minute),
            (START + timedelta(seconds=30), minute + timedelta(minutes=1)),
            (START, minute + timedelta(minutes=1)),  # another machine's clock
        ]:
            await stage.store.touch_api_key("key-1", now=now)
            found = await stage.store.find_api_key("key-1")
            assert found is not None
            assert found.last_used_at == expected
        await stage.store.touch_api_key("key-2", now=START)

    # ------------------------------------------------------------------ the rest

    @_test
    async def test_times_are_the_same_from_every_zone_to_the_microsecond(
        self, stage: AuthStage
    ) -> None:
        east, west = timezone(timedelta(hours=14)), timezone(timedelta(hours=-11, minutes=-30))
        for number, moment in enumerate(
            [START, datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 30, 23, 59, tzinfo=UTC)], 1
        ):
            token = replace(
                stage.token(number),
                issued_at=moment.astimezone(east),
                begun_at=(moment - timedelta(microseconds=1)).astimezone(west)
                if number > 1
                else moment.astimezone(west),
                expires_at=(moment + timedelta(microseconds=1)).astimezone(west),
            )
            await stage.store.add_refresh(token)
            found = await stage.store.find_refresh(token.digest)
            assert found == token
            successor = stage.token(100 + number)
            for now, turn in [
                ((moment + timedelta(microseconds=1)).astimezone(east), Turn.EXPIRED),
                (moment.astimezone(east), Turn.DONE),
            ]:
                done = await stage.store.rotate_refresh(token.digest, successor, now=now)
                assert done.turn == turn

    @_test
    async def test_what_has_ended_is_forgotten_and_nothing_else(self, stage: AuthStage) -> None:
        await stage.login(1, life_s=10)
        await stage.exchange(1, 2, at_s=5, life_s=100)
        await stage.login(3, life_s=10)
        await stage.login(4, life_s=50)
        await stage.store.end_session("session-4", now=at(5))
        for kind, life_s in (("token", 10), ("session", 11)):
            await stage.store.revoke(
                Revocation(kind, "x", at=at(0), expires_at=at(life_s)), now=at(0)
            )
        await stage.store.add_api_key(replace(stage.api_key(1), expires_at=at(1)))
        assert await stage.store.prune(now=at(9.9)) == 0
        assert await stage.store.prune(now=at(10)) == 3  # tokens 1 and 3, a revocation
        assert await stage.store.prune(now=at(10)) == 0
        assert await stage.turn(1, 9, at_s=10) == Turn.UNKNOWN
        assert await stage.turn(3, 9, at_s=10) == Turn.UNKNOWN
        assert await stage.turn(4, 9, at_s=10) == Turn.REVOKED
        assert await stage.turn(2, 5, at_s=10) == Turn.DONE, "its session goes on"
        assert len(await stage.store.revocations(now=at(10))) == 1
        assert len(await stage.store.api_keys()) == 1
        assert await stage.store.prune(now=at(1100)) == 4  # 2, 4, 5, the other revocation
        await stage.login(3, at_s=1100)

    @_test
    async def test_a_session_is_remembered_as_long_as_any_of_its_tokens(
        self, stage: AuthStage
    ) -> None:
        await stage.login(1)
        await stage.exchange(1, 2, at_s=5, life_s=10)
        assert await stage.store.prune(now=at(15)) == 1
        assert await stage.turn(1, 3, at_s=15) == Turn.REUSED
        assert await stage.turn(2, 3, at_s=15) == Turn.UNKNOWN

    @_test
    async def test_much_is_forgotten_in_several_goes(self, stage: AuthStage) -> None:
        many = [
            Revocation("token", f"t{number}", at=at(0), expires_at=at(10)) for number in range(520)
        ]
        await stage.store.revoke(*many, now=at(0))
        assert len(await stage.store.revocations(now=at(0))) == 520
        assert await stage.store.prune(now=at(10)) == 520
        assert await stage.store.revocations(now=at(0)) == []

    @_test
    async def test_another_process_finds_what_one_has_put_there(self, stage: AuthStage) -> None:
        other = await stage.another()
        if other is None:
            _skip("one process alone reaches this store")
            return
        first = await stage.login(1)
        assert await other.find_refresh(first.digest) == first
        assert await other.end_session(first.session, now=at(1))
        assert await stage.turn(1, 2) == Turn.REVOKED
        await stage.store.revoke(Revocation("token", "x", at=at(0), expires_at=at(9)), now=at(0))
        assert len(await other.revocations(now=at(0))) == 1
        await stage.store.add_api_key(stage.api_key(1))
        assert await other.find_api_key("key-1") == stage.api_key(1)

    @_test
    async def test_opening_and_closing_twice_does_nothing(self, stage: AuthStage) -> None:
        await stage.store.open()
        first = await stage.login(1)
        await stage.store.close()
        await stage.store.close()
        await stage.store.open()
        assert await stage.store.find_refresh(first.digest) == first
