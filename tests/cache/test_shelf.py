"""What lies on the shelf is what was put there, whatever the store is up to."""

from backstay.cache.guard import Guard
from backstay.cache.memory import MemoryStore
from backstay.cache.names import Names
from backstay.cache.outcome import Fill
from backstay.cache.port import CacheStore
from backstay.cache.shelf import Shelf
from backstay.testing import FakeClock
from tests.cache.fakes import Shaky
from tests.support import async_test


def shelf(store: CacheStore, clock: FakeClock) -> Shelf:
    guard = Guard(store, clock, timeout_s=5, retry_after_s=1)
    return Shelf(store, guard, Names("n"), clock)


def shelves() -> list[Shelf]:
    """In memory, and where every question is awaited."""
    clock = FakeClock()
    return [shelf(MemoryStore(clock=clock), clock), shelf(Shaky(clock), clock)]


@async_test
async def test_a_value_lies_under_its_key_with_what_its_tags_stood_at() -> None:
    for each in shelves():
        reading = await each.look("k", ["t"])
        assert (reading.reached, reading.entry, reading.unmarked) == (True, None, ["t"])
        await each.settle(reading)
        assert reading.unmarked == []
        assert await each.keep(reading, Fill(b"v"), 10, 0)
        again = await each.look("k", ["t"])
        assert again.valid_entry is not None
        assert again.valid_entry.generations == reading.generations
        assert await each.renew(["t"])
        assert (await each.look("k", ["t"])).valid_entry is None


@async_test
async def test_without_a_mark_for_each_tag_nothing_is_kept() -> None:
    for each in shelves():
        reading = await each.look("k", ["t"])
        assert not await each.keep(reading, Fill(b"v"), 10, 0)
        assert not await each.keep(reading, Fill(b"v"), 0, 0)


@async_test
async def test_a_hit_takes_one_trip() -> None:
    clock = FakeClock()
    store = Shaky(clock)
    each = shelf(store, clock)
    reading = await each.look("k", ["t", "u"])
    await each.settle(reading)
    await each.keep(reading, Fill(b"v"), 10, 0)
    assert store.calls == ["open", "get_many", "settle", "set"]
    store.calls.clear()
    assert (await each.look("k", ["t", "u"])).valid_entry is not None
    assert store.calls == ["get_many"]
    await each.look("k", [])
    assert store.calls == ["get_many"] * 3, "tags that nobody named take another"


@async_test
async def test_a_store_that_raises_is_a_store_that_was_not_reached() -> None:
    class Broken(MemoryStore):
        def peek(self, keys: object) -> list[bytes | None]:
            raise ZeroDivisionError

        put = settle_now = peek  # type: ignore[assignment]  # they all fail

    clock = FakeClock()
    each = shelf(Broken(clock=clock), clock)
    reading = await each.look("k", ["t"])
    assert not reading.reached
    await each.settle(reading)
    assert not await each.keep(reading, Fill(b"v"), 10, 0)
    assert not await each.renew(["t"])
    assert each.debts


@async_test
async def test_tags_of_a_value_before_are_known_before_the_next_is_made() -> None:
    for each in shelves():
        fill = Fill(b"v", tags=["extra"])
        reading = await each.look("k", [])
        await each.settle(reading)
        assert await each.learn(reading, fill)
        assert await each.keep(reading, fill, 10, 0)
        reading = await each.look("k", [])
        assert reading.valid_entry is not None
        await each.renew(["extra"])  # while the next one is made
        assert not await each.learn(reading, fill)


@async_test
async def test_tags_that_nobody_knew_of_are_known_the_next_time() -> None:
    clock = FakeClock()
    each = shelf(Shaky(clock), clock)
    fill = Fill(b"v", tags=["extra"])
    await each.renew(["extra"])  # just before, and another machine's clock may be behind
    reading = await each.look("k", [])
    assert not await each.learn(reading, fill)
    reading = await each.look("k", [])
    await each.settle(reading)
    assert await each.learn(reading, fill)
    assert await each.keep(reading, fill, 10, 0)
    reading = await each.look("k", [])
    assert reading.valid_entry is not None
    assert not each._hints


@async_test
async def test_with_one_clock_what_came_just_before_is_told_from_what_came_after() -> None:
    clock = FakeClock()
    each = shelf(MemoryStore(clock=clock), clock)
    fill = Fill(b"v", tags=["extra"])
    await each.renew(["extra"])
    await clock.advance(0.001)
    reading = await each.look("k", [])
    assert await each.learn(reading, fill)
    reading = await each.look("other", [])
    await clock.advance(0.001)
    await each.renew(["extra"])
    assert not await each.learn(reading, fill)


@async_test
async def test_hints_are_bounded() -> None:
    clock = FakeClock()
    each = shelf(Shaky(clock), clock)
    await each.renew(["extra"])
    for number in range(1200):
        reading = await each.look(f"{number}", [])
        assert not await each.learn(reading, Fill(b"v", tags=["extra"]))
    assert len(each._hints) == 1000
