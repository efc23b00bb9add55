"""One lock for a value that is being changed, none for the rest."""

import asyncio

from backstay.state.turns import Turns
from tests.support import async_test


@async_test
async def test_changes_of_one_value_come_one_after_the_other() -> None:
    turns, inside, most = Turns(), 0, 0

    async def change() -> None:
        nonlocal inside, most
        async with turns.of(b"s", b"k"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(change() for _ in range(10)))
    assert most == 1


def test_values_do_not_wait_for_each_other() -> None:
    turns = Turns()
    one, same = turns.of(b"s", b"k"), turns.of(b"s", b"k")
    assert one is same
    assert turns.of(b"s", b"other") is not one
    assert turns.of(b"sk", b"") is not one


def test_nothing_is_kept_of_what_nobody_changes() -> None:
    turns = Turns()
    held = [turns.of(b"s", b"%d" % number) for number in range(10)]
    assert len(turns) == 10
    held.clear()
    assert len(turns) == 0
