"""API keys: shown once, found quickly, revoked at once."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.auth.api_keys import ApiKeys, _check
from backstay.auth.audit import Audit, AuditEvent
from backstay.auth.memory_store import MemoryAuthStore
from backstay.auth.port import ApiKeyRecord
from backstay.auth.stores import open_store
from backstay.auth.token import VerifiedToken
from backstay.errors import BadAuth, TokensUncheckable
from backstay.testing import FakeClock
from tests.support import async_test


class Counted(MemoryAuthStore):
    """Counts what it is asked, and can be held up or down."""

    def __init__(self) -> None:
        super().__init__()
        self.found = self.touched = 0
        self.down = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def find_api_key(self, key_id: str) -> ApiKeyRecord | None:
        self.found += 1
        record = await super().find_api_key(key_id)
        await self.gate.wait()
        if self.down:
            raise TokensUncheckable("out of reach")
        return record

    async def touch_api_key(self, key_id: str, *, now: datetime) -> None:
        self.touched += 1
        if self.down:
            raise TokensUncheckable("out of reach")
        await super().touch_api_key(key_id, now=now)


class Desk:
    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.store = Counted()
        self.events: list[AuditEvent] = []
        audit = Audit(clock=self.clock)
        audit.add_sink(self.events.append)
        self.keys = ApiKeys(self.store, clock=self.clock, audit=audit, **options)


@asynccontextmanager
async def a_key(**options: Any) -> AsyncIterator[tuple[Desk, str]]:
    desk = Desk(**options)
    new = await desk.keys.create("ann", name="warehouse", scopes=["orders:read", "a"])
    yield desk, new.key


@async_test
async def test_a_key_stands_for_its_owner() -> None:
    async with a_key() as (desk, key):
        [record] = await desk.keys.list()
        assert await desk.keys.verify(key) == VerifiedToken(
            subject="ann",
            scopes=frozenset({"a", "orders:read"}),
            claims={
                "sub": "ann",
                "scope": "a orders:read",
                "api_key": record.id,
                "name": "warehouse",
            },
        )


@async_test
async def test_it_has_one_form_and_is_nowhere_but_in_its_owners_hands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    desk = Desk()
    new = await desk.keys.create("ann", name="warehouse")
    assert re.fullmatch(r"bsk_[a-z2-7]{16}_[A-Za-z0-9_-]{43}_[0-9A-Za-z]{6}", new.key)
    secret = new.key.split("_", 2)[2][:43]
    await desk.keys.verify(new.key)
    await desk.keys.revoke(new.record.id)
    for place in (repr(new), str(new), repr(new.record), repr(desk.events), caplog.text):
        assert secret not in place
        assert new.key not in place
    assert secret not in repr(dataclasses.asdict(new.record))
    assert secret.encode() not in new.record.digest


@async_test
async def test_no_two_are_the_same() -> None:
    desk = Desk()
    keys = [(await desk.keys.create("ann", name="k")).key for _ in range(200)]
    assert len({key.split("_")[1] for key in keys}) == 200


@async_test
async def test_what_is_mistyped_is_refused_without_asking_the_store() -> None:
    async with a_key() as (desk, key):
        for at in range(len(key)):
            other = "b" if key[at] != "b" else "c"
            assert await desk.keys.verify(key[:at] + other + key[at + 1 :]) is None
        for swapped in range(4, len(key) - 1):
            letters = list(key)
            letters[swapped], letters[swapped + 1] = letters[swapped + 1], letters[swapped]
            if "".join(letters) != key:
                assert await desk.keys.verify("".join(letters)) is None
        for odd in ("", " " + key, key + "\n", key.upper(), key[:-1], key * 2, f"Bearer {key}"):
            assert await desk.keys.verify(odd) is None
        assert desk.store.found == 0


@given(st.one_of(st.text(), st.from_regex(r"bsk_[a-z2-7]{16}_[\w-]{43}_\w{6}", fullmatch=True)))
def test_whatever_is_sent_is_no_key_and_no_error(sent: str) -> None:
    async def ask() -> None:
        desk = Desk()
        assert await desk.keys.verify(sent) is None

    asyncio.run(ask())


@pytest.mark.parametrize("sent", [None, 42, b"bsk_", ["bsk_"]], ids=repr)
@async_test
async def test_what_is_no_text_is_no_key(sent: str) -> None:
    assert await Desk().keys.verify(sent) is None


@async_test
async def test_a_right_form_with_a_wrong_secret_is_refused() -> None:
    async with a_key() as (desk, key):
        stranger = Desk()
        other = (await stranger.keys.create("eve", name="e")).key
        body = key[:21] + other[21:64]
        assert await desk.keys.verify(f"{body}_{_check(body)}") is None
        assert await desk.keys.verify(other) is None, "nobody has it"
        assert desk.store.found == 2
        assert await desk.keys.verify(key) is not None


@async_test
async def test_it_ends_when_it_says() -> None:
    desk = Desk()
    ends = desk.clock.now() + timedelta(seconds=30)
    new = await desk.keys.create("ann", name="short", expires_at=ends)
    await desk.clock.advance(29.9)
    found = await desk.keys.verify(new.key)
    assert found is not None
    assert found.expires_at == ends
    await desk.clock.advance(0.1)
    assert await desk.keys.verify(new.key) is None, "however long it is kept"


@async_test
async def test_a_revoked_key_does_not_count_any_more_here_at_once() -> None:
    async with a_key() as (desk, key):
        assert await desk.keys.verify(key)
        [record] = await desk.keys.list("ann")
        assert await desk.keys.revoke(record.id)
        assert await desk.keys.verify(key) is None
        assert not await desk.keys.revoke(record.id)
        assert not await desk.keys.revoke("no such key")
        assert [each.revoked_at is not None for each in await desk.keys.list()] == [True]


@async_test
async def test_a_key_revoked_elsewhere_counts_for_a_second_at_most() -> None:
    async with a_key() as (desk, key):
        assert await desk.keys.verify(key)
        [record] = await desk.keys.list()
        await desk.store.revoke_api_key(record.id, now=desk.clock.now())
        await desk.clock.advance(0.9)
        assert await desk.keys.verify(key)
        await desk.clock.advance(0.1)
        assert await desk.keys.verify(key) is None


@async_test
async def test_an_answer_from_before_a_revocation_is_not_kept() -> None:
    async with a_key() as (desk, key):
        [record] = await desk.keys.list()
        slow = desk.store.gate = asyncio.Event()
        asking = asyncio.create_task(desk.keys.verify(key))
        await asyncio.sleep(0)
        desk.store.gate = asyncio.Event()
        desk.store.gate.set()
        assert await desk.keys.revoke(record.id)
        slow.set()
        await asking
        assert await desk.keys.verify(key) is None


@async_test
async def test_a_store_that_hangs_holds_nobody_up() -> None:
    async with a_key(patience_s=0.01) as (desk, key):
        desk.store.gate = asyncio.Event()
        with pytest.raises(TokensUncheckable, match="has not answered within 0.01 s"):
            await desk.keys.verify(key)
        desk.store.gate.set()
        assert await desk.keys.verify(key) is not None


@async_test
async def test_the_store_is_asked_once_a_second_for_each_key() -> None:
    async with a_key() as (desk, key):
        for _ in range(50):
            assert await desk.keys.verify(key)
        assert desk.store.found == 1
        await desk.clock.advance(1)
        assert await desk.keys.verify(key)
        assert desk.store.found == 2
    async with a_key(cache_s=0) as (desk, key):
        for _ in range(3):
            assert await desk.keys.verify(key)
        assert desk.store.found == 3


@async_test
async def test_keys_of_strangers_do_not_fill_the_memory() -> None:
    async with a_key() as (desk, key):
        await desk.keys.verify(key)
        stranger = Desk()
        for _ in range(50):
            await desk.keys.verify((await stranger.keys.create("eve", name="e")).key)
        assert len(desk.keys._kept) == 1


@async_test
async def test_that_it_was_used_is_noted_once_a_minute() -> None:
    async with a_key() as (desk, key):
        await asyncio.gather(*(desk.keys.verify(key) for _ in range(30)))
        assert desk.store.touched <= 2
        before = desk.store.touched
        for _ in range(59):
            await desk.clock.advance(1)
            assert await desk.keys.verify(key)
        assert desk.store.touched == before
        await desk.clock.advance(1)
        await desk.keys.verify(key)
        assert desk.store.touched == before + 1
        [record] = await desk.keys.list()
        assert record.last_used_at == desk.clock.now().replace(second=0, microsecond=0)


@async_test
async def test_a_key_is_good_even_if_its_use_cannot_be_noted() -> None:
    async with a_key() as (desk, key):
        assert await desk.keys.verify(key)
        await desk.clock.advance(59.5)
        assert await desk.keys.verify(key)
        await desk.clock.advance(0.6)
        desk.store.down = True
        assert await desk.keys.verify(key)
        assert desk.store.touched == 2
        await desk.clock.advance(1)
        with pytest.raises(TokensUncheckable):
            await desk.keys.verify(key)


@async_test
async def test_a_request_that_holds_the_lock_itself_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    store = open_store(url)
    await store.open()
    keys = ApiKeys(store)
    new = await keys.create("ann", name="k")
    with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert await keys.verify(new.key) is not None
        other.execute("ROLLBACK")
    await store.close()


@async_test
async def test_making_and_revoking_is_written_down() -> None:
    async with a_key() as (desk, _):
        [record] = await desk.keys.list()
        await desk.keys.revoke(record.id)
        await desk.keys.revoke(record.id)
        assert [(each.name, each.subject) for each in desk.events] == [
            ("api_key_created", "ann"),
            ("api_key_revoked", "ann"),
        ]
        assert desk.events[0].detail == f"{record.id} (warehouse)"


@async_test
async def test_what_could_be_no_key_is_not_made() -> None:
    desk = Desk()
    late = desk.clock.now()
    for owner, options in [
        ("", {"name": "x"}),
        ("ann", {"name": ""}),
        ("ann", {"name": "x" * 201}),
        ("ann", {"name": "x", "scopes": ["a b"]}),
        ("ann", {"name": "x", "expires_at": late}),
        ("ann", {"name": "x", "expires_at": datetime(2099, 1, 1)}),
    ]:
        with pytest.raises(ValueError, match=r"."):
            await desk.keys.create(owner, **options)  # type: ignore[arg-type]  # what is tried
    with pytest.raises(TypeError):
        await desk.keys.create("ann", name="x", scopes="admin")
    assert await desk.keys.list() == []


@async_test
async def test_each_service_may_have_a_prefix_of_its_own() -> None:
    desk, other = Desk(prefix="shop"), Desk()
    key = (await desk.keys.create("ann", name="k")).key
    assert key.startswith("shop_")
    assert await desk.keys.verify(key)
    assert await other.keys.verify(key) is None


@pytest.mark.parametrize(
    "options",
    [
        *(
            {"prefix": each}
            for each in ("", "x", "1shop", "Shop", "my_shop", ".*", "x" * 17, "ab\n")
        ),
        *({"cache_s": each} for each in (-1.0, float("nan"), float("inf"))),
        *({"patience_s": each} for each in (0, -1.0, float("nan"), float("inf"))),
    ],
    ids=str,
)
def test_options_that_could_not_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadAuth, match=next(iter(options))):
        ApiKeys(MemoryAuthStore(), **options)
