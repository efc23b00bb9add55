"""Stores that break one promise each, and whether the suite notices."""

import asyncio
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backstay.auth.memory_store import MemoryAuthStore
from backstay.auth.port import ApiKeyRecord, AuthStore, RefreshRecord, Revocation, Rotation
from backstay.testing.auth_conformance import AuthStoreConformance
from tests.support import PATIENCE_S

TESTS = [name for name in dir(AuthStoreConformance) if name.startswith("test_")]


class Good(MemoryAuthStore):
    """Keeps every promise."""


class Late(MemoryAuthStore):
    """Exchanges tokens a little after their end."""

    async def rotate_refresh(
        self, digest: bytes, successor: RefreshRecord, *, now: datetime, reuse_s: float = 0.0
    ) -> Rotation:
        now -= timedelta(microseconds=1)
        return await super().rotate_refresh(digest, successor, now=now, reuse_s=reuse_s)


class Racing(MemoryAuthStore):
    """Looks before it exchanges, and not again."""

    async def rotate_refresh(
        self, digest: bytes, successor: RefreshRecord, *, now: datetime, reuse_s: float = 0.0
    ) -> Rotation:
        before = dict(self._tokens), dict(self._families)
        await asyncio.sleep(0)
        self._tokens, self._families = before
        return await super().rotate_refresh(digest, successor, now=now, reuse_s=reuse_s)


class Trusting(MemoryAuthStore):
    """Takes the successor's word for whose it is."""

    async def rotate_refresh(
        self, digest: bytes, successor: RefreshRecord, *, now: datetime, reuse_s: float = 0.0
    ) -> Rotation:
        done = await super().rotate_refresh(digest, successor, now=now, reuse_s=reuse_s)
        if successor.digest in self._tokens:
            made = self._tokens[successor.digest]
            self._tokens[successor.digest] = replace(made, scopes=successor.scopes)
        return done


class Generous(MemoryAuthStore):
    """Lets a client ask again for ever."""

    async def rotate_refresh(
        self, digest: bytes, successor: RefreshRecord, *, now: datetime, reuse_s: float = 0.0
    ) -> Rotation:
        return await super().rotate_refresh(digest, successor, now=now, reuse_s=1e6)


class Stubborn(MemoryAuthStore):
    """Ends no session."""

    async def end_session(self, session: str, *, now: datetime) -> bool:
        return session in self._families


class Thorough(MemoryAuthStore):
    """Ends everybody's sessions."""

    async def end_sessions(self, subject: str, *, now: datetime) -> list[str]:
        everybody = {each.subject for each in self._tokens.values()}
        ended = [await super(Thorough, self).end_sessions(each, now=now) for each in everybody]
        return [session for each in ended for session in each]


class Replacing(MemoryAuthStore):
    """Lets an earlier revocation replace a later one."""

    async def revoke(self, *revocations: Revocation, now: datetime) -> None:
        for each in revocations:
            self._revocations[each.kind, each.value] = each, now


class Vague(MemoryAuthStore):
    """Tells values apart, and not what they are of."""

    async def revoke(self, *revocations: Revocation, now: datetime) -> None:
        for each in revocations:
            self._revocations["", each.value] = each, now


class Elsewhen(MemoryAuthStore):
    """Goes by what a revocation is about, not by when it was noted."""

    async def revocations(
        self, *, now: datetime, since: datetime | None = None
    ) -> Sequence[Revocation]:
        found = await super().revocations(now=now)
        return [each for each in found if since is None or each.at >= since]


class Exact(MemoryAuthStore):
    """Says to the microsecond when a key was used."""

    async def touch_api_key(self, key_id: str, *, now: datetime) -> None:
        if key_id in self._api_keys:
            self._api_keys[key_id] = replace(self._api_keys[key_id], last_used_at=now)


class Sorted(MemoryAuthStore):
    """Tells keys by their ids."""

    async def api_keys(self, owner: str | None = None) -> Sequence[ApiKeyRecord]:
        return sorted(await super().api_keys(owner), key=lambda each: each.id)


class Forgetful(MemoryAuthStore):
    """Forgets too much."""

    async def prune(self, *, now: datetime) -> int:
        return await super().prune(now=now + timedelta(seconds=1))


def failures(store: type[AuthStore]) -> list[str]:
    class Home(AuthStoreConformance):
        patience_s = 5.0

        def new_store(self) -> AuthStore:
            return store()

    failed = []
    for name in TESTS:
        try:
            getattr(Home(), name)()
        except pytest.skip.Exception:
            pass
        except Exception:
            failed.append(name)
    return failed


def test_a_good_store_passes() -> None:
    assert failures(Good) == []


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Late, "test_a_token_counts_until_it_ends_and_not_then"),
        (Racing, "test_of_many_that_exchange_one_token_one_succeeds"),
        (Trusting, "test_a_token_is_exchanged_for_one_of_the_same_session"),
        (Generous, "test_a_token_that_was_used_is_never_good_again"),
        (Stubborn, "test_of_an_ended_session_nothing_counts"),
        (Thorough, "test_all_sessions_of_a_subject_end_and_nobody_elses"),
        (Replacing, "test_a_later_revocation_replaces_an_earlier_one"),
        (Vague, "test_revocations_are_told_apart_and_end"),
        (Elsewhen, "test_what_was_revoked_since_a_time_is_told_apart"),
        (Exact, "test_when_an_api_key_was_last_used_is_known_to_the_minute"),
        (Sorted, "test_api_keys_are_told_newest_first"),
        (Forgetful, "test_what_has_ended_is_forgotten_and_nothing_else"),
    ],
)
def test_the_suite_notices_a_broken_promise(broken: type[AuthStore], test: str) -> None:
    assert test in failures(broken)


def test_every_test_says_what_it_proves_and_needs_nothing() -> None:
    assert len(TESTS) >= 25
    for name in TESTS:
        assert list(inspect.signature(getattr(AuthStoreConformance, name)).parameters) == ["self"]


def test_authors_of_stores_run_it_with_a_subclass_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        textwrap.dedent(
            """
            from backstay.auth.memory_store import MemoryAuthStore
            from backstay.testing.auth_conformance import AuthStoreConformance

            class TestMine(AuthStoreConformance):
                def new_store(self):
                    return MemoryAuthStore()
            """
        )
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_mine.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S * 2,
    )
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout


def test_the_suite_imports_without_pytest() -> None:
    code = (
        "import sys; sys.modules['pytest'] = None; "
        "import backstay.testing.auth_conformance as suite; suite.AuthStoreConformance()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
