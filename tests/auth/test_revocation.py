"""What was revoked counts at once here, soon elsewhere, and while the store is out of reach."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backstay.auth.memory_store import MemoryAuthStore
from backstay.auth.patient_store import PatientStore
from backstay.auth.port import Revocation
from backstay.auth.revocation import Revocations
from backstay.errors import TokensUncheckable
from backstay.testing import FakeClock
from tests.auth.service import FragileStore
from tests.support import async_test

NOW = datetime(2027, 1, 1, tzinfo=UTC)
AT = NOW.timestamp()


def revocation(kind: str, value: str, at: datetime = NOW) -> Revocation:
    return Revocation(kind, value, at, at + timedelta(hours=1))


async def revoked(revocations: Revocations, **changes: Any) -> bool:
    return await revocations.revoked(
        **{"session": "s", "subject": "ada", "issued_at": AT, "token": "j", **changes}
    )


@pytest.mark.parametrize(
    ("kind", "value", "others"),
    [
        ("token", "j", {"token": "other"}),
        ("session", "s", {"session": "other"}),
        ("subject", "ada", {"subject": "other"}),
    ],
)
@async_test
async def test_a_token_its_session_or_its_subject_may_be_revoked(
    kind: str, value: str, others: dict[str, str]
) -> None:
    revocations = Revocations(MemoryAuthStore(), FakeClock(), delay_s=1)
    assert not await revoked(revocations)
    await revocations.revoke(revocation(kind, value))
    assert await revoked(revocations)
    assert not await revoked(revocations, **others)


@async_test
async def test_the_kinds_are_not_confused() -> None:
    revocations = Revocations(MemoryAuthStore(), FakeClock(), delay_s=1)
    await revocations.revoke(
        revocation("token", "s"), revocation("session", "ada"), revocation("subject", "j")
    )
    assert not await revoked(revocations)


@async_test
async def test_of_a_subject_only_what_was_issued_before_does_not_count() -> None:
    revocations = Revocations(MemoryAuthStore(), FakeClock(), delay_s=1)
    await revocations.revoke(revocation("subject", "ada"))
    assert await revoked(revocations, issued_at=AT - 0.000_001)
    assert await revoked(revocations, issued_at=AT)
    assert not await revoked(revocations, issued_at=AT + 0.000_001)
    assert revocations.revoked_up_to("ada") == NOW
    assert revocations.revoked_up_to("bob") is None


@async_test
async def test_the_store_is_asked_once_in_a_while_and_not_for_each_token() -> None:
    store, clock = FragileStore(), FakeClock()
    revocations = Revocations(store, clock, delay_s=1)
    for _ in range(10):
        await revoked(revocations)
    assert store.reads == 1
    await clock.advance(0.99)
    await revoked(revocations)
    assert store.reads == 1
    await clock.advance(0.01)
    await revoked(revocations)
    assert store.reads == 2


@async_test
async def test_what_was_revoked_elsewhere_counts_within_the_delay() -> None:
    store, clock = MemoryAuthStore(), FakeClock()
    here, there = (Revocations(store, clock, delay_s=1) for _ in range(2))
    assert not await revoked(here)
    await there.revoke(revocation("session", "s"))
    assert await revoked(there)
    assert not await revoked(here)
    await clock.advance(1)
    assert await revoked(here)


@async_test
async def test_many_who_ask_at_once_ask_the_store_once() -> None:
    store = FragileStore()
    revocations = Revocations(store, FakeClock(), delay_s=1)
    await asyncio.gather(*(revoked(revocations) for _ in range(50)))
    assert store.reads == 1


@async_test
async def test_whoever_asked_first_may_leave() -> None:
    revocations = Revocations(MemoryAuthStore(), FakeClock(), delay_s=1)
    first = asyncio.create_task(revoked(revocations))
    second = asyncio.create_task(revoked(revocations))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is False


@async_test
async def test_a_store_out_of_reach_is_done_without_for_a_while_and_no_longer() -> None:
    store, clock = FragileStore(), FakeClock()
    revocations = Revocations(store, clock, delay_s=1, tolerate_s=30)
    await revocations.revoke(revocation("session", "gone"))
    assert not await revoked(revocations)
    store.down = True
    for _ in range(29):
        await clock.advance(1)
        assert not await revoked(revocations)
        assert await revoked(revocations, session="gone")
        await asyncio.sleep(0)
    await clock.advance(1)
    for _ in range(2):
        with pytest.raises(TokensUncheckable, match="more than 30 s"):
            await revoked(revocations)
    store.down = False
    await clock.advance(1)
    assert not await revoked(revocations)


@async_test
async def test_without_ever_having_asked_nothing_counts() -> None:
    store = FragileStore()
    store.down = True
    with pytest.raises(TokensUncheckable):
        await revoked(Revocations(store, FakeClock(), delay_s=1))


class HangingStore(MemoryAuthStore):
    def __init__(self) -> None:
        super().__init__()
        self.hangs = False

    async def revocations(
        self, *, now: datetime, since: datetime | None = None
    ) -> Sequence[Revocation]:
        if self.hangs:
            await asyncio.Event().wait()
        return await super().revocations(now=now, since=since)


@async_test
async def test_a_store_that_hangs_holds_nobody_up_for_long() -> None:
    store, clock = HangingStore(), FakeClock()
    revocations = Revocations(PatientStore(store, patience_s=0.01), clock, delay_s=1)
    assert not await revoked(revocations)
    store.hangs = True
    await clock.advance(1)
    assert not await revoked(revocations)
    await clock.advance(1)
    assert not await revoked(revocations), "and the next one is not held up at all"


@async_test
async def test_what_could_not_be_stored_counts_here_all_the_same() -> None:
    store = FragileStore()
    revocations = Revocations(store, FakeClock(), delay_s=1)
    await revoked(revocations)
    store.down = True
    with pytest.raises(TokensUncheckable):
        await revocations.revoke(revocation("session", "s"))
    assert await revoked(revocations)


@async_test
async def test_what_could_not_be_stored_is_stored_once_that_is_possible() -> None:
    store, clock = FragileStore(), FakeClock()
    here, there = (Revocations(store, clock, delay_s=1) for _ in range(2))
    store.down = True
    with pytest.raises(TokensUncheckable):
        await here.revoke(revocation("session", "s"))
    here.revoke_soon(revocation("subject", "bob"))
    with pytest.raises(TokensUncheckable):
        await here.read()
    store.down = False
    await here.read()
    await there.read()
    assert await revoked(there)
    assert await revoked(there, session="other", subject="bob")
    assert len(await store.revocations(now=NOW)) == 2


@async_test
async def test_whoever_revokes_and_does_not_wait_has_revoked() -> None:
    begun = asyncio.Event()

    class SlowStore(MemoryAuthStore):
        async def revoke(self, *revocations: Revocation, now: datetime) -> None:
            if not begun.is_set():
                begun.set()
                await asyncio.Event().wait()
            await super().revoke(*revocations, now=now)

    store, clock = SlowStore(), FakeClock()
    here, there = (Revocations(store, clock, delay_s=1) for _ in range(2))
    logging_out = asyncio.create_task(here.revoke(revocation("session", "s")))
    await begun.wait()
    logging_out.cancel()
    await asyncio.wait([logging_out])
    assert await revoked(here)
    assert await revoked(there)


class ReadingStore(FragileStore):
    """Knows from when on it was asked for what is new, and how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[float | None, int]] = []

    async def revocations(
        self, *, now: datetime, since: datetime | None = None
    ) -> Sequence[Revocation]:
        found = await super().revocations(now=now, since=since)
        age_s = None if since is None else (now - since).total_seconds()
        self.asked.append((age_s, len(found)))
        return found


@async_test
async def test_only_what_is_new_is_read_and_now_and_then_everything() -> None:
    store, clock = ReadingStore(), FakeClock(NOW)
    here, there = (Revocations(store, clock, delay_s=1, overlap_s=70) for _ in range(2))
    await there.revoke(*(revocation("token", f"t{number}") for number in range(100)))
    assert await revoked(here, token="t7")
    await clock.advance(100)
    assert await revoked(here, token="t7")
    await there.revoke(revocation("token", "new"))
    await clock.advance(1)
    assert await revoked(here, token="new")
    assert await revoked(here, token="t7"), "it is known from before"
    await clock.advance(198)
    assert await revoked(here, token="t7")
    await clock.advance(1)
    assert await revoked(here, token="t7")
    assert store.asked == [(None, 100), (170, 100), (71, 1), (268, 1), (None, 101)]


@async_test
async def test_what_a_machine_notes_whose_clock_is_behind_is_read() -> None:
    store = MemoryAuthStore()
    clock, behind = FakeClock(NOW), FakeClock(NOW - timedelta(seconds=60))
    here = Revocations(store, clock, delay_s=1, overlap_s=70)
    there = Revocations(store, behind, delay_s=1, overlap_s=70)
    assert not await revoked(here)
    await clock.advance(5)
    assert not await revoked(here)
    await behind.advance(5)
    await there.revoke(revocation("session", "s"))
    await clock.advance(1)
    assert await revoked(here)


@async_test
async def test_a_reading_that_failed_is_made_up_for_by_the_next_one() -> None:
    store, clock = FragileStore(), FakeClock(NOW)
    here = Revocations(store, clock, delay_s=1, overlap_s=0, tolerate_s=200)
    assert not await revoked(here)
    await clock.advance(10)
    await store.revoke(revocation("session", "s"), now=clock.now())
    store.down = True
    await clock.advance(100)
    assert not await revoked(here)
    store.down = False
    await clock.advance(1)
    await here.read()
    assert await revoked(here)


@async_test
async def test_an_earlier_revocation_takes_nothing_away() -> None:
    store, clock = MemoryAuthStore(), FakeClock(NOW)
    revocations = Revocations(store, clock, delay_s=1)
    await store.revoke(revocation("subject", "ada", NOW + timedelta(seconds=5)), now=NOW)
    assert await revoked(revocations, issued_at=AT + 5)
    await revocations.revoke(revocation("subject", "ada"))
    assert await revoked(revocations, issued_at=AT + 5)


@async_test
async def test_of_two_revocations_of_a_subject_the_later_one_counts() -> None:
    store, clock = MemoryAuthStore(), FakeClock()
    revocations = Revocations(store, clock, delay_s=1)
    await revocations.revoke(revocation("subject", "ada"))
    await store.revoke(revocation("subject", "ada", NOW + timedelta(seconds=60)), now=NOW)
    await clock.advance(1)
    assert await revoked(revocations, issued_at=AT + 60)


@async_test
async def test_what_was_revoked_while_the_store_was_read_is_not_lost() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class SlowStore(MemoryAuthStore):
        async def revocations(
            self, *, now: datetime, since: datetime | None = None
        ) -> Sequence[Revocation]:
            found = await super().revocations(now=now, since=since)
            begun.set()
            await go_on.wait()
            return found

    revocations = Revocations(SlowStore(), FakeClock(), delay_s=1)
    asking = asyncio.create_task(revoked(revocations))
    await begun.wait()
    await revocations.revoke(revocation("session", "s"))
    go_on.set()
    assert await asking


@async_test
async def test_reading_now_knows_all_that_came_before_or_says_that_it_cannot() -> None:
    store, clock = FragileStore(), FakeClock()
    revocations = Revocations(store, clock, delay_s=60)
    assert not await revoked(revocations)
    await store.revoke(revocation("session", "s"), now=NOW)
    await revocations.read()
    assert await revoked(revocations)
    store.down = True
    with pytest.raises(TokensUncheckable):
        await revocations.read()


@async_test
async def test_what_has_expired_is_forgotten() -> None:
    clock = FakeClock()
    revocations = Revocations(MemoryAuthStore(), clock, delay_s=1)
    await revocations.revoke(revocation("session", "s"))
    await clock.advance(3601)
    assert not await revoked(revocations)


def test_it_works_in_one_event_loop_after_another() -> None:
    clock = FakeClock()
    revocations = Revocations(MemoryAuthStore(), clock, delay_s=0)
    for _ in range(2):
        asyncio.run(revoked(revocations))
