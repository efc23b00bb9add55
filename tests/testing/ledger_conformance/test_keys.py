"""The suite notices engines that hold unique keys too loosely or too tightly."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from backstay.ledger import Inserted, JobFilter, NewJob, State
from backstay.testing.ledger_conformance.keys import Keys
from tests.testing.ledger_conformance.broken import Broken, changed, notices


class KnowsNoKeys(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return await self.good.insert(changed(jobs, unique=None))


class KeepsTheHolderSecret(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        inserted = await self.good.insert(jobs)
        return [Inserted(job.id, each.created) for job, each in zip(jobs, inserted, strict=True)]


def holds(**fields: Any) -> type[Broken]:
    class Holds(Broken):
        async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
            return await self.good.insert(
                [
                    changed(each, unique=each.unique and changed(each.unique, **fields))
                    for each in jobs
                ]
            )

    Holds.__name__ = "Holds_" + "_".join(fields)
    return Holds


class RequeuesByCopy(Broken):
    """Makes a new job of a discarded one, and so knows nothing of its key."""

    async def requeue(self, which: JobFilter) -> list[UUID]:
        rows = await self.good.find(which)
        ids = [each.id for each in rows if each.state is State.DISCARDED]
        await self.good.delete(JobFilter(ids=tuple(ids)))
        await self.good.insert([NewJob(each, "t") for each in ids])
        return ids


CASES = [
    (KnowsNoKeys, "test_a_key_that_is_held_keeps_others_out_and_names_the_holder"),
    (KnowsNoKeys, "test_a_key_wanted_by_many_at_once_is_held_by_one"),
    (KeepsTheHolderSecret, "test_a_key_that_is_held_keeps_others_out_and_names_the_holder"),
    (KeepsTheHolderSecret, "test_a_key_wanted_by_many_at_once_is_held_by_one"),
    (holds(states=frozenset(State)), "test_a_finished_job_lets_go_of_its_key"),
    (holds(states=frozenset(State)), "test_a_key_may_be_held_until_the_job_starts"),
    (
        holds(states=frozenset({State.AVAILABLE})),
        "test_a_key_is_held_in_every_live_state_by_default",
    ),
    (holds(states=frozenset({State.AVAILABLE})), "test_a_key_may_be_held_beyond_the_end"),
    (holds(period_s=None), "test_a_period_ends_the_hold_though_the_job_lives"),
    (holds(period_s=None), "test_once_within_a_period_whatever_became_of_it"),
    (holds(period_s=1.0), "test_a_key_may_be_held_beyond_the_end"),
    (RequeuesByCopy, "test_a_requeued_job_holds_its_key_again"),
    (RequeuesByCopy, "test_a_job_whose_key_another_holds_is_not_requeued"),
    (RequeuesByCopy, "test_of_two_jobs_of_one_key_one_is_requeued"),
]


@pytest.mark.parametrize(("broken", "test"), CASES)
def test_a_broken_promise_is_noticed(broken: type[Broken], test: str) -> None:
    assert notices(Keys, test, broken)
    assert not notices(Keys, test, None)
