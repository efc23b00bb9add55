"""The suite notices engines that lose, double, tear or bend what they are to write."""

from collections.abc import Sequence

import pytest

from backstay.ledger import Inserted, NewJob, new_job_id
from backstay.testing.ledger_conformance.inserts import Inserts
from tests.testing.ledger_conformance.broken import Broken, changed, notices


class LosesOne(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        await self.good.insert(jobs[:-1])
        return [Inserted(each.id, True) for each in jobs]


class AnswersInDisorder(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return (await self.good.insert(jobs))[::-1]


class WritesTwice(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        inserted = await self.good.insert(jobs)
        for job, each in zip(jobs, inserted, strict=True):
            if not each.created:
                await self.good.insert([changed(job, id=new_job_id())])
        return inserted


class SaysItIsNew(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        inserted: list[Inserted] = changed(await self.good.insert(jobs), created=True)
        return inserted


class WritesOneByOne(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return [(await self.good.insert([job]))[0] for job in jobs]


class OneByOneBlocking(Broken):
    def insert_now(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return [self.good.insert_now([job])[0] for job in jobs]


class KnowsNoDelay(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return await self.good.insert(changed(jobs, delay_s=0.0))


class KnowsNoTime(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return await self.good.insert(changed(jobs, run_at=None))


class BendsText(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return await self.good.insert(
            [changed(each, args=each.args.replace("\\u0000", "")) for each in jobs]
        )


class ForgetsMeta(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return await self.good.insert(changed(jobs, meta="{}"))


class RefusesNothing(Broken):
    """Writes something sensible instead of what it was given."""

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return await self.good.insert([NewJob(each.id, "t") for each in jobs])


CASES = [
    (RefusesNothing, "test_what_no_database_can_keep_is_refused_before_anything_is_written"),
    (KnowsNoDelay, "test_the_last_moment_there_is_can_be_waited_for"),
    (LosesOne, "test_many_jobs_are_written_by_one_call_and_answered_in_order"),
    (LosesOne, "test_concurrent_calls_each_get_their_own_answer"),
    (AnswersInDisorder, "test_many_jobs_are_written_by_one_call_and_answered_in_order"),
    (WritesTwice, "test_a_job_written_twice_is_there_once"),
    (WritesTwice, "test_an_id_twice_in_one_call_is_written_once"),
    (SaysItIsNew, "test_a_job_written_twice_is_there_once"),
    (SaysItIsNew, "test_the_same_job_written_by_many_at_once_is_there_once"),
    (WritesOneByOne, "test_jobs_of_one_call_are_written_all_or_none"),
    (OneByOneBlocking, "test_what_is_written_blocking_is_written_all_or_none"),
    (KnowsNoDelay, "test_a_delay_runs_by_the_clock_of_the_ledger"),
    (KnowsNoTime, "test_a_job_may_start_at_its_time_and_not_before"),
    (KnowsNoTime, "test_a_time_wins_over_a_delay"),
    (BendsText, "test_texts_come_back_as_they_were_written"),
    (ForgetsMeta, "test_a_job_is_written_as_it_was_given"),
]


@pytest.mark.parametrize(("broken", "test"), CASES)
def test_a_broken_promise_is_noticed(broken: type[Broken], test: str) -> None:
    assert notices(Inserts, test, broken)
    assert not notices(Inserts, test, None)
