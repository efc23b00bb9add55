"""What is true of ending claims, and of those who try it too late."""

from __future__ import annotations

import asyncio
import json
import math
from datetime import timedelta
from typing import Any

from backstay.errors import BackstayError, BadJob
from backstay.ledger.ids import new_job_id
from backstay.ledger.rows import Finish, Gate, JobFilter, ProgressReport, State, UniqueKey
from backstay.testing.ledger_conformance.inserts import IMPOSSIBLE
from backstay.testing.ledger_conformance.stage import (
    FAILED,
    START,
    LedgerHome,
    Stage,
    conformance_test,
    job,
)

__all__ = ["Finishes"]


class Finishes(LedgerHome):
    """Ending claims: once, by the holder, and whole."""

    @conformance_test
    async def test_success_is_recorded_with_its_result(self, on: Stage) -> None:
        claimed = await on.running()
        on.time.move(2)
        assert await on.end(claimed, result='{"paid": [1, null]}')
        row = await on.row(claimed.id)
        assert (row.state, row.attempt) == (State.SUCCEEDED, 1)
        assert (row.result, row.has_result) == ({"paid": [1, None]}, True)
        assert row.started_at == START
        assert row.finished_at == START + timedelta(seconds=2)
        assert row.errors == ()
        assert row.finished

    @conformance_test
    async def test_no_result_is_not_a_result_of_none(self, on: Stage) -> None:
        none, null = await on.running(), await on.running()
        await on.end(none)
        await on.end(null, result="null")
        assert (await on.row(none.id)).has_result is False
        row = await on.row(null.id)
        assert (row.has_result, row.result) == (True, None)

    @conformance_test
    async def test_what_is_finished_is_not_claimed_again(self, on: Stage) -> None:
        for state in (State.SUCCEEDED, State.DISCARDED, State.CANCELLED):
            await on.end(await on.running(), state)
        on.time.move(10**7)
        assert (await on.claims()) == ([], None, False)

    @conformance_test
    async def test_a_claim_ends_once(self, on: Stage) -> None:
        claimed = await on.running()
        assert await on.end(claimed, result="1")
        for state in State.DISCARDED, State.RETRYING, State.AVAILABLE, State.SUCCEEDED:
            assert not await on.end(claimed, state, result="2", error=FAILED)
        row = await on.row(claimed.id)
        assert (row.state, row.result, row.errors) == (State.SUCCEEDED, 1, ())

    @conformance_test
    async def test_a_claim_ended_twice_in_one_call_ends_as_the_first_says(self, on: Stage) -> None:
        claimed = await on.running()
        await on.ledger.finish(
            [
                Finish(claimed.id, claimed.fence, State.SUCCEEDED, result="1"),
                Finish(claimed.id, claimed.fence, State.DISCARDED, error=FAILED),
            ]
        )
        row = await on.row(claimed.id)
        assert (row.state, row.result, row.errors) == (State.SUCCEEDED, 1, ())

    @conformance_test
    async def test_a_claim_ended_by_many_at_once_ends_once(self, on: Stage) -> None:
        other = await on.another()
        claimed = await on.running()
        ends = await asyncio.gather(
            *(
                (on.ledger if number % 2 else other).finish(
                    [
                        Finish(
                            claimed.id,
                            claimed.fence,
                            State.DISCARDED,
                            error=FAILED,
                            then=(job(f"alert{number}"),),
                        )
                    ]
                )
                for number in range(10)
            )
        )
        assert sorted(map(len, ends)) == [0] + [1] * 9
        assert len((await on.row(claimed.id)).errors) == 1
        assert len(await on.claim()) == 1

    @conformance_test
    async def test_a_job_that_was_never_claimed_cannot_be_ended(self, on: Stage) -> None:
        ids = await on.add(job(), job(delay_s=60))
        for one in ids:
            for fence in (0, 1, 2):
                finish = Finish(one, fence, State.SUCCEEDED, then=(job(),))
                assert await on.ledger.finish([finish]) == {one}
        assert await on.states(ids) == [State.AVAILABLE, State.SCHEDULED]
        assert sum(each.jobs for each in await on.ledger.counts()) == 2

    @conformance_test
    async def test_a_job_that_does_not_exist_cannot_be_ended(self, on: Stage) -> None:
        unknown = new_job_id()
        assert await on.ledger.finish([Finish(unknown, 1, State.SUCCEEDED)]) == {unknown}
        assert await on.ledger.finish([]) == set()

    @conformance_test
    async def test_the_wrong_fence_ends_nothing(self, on: Stage) -> None:
        claimed = await on.running()
        for fence in (claimed.fence - 1, claimed.fence + 1, 0, -1):
            stale = await on.ledger.finish([Finish(claimed.id, fence, State.SUCCEEDED)])
            assert stale == {claimed.id}
        assert await on.end(claimed)

    @conformance_test
    async def test_a_zombie_cannot_end_what_was_rescued(self, on: Stage) -> None:
        zombie = await on.running(job(max_attempts=2))
        on.time.move(31)
        [orphan] = await on.ledger.orphans()
        rescue = Finish(orphan.id, orphan.fence, State.RETRYING, error=FAILED)
        assert await on.ledger.finish([rescue]) == set()
        assert not await on.end(zombie, result='"late"')  # while it waits
        await on.worker("w2")
        [again] = await on.claim(worker="w2")
        assert not await on.end(zombie, result='"late"')  # while another works
        await on.ledger.progress([ProgressReport(zombie.id, zombie.fence, '{"done": 99}')])
        assert (await on.row(again.id)).progress is None
        assert await on.end(again, result='"good"')
        assert not await on.end(zombie, result='"late"')  # after another finished
        row = await on.row(again.id)
        assert (row.state, row.result, row.attempt) == (State.SUCCEEDED, "good", 2)

    @conformance_test
    async def test_of_several_rescuers_one_wins(self, on: Stage) -> None:
        other = await on.another()
        await on.running()
        on.time.move(31)
        seen = [*await on.ledger.orphans(), *await other.orphans()]
        assert len(seen) == 2
        ends = await asyncio.gather(
            *(
                ledger.finish([Finish(each.id, each.fence, State.AVAILABLE, error=FAILED)])
                for each, ledger in zip(seen, (on.ledger, other), strict=True)
            )
        )
        assert sorted(map(len, ends)) == [0, 1]
        assert len((await on.row(seen[0].id)).errors) == 1

    @conformance_test
    async def test_stale_claims_do_not_keep_others_from_ending(self, on: Stage) -> None:
        good, stale, both = [await on.running() for _ in range(3)]
        await on.end(stale)
        unknown = new_job_id()
        assert await on.ledger.finish(
            [
                Finish(good.id, good.fence, State.SUCCEEDED),
                Finish(stale.id, stale.fence, State.SUCCEEDED),
                Finish(both.id, both.fence, State.DISCARDED, error=FAILED, then=(job(),)),
                Finish(unknown, 1, State.SUCCEEDED),
            ]
        ) == {stale.id, unknown}
        assert await on.states([good.id, both.id]) == [State.SUCCEEDED, State.DISCARDED]

    @conformance_test
    async def test_many_claims_end_in_one_call_each_in_its_way(self, on: Stage) -> None:
        ids = await on.add(*(job(max_attempts=2) for _ in range(600)))
        await on.worker()
        jobs = (await on.claims({"default": 600})).jobs
        assert len(jobs) == 600
        ways: list[dict[str, Any]] = [
            {"state": State.SUCCEEDED, "result": "1"},
            {"state": State.SUCCEEDED},
            {"state": State.RETRYING, "delay_s": 5, "error": FAILED},
            {"state": State.DISCARDED, "error": FAILED},
            {"state": State.SCHEDULED, "delay_s": 5, "give_back": True},
            {"state": State.AVAILABLE, "give_back": True},
        ]
        finishes = [
            Finish(each.id, each.fence, **ways[number % 6]) for number, each in enumerate(jobs)
        ]
        stale = await asyncio.gather(*(on.ledger.finish(finishes[n::3]) for n in range(3)))
        assert stale == [set(), set(), set()]
        assert await on.states(ids) == [ways[number % 6]["state"] for number in range(600)]

    @conformance_test
    async def test_a_retry_waits_its_pause_and_counts_the_attempt(self, on: Stage) -> None:
        claimed = await on.running(job(max_attempts=3))
        on.time.move(1)
        assert await on.end(claimed, State.RETRYING, delay_s=7.5, error=FAILED)
        row = await on.row(claimed.id)
        assert (row.state, row.attempt, row.worker) == (State.RETRYING, 1, None)
        assert row.run_at == START + timedelta(seconds=8.5)
        assert row.finished_at is None
        assert row.error == json.loads(FAILED)
        on.time.move(7.4)
        assert await on.claim() == []
        on.time.move(0.2)
        [again] = await on.claim()
        assert (again.id, again.attempt) == (claimed.id, 2)

    @conformance_test
    async def test_a_snoozed_job_sleeps_and_its_attempt_is_not_counted(self, on: Stage) -> None:
        claimed = await on.running()
        assert await on.end(claimed, State.SCHEDULED, delay_s=60, give_back=True)
        row = await on.row(claimed.id)
        assert (row.state, row.attempt, row.errors) == (State.SCHEDULED, 0, ())
        assert await on.claim() == []
        on.time.move(61)
        [again] = await on.claim()
        assert (again.attempt, again.max_attempts) == (1, 1)
        assert again.fence > claimed.fence

    @conformance_test
    async def test_a_job_handed_back_is_claimable_at_once_and_loses_no_attempt(
        self, on: Stage
    ) -> None:
        claimed = await on.running()
        on.time.move(5)
        assert await on.end(claimed, State.AVAILABLE, give_back=True)
        row = await on.row(claimed.id)
        assert (row.state, row.attempt, row.worker) == (State.AVAILABLE, 0, None)
        await on.worker("w2")
        [again] = await on.claim(worker="w2")
        assert (again.id, again.attempt) == (claimed.id, 1)

    @conformance_test
    async def test_a_job_handed_back_keeps_its_place_in_the_line(self, on: Stage) -> None:
        claimed = await on.running(job(priority=1))
        on.time.move(700)
        [between] = await on.add(job(priority=1))
        on.time.move(1)
        await on.end(claimed, State.AVAILABLE, give_back=True)
        assert [each.id for each in await on.claim()] == [claimed.id, between]

    @conformance_test
    async def test_a_job_handed_back_with_a_delay_waits_for_it(self, on: Stage) -> None:
        claimed = await on.running()
        assert await on.end(claimed, State.AVAILABLE, delay_s=30, give_back=True)
        assert await on.claim() == []
        on.time.move(31)
        assert [each.id for each in await on.claim()] == [claimed.id]

    @conformance_test
    async def test_a_retry_without_a_pause_is_claimable_at_once(self, on: Stage) -> None:
        claimed = await on.running(job(max_attempts=2))
        assert await on.end(claimed, State.RETRYING, error=FAILED)
        [again] = await on.claim()
        assert again.attempt == 2

    @conformance_test
    async def test_the_latest_twenty_errors_are_kept(self, on: Stage) -> None:
        claimed = await on.running(job(max_attempts=99))
        for number in range(1, 26):
            finish = Finish.failed(claimed.id, claimed.fence, State.RETRYING, {"n": number})
            assert await on.ledger.finish([finish]) == set()
            [claimed] = await on.claim()
        await on.end(claimed)
        row = await on.row(claimed.id)
        assert [each["n"] for each in row.errors] == list(range(6, 26))
        assert row.error == {"n": 25}

    @conformance_test
    async def test_what_comes_after_a_job_is_written_with_its_end(self, on: Stage) -> None:
        claimed = await on.running()
        after = (
            job("alert"),
            job("later", delay_s=60, queue="mail"),
            job("only", unique=UniqueKey("k")),
            job("gated", gate=Gate("g", limit=1)),
        )
        assert await on.end(claimed, State.DISCARDED, error=FAILED, then=after)
        assert await on.states(each.id for each in after) == [
            State.AVAILABLE,
            State.SCHEDULED,
            State.AVAILABLE,
            State.AVAILABLE,
        ]

    @conformance_test
    async def test_what_comes_after_a_job_may_have_been_its_child(self, on: Stage) -> None:
        claimed = await on.running()
        child = job("child", after=(claimed.id,))
        assert await on.end(claimed, then=(child,))
        assert await on.state(child.id) is State.AVAILABLE

    @conformance_test
    async def test_what_comes_after_a_job_is_written_once(self, on: Stage) -> None:
        claimed = await on.running()
        alert = job("alert")
        assert await on.end(claimed, State.DISCARDED, error=FAILED, then=(alert,))
        assert not await on.end(claimed, State.DISCARDED, error=FAILED, then=(job("again"),))
        assert [each.id for each in await on.claim()] == [alert.id]

    @conformance_test
    async def test_if_what_comes_after_cannot_be_written_the_claim_is_not_ended(
        self, on: Stage
    ) -> None:
        claimed = await on.running()
        good = job()
        try:
            await on.end(claimed, then=(good, job(priority=IMPOSSIBLE)))
        except BackstayError:
            pass
        else:
            raise AssertionError("an integer of 70 bits was written")
        assert await on.state(claimed.id) is State.RUNNING
        assert await on.ledger.get([good.id]) == {}
        assert await on.end(claimed, then=(good,))

    @conformance_test
    async def test_an_odd_end_is_refused_or_counts_and_harms_nobody(self, on: Stage) -> None:
        odd: list[dict[str, Any]] = [
            *({"delay_s": each} for each in (math.inf, math.nan, -1.0, 1e12, 1e15, 1e300)),
            *({"keep_s": each} for each in (math.inf, math.nan, -1.0, 1e12, 1e15, 1e300)),
        ]
        for fields in odd:
            claimed, beside = await on.running(), await on.running()
            state = State.SCHEDULED if "delay_s" in fields else State.SUCCEEDED
            try:
                assert await on.end(claimed, state, **fields)
            except BackstayError:
                assert await on.state(claimed.id) is State.RUNNING, fields
                assert await on.end(claimed)
            assert await on.end(beside)
            assert len(await on.ledger.find(JobFilter())) > 0, fields
            await on.claims()
            await on.ledger.cancel(claimed.id, "odd")
            await on.ledger.delete(JobFilter())
            on.time.move(1)
        await on.ledger.prune(1)

    @conformance_test
    async def test_an_end_that_no_database_can_keep_is_refused_and_the_claim_goes_on(
        self, on: Stage
    ) -> None:
        claimed, beside = await on.running(), await on.running()
        times: list[Any] = [math.inf, -math.inf, math.nan, -1.0, 1e12, 1e300, "1"]
        no_texts: list[Any] = [b"1", 1, {}]
        bad: list[dict[str, Any]] = [
            *({"state": State.RETRYING, "delay_s": each} for each in times),
            *({"state": State.AVAILABLE, "delay_s": each} for each in times),
            *({"keep_s": each} for each in times),
            *({"state": State.DISCARDED, "keep_s": each} for each in times),
            *({"result": each} for each in no_texts),
            *({"state": State.DISCARDED, "error": each} for each in no_texts),
            *({"state": each} for each in (State.RUNNING, State.WAITING, "done")),
            {"then": (job(delay_s=math.nan),)},
            {"then": (job(), job(keep_s=-1.0))},
        ]
        good = Finish(beside.id, beside.fence, State.SUCCEEDED)
        for fields in bad:
            end = Finish(claimed.id, claimed.fence, **({"state": State.SUCCEEDED} | fields))
            for together in ([end], [good, end]):
                try:
                    await on.ledger.finish(together)
                except BadJob:
                    pass
                else:
                    raise AssertionError(f"{fields} was written")
        assert await on.states([claimed.id, beside.id]) == [State.RUNNING, State.RUNNING]
        assert len(await on.ledger.find(JobFilter())) == 2
        assert await on.end(claimed, keep_s=1e11)
        row = await on.row(claimed.id)
        assert row.expires_at == START + timedelta(seconds=1e11)
        assert await on.end(beside, State.RETRYING, delay_s=1e11)
        assert (await on.row(beside.id)).run_at == START + timedelta(seconds=1e11)

    @conformance_test
    async def test_a_row_names_its_worker_while_it_runs_and_no_longer(self, on: Stage) -> None:
        ways: list[dict[str, Any]] = [
            {},
            {"result": "1", "then": (job(delay_s=9),)},
            {"state": State.DISCARDED, "error": FAILED},
            {"state": State.CANCELLED},
            {"state": State.RETRYING, "delay_s": 5, "error": FAILED},
            {"state": State.SCHEDULED, "delay_s": 5, "give_back": True},
            {"state": State.AVAILABLE, "delay_s": 5},
        ]
        ended = [await on.running() for _ in ways]
        family = await on.running()
        await on.add(job(after=(family.id,)))
        back = await on.running()
        rows = await on.ledger.get([each.id for each in (*ended, family, back)])
        assert {row.worker for row in rows.values()} == {"w1"}
        for claimed, fields in zip(ended, ways, strict=True):
            assert await on.end(claimed, **fields)
        assert await on.end(family)
        assert await on.end(back, State.AVAILABLE, give_back=True)
        rows = await on.ledger.get([each.id for each in (*ended, family, back)])
        assert {row.worker for row in rows.values()} == {None}
        again = await on.ledger.requeue(JobFilter())
        assert [(await on.row(each)).worker for each in again] == [None, None]

    @conformance_test
    async def test_progress_is_seen_while_the_job_runs(self, on: Stage) -> None:
        claimed, other = await on.running(), await on.running()
        await on.ledger.progress(
            [
                ProgressReport(claimed.id, claimed.fence, '{"done": 1, "total": 3}'),
                ProgressReport(other.id, other.fence + 1, '{"done": 2}'),
                ProgressReport(new_job_id(), 1, '{"done": 3}'),
            ]
        )
        assert (await on.row(claimed.id)).progress == {"done": 1, "total": 3}
        assert (await on.row(other.id)).progress is None
        await on.ledger.progress([ProgressReport(claimed.id, claimed.fence, '{"done": 2}')])
        assert (await on.row(claimed.id)).progress == {"done": 2}
        await on.ledger.progress([])

    @conformance_test
    async def test_progress_after_the_end_is_ignored(self, on: Stage) -> None:
        claimed = await on.running()
        await on.end(claimed)
        await on.ledger.progress([ProgressReport(claimed.id, claimed.fence, '{"done": 1}')])
        assert (await on.row(claimed.id)).progress is None

    @conformance_test
    async def test_a_failed_attempts_errors_stay_with_the_success(self, on: Stage) -> None:
        claimed = await on.running(job(max_attempts=2))
        await on.end(claimed, State.RETRYING, error=FAILED)
        [again] = await on.claim()
        await on.end(again, result="1")
        row = await on.row(claimed.id)
        assert (row.state, len(row.errors), row.attempt) == (State.SUCCEEDED, 1, 2)
