"""Marks of tags are never the same twice, and say when a tag was invalidated."""

from backstay.cache.entry import GENERATION_BYTES
from backstay.cache.generations import bumped_since, first_generation, new_generation
from backstay.clock import SystemClock
from backstay.testing import FakeClock
from tests.support import async_test


def test_no_two_marks_are_the_same_though_time_stands_still() -> None:
    clock = FakeClock()
    marks = [make(clock) for _ in range(100) for make in (new_generation, first_generation)]
    assert len(set(marks)) == 200
    assert {len(each) for each in marks} == {GENERATION_BYTES}


@async_test
async def test_a_mark_says_whether_the_tag_was_invalidated_since() -> None:
    clock = FakeClock()
    mark = new_generation(clock)
    assert bumped_since(mark, clock.now().timestamp()), "or at the same moment"
    assert not bumped_since(mark, clock.now().timestamp(), one_clock=True)
    assert bumped_since(mark, clock.now().timestamp() - 0.1, one_clock=True)
    await clock.advance(0.2)
    assert bumped_since(mark, clock.now().timestamp()), "or another machine's clock is behind"
    await clock.advance(0.1)
    assert not bumped_since(mark, clock.now().timestamp())


def test_a_first_mark_is_no_invalidation() -> None:
    clock = SystemClock()
    assert not bumped_since(first_generation(clock), clock.now().timestamp())


def test_what_is_no_mark_may_be_anything() -> None:
    assert bumped_since(b"", 1e12)
