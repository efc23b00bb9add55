"""The suite notices engines that believe zombies, or end claims in part."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from backstay.ledger import Claims, Finish, JobRow, Ledger, ProgressReport
from backstay.testing.ledger_conformance.finishes import Finishes
from tests.testing.ledger_conformance.broken import Broken, changed, notices


class BelievesZombies(Broken):
    """Takes every end for that of the latest claim."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.fences: dict[UUID, int] = {}

    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        claims = await self.good.claim(worker, wants)
        self.fences |= {each.id: each.fence for each in claims.jobs}
        return claims

    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        return await self.good.finish(
            [changed(each, fence=self.fences.get(each.id, each.fence)) for each in finishes]
        )


class BelievesZombiesProgress(Broken):
    async def progress(self, reports: Sequence[ProgressReport]) -> None:
        for each in reports:
            for fence in range(each.fence, each.fence + 5):
                await self.good.progress([changed(each, fence=fence)])


class SaysNothingIsStale(Broken):
    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        await self.good.finish(finishes)
        return set()


class SaysAllIsStale(Broken):
    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        await self.good.finish(finishes)
        return {each.id for each in finishes}


class OneStaleSpoilsAll(Broken):
    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        rows = await self.good.get([each.id for each in finishes])
        if any(each.id not in rows for each in finishes):
            return {each.id for each in finishes}
        return await self.good.finish(finishes)


class AfterwardsByItself(Broken):
    """Writes what comes after in a transaction of its own."""

    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        stale = await self.good.finish(changed(finishes, then=()))
        for each in finishes:
            if each.id not in stale:
                await self.good.insert(each.then)
        return stale


class AfterwardsAnyway(Broken):
    async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
        stale = await self.good.finish(finishes)
        for each in finishes:
            await self.good.insert(each.then)
        return stale


def forgets(**fields: Any) -> type[Broken]:
    class Forgets(Broken):
        async def finish(self, finishes: Sequence[Finish]) -> set[UUID]:
            return await self.good.finish(changed(finishes, **fields))

    Forgets.__name__ = "Forgets_" + "_".join(fields)
    return Forgets


class NamesWhoeverItWas(Broken):
    """Remembers workers, and shows them for ever."""

    async def get(self, ids: Sequence[UUID]) -> dict[UUID, JobRow]:
        rows: dict[UUID, JobRow] = await self.good.get(ids)
        return {key: changed(row, worker="w1") for key, row in rows.items()}


CASES = [
    (NamesWhoeverItWas, "test_a_row_names_its_worker_while_it_runs_and_no_longer"),
    (
        forgets(keep_s=None, delay_s=0.0),
        "test_an_end_that_no_database_can_keep_is_refused_and_the_claim_goes_on",
    ),
    (BelievesZombies, "test_a_zombie_cannot_end_what_was_rescued"),
    (BelievesZombies, "test_the_wrong_fence_ends_nothing"),
    (BelievesZombiesProgress, "test_a_zombie_cannot_end_what_was_rescued"),
    (SaysNothingIsStale, "test_a_claim_ends_once"),
    (SaysNothingIsStale, "test_of_several_rescuers_one_wins"),
    (SaysNothingIsStale, "test_a_job_that_does_not_exist_cannot_be_ended"),
    (SaysAllIsStale, "test_success_is_recorded_with_its_result"),
    (OneStaleSpoilsAll, "test_stale_claims_do_not_keep_others_from_ending"),
    (AfterwardsByItself, "test_if_what_comes_after_cannot_be_written_the_claim_is_not_ended"),
    (AfterwardsAnyway, "test_what_comes_after_a_job_is_written_once"),
    (AfterwardsAnyway, "test_a_job_that_was_never_claimed_cannot_be_ended"),
    (forgets(then=()), "test_what_comes_after_a_job_is_written_with_its_end"),
    (forgets(result=None), "test_success_is_recorded_with_its_result"),
    (forgets(error=None), "test_the_latest_twenty_errors_are_kept"),
    (forgets(error=None), "test_a_retry_waits_its_pause_and_counts_the_attempt"),
    (forgets(delay_s=0.0), "test_a_retry_waits_its_pause_and_counts_the_attempt"),
    (forgets(give_back=False), "test_a_snoozed_job_sleeps_and_its_attempt_is_not_counted"),
    (forgets(give_back=True), "test_a_retry_waits_its_pause_and_counts_the_attempt"),
]


@pytest.mark.parametrize(("broken", "test"), CASES)
def test_a_broken_promise_is_noticed(broken: type[Broken], test: str) -> None:
    assert notices(Finishes, test, broken)
    assert not notices(Finishes, test, None)
