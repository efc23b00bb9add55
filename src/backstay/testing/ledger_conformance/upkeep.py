"""What is true of workers' lives, of cancelling, requeueing, pruning and cron ticks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

from backstay.errors import BadJob
from backstay.ledger.ids import new_job_id
from backstay.ledger.rows import Beat, Finish, JobFilter, State, Tick, UniqueKey
from backstay.testing.ledger_conformance.stage import (
    FAILED,
    START,
    LedgerHome,
    Stage,
    conformance_test,
    job,
    worker_row,
)

__all__ = ["Upkeep"]


class Upkeep(LedgerHome):
    """Leases and what operators do."""

    # ------------------------------------------------------------------ leases

    @conformance_test
    async def test_a_job_is_no_orphan_while_its_worker_beats(self, on: Stage) -> None:
        await on.running()
        heart = on.ledger.heart(worker_row())
        try:
            for _ in range(5):
                on.time.move(20)
                assert await asyncio.to_thread(heart.beat) == Beat(True, ())
                assert await on.ledger.orphans() == []
        finally:
            await asyncio.to_thread(heart.close)

    @conformance_test
    async def test_a_job_is_an_orphan_when_the_lease_is_over(self, on: Stage) -> None:
        new = job("shop.send", args='{"a": 1}', meta='{"m": 2}', max_attempts=3)
        claimed = await on.running(new)
        on.time.move(29)
        assert await on.ledger.orphans() == []
        on.time.move(2)
        [orphan] = await on.ledger.orphans()
        assert (orphan.id, orphan.fence, orphan.worker) == (new.id, claimed.fence, "w1")
        assert (orphan.attempt, orphan.max_attempts) == (1, 3)
        assert (orphan.task, orphan.queue) == ("shop.send", "default")
        assert (orphan.args, orphan.meta) == ('{"a": 1}', '{"m": 2}')
        assert not orphan.cancel_requested
        assert await on.ledger.workers() == []
        assert [each.id for each in await on.ledger.orphans()] == [new.id]  # until rescued

    @conformance_test
    async def test_each_worker_has_its_own_lease(self, on: Stage) -> None:
        await on.add(job(), job())
        await on.worker("quick", lease_s=10)
        await on.worker("slow", lease_s=100)
        [quick] = await on.claim({"default": 1}, worker="quick")
        await on.claim({"default": 1}, worker="slow")
        on.time.move(50)
        assert [each.id for each in await on.ledger.orphans()] == [quick.id]
        assert [each.id for each in await on.ledger.workers()] == ["slow"]

    @conformance_test
    async def test_what_an_unregistered_worker_held_is_an_orphan_at_once(self, on: Stage) -> None:
        claimed = await on.running()
        await on.ledger.unregister("w1")
        assert [each.id for each in await on.ledger.orphans()] == [claimed.id]
        await on.ledger.unregister("w1")
        await on.ledger.unregister("nobody")

    @conformance_test
    async def test_orphans_come_as_many_as_were_asked_for(self, on: Stage) -> None:
        await on.add(*(job() for _ in range(30)))
        await on.worker()
        await on.claim()
        await on.ledger.unregister("w1")
        seen: set[UUID] = set()
        for expected in (12, 12, 6, 0):
            orphans = await on.ledger.orphans(limit=12)
            assert len(orphans) == expected
            seen |= {each.id for each in orphans}
            finishes = [
                Finish(each.id, each.fence, State.DISCARDED, error=FAILED) for each in orphans
            ]
            assert await on.ledger.finish(finishes) == set()
        assert len(seen) == 30

    @conformance_test
    async def test_a_forgotten_worker_hears_it_and_is_registered_afresh(self, on: Stage) -> None:
        await on.running()
        heart = on.ledger.heart(worker_row())
        try:
            assert await asyncio.to_thread(heart.beat) == Beat(True, ())
            on.time.move(60)
            assert len(await on.ledger.orphans()) == 1
            assert (await asyncio.to_thread(heart.beat)).known is False
            assert [each.id for each in await on.ledger.workers()] == ["w1"]
            assert (await asyncio.to_thread(heart.beat)).known is True
        finally:
            await asyncio.to_thread(heart.close)

    @conformance_test
    async def test_a_late_beat_before_anybody_noticed_is_a_beat(self, on: Stage) -> None:
        claimed = await on.running()
        heart = on.ledger.heart(worker_row())
        try:
            on.time.move(60)
            assert await asyncio.to_thread(heart.beat) == Beat(True, ())
        finally:
            await asyncio.to_thread(heart.close)
        assert await on.ledger.orphans() == []
        assert await on.end(claimed)

    @conformance_test
    async def test_a_heart_beats_for_a_worker_nobody_registered(self, on: Stage) -> None:
        heart = on.ledger.heart(worker_row("w9"))
        assert (await asyncio.to_thread(heart.beat)).known is False
        await asyncio.to_thread(heart.close)
        assert [each.id for each in await on.ledger.workers()] == ["w9"]

    @conformance_test
    async def test_workers_are_told_as_they_introduced_themselves(self, on: Stage) -> None:
        first = await on.running()
        on.time.move(4)
        await on.worker("a2", lease_s=60)
        on.time.move(3)
        one, two = await on.ledger.workers()
        assert (one.id, one.host, one.pid, one.version) == ("w1", "host", 4711, "1.2")
        assert (one.lease_s, one.concurrency) == (30.0, 10)
        assert one.queues == ("default", "mail")
        assert (one.started_at, one.seen_s_ago, one.running) == (START, 7, 1)
        assert (two.id, two.lease_s, two.seen_s_ago, two.running) == ("a2", 60.0, 3, 0)
        await on.end(first)
        assert [each.running for each in await on.ledger.workers()] == [0, 0]

    @conformance_test
    async def test_registering_again_is_a_beat(self, on: Stage) -> None:
        await on.running()
        on.time.move(25)
        await on.worker()
        on.time.move(25)
        assert await on.ledger.orphans() == []

    # ------------------------------------------------------------------ cancelling

    @conformance_test
    async def test_a_job_that_does_not_run_is_cancelled_at_once(self, on: Stage) -> None:
        running = await on.running()
        retrying = await on.running(job(max_attempts=2))
        await on.end(retrying, State.RETRYING, delay_s=60, error=FAILED)
        others = await on.add(job(after=(running.id,)), job(delay_s=60), job())
        before = [State.WAITING, State.SCHEDULED, State.AVAILABLE, State.RETRYING]
        for one, state in zip([*others, retrying.id], before, strict=True):
            assert await on.ledger.cancel(one, "no more") is state
            row = await on.row(one)
            assert row.state is State.CANCELLED
            assert row.error is not None
            assert (row.error["type"], row.error["message"]) == ("Cancelled", "no more")
            assert row.finished_at == START
        on.time.move(100)
        assert await on.claim() == []

    @conformance_test
    async def test_of_a_finished_or_unknown_job_nothing_is_cancelled(self, on: Stage) -> None:
        for state in (State.SUCCEEDED, State.DISCARDED, State.CANCELLED):
            claimed = await on.running()
            await on.end(claimed, state)
            assert await on.ledger.cancel(claimed.id, "no more") is state
            row = await on.row(claimed.id)
            assert (row.state, row.errors, row.cancel_requested) == (state, (), False)
        assert await on.ledger.cancel(new_job_id(), "no more") is None

    @conformance_test
    async def test_the_wish_to_cancel_a_running_job_reaches_its_worker(self, on: Stage) -> None:
        other = await on.another()
        claimed, spared = await on.running(), await on.running()
        elsewhere = await on.running(worker="w2")
        assert await on.ledger.cancel_requests("w1") == []
        for _ in range(2):
            assert await other.cancel(claimed.id, "no more") is State.RUNNING
        await other.cancel(elsewhere.id, "no more")
        row = await on.row(claimed.id)
        assert (row.state, row.cancel_requested) == (State.RUNNING, True)
        assert (await on.row(spared.id)).cancel_requested is False
        assert await on.ledger.cancel_requests("w1") == [claimed.id]
        assert await other.cancel_requests("w2") == [elsewhere.id]
        heart = on.ledger.heart(worker_row())
        assert await asyncio.to_thread(heart.beat) == Beat(True, (claimed.id,))
        await on.end(claimed, State.CANCELLED, error=FAILED)
        assert await asyncio.to_thread(heart.beat) == Beat(True, ())
        await asyncio.to_thread(heart.close)
        assert await on.ledger.cancel_requests("w1") == []

    @conformance_test
    async def test_a_job_may_succeed_in_spite_of_the_wish_to_cancel_it(self, on: Stage) -> None:
        claimed = await on.running()
        await on.ledger.cancel(claimed.id, "no more")
        assert await on.end(claimed, result="1")
        assert await on.state(claimed.id) is State.SUCCEEDED

    @conformance_test
    async def test_a_rescuer_learns_of_the_wish_to_cancel(self, on: Stage) -> None:
        claimed = await on.running()
        await on.ledger.cancel(claimed.id, "no more")
        await on.ledger.unregister("w1")
        [orphan] = await on.ledger.orphans()
        assert orphan.cancel_requested

    @conformance_test
    async def test_a_job_is_either_claimed_or_cancelled(self, on: Stage) -> None:
        other = await on.another()
        await on.worker()
        for number in range(15):
            [one] = await on.add(job())
            calls: list[Any] = [on.claim(), other.cancel(one, "no more")]
            if number % 2:
                before, claimed = await asyncio.gather(*calls[::-1])
            else:
                claimed, before = await asyncio.gather(*calls)
            row = await on.row(one)
            if claimed:
                assert (before, row.state) == (State.RUNNING, State.RUNNING)
                assert row.cancel_requested
            else:
                assert (before, row.state) == (State.AVAILABLE, State.CANCELLED)

    # ------------------------------------------------------------------ requeueing

    @conformance_test
    async def test_a_requeued_job_starts_afresh_and_keeps_its_errors(self, on: Stage) -> None:
        claimed = await on.running(job(max_attempts=2, keep_s=5))
        await on.ledger.cancel(claimed.id, "no more")
        await on.end(claimed, State.DISCARDED, error=FAILED)
        on.time.move(3)
        assert await on.ledger.requeue(JobFilter(ids=(claimed.id,))) == [claimed.id]
        row = await on.row(claimed.id)
        assert (row.state, row.attempt) == (State.AVAILABLE, 0)
        assert (row.finished_at, row.expires_at) == (None, None)
        assert row.errors == (json.loads(FAILED),)
        assert not row.cancel_requested
        [again] = await on.claim()
        assert (again.id, again.attempt) == (claimed.id, 1)
        assert await on.ledger.cancel_requests("w1") == []

    @conformance_test
    async def test_whoever_held_a_requeued_job_before_is_a_zombie(self, on: Stage) -> None:
        zombie = await on.running()
        await on.end(zombie, State.DISCARDED, error=FAILED)
        await on.ledger.requeue(JobFilter())
        [again] = await on.claim()
        assert again.fence > zombie.fence
        assert not await on.end(zombie)
        assert await on.end(again)

    @conformance_test
    async def test_only_discarded_and_cancelled_jobs_are_requeued(self, on: Stage) -> None:
        running = await on.running()
        ended = {}
        for state in (State.SUCCEEDED, State.DISCARDED, State.CANCELLED):
            claimed = await on.running()
            await on.end(claimed, state)
            ended[state] = claimed.id
        live = await on.add(job(delay_s=9), job(after=(running.id,)))
        requeued = await on.ledger.requeue(JobFilter())
        assert set(requeued) == {ended[State.DISCARDED], ended[State.CANCELLED]}
        assert await on.states([running.id, ended[State.SUCCEEDED], *live]) == [
            State.RUNNING,
            State.SUCCEEDED,
            State.SCHEDULED,
            State.WAITING,
        ]
        assert await on.ledger.requeue(JobFilter()) == []

    @conformance_test
    async def test_requeueing_and_deleting_go_by_the_filter(self, on: Stage) -> None:
        ids = {}
        for task, queue in (("a", "default"), ("b", "default"), ("a", "mail")):
            claimed = await on.running(job(task, queue=queue))
            await on.end(claimed, State.DISCARDED, error=FAILED)
            ids[task, queue] = claimed.id
            on.time.move(10)
        which = JobFilter(task="a", queue="mail")
        assert await on.ledger.requeue(which) == [ids["a", "mail"]]
        assert await on.ledger.delete(which) == 0
        assert await on.ledger.delete(JobFilter(older_than_s=25)) == 1
        assert await on.ledger.delete(JobFilter(states=frozenset({State.CANCELLED}))) == 0
        assert await on.ledger.requeue(JobFilter(states=frozenset({State.CANCELLED}))) == []
        assert set(await on.ledger.get(list(ids.values()))) == {
            ids["b", "default"],
            ids["a", "mail"],
        }

    @conformance_test
    async def test_only_finished_jobs_are_deleted(self, on: Stage) -> None:
        running = await on.running()
        live = await on.add(job(delay_s=9), job(after=(running.id,)), job())
        for state in (State.SUCCEEDED, State.DISCARDED, State.CANCELLED):
            await on.end(await on.running(job(queue="mail")), state)
        assert await on.ledger.delete(JobFilter(ids=(running.id, *live))) == 0
        assert await on.ledger.delete(JobFilter()) == 3
        assert await on.ledger.delete(JobFilter()) == 0
        assert len(await on.ledger.get([running.id, *live])) == 4

    # ------------------------------------------------------------------ pruning

    @conformance_test
    async def test_finished_jobs_are_pruned_when_their_time_is_over(self, on: Stage) -> None:
        gone, kept = await on.running(), await on.running(job(keep_s=1000))
        brief = await on.running(job(keep_s=1))
        told = await on.running(job(keep_s=1000))
        for each in (gone, kept, brief):
            await on.end(each)
        await on.end(told, keep_s=2)
        assert (await on.row(told.id)).expires_at == START + timedelta(seconds=2)
        on.time.move(3)
        assert await on.ledger.prune(100) == 2
        assert set(await on.ledger.get([each.id for each in (gone, kept, brief, told)])) == {
            gone.id,
            kept.id,
        }
        on.time.move(98)
        assert await on.ledger.prune(100) == 1
        assert await on.ledger.prune(100) == 0
        assert await on.state(kept.id) is State.SUCCEEDED

    @conformance_test
    async def test_discarded_jobs_are_kept_unless_they_said_for_how_long(self, on: Stage) -> None:
        cancelled, discarded = await on.running(), await on.running()
        brief = await on.running(job(keep_s=10))
        await on.end(cancelled, State.CANCELLED, error=FAILED)
        await on.end(discarded, State.DISCARDED, error=FAILED)
        await on.end(brief, State.DISCARDED, error=FAILED)
        on.time.move(10**7)
        assert await on.ledger.prune(60) == 2
        assert await on.state(discarded.id) is State.DISCARDED

    @conformance_test
    async def test_jobs_given_up_without_a_worker_are_pruned_as_others_are(self, on: Stage) -> None:
        parent, child, brief = job(), job(), job(keep_s=5)
        child.after = brief.after = (parent.id,)
        await on.add(parent, child, brief)
        await on.ledger.cancel(parent.id, "no more")
        on.time.move(6)
        assert await on.ledger.prune(100) == 1
        on.time.move(100)
        assert await on.ledger.prune(100) == 2

    @conformance_test
    async def test_live_jobs_are_never_pruned(self, on: Stage) -> None:
        running = await on.running(job(keep_s=0))
        await on.add(job(delay_s=9, keep_s=0), job(after=(running.id,), keep_s=0), job(keep_s=0))
        on.time.move(10**7)
        assert await on.ledger.prune(0) == 0

    @conformance_test
    async def test_pruning_goes_step_by_step(self, on: Stage) -> None:
        await on.add(*(job() for _ in range(25)))
        await on.worker()
        taken = await on.claim()
        await on.ledger.finish([Finish(each.id, each.fence, State.SUCCEEDED) for each in taken])
        on.time.move(100)
        assert [await on.ledger.prune(60, limit=10) for _ in range(4)] == [10, 10, 5, 0]

    @conformance_test
    async def test_no_number_of_seconds_is_no_reason_to_prune(self, on: Stage) -> None:
        await on.end(await on.running())
        on.time.move(100)
        for keep_s in (math.nan, math.inf, -math.inf, 1e300):
            with contextlib.suppress(ValueError):  # as BadJob is one
                assert await on.ledger.prune(keep_s) == 0
        assert len(await on.ledger.find(JobFilter())) == 1

    @conformance_test
    async def test_a_pruned_job_leaves_its_key_and_its_id(self, on: Stage) -> None:
        key = UniqueKey("k", states=frozenset(State))
        new = job(unique=key)
        await on.end(await on.running(new))
        on.time.move(100)
        assert await on.ledger.prune(60) == 1
        await on.add(new)

    # ------------------------------------------------------------------ cron ticks

    @conformance_test
    async def test_a_tick_is_written_with_its_jobs(self, on: Stage) -> None:
        assert await on.ledger.last_tick("nightly") is None
        first = Tick(name="nightly", previous=None, at=START, jobs=(job(), job(delay_s=9)))
        assert await on.ledger.tick(first) is True
        assert await on.ledger.last_tick("nightly") == START
        assert await on.ledger.last_tick("other") is None
        assert len(await on.ledger.get([each.id for each in first.jobs])) == 2

    @conformance_test
    async def test_a_tick_that_is_not_the_next_one_writes_nothing(self, on: Stage) -> None:
        second = START + timedelta(minutes=1)
        assert await on.ledger.tick(Tick(name="n", previous=None, at=START))
        for previous in (None, second, START - timedelta(microseconds=1)):
            late = Tick(name="n", previous=previous, at=second, jobs=(job(),))
            assert await on.ledger.tick(late) is False
        assert await on.ledger.counts() == []
        assert await on.ledger.last_tick("n") == START
        assert await on.ledger.tick(Tick(name="n", previous=START, at=second, jobs=(job(),)))
        assert await on.ledger.last_tick("n") == second

    @conformance_test
    async def test_a_tick_without_a_zone_or_beyond_the_calendar_is_refused(self, on: Stage) -> None:
        await on.ledger.tick(Tick(name="n", previous=None, at=START))
        late = datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))
        after = START + timedelta(hours=1)
        for previous, at in (
            (START, after.replace(tzinfo=None)),
            (START.replace(tzinfo=None), after),
            (START, late),
        ):
            try:
                await on.ledger.tick(Tick(name="n", previous=previous, at=at, jobs=(job(),)))
            except BadJob:
                pass
            else:
                raise AssertionError(f"{at} after {previous} was written")
        assert await on.ledger.last_tick("n") == START
        assert await on.ledger.find(JobFilter()) == []

    @conformance_test
    async def test_a_first_tick_is_not_one_with_a_predecessor(self, on: Stage) -> None:
        tick = Tick(name="n", previous=START, at=START + timedelta(minutes=1), jobs=(job(),))
        assert await on.ledger.tick(tick) is False
        assert await on.ledger.last_tick("n") is None
        assert await on.ledger.counts() == []

    @conformance_test
    async def test_each_tick_is_written_once_whoever_comes(self, on: Stage) -> None:
        other = await on.another()
        previous = None
        for number in range(5):
            at = START + timedelta(minutes=number)
            written = await asyncio.gather(
                *(
                    (on.ledger if n % 2 else other).tick(
                        Tick(name="n", previous=previous, at=at, jobs=(job(),))
                    )
                    for n in range(8)
                )
            )
            assert sorted(written) == [False] * 7 + [True]
            previous = at
        assert sum(each.jobs for each in await on.ledger.counts()) == 5

    @conformance_test
    async def test_schedules_tick_each_for_itself(self, on: Stage) -> None:
        assert await on.ledger.tick(Tick(name="a", previous=None, at=START, jobs=(job(),)))
        assert await on.ledger.tick(Tick(name="b", previous=None, at=START, jobs=(job(),)))

    @conformance_test
    async def test_a_tick_whose_key_is_held_is_a_tick_all_the_same(self, on: Stage) -> None:
        await on.add(job(unique=UniqueKey("k")))
        tick = Tick(name="n", previous=None, at=START, jobs=(job(unique=UniqueKey("k")),))
        assert await on.ledger.tick(tick) is True
        assert await on.ledger.last_tick("n") == START
        assert sum(each.jobs for each in await on.ledger.counts()) == 1
