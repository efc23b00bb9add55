"""One thread as long as it keeps up, another beside it when it is held up."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError, OperationalError

from backstay.db import lane as lane_module
from backstay.db.lane import Lane
from tests.support import PATIENCE_S, async_test


class Opener:
    """Opens connections and remembers in which threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.opened: list[Connection] = []

    def __call__(self) -> Connection:
        self.opened.append(self.engine.connect())
        return self.opened[-1]

    @property
    def open(self) -> int:
        return sum(not connection.closed for connection in self.opened)


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    yield Opener(engine)
    engine.dispose()


def thread(_: Connection) -> threading.Thread:
    return threading.current_thread()


def one(connection: Connection) -> Any:
    return connection.execute(text("SELECT 1")).scalar_one()


def new_lane(opener: Opener, **options: Any) -> Lane:
    return Lane(opener, asyncio.get_running_loop(), **options)


async def ended(lane: Lane) -> None:
    lane.stop()
    await asyncio.to_thread(lane.join, PATIENCE_S)
    assert not lane._threads


@async_test
async def test_calls_that_are_quick_share_one_thread_and_its_connection(opener: Opener) -> None:
    lane = new_lane(opener, size=4, keep=True)
    threads = await asyncio.gather(*(lane.run(thread) for _ in range(20)))
    assert len(set(threads)) == 1
    assert await lane.run(one) == 1
    assert (len(opener.opened), opener.open) == (1, 1)
    await ended(lane)
    assert opener.open == 0


@async_test
async def test_without_keeping_each_call_has_given_its_connection_back_when_it_is_awaited(
    opener: Opener,
) -> None:
    lane = new_lane(opener)
    for _ in range(3):
        assert await lane.run(one) == 1
        assert opener.open == 0
    assert len(opener.opened) == 3
    await ended(lane)


@async_test
async def test_a_call_that_takes_long_holds_up_nobody(opener: Opener) -> None:
    lane = new_lane(opener, size=3, keep=True)
    go_on = threading.Event()
    slow = [asyncio.create_task(lane.run(lambda _: go_on.wait(PATIENCE_S))) for _ in range(2)]
    for _ in range(5):
        assert await lane.run(one) == 1
    assert lane._serving == 3
    go_on.set()
    assert await asyncio.gather(*slow) == [True, True]
    await ended(lane)
    assert opener.open == 0


@async_test
async def test_there_are_never_more_threads_than_allowed(opener: Opener) -> None:
    lane = new_lane(opener, size=2)
    go_on = threading.Event()
    running = 0
    most = 0
    counting = threading.Lock()

    def hold(_: Connection) -> None:
        nonlocal running, most
        with counting:
            running += 1
            most = max(most, running)
        go_on.wait(PATIENCE_S)
        with counting:
            running -= 1

    calls = [asyncio.create_task(lane.run(hold)) for _ in range(5)]
    while most < 2:
        await asyncio.sleep(0.001)
    # Time for many a third one to come, if it would.
    await asyncio.sleep(4 * lane_module._STALL_S)
    go_on.set()
    await asyncio.gather(*calls)
    assert most == 2
    await ended(lane)


@async_test
async def test_two_threads_become_one_again(opener: Opener) -> None:
    lane = new_lane(opener, size=2, keep=True)
    go_on = threading.Event()
    slow = asyncio.create_task(lane.run(lambda _: go_on.wait(PATIENCE_S)))
    assert await lane.run(one) == 1
    go_on.set()
    await slow
    while lane._serving == 2:
        await asyncio.sleep(0.001)
    assert lane._serving == 1
    assert await lane.run(one) == 1
    await ended(lane)


@async_test
async def test_a_thread_with_nothing_to_do_ends_and_another_comes_when_there_is(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_module, "_IDLE_S", 0.001)
    lane = new_lane(opener, keep=True)
    for _ in range(3):
        assert await lane.run(one) == 1
        while lane._threads:
            await asyncio.sleep(0.001)
        assert opener.open == 0


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (ZeroDivisionError(), False),
        (OperationalError("", {}, Exception()), False),
        (IntegrityError("", {}, Exception()), True),
        (StopIteration(), False),
        (SystemExit(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
@async_test
async def test_what_a_call_raises_is_raised_and_a_connection_that_may_be_broken_is_dropped(
    opener: Opener, error: BaseException, kept: bool
) -> None:
    lane = new_lane(opener, keep=True)

    def fail(_: Connection) -> None:
        raise error

    with pytest.raises((type(error), RuntimeError)) as caught:  # PEP 479 wraps StopIteration
        await lane.run(fail)
    assert error in (caught.value, caught.value.__cause__)
    assert await lane.run(one) == 1
    assert len(opener.opened) == (1 if kept else 2)
    await ended(lane)


@async_test
async def test_a_connection_that_cannot_be_opened_fails_the_call_and_is_tried_again(
    opener: Opener,
) -> None:
    outcomes: list[Callable[[], Connection]] = [opener]

    def connect() -> Connection:
        if outcomes:
            return outcomes.pop()()
        outcomes.append(opener)
        raise ConnectionError

    outcomes.clear()
    lane = Lane(connect, asyncio.get_running_loop(), keep=True)
    with pytest.raises(ConnectionError):
        await lane.run(one)
    assert await lane.run(one) == 1
    await ended(lane)


@async_test
async def test_a_call_given_up_before_it_began_never_begins_and_a_later_one_is_carried_through(
    opener: Opener,
) -> None:
    lane = new_lane(opener)
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    done: list[str] = []

    def first(_: Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(PATIENCE_S)
        done.append("first")

    running = asyncio.create_task(lane.run(first))
    await begun.wait()
    waiting = asyncio.create_task(lane.run(lambda _: done.append("second")))
    await asyncio.sleep(0)
    for task in (running, waiting):
        task.cancel()
    assert await asyncio.gather(running, waiting, return_exceptions=True) != [None, None]
    go_on.set()
    await lane.run(lambda _: done.append("third"))
    assert done == ["first", "third"]
    assert opener.open == 0
    await ended(lane)


@async_test
async def test_a_call_sees_the_variables_of_who_made_it(opener: Opener) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    lane = new_lane(opener)

    async def ask(value: str) -> str:
        variable.set(value)
        return await lane.run(lambda _: variable.get())

    asked = [str(number) for number in range(5)]
    assert await asyncio.gather(*map(ask, asked)) == asked
    await ended(lane)


@async_test
async def test_what_was_waiting_when_it_was_stopped_is_done(opener: Opener) -> None:
    lane = new_lane(opener)
    calls = [asyncio.create_task(lane.run(one)) for _ in range(5)]
    await asyncio.sleep(0)
    await ended(lane)
    assert await asyncio.gather(*calls) == [1] * 5


def test_a_result_that_comes_after_the_loop_is_closed_is_nobodys(opener: Opener) -> None:
    go_on = threading.Event()
    lanes: list[Lane] = []

    async def leave() -> None:
        lanes.append(new_lane(opener))
        task = asyncio.create_task(lanes[0].run(lambda _: go_on.wait(PATIENCE_S)))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    go_on.set()
    lanes[0].stop()
    lanes[0].join(PATIENCE_S)
    assert not lanes[0]._threads
    assert opener.open == 0
