"""One at a time, first come first served, across threads and event loops, and nobody waits for himself."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from backstay.testing.write_turn import IsolationError, WriteTurn
from tests.support import PATIENCE_S, async_test


class Somebody:
    def __init__(self, thread: int, task: int | None = None, doing: str = "INSERT") -> None:
        self.owner = (thread, task)
        self.doing = doing


def a_turn() -> WriteTurn:
    return WriteTurn(wait_s=PATIENCE_S)


def test_a_free_turn_is_taken_at_once() -> None:
    turn, one = a_turn(), Somebody(1)
    turn.take(one)
    assert turn.holder is one
    turn.leave(Somebody(1))
    assert turn.holder is one
    turn.leave(one)
    assert turn.holder is None


def test_a_thread_that_has_the_turn_is_told_that_it_would_wait_for_itself() -> None:
    turn = a_turn()
    turn.take(Somebody(1, doing="INSERT INTO people"))
    with pytest.raises(IsolationError, match=r"'SELECT 1' .* same thread .*'INSERT INTO people'"):
        turn.take(Somebody(1, doing="SELECT 1"))


@async_test
async def test_a_task_that_has_the_turn_is_told_that_it_would_wait_for_itself() -> None:
    turn = a_turn()
    await turn.take_async(Somebody(1, 7))
    with pytest.raises(IsolationError, match="same task"):
        await turn.take_async(Somebody(1, 7))


@async_test
async def test_a_thread_may_not_block_the_event_loop_in_which_the_holder_lives() -> None:
    turn = a_turn()
    await turn.take_async(Somebody(1, 7))
    with pytest.raises(IsolationError, match="same thread"):
        turn.take(Somebody(1, 8))


@async_test
async def test_tasks_get_it_in_the_order_in_which_they_asked() -> None:
    turn, first = a_turn(), Somebody(1, 0)
    await turn.take_async(first)
    order: list[int] = []

    async def queue(number: int) -> None:
        each = Somebody(1, number)
        await turn.take_async(each)
        order.append(number)
        turn.leave(each)

    tasks = [asyncio.create_task(queue(number)) for number in range(1, 6)]
    await asyncio.sleep(0)
    turn.leave(first)
    await asyncio.gather(*tasks)
    assert order == [1, 2, 3, 4, 5]
    assert turn.holder is None


@async_test
async def test_threads_and_tasks_wait_for_each_other() -> None:
    turn = a_turn()
    inside, most = 0, 0
    counting = threading.Lock()

    def come_and_go() -> None:
        nonlocal inside, most
        with counting:
            inside += 1
            most = max(most, inside)
        with counting:
            inside -= 1

    async def task(number: int) -> None:
        each = Somebody(1, number)
        await turn.take_async(each)
        come_and_go()
        await asyncio.sleep(0)
        turn.leave(each)

    def thread(number: int) -> None:
        each = Somebody(100 + number)
        turn.take(each)
        come_and_go()
        turn.leave(each)

    with ThreadPoolExecutor(4) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(task(number) for number in range(50)),
            *(loop.run_in_executor(pool, thread, number) for number in range(50)),
        )
    assert most == 1
    assert turn.holder is None


@async_test
async def test_a_task_that_is_cancelled_while_it_waits_gives_up_its_place() -> None:
    turn, first = a_turn(), Somebody(1, 0)
    await turn.take_async(first)
    waiting = asyncio.create_task(turn.take_async(Somebody(1, 1)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    turn.leave(first)
    assert turn.holder is None


@async_test
async def test_a_turn_that_is_given_in_the_moment_of_cancellation_is_handed_on() -> None:
    turn, first = a_turn(), Somebody(1, 0)
    await turn.take_async(first)
    waiting = asyncio.create_task(turn.take_async(Somebody(1, 1)))
    await asyncio.sleep(0)
    turn.leave(first)  # given to the one that waits, who has not heard of it yet
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert turn.holder is None


def test_who_waits_for_too_long_is_told_for_whom() -> None:
    turn = WriteTurn(wait_s=0.01)
    turn.take(Somebody(1, doing="UPDATE people"))
    with pytest.raises(IsolationError, match=r"0.01 seconds .*begun by 'UPDATE people'.*truncate"):
        turn.take(Somebody(2))


@async_test
async def test_a_task_that_waits_for_too_long_is_told_for_whom() -> None:
    turn, first = WriteTurn(wait_s=0.01), Somebody(1, 0, doing="UPDATE people")
    await turn.take_async(first)
    with pytest.raises(IsolationError, match="begun by 'UPDATE people'"):
        await turn.take_async(Somebody(1, 1))
    turn.leave(first)
    assert turn.holder is None


@async_test
async def test_the_end_of_the_test_is_told_to_everybody_who_waits() -> None:
    turn, holder = a_turn(), Somebody(1, 0)
    await turn.take_async(holder)
    task = asyncio.create_task(turn.take_async(Somebody(1, 1)))
    with ThreadPoolExecutor(1) as pool:
        thread = pool.submit(turn.take, Somebody(2))
        await asyncio.to_thread(until_waiting, turn, 2)
        assert turn.end() is holder
        with pytest.raises(IsolationError, match="the test was over"):
            await task
        with pytest.raises(IsolationError, match="the test was over"):
            thread.result(PATIENCE_S)
    assert turn.holder is None


def test_only_the_thread_that_has_the_turn_is_kept_from_waiting_for_others() -> None:
    turn, mine = a_turn(), Somebody(threading.get_ident(), doing="INSERT INTO people")
    turn.require_free()
    turn.take(mine)
    with pytest.raises(IsolationError, match="'INSERT INTO people'.*commit it before the request"):
        turn.require_free()
    turn.leave(mine)
    turn.take(Somebody(-1))
    turn.require_free()


def until_waiting(turn: WriteTurn, count: int) -> None:
    while len(turn._waiting) < count:
        threading.Event().wait(0.001)
