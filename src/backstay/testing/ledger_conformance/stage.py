"""What every conformance test stands on: the author's engine, a clock, and a few short words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from backstay.errors import BackstayError
from backstay.ledger.ids import new_job_id
from backstay.ledger.port import Claims, Execute, Ledger
from backstay.ledger.rows import Claimed, Finish, JobRow, NewJob, State, WorkerRow

__all__ = [
    "FAILED",
    "LedgerHome",
    "LedgerTime",
    "START",
    "Stage",
    "conformance_test",
    "job",
    "on_its_own_clock",
    "worker_row",
]

START = datetime(2027, 1, 1, tzinfo=UTC)
FAILED = '{"type": "ValueError", "message": "no", "attempt": 1}'

Home = TypeVar("Home", bound="LedgerHome")


class LedgerTime:
    """The time that the engine under test is told: it stands still until a test moves it."""

    def __init__(self) -> None:
        self._now = START

    def __call__(self) -> datetime:
        return self._now

    def move(self, seconds: float) -> None:
        """Let time pass; backwards, too."""
        self._now += timedelta(seconds=seconds)


class LedgerHome:
    """What an author of an engine says about it, by overriding these.

    Attributes:
        patience_s: seconds after which a test is failed rather than left hanging.
    """

    patience_s: float = 20.0

    def new_ledger(self, now: Callable[[], datetime] | None) -> Ledger:
        """An engine over a database that holds no jobs. Not opened. Called once per test.

        Args:
            now: the time it has to go by; ``None``: by the clock it goes by in production.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no new_ledger(); return an engine that is not opened"
        )

    def same_ledger(self, ledger: Ledger, now: Callable[[], datetime] | None) -> Ledger | None:
        """One more engine over the database of ``ledger``, as another process would make it.

        ``None``, the default: nobody else can reach that database; two workers then share one
        engine, and what only two processes show is skipped.
        """
        return None

    def transaction(self, ledger: Ledger) -> AbstractContextManager[Execute] | None:
        """A transaction of an application on the same database, over a connection of its own.

        Leaving the block commits; an exception rolls back and is raised again. The default,
        ``None``, skips what needs it.
        """
        return None

    def damage(self, ledger: Ledger, job_id: UUID) -> bool:
        """Make the stored arguments of a job something that is no JSON, behind the engine's back.

        Whether that was possible; ``False``, the default, skips what needs it.
        """
        return False

    def clean_up(self, ledger: Ledger) -> None:
        """After each test, whatever came of it, with the ledger closed."""


class Stage:
    """One test's engine, open, and its clock.

    Attributes:
        time: what the engines go by.
        patience_s: seconds to wait for what has to come.
        ledger: the engine.
    """

    ledger: Ledger

    def __init__(self, home: LedgerHome) -> None:
        self.time = LedgerTime()
        self.patience_s = home.patience_s / 2
        self._home = home
        self._opened: list[Ledger] = []

    async def open(self, *, own_clock: bool = False) -> None:
        """Open the engine of this test."""
        self.ledger = self._home.new_ledger(None if own_clock else self.time)
        self._opened.append(self.ledger)
        await self.ledger.open()

    async def close(self) -> None:
        """Close every engine of this test."""
        try:
            for ledger in reversed(self._opened):
                with suppress(BackstayError):  # a test may have closed it before
                    await ledger.close()
        finally:
            if self._opened:
                self._home.clean_up(self._opened[0])

    async def another(self, *, needed: bool = False, create: bool = True) -> Ledger:
        """Another process's engine on the same database.

        Args:
            needed: skip the test if there can be none; else the one engine is both.
            create: whether it may make tables.
        """
        ledger = self._home.same_ledger(self.ledger, self.time)
        if ledger is None:
            if needed:
                _skip("one process alone reaches this database")
            return self.ledger
        self._opened.append(ledger)
        await ledger.open(create=create)
        return ledger

    def transaction(self) -> AbstractContextManager[Execute]:
        """An application's own transaction."""
        transaction = self._home.transaction(self.ledger)
        if transaction is None:
            _skip("an application cannot open a transaction on this database")
        assert transaction is not None
        return transaction

    def damage(self, job_id: UUID) -> None:
        """Make a job's stored arguments unreadable."""
        if not self._home.damage(self.ledger, job_id):
            _skip("rows of this database cannot be damaged")

    async def add(self, *jobs: NewJob) -> list[UUID]:
        """Write jobs, all of which must be new."""
        inserted = await self.ledger.insert(jobs)
        assert [each.created for each in inserted] == [True] * len(jobs)
        return [each.id for each in inserted]

    async def worker(
        self, name: str = "w1", *, lease_s: float = 30.0, ledger: Ledger | None = None
    ) -> str:
        """Register a worker."""
        await (ledger or self.ledger).register(worker_row(name, lease_s=lease_s))
        return name

    async def claims(
        self,
        wants: dict[str, int] | None = None,
        *,
        worker: str = "w1",
        ledger: Ledger | None = None,
    ) -> Claims:
        """Claim; from the default queue if nothing else is said."""
        wants = {"default": 100} if wants is None else wants
        return await (ledger or self.ledger).claim(worker, wants)

    async def claim(
        self,
        wants: dict[str, int] | None = None,
        *,
        worker: str = "w1",
        ledger: Ledger | None = None,
    ) -> list[Claimed]:
        """The jobs of a claim."""
        return (await self.claims(wants, worker=worker, ledger=ledger)).jobs

    async def running(self, new: NewJob | None = None, *, worker: str = "w1") -> Claimed:
        """Write a job and claim it, for a worker that is registered by the way."""
        new = new or job()
        await self.worker(worker)
        await self.add(new)
        [claimed] = await self.claim({new.queue: 1}, worker=worker)
        assert claimed.id == new.id
        return claimed

    async def end(self, claimed: Claimed, state: State = State.SUCCEEDED, **rest: Any) -> bool:
        """End a claim; whether it was current."""
        stale = await self.ledger.finish([Finish(claimed.id, claimed.fence, state, **rest)])
        assert stale in (set(), {claimed.id})
        return not stale

    async def row(self, job_id: UUID) -> JobRow:
        """One job."""
        return (await self.ledger.get([job_id]))[job_id]

    async def state(self, job_id: UUID) -> State:
        """One job's state."""
        return (await self.row(job_id)).state

    async def states(self, ids: Iterable[UUID]) -> list[State]:
        """Several jobs' states, in the order of ``ids``."""
        ids = list(ids)
        rows = await self.ledger.get(ids)
        return [rows[each].state for each in ids]


def conformance_test(test: Callable[[Home, Stage], Awaitable[None]]) -> Callable[[Home], None]:
    """Make a test of what wants an open ledger: synchronous, bounded in time, cleaned up after."""
    return _test(test, own_clock=False)


def on_its_own_clock(test: Callable[[Home, Stage], Awaitable[None]]) -> Callable[[Home], None]:
    """The same, with an engine that goes by the clock it goes by in production."""
    return _test(test, own_clock=True)


def _test(
    test: Callable[[Home, Stage], Awaitable[None]], *, own_clock: bool
) -> Callable[[Home], None]:
    def run(self: Home) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(self.patience_s):
                stage = Stage(self)
                try:
                    await stage.open(own_clock=own_clock)
                    await test(self, stage)
                finally:
                    await stage.close()

        asyncio.run(bounded())

    # Not functools.wraps: pytest would take the wrapped test's parameters for fixtures.
    run.__name__ = test.__name__
    run.__qualname__ = test.__qualname__
    run.__doc__ = test.__doc__
    run.__module__ = test.__module__
    return run


def job(task: str = "t", **rest: Any) -> NewJob:
    """A job with an id of its own."""
    return NewJob(rest.pop("id", None) or new_job_id(), task, **rest)


def worker_row(name: str = "w1", *, lease_s: float = 30.0) -> WorkerRow:
    """A worker as it introduces itself."""
    return WorkerRow(
        id=name,
        host="host",
        pid=4711,
        lease_s=lease_s,
        concurrency=10,
        queues=("default", "mail"),
        version="1.2",
    )


def _skip(why: str) -> None:
    import pytest  # whoever runs this has it, and nobody else needs it

    pytest.skip(why)
