"""The heartbeat: a thread of its own, so that a busy event loop is not taken for death."""

import asyncio
import threading
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI

from backstay.clock import SystemClock
from backstay.errors import LedgerUnavailable
from backstay.jobs.heartbeat import Heartbeat
from backstay.ledger.opening import new_ledger
from backstay.ledger.rows import Beat, Orphan
from backstay.tasks import State, add_tasks, task
from backstay.testing import FakeClock, running
from tests.support import async_test


class FakeHeart:
    """Beats and notes in which thread; answers what it is told to."""

    def __init__(self) -> None:
        self.beats: list[threading.Thread] = []
        self.answers: list[Beat | Exception] = []
        self.beaten = threading.Semaphore(0)
        self.closed = threading.Event()

    def beat(self) -> Beat:
        self.beats.append(threading.current_thread())
        self.beaten.release()
        answer = self.answers.pop(0) if self.answers else Beat(known=True, cancelled=())
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed.set()


class Told:
    def __init__(self) -> None:
        self.cancelled: list[UUID] = []
        self.lost = 0
        self.something = asyncio.Event()

    def on_cancelled(self, jobs: Sequence[UUID]) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.cancelled += jobs
        self.something.set()

    def on_lost(self) -> None:
        self.lost += 1
        self.something.set()


def make(heart: FakeHeart, clock: Any, told: Told, every_s: float = 2.0) -> Heartbeat:
    return Heartbeat(
        lambda: heart,
        clock,
        every_s=every_s,
        on_cancelled=told.on_cancelled,
        on_lost=told.on_lost,
    )


@async_test
async def test_it_beats_in_a_thread_while_the_event_loop_is_blocked() -> None:
    heart, told = FakeHeart(), Told()
    heartbeat = make(heart, SystemClock(), told, every_s=0.005)
    heartbeat.start()
    for _ in range(5):  # waiting here is what blocks the loop
        assert heart.beaten.acquire(timeout=10)
    await heartbeat.stop()
    assert all(thread is not threading.main_thread() for thread in heart.beats)
    assert heart.closed.is_set()


@async_test
async def test_it_passes_on_what_is_to_be_cancelled_in_the_event_loop() -> None:
    heart, told = FakeHeart(), Told()
    job = uuid4()
    heart.answers = [Beat(known=True, cancelled=(job,))]
    heartbeat = make(heart, SystemClock(), told, every_s=60)
    heartbeat.start()
    heartbeat.soon()
    await told.something.wait()
    await heartbeat.stop()
    assert told.cancelled == [job]
    assert told.lost == 0


@async_test
async def test_it_says_that_the_worker_was_taken_for_dead() -> None:
    heart, told = FakeHeart(), Told()
    heart.answers = [Beat(known=False, cancelled=())]
    heartbeat = make(heart, SystemClock(), told, every_s=60)
    heartbeat.start()
    heartbeat.soon()
    await told.something.wait()
    await heartbeat.stop()
    assert told.lost == 1


@async_test
async def test_it_goes_on_when_the_ledger_is_back_and_complains_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heart, told = FakeHeart(), Told()
    heart.answers = [
        LedgerUnavailable("gone"),
        LedgerUnavailable("gone"),
        ZeroDivisionError("a bug"),
        Beat(known=True, cancelled=()),
        LedgerUnavailable("gone again"),
    ]
    heartbeat = make(heart, SystemClock(), told, every_s=0.001)
    heartbeat.start()
    for _ in range(7):
        await asyncio.to_thread(heart.beaten.acquire, timeout=10)
    await heartbeat.stop()
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if "does not reach" in line] == [
        "the heartbeat does not reach the ledger: gone",
        "the heartbeat does not reach the ledger: gone again",
    ]
    assert "the heartbeat failed" in lines


class Hands(SystemClock):
    """The machine's clock, as far as anybody can tell, with hands that the test moves."""

    at = 0.0

    def monotonic(self) -> float:
        return self.at


async def beat_at(heartbeat: Heartbeat, clock: Hands, at: float) -> None:
    clock.at = at
    heartbeat.soon()
    while heartbeat._heard_at != at:
        await asyncio.sleep(0.001)


@async_test
async def test_it_is_steady_since_the_last_gap_between_beats() -> None:
    clock = Hands()
    heartbeat = make(FakeHeart(), clock, Told(), every_s=60)
    heartbeat.start()
    await beat_at(heartbeat, clock, 100)
    assert heartbeat.steady_for(100)
    await beat_at(heartbeat, clock, 300)
    assert not heartbeat.steady_for(1)
    clock.at = 350
    assert heartbeat.steady_for(50)
    assert not heartbeat.steady_for(51)
    await heartbeat.stop()
    assert make(FakeHeart(), FakeClock(), Told()).steady_for(3600)  # there is no gap in its time


@async_test
async def test_while_it_is_silent_it_is_not_steady() -> None:
    """The ledger may be back for upkeep before the next beat has noticed the gap."""
    clock = Hands()
    heartbeat = make(FakeHeart(), clock, Told(), every_s=60)
    heartbeat.start()
    await beat_at(heartbeat, clock, 100)
    clock.at = 300
    assert not heartbeat.steady_for(100)
    await heartbeat.stop()


@async_test
async def test_under_a_fake_clock_the_beats_are_its_timers() -> None:
    heart, told, clock = FakeHeart(), Told(), FakeClock()
    heartbeat = make(heart, clock, told)
    heartbeat.start()
    await heartbeat.now()
    assert len(heart.beats) == 1
    for beats in (2, 3):
        await clock.advance(2)
        await asyncio.to_thread(heart.beaten.acquire, timeout=10)
        while len(heart.beats) < beats:
            await asyncio.sleep(0.001)
    await heartbeat.stop()
    beaten = len(heart.beats)
    await clock.advance(20)
    heartbeat.soon()
    await heartbeat.now()
    assert len(heart.beats) == beaten
    assert heart.closed.is_set()


@async_test
async def test_stopping_does_not_wait_for_a_beat_that_hangs() -> None:
    release = threading.Event()

    class Hanging(FakeHeart):
        def beat(self) -> Beat:
            self.beaten.release()
            release.wait(20)
            return Beat(known=True, cancelled=())

    heart = Hanging()
    heartbeat = make(heart, SystemClock(), Told(), every_s=0.001)
    heartbeat.start()
    assert heart.beaten.acquire(timeout=10)
    await heartbeat.stop()
    assert not heart.closed.is_set()
    release.set()
    assert heart.closed.wait(10)


@async_test
async def test_a_worker_whose_loop_is_blocked_longer_than_its_lease_keeps_its_job(
    tmp_path: Path,
) -> None:
    database, lease_s = f"sqlite:///{tmp_path}/shop.db", 1.0
    orphans: list[Orphan] = []

    async def look_for_orphans() -> None:
        """Another process, eager to rescue, for longer than the lease."""
        ledger = new_ledger(database, clock=SystemClock(), prefix="backstay_", schema=None)
        await ledger.open()
        end = await ledger.now() + timedelta(seconds=1.5 * lease_s)
        while await ledger.now() < end:
            orphans.extend(await ledger.orphans())
            await asyncio.sleep(0.02)
        await ledger.close()

    @task
    async def block() -> str:
        other = threading.Thread(target=lambda: asyncio.run(look_for_orphans()))
        other.start()
        other.join()  # the whole event loop stands still, on purpose
        return "done"

    app = FastAPI()
    add_tasks(app, database=database, lease_s=lease_s)
    async with running(app) as client:
        status = await (await client.durable.enqueue(block)).wait()
    assert (status.state, status.attempt) == (State.SUCCEEDED, 1)
    assert orphans == []
