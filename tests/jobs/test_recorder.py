"""Telling the ledger how attempts ended. ``test_worker`` and the chaos tests show the same whole."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from backstay.app import Backstay
from backstay.context import Moment
from backstay.errors import LedgerUnavailable
from backstay.jobs.endings import Endings
from backstay.jobs.outage import Outage
from backstay.jobs.part import DurablePart
from backstay.jobs.recorder import Recorder
from backstay.jobs.run import JobRun
from backstay.ledger.rows import Claimed, Finish, State
from tests.support import async_test

NOW = datetime(2027, 1, 1, tzinfo=UTC)


class Books:
    """A ledger that keeps what it is told, when it is not out of reach."""

    def __init__(self) -> None:
        self.groups: list[list[Finish]] = []
        self.troubles: list[Exception] = []
        self.unwritable: set[UUID] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        await self.gate.wait()
        if self.troubles:
            raise self.troubles.pop(0)
        if any(each.id in self.unwritable and each.result is not None for each in finishes):
            raise ValueError("that result")
        self.groups.append(list(finishes))
        return {each.id for each in finishes if each.fence == 99}


class Desk:
    """A recorder at work, and who hears of it."""

    def __init__(self) -> None:
        self.app = Backstay()
        self.keeper = DurablePart(self.app, database="memory://")
        self.books = Books()
        self.told: list[UUID] = []
        self.rested = asyncio.Event()
        ledger: Any = self.books
        self.recorder = Recorder(
            ledger,
            self.app.clock,
            Endings(self.keeper, self.app.clock, "worker-1"),
            Outage(),
            told=self.told.append,
            rested=self._rested,
        )

    def _rested(self) -> None:
        if not self.recorder.unrecorded:
            self.rested.set()

    def progressed(self, run: Any, progress: Any) -> None: ...

    def run(self, number: int, fence: int = 1) -> JobRun:
        claim = Claimed(UUID(int=number), fence, 1, 3, "t", "default", "{}", "{}", NOW, NOW)
        return JobRun(claim, None, self)

    def record(self, number: int, fence: int = 1) -> JobRun:
        run = self.run(number, fence)
        self.recorder.record(run, Finish(run.id, fence, State.SUCCEEDED, result="1"))
        return run

    async def all_done(self) -> None:
        going = asyncio.create_task(self.recorder.run_forever())
        await self.rested.wait()
        going.cancel()
        with suppress(asyncio.CancelledError):
            await going


@async_test
async def test_what_collects_while_a_group_is_on_its_way_is_the_next_group() -> None:
    desk = Desk()
    desk.books.gate.clear()
    desk.record(1)
    going = asyncio.create_task(desk.all_done())
    while desk.recorder._finishing:
        await asyncio.sleep(0)
    desk.record(2)
    desk.record(3)
    assert desk.recorder.unrecorded == 3
    desk.books.gate.set()
    await going
    assert [len(group) for group in desk.books.groups] == [1, 2]
    assert desk.told == [UUID(int=1), UUID(int=2), UUID(int=3)]
    assert desk.recorder.groups == 2


@async_test
async def test_nothing_is_given_up_while_the_ledger_is_out_of_reach() -> None:
    desk = Desk()
    desk.books.troubles = [LedgerUnavailable("gone"), LedgerUnavailable("gone")]
    desk.record(1)
    await desk.all_done()
    assert desk.told == [UUID(int=1)]


@async_test
async def test_one_end_that_cannot_be_written_holds_up_no_other_and_is_written_plainly() -> None:
    desk = Desk()
    desk.books.unwritable = {UUID(int=2)}
    for number in (1, 2, 3):
        desk.record(number)
    await desk.all_done()
    states = {each.id.int: each.state for group in desk.books.groups for each in group}
    assert states == {1: State.SUCCEEDED, 2: State.DISCARDED, 3: State.SUCCEEDED}


@async_test
async def test_a_claim_that_was_taken_over_is_told_apart(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.record(1, fence=99)
    await desk.all_done()
    assert "was no longer ours" in caplog.text


@async_test
async def test_a_listener_that_fails_stops_no_recording(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    run = desk.record(1)

    def fails(succeeded: bool) -> None:
        raise ZeroDivisionError("a listener's own")

    run.context.at(Moment.ANSWERED, fails)
    desk.record(2)
    await desk.all_done()
    assert UUID(int=2) in desk.told
    assert "what follows the end of the job" in caplog.text
