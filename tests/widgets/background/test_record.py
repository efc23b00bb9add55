"""Records of tasks: found by an id that nobody can guess, for as long as was promised."""

from __future__ import annotations

from dataclasses import replace

from backstay.state.memory import MemoryStore
from backstay.state.state import State
from backstay.testing import FakeClock
from backstay.widgets.background.record import TaskRecord, TaskRecords
from tests.support import async_test


async def new_records() -> tuple[TaskRecords, FakeClock]:
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    await store.open()
    state = State.named(store, "tasks")
    return TaskRecords(lambda: state), clock


def new_record(**more: object) -> TaskRecord:
    record = TaskRecord(
        id=TaskRecords.new_id(),
        owner=("user", None, "ada"),
        tool="report",
        job="a-job",
        created_at="2026-01-01T00:00:00.000Z",
        changed_at="2026-01-01T00:00:00.000Z",
        ttl_ms=60_000,
    )
    return replace(record, **more)  # type: ignore[arg-type]  # whichever attribute a test names


@async_test
async def test_a_record_comes_back_as_it_was() -> None:
    records, _ = await new_records()
    record = new_record(answered={"name": {"action": "accept"}})
    await records.write(record)
    assert await records.find(record.id) == record


@async_test
async def test_a_record_is_gone_when_its_time_is_over_and_not_before() -> None:
    records, clock = await new_records()
    record = new_record()
    await records.write(record)
    await clock.advance(59.9)
    assert await records.find(record.id) is not None
    await clock.advance(0.2)
    assert await records.find(record.id) is None


@async_test
async def test_a_change_does_not_make_it_live_longer() -> None:
    records, clock = await new_records()
    record = new_record()
    await records.write(record)
    await clock.advance(30)
    changed = await records.change(record, lambda latest: replace(latest, cancelled=True))
    assert changed is not None
    assert changed.cancelled
    await clock.advance(31)
    assert await records.find(record.id) is None


@async_test
async def test_a_record_that_is_gone_is_not_brought_back_by_a_change() -> None:
    records, _ = await new_records()
    assert await records.change(new_record(), lambda latest: latest) is None


@async_test
async def test_what_is_no_id_finds_nothing() -> None:
    records, _ = await new_records()
    for wrong in ("", "x" * 101, "x" * 1_000_000, "é\ud800"):
        assert await records.find(wrong) is None


def test_ids_have_192_random_bits_and_need_no_escaping() -> None:
    ids = {TaskRecords.new_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(len(each) == 32 and set(each) <= SAFE for each in ids)


SAFE = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
