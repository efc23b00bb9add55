"""Sessions of every kind write into the real ledgers, and workers see what was committed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from backstay.errors import JobError
from backstay.jobs.session import finish_in, insert_in, jobs_of
from backstay.ledger.ids import new_job_id
from backstay.ledger.opening import new_ledger
from backstay.ledger.port import Ledger, Wake
from backstay.ledger.rows import (
    Claimed,
    Finish,
    Gate,
    Inserted,
    JobFilter,
    NewJob,
    State,
    UniqueKey,
    WorkerRow,
)
from tests.jobs.desks import POSTGRES, Desk, Order, closing_session, desk_of, every_kind, now
from tests.support import async_test

WORKER = WorkerRow(
    id="worker", host="here", pid=1, lease_s=30.0, concurrency=5, queues=("default",)
)


class Place:
    """A desk and the ledger in its database."""

    def __init__(self, desk: Desk, ledger: Ledger) -> None:
        self.desk = desk
        self.ledger = ledger
        self.woken = asyncio.Event()

    async def claim(self) -> list[Claimed]:
        return (await self.ledger.claim("worker", {"default": 10})).jobs

    async def states(self) -> dict[str, State]:
        return {row.task: row.state for row in await self.ledger.find(JobFilter())}


@asynccontextmanager
async def place_of(kind: str, folder: Path) -> AsyncIterator[Place]:
    async with desk_of(kind, folder) as desk:
        if "sqlite" in kind:
            ledger = new_ledger(desk.ledger.url)
        else:
            schema = desk.look("SELECT current_schema()")[0]
            ledger = new_ledger(POSTGRES, schema=schema)
        await ledger.open()
        desk.ledger = ledger
        place = Place(desk, ledger)
        ledger.on_wake(lambda wake: place.woken.set() if wake.enqueued else None)
        await ledger.register(WORKER)
        try:
            yield place
        finally:
            await ledger.close()


@every_kind
@async_test
async def test_a_committed_job_is_claimed_and_an_uncommitted_one_is_not(
    kind: str, tmp_path: Path
) -> None:
    async with place_of(kind, tmp_path) as place, closing_session(place.desk) as session:
        new = place.desk.add(session, "send")
        assert await place.claim() == []
        place.woken.clear()
        await now(session.commit())
        await place.woken.wait()
        [claimed] = await place.claim()
        assert (claimed.id, claimed.task, claimed.args) == (new.id, "send", new.args)
        assert place.desk.told == [Inserted(new.id, True)]


@every_kind
@async_test
async def test_a_rolled_back_job_was_never_there(kind: str, tmp_path: Path) -> None:
    async with place_of(kind, tmp_path) as place, closing_session(place.desk) as session:
        session.add(Order(id=1))
        place.desk.add(session, "by commit")
        await insert_in(session, place.ledger, [NewJob(new_job_id(), "now")])
        await now(session.rollback())
        assert await place.states() == {}
        assert place.desk.orders() == []


@every_kind
@async_test
async def test_every_kind_of_job_travels_through_a_session(kind: str, tmp_path: Path) -> None:
    async with place_of(kind, tmp_path) as place, closing_session(place.desk) as session:
        add = jobs_of(session).add
        told: dict[str, Inserted | None] = {}

        def expect(new: NewJob) -> NewJob:
            add(place.ledger, new, lambda inserted: told.update({new.task: inserted}))
            return new

        expect(NewJob(new_job_id(), "plain", args='{"text": "ein Mädchen: :name \\\\ %s ::int"}'))
        parent = expect(NewJob(new_job_id(), "parent", priority=3, max_attempts=7, keep_s=1e6))
        expect(NewJob(new_job_id(), "child", after=(parent.id,), on_parent_failure="run"))
        expect(NewJob(new_job_id(), "delayed", delay_s=3_600))
        expect(
            NewJob(new_job_id(), "dated", run_at=datetime.now(UTC) + timedelta(days=40_000 / 24))
        )
        holder = expect(NewJob(new_job_id(), "holder", unique=UniqueKey("key", period_s=60)))
        expect(NewJob(new_job_id(), "second", unique=UniqueKey("key")))
        expect(NewJob(new_job_id(), "gated", gate=Gate("gate", limit=1, rate=2, per_s=60.0)))
        expect(NewJob(new_job_id(), "elsewhere", queue="mail", meta='{"correlation": "abc"}'))
        await now(session.commit())
        assert await place.states() == {
            "plain": State.AVAILABLE,
            "parent": State.AVAILABLE,
            "child": State.WAITING,
            "delayed": State.SCHEDULED,
            "dated": State.SCHEDULED,
            "holder": State.AVAILABLE,
            "gated": State.AVAILABLE,
            "elsewhere": State.AVAILABLE,
        }
        assert told["second"] == Inserted(holder.id, False)
        [plain] = [each for each in await place.claim() if each.task == "plain"]
        assert plain.args == '{"text": "ein Mädchen: :name \\\\ %s ::int"}'


@every_kind
@async_test
async def test_hundreds_of_jobs_travel_in_one_commit(kind: str, tmp_path: Path) -> None:
    async with place_of(kind, tmp_path) as place, closing_session(place.desk) as session:
        for number in range(700):
            place.desk.add(session, f"task {number}")
        await now(session.commit())
        assert sum(each.jobs for each in await place.ledger.counts()) == 700
        assert len(place.desk.told) == 700


@every_kind
@async_test
async def test_effects_and_completion_commit_together(kind: str, tmp_path: Path) -> None:
    async with place_of(kind, tmp_path) as place:
        await place.ledger.insert([NewJob(new_job_id(), "send")])
        [claimed] = await place.claim()
        then = NewJob(new_job_id(), "then")
        finish = Finish(claimed.id, claimed.fence, State.SUCCEEDED, result="1", then=(then,))
        async with closing_session(place.desk) as session:
            session.add(Order(id=1))
            assert await finish_in(session, place.ledger, finish)
            await now(session.rollback())
        assert (await place.states(), place.desk.orders()) == ({"send": State.RUNNING}, [])
        async with closing_session(place.desk) as session:
            session.add(Order(id=1))
            assert await finish_in(session, place.ledger, finish)
            place.woken.clear()
            await now(session.commit())
            await place.woken.wait()
        assert await place.states() == {"send": State.SUCCEEDED, "then": State.AVAILABLE}
        assert place.desk.orders() == ["1"]


@every_kind
@async_test
async def test_a_stale_claim_finishes_nothing(kind: str, tmp_path: Path) -> None:
    async with place_of(kind, tmp_path) as place:
        await place.ledger.insert([NewJob(new_job_id(), "send", max_attempts=5)])
        [claimed] = await place.claim()
        await place.ledger.finish([Finish(claimed.id, claimed.fence, State.AVAILABLE)])
        [again] = await place.claim()
        assert again.fence > claimed.fence
        async with closing_session(place.desk) as session:
            stale = Finish(claimed.id, claimed.fence, State.SUCCEEDED)
            assert not await finish_in(session, place.ledger, stale)
            await now(session.rollback())
        assert await place.states() == {"send": State.RUNNING}


@every_kind
@async_test
async def test_a_ledger_that_is_elsewhere_is_named_with_the_remedy(
    kind: str, tmp_path: Path
) -> None:
    async with place_of(kind, tmp_path) as place, closing_session(place.desk) as session:
        await now(session.execute(text("ALTER TABLE backstay_jobs RENAME TO others_jobs")))
        await now(session.commit())
        place.desk.add(session)
        with pytest.raises(JobError, match=r"backstay_jobs.*add_tasks\(app, database="):
            await now(session.commit())
        await now(session.rollback())
        assert place.desk.told == [None]


@every_kind
@async_test
async def test_claims_during_commits_and_rollbacks_get_exactly_what_was_committed(
    kind: str, tmp_path: Path
) -> None:
    async with place_of(kind, tmp_path) as place:
        claimed: list[str] = []
        kept = [f"{writer}.{number}" for writer in range(3) for number in range(20) if number % 3]

        async def write(writer: int) -> None:
            async with closing_session(place.desk) as session:
                for number in range(20):
                    place.desk.add(session, f"{writer}.{number}")
                    await asyncio.sleep(0)
                    await now(session.commit() if number % 3 else session.rollback())

        async def claim() -> None:
            while len(claimed) < len(kept):
                claimed.extend(each.task for each in await place.claim())
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            for writer in range(3):
                group.create_task(write(writer))
            group.create_task(claim())
        assert sorted(claimed) == sorted(kept)
        assert await place.claim() == []
        assert sum(each is None for each in place.desk.told) == 60 - len(kept)


@async_test
async def test_a_wake_is_told_once_for_a_commit(tmp_path: Path) -> None:
    async with place_of("pysqlite", tmp_path) as place, closing_session(place.desk) as session:
        wakes: list[Wake] = []
        place.ledger.on_wake(wakes.append)
        place.desk.add(session)
        place.desk.add(session)
        session.commit()
        while not wakes:
            await asyncio.sleep(0)
        assert wakes[0].enqueued
