"""The suite notices engines that give jobs twice, too early, too many, or in the wrong order."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from backstay.ledger import Claimed, Claims, Inserted, Ledger, NewJob
from backstay.testing.ledger_conformance.claims import ClaimsOfJobs
from tests.testing.ledger_conformance.broken import Broken, changed, notices


class LastInFirstOut(Broken):
    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        claims = await self.good.claim(worker, wants)
        return claims._replace(jobs=claims.jobs[::-1])


class GivesAll(Broken):
    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        return await self.good.claim(worker, dict.fromkeys(wants, 100))


class AlwaysMore(Broken):
    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        return (await self.good.claim(worker, wants))._replace(more=True)


class NeverMore(Broken):
    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        return (await self.good.claim(worker, wants))._replace(more=False)


class KnowsNotWhen(Broken):
    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        return (await self.good.claim(worker, wants))._replace(next_due_s=None)


class GivesTwice(Broken):
    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.last: list[Claimed] = []

    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        claims = await self.good.claim(worker, wants)
        again, self.last = self.last, claims.jobs[:1]
        return claims._replace(jobs=claims.jobs + again)


class OneFence(Broken):
    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        claims = await self.good.claim(worker, wants)
        return claims._replace(jobs=changed(claims.jobs, fence=1))


class CountsNoAttempts(Broken):
    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        claims = await self.good.claim(worker, wants)
        return claims._replace(jobs=changed(claims.jobs, attempt=1))


class NeverPauses(Broken):
    async def pause(self, queue: str, paused: bool) -> None:
        pass


class AllAlike(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return await self.good.insert(changed(jobs, priority=0))


class Strict(Broken):
    """One for whom priority is everything, so that the rest may starve."""

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return await self.good.insert(
            [changed(each, priority=each.priority * 1000) for each in jobs]
        )


class AnyQueue(Broken):
    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        return await self.good.claim(worker, {**wants, "default": 5})


class Unpauses(Broken):
    async def declare(self, queues: Any) -> None:
        queues = list(queues)
        await self.good.declare(queues)
        for queue in queues:
            await self.good.pause(queue.name, False)


CASES = [
    (LastInFirstOut, "test_jobs_are_claimed_in_the_order_they_came"),
    (LastInFirstOut, "test_a_higher_priority_goes_first"),
    (LastInFirstOut, "test_jobs_of_several_queues_come_in_the_order_to_start_them"),
    (GivesAll, "test_each_queue_gives_as_many_as_were_wanted"),
    (AlwaysMore, "test_an_empty_ledger_gives_nothing_and_knows_of_nothing"),
    (AlwaysMore, "test_more_is_said_of_the_queues_asked_for_only"),
    (NeverMore, "test_a_claim_says_whether_there_was_more"),
    (KnowsNotWhen, "test_a_claim_says_when_the_next_job_is_due"),
    (GivesTwice, "test_a_job_is_claimed_by_one_of_many_at_once"),
    (OneFence, "test_fences_and_attempts_grow_with_every_claim"),
    (CountsNoAttempts, "test_fences_and_attempts_grow_with_every_claim"),
    (NeverPauses, "test_a_paused_queue_gives_nothing_until_it_is_resumed"),
    (Unpauses, "test_a_pause_is_seen_with_its_time_and_outlives_declarations"),
    (AllAlike, "test_a_higher_priority_goes_first"),
    (AllAlike, "test_a_retried_job_keeps_its_priority"),
    (Strict, "test_a_point_of_priority_is_worth_ten_minutes_of_waiting"),
    (Strict, "test_nothing_starves_behind_a_stream_of_higher_priority"),
    (AnyQueue, "test_a_claim_says_when_the_next_job_is_due"),
]


@pytest.mark.parametrize(("broken", "test"), CASES)
def test_a_broken_promise_is_noticed(broken: type[Broken], test: str) -> None:
    assert notices(ClaimsOfJobs, test, broken)
    assert not notices(ClaimsOfJobs, test, None)
