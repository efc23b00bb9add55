"""The suite notices engines that release children too early, too late, or not by the rule."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from backstay.ledger import Finish, Inserted, NewJob, State
from backstay.testing.ledger_conformance.families import Families
from tests.testing.ledger_conformance.broken import Broken, changed, notices


def with_jobs(name: str, **fields: Any) -> type[Broken]:
    class Changed(Broken):
        async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
            return await self.good.insert(changed(jobs, **fields))

    Changed.__name__ = name
    return Changed


class FirstParentIsEnough(Broken):
    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return await self.good.insert([changed(each, after=each.after[:1]) for each in jobs])


class ParentsInDisorder(Broken):
    async def parents(self, job_id: UUID) -> list[UUID]:
        return sorted(await self.good.parents(job_id))


class RetryIsFailure(Broken):
    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        return await self.good.finish(
            [
                changed(each, state=State.DISCARDED) if each.state is State.RETRYING else each
                for each in finishes
            ]
        )


class FailureIsSuccess(Broken):
    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        return await self.good.finish(changed(finishes, state=State.SUCCEEDED))


class CancelsNobodysChildren(Broken):
    """Looks at children when a job finishes, and forgets them when one is cancelled."""

    async def cancel(self, job_id: UUID, reason: str) -> State | None:
        rows = await self.good.get([job_id])
        return rows[job_id].state if job_id in rows else None


class WaitsForNobody(Broken):
    """Takes a job that was not written for one that is gone."""

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return [(await self.good.insert([each]))[0] for each in jobs]


class AfterwardsOneByOne(Broken):
    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        for each in finishes:
            for new in each.then:
                await self.good.insert([new])
        stale: set[UUID] = await self.good.finish(changed(finishes, then=()))
        return stale


CASES = [
    (WaitsForNobody, "test_who_waits_for_a_job_whose_key_was_taken_waits_for_the_holder"),
    (WaitsForNobody, "test_a_holder_in_the_same_call_is_waited_for_as_any"),
    (WaitsForNobody, "test_a_holder_counts_by_what_became_of_it"),
    (AfterwardsOneByOne, "test_what_comes_after_a_job_waits_for_holders_too"),
    (with_jobs("NoParents", after=()), "test_a_child_waits_for_its_parent"),
    (with_jobs("NoParents", after=()), "test_a_join_waits_for_the_last_of_its_parents"),
    (with_jobs("NoParents", after=()), "test_a_wide_group_of_a_thousand_joins"),
    (FirstParentIsEnough, "test_a_join_waits_for_the_last_of_its_parents"),
    (FirstParentIsEnough, "test_one_failed_parent_of_several_is_enough_and_final"),
    (ParentsInDisorder, "test_parents_are_told_in_the_order_given_before_and_after"),
    (RetryIsFailure, "test_a_child_waits_for_its_parent"),
    (FailureIsSuccess, "test_children_of_a_parent_that_fails_go_by_the_rule"),
    (FailureIsSuccess, "test_a_failure_goes_down_a_very_long_chain"),
    (FailureIsSuccess, "test_a_parent_that_failed_before_counts_by_the_rule"),
    (CancelsNobodysChildren, "test_cancelling_a_parent_is_a_failure_of_it"),
    (
        CancelsNobodysChildren,
        "test_a_waiting_child_that_is_cancelled_takes_its_own_children_along",
    ),
    (
        with_jobs("OneRule", on_parent_failure="cancel"),
        "test_children_of_a_parent_that_fails_go_by_the_rule",
    ),
    (
        with_jobs("OneRule", on_parent_failure="cancel"),
        "test_a_failure_goes_down_the_generations_each_by_its_rule",
    ),
    (with_jobs("NoTime", run_at=None), "test_a_child_with_a_time_of_its_own_waits_for_that_too"),
]


@pytest.mark.parametrize(("broken", "test"), CASES)
def test_a_broken_promise_is_noticed(broken: type[Broken], test: str) -> None:
    assert notices(Families, test, broken)
    assert not notices(Families, test, None)
