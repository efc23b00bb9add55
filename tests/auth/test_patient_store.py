"""Whoever asks a store that hangs hears so soon, and nothing is left half done."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from backstay.auth.memory_store import MemoryAuthStore
from backstay.auth.patient_store import PatientStore
from backstay.auth.port import ApiKeyRecord, AuthStore, RefreshRecord, Revocation
from backstay.errors import BadAuth, TokensUncheckable
from backstay.testing.auth_conformance import AuthStoreConformance
from tests.auth.test_rotation import RECORD, START
from tests.support import async_test

KEY = ApiKeyRecord("k", b"k", "a key", "ann", (), START)
REVOCATION = Revocation("token", "t", at=START, expires_at=START + timedelta(hours=1))
AS_LONG_AS_IT_TAKES = {"open", "close", "prune"}


class TestPatientStore(AuthStoreConformance):
    """It keeps the promises of the store that it asks."""

    def new_store(self) -> AuthStore:
        return PatientStore(MemoryAuthStore(), patience_s=self.patience_s)


class Hanging:
    """Answers nothing, and knows who was given up."""

    def __init__(self) -> None:
        self.given_up: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def hang(*args: object, **options: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up.append(name)

        return hang


CALLS: dict[str, Any] = {
    "add_refresh": lambda store: store.add_refresh(RECORD),
    "rotate_refresh": lambda store: store.rotate_refresh(RECORD.digest, RECORD, now=START),
    "find_refresh": lambda store: store.find_refresh(RECORD.digest),
    "end_session": lambda store: store.end_session("s", now=START),
    "end_sessions": lambda store: store.end_sessions("ann", now=START),
    "sessions": lambda store: store.sessions("ann", now=START),
    "revoke": lambda store: store.revoke(REVOCATION, now=START),
    "revocations": lambda store: store.revocations(now=START),
    "add_api_key": lambda store: store.add_api_key(KEY),
    "find_api_key": lambda store: store.find_api_key("k"),
    "api_keys": lambda store: store.api_keys(),
    "revoke_api_key": lambda store: store.revoke_api_key("k", now=START),
    "touch_api_key": lambda store: store.touch_api_key("k", now=START),
}


def test_no_method_of_the_port_is_left_out() -> None:
    methods = {name for name in vars(AuthStore) if not name.startswith("_")}
    assert methods == CALLS.keys() | AS_LONG_AS_IT_TAKES


@pytest.mark.parametrize("name", CALLS)
@async_test
async def test_a_store_that_hangs_is_given_up(name: str) -> None:
    hanging = Hanging()
    with pytest.raises(TokensUncheckable, match=r"within 0\.01 s.*STORE_PATIENCE_SECONDS"):
        await CALLS[name](PatientStore(hanging, patience_s=0.01))
    await asyncio.sleep(0)
    assert hanging.given_up == [name]


@async_test
async def test_whoever_leaves_gives_up_what_he_asked_for() -> None:
    hanging = Hanging()
    asking = asyncio.create_task(PatientStore(hanging, patience_s=60).find_refresh(b""))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    await asyncio.sleep(0)
    assert hanging.given_up == ["find_refresh"]


@async_test
async def test_nobody_waits_for_what_is_slow_to_be_given_up_but_closing_does() -> None:
    go_on, closed_after = asyncio.Event(), list[bool]()

    class Clinging(MemoryAuthStore):
        async def find_refresh(self, digest: bytes) -> RefreshRecord | None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await go_on.wait()
                raise OSError("the connection is gone") from None
            return None

        async def close(self) -> None:
            closed_after.append(go_on.is_set())

    store = PatientStore(Clinging(), patience_s=0.01)
    with pytest.raises(TokensUncheckable):
        await store.find_refresh(b"")
    store._patience_s = 60
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    go_on.set()
    await closing
    assert closed_after == [True]


@async_test
async def test_what_the_store_raises_is_raised() -> None:
    class Broken(MemoryAuthStore):
        async def revocations(self, *, now: datetime, since: datetime | None = None) -> Any:
            raise BadAuth("it is broken")

    with pytest.raises(BadAuth, match="it is broken"):
        await PatientStore(Broken(), patience_s=60).revocations(now=START)
