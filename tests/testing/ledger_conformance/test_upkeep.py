"""The suite notices engines that bury the living, keep the dead, or tick twice."""

from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from backstay.ledger import Beat, Heart, JobFilter, Orphan, State, Tick, WorkerRow
from backstay.testing.ledger_conformance.upkeep import Upkeep
from tests.testing.ledger_conformance.broken import Broken, changed, notices


class NoRescue(Broken):
    async def orphans(self, limit: int = 100) -> list[Orphan]:
        return []


class BuriesTheLiving(Broken):
    async def orphans(self, limit: int = 100) -> list[Orphan]:
        for worker in await self.good.workers():
            await self.good.unregister(worker.id)
        return await self.good.orphans(limit)


class AllOrphansAtOnce(Broken):
    async def orphans(self, limit: int = 100) -> list[Orphan]:
        return await self.good.orphans(10**6)


class Unregisters(Broken):
    async def unregister(self, worker: str) -> None:
        pass


class DeafHeart:
    def __init__(self, good: Heart, **answer: Any) -> None:
        self.good = good
        self.answer = answer

    def beat(self) -> Beat:
        return changed(self.good.beat(), **self.answer)  # type: ignore[no-any-return]

    def close(self) -> None:
        self.good.close()


class HearsNoCancel(Broken):
    def heart(self, worker: WorkerRow) -> DeafHeart:
        return DeafHeart(self.good.heart(worker), cancelled=())


class NeverForgotten(Broken):
    def heart(self, worker: WorkerRow) -> DeafHeart:
        return DeafHeart(self.good.heart(worker), known=True)


class StillHeart(DeafHeart):
    def beat(self) -> Beat:
        return Beat(True, ())


class NeverBeats(Broken):
    def heart(self, worker: WorkerRow) -> StillHeart:
        return StillHeart(self.good.heart(worker))


class CancelsNothing(Broken):
    async def cancel(self, job_id: UUID, reason: str) -> State | None:
        rows = await self.good.get([job_id])
        return rows[job_id].state if job_id in rows else None


class CancelsWithoutReason(Broken):
    async def cancel(self, job_id: UUID, reason: str) -> State | None:
        return await self.good.cancel(job_id, "")


class EverybodysRequests(Broken):
    async def cancel_requests(self, worker: str) -> list[UUID]:
        found = []
        for each in await self.good.workers():
            found += await self.good.cancel_requests(each.id)
        return found


class RequeuesAll(Broken):
    async def requeue(self, which: JobFilter) -> list[UUID]:
        return await self.good.requeue(JobFilter())


class DeletesAll(Broken):
    async def delete(self, which: JobFilter) -> int:
        return await self.good.delete(JobFilter())


class PrunesDiscarded(Broken):
    async def prune(self, keep_s: float, limit: int = 1000) -> int:
        dead = frozenset({State.DISCARDED})
        removed = await self.good.delete(JobFilter(states=dead, older_than_s=keep_s))
        return removed + await self.good.prune(keep_s, limit)


class PrunesAtOnce(Broken):
    async def prune(self, keep_s: float, limit: int = 1000) -> int:
        return await self.good.prune(0, limit)


class PrunesWithoutLimit(Broken):
    async def prune(self, keep_s: float, limit: int = 1000) -> int:
        return await self.good.prune(keep_s, 10**6)


class TicksTwice(Broken):
    async def tick(self, tick: Tick) -> bool:
        await self.good.insert(tick.jobs)
        return await self.good.tick(changed(tick, jobs=()))


class TicksAlways(Broken):
    async def tick(self, tick: Tick) -> bool:
        await self.good.tick(tick)
        return True


class ForgetsTicks(Broken):
    async def last_tick(self, name: str) -> datetime | None:
        return None


CASES = [
    (NoRescue, "test_a_job_is_an_orphan_when_the_lease_is_over"),
    (BuriesTheLiving, "test_a_job_is_no_orphan_while_its_worker_beats"),
    (BuriesTheLiving, "test_each_worker_has_its_own_lease"),
    (AllOrphansAtOnce, "test_orphans_come_as_many_as_were_asked_for"),
    (Unregisters, "test_what_an_unregistered_worker_held_is_an_orphan_at_once"),
    (HearsNoCancel, "test_the_wish_to_cancel_a_running_job_reaches_its_worker"),
    (NeverForgotten, "test_a_forgotten_worker_hears_it_and_is_registered_afresh"),
    (NeverForgotten, "test_a_heart_beats_for_a_worker_nobody_registered"),
    (NeverBeats, "test_a_job_is_no_orphan_while_its_worker_beats"),
    (CancelsNothing, "test_a_job_that_does_not_run_is_cancelled_at_once"),
    (CancelsNothing, "test_the_wish_to_cancel_a_running_job_reaches_its_worker"),
    (CancelsNothing, "test_a_job_is_either_claimed_or_cancelled"),
    (CancelsWithoutReason, "test_a_job_that_does_not_run_is_cancelled_at_once"),
    (EverybodysRequests, "test_the_wish_to_cancel_a_running_job_reaches_its_worker"),
    (RequeuesAll, "test_requeueing_and_deleting_go_by_the_filter"),
    (DeletesAll, "test_requeueing_and_deleting_go_by_the_filter"),
    (PrunesDiscarded, "test_discarded_jobs_are_kept_unless_they_said_for_how_long"),
    (PrunesAtOnce, "test_finished_jobs_are_pruned_when_their_time_is_over"),
    (PrunesWithoutLimit, "test_pruning_goes_step_by_step"),
    (TicksTwice, "test_each_tick_is_written_once_whoever_comes"),
    (TicksTwice, "test_a_tick_that_is_not_the_next_one_writes_nothing"),
    (TicksAlways, "test_a_tick_that_is_not_the_next_one_writes_nothing"),
    (ForgetsTicks, "test_a_tick_is_written_with_its_jobs"),
]


@pytest.mark.parametrize(("broken", "test"), CASES)
def test_a_broken_promise_is_noticed(broken: type[Broken], test: str) -> None:
    assert notices(Upkeep, test, broken)
    assert not notices(Upkeep, test, None)
