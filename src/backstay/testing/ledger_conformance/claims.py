"""What is true of claiming."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

from backstay.ledger.rows import Gate, QueueRow, State
from backstay.testing.ledger_conformance.stage import (
    FAILED,
    START,
    LedgerHome,
    Stage,
    conformance_test,
    job,
    on_its_own_clock,
)

__all__ = ["ClaimsOfJobs"]


class ClaimsOfJobs(LedgerHome):
    """Claiming: each job by one, the best first, and nothing before its time."""

    @conformance_test
    async def test_a_claim_says_everything_a_worker_needs(self, on: Stage) -> None:
        new = job("shop.send", args='{"a": 1}', queue="mail", max_attempts=4, meta='{"m": 2}')
        claimed = await on.running(new)
        assert claimed.id == new.id
        assert (claimed.task, claimed.queue) == ("shop.send", "mail")
        assert (claimed.attempt, claimed.max_attempts) == (1, 4)
        assert (claimed.args, claimed.meta) == ('{"a": 1}', '{"m": 2}')
        assert (claimed.created_at, claimed.run_at) == (START, START)
        row = await on.row(new.id)
        assert (row.state, row.worker, row.attempt) == (State.RUNNING, "w1", 1)
        assert row.started_at == START

    @conformance_test
    async def test_an_empty_ledger_gives_nothing_and_knows_of_nothing(self, on: Stage) -> None:
        await on.worker()
        assert await on.claims() == ([], None, False)
        assert await on.claims({}) == ([], None, False)
        assert (await on.claims({"default": 0, "no such queue": 5})).jobs == []

    @conformance_test
    async def test_jobs_are_claimed_in_the_order_they_came(self, on: Stage) -> None:
        ids = []
        for _ in range(5):
            ids += await on.add(job(), job())
            on.time.move(0.001)
        await on.worker()
        assert [each.id for each in await on.claim({"default": 3})] == ids[:3]
        assert [each.id for each in await on.claim()] == ids[3:]

    @conformance_test
    async def test_jobs_of_one_call_are_claimed_in_their_order(self, on: Stage) -> None:
        ids = await on.add(*(job() for _ in range(50)))
        await on.worker()
        assert [each.id for each in await on.claim()] == ids

    @conformance_test
    async def test_a_higher_priority_goes_first(self, on: Stage) -> None:
        low, normal, high = await on.add(job(priority=-1), job(), job(priority=1))
        await on.worker()
        assert [each.id for each in await on.claim()] == [high, normal, low]

    @conformance_test
    async def test_a_point_of_priority_is_worth_ten_minutes_of_waiting(self, on: Stage) -> None:
        [old] = await on.add(job())
        on.time.move(599)
        [urgent] = await on.add(job(priority=1))
        on.time.move(2)
        [too_late] = await on.add(job(priority=1))
        await on.worker()
        assert [each.id for each in await on.claim()] == [urgent, old, too_late]

    @conformance_test
    async def test_nothing_starves_behind_a_stream_of_higher_priority(self, on: Stage) -> None:
        [humble] = await on.add(job())
        await on.worker()
        for minute in range(60):
            await on.add(job(priority=2))
            [claimed] = await on.claim({"default": 1})
            await on.end(claimed)
            if claimed.id == humble:
                assert minute in {20, 21}
                return
            on.time.move(60)
        raise AssertionError("a job waited an hour behind a stream of higher priority")

    @conformance_test
    async def test_a_retried_job_keeps_its_priority(self, on: Stage) -> None:
        urgent = await on.running(job(priority=5, max_attempts=2))
        await on.end(urgent, State.RETRYING, delay_s=10, error=FAILED)
        [plain] = await on.add(job())
        on.time.move(11)
        assert [each.id for each in await on.claim()] == [urgent.id, plain]

    @conformance_test
    async def test_each_queue_gives_as_many_as_were_wanted(self, on: Stage) -> None:
        await on.add(*(job(queue=queue) for queue in ("a", "b", "c") for _ in range(5)))
        await on.worker()
        claims = await on.claims({"a": 2, "b": 4, "none": 3})
        assert sorted(each.queue for each in claims.jobs) == ["a"] * 2 + ["b"] * 4
        assert claims.more
        assert (await on.claims({"a": 3})).more is False

    @conformance_test
    async def test_jobs_of_several_queues_come_in_the_order_to_start_them(self, on: Stage) -> None:
        ids = []
        for queue in ("a", "b", "a", "b", "b", "a"):
            ids += await on.add(job(queue=queue))
            on.time.move(1)
        await on.worker()
        assert [each.id for each in await on.claim({"a": 9, "b": 9})] == ids

    @conformance_test
    async def test_a_claim_says_whether_there_was_more(self, on: Stage) -> None:
        await on.add(*(job() for _ in range(3)))
        await on.worker()
        assert (await on.claims({"default": 2})).more is True
        assert (await on.claims({"default": 2})).more is False
        assert (await on.claims({"default": 2})).more is False

    @conformance_test
    async def test_more_is_said_of_the_queues_asked_for_only(self, on: Stage) -> None:
        await on.add(job(queue="mail"), job(queue="mail"), job())
        await on.worker()
        assert (await on.claims({"default": 5})).more is False

    @conformance_test
    async def test_a_claim_says_when_the_next_job_is_due(self, on: Stage) -> None:
        first = await on.running(job(max_attempts=2))
        await on.end(first, State.RETRYING, delay_s=40, error=FAILED)
        await on.add(job(delay_s=90), job(queue="mail", delay_s=5))
        assert (await on.claims()).next_due_s == 40
        on.time.move(39.75)
        assert (await on.claims()).next_due_s == 0.25
        assert (await on.claims({"mail": 1})).next_due_s is None  # it was due, and is claimed
        on.time.move(1)
        claims = await on.claims()
        assert [each.id for each in claims.jobs] == [first.id]
        assert claims.next_due_s == 49.25

    @conformance_test
    async def test_what_is_due_is_claimed_in_the_order_it_became_due(self, on: Stage) -> None:
        third, first, second = await on.add(job(delay_s=30), job(delay_s=10), job(delay_s=20))
        await on.worker()
        on.time.move(100)
        assert [each.id for each in await on.claim({"default": 1})] == [first]
        assert [each.id for each in await on.claim()] == [second, third]

    @conformance_test
    async def test_more_may_become_due_at_once_than_are_wanted(self, on: Stage) -> None:
        ids = await on.add(*(job(delay_s=5) for _ in range(700)))
        await on.worker()
        on.time.move(6)
        taken: list[UUID] = []
        while len(taken) < 700:
            claims = await on.claims({"default": 100})
            assert claims.jobs
            taken += [each.id for each in claims.jobs]
            if len(taken) < 700:
                assert claims.more or claims.next_due_s == 0
        assert sorted(taken) == sorted(ids)

    @conformance_test
    async def test_a_job_is_claimed_by_one_of_many_at_once(self, on: Stage) -> None:
        other = await on.another()
        ids = await on.add(*(job() for _ in range(100)))
        ids += await on.add(*(job(delay_s=1) for _ in range(50)))
        ids += await on.add(*(job(gate=Gate(f"g{number % 7}")) for number in range(50)))
        on.time.move(2)
        workers = [await on.worker(f"w{number}") for number in range(8)]
        taken: list[UUID] = []
        while len(taken) < len(ids):
            rounds = await asyncio.gather(
                *(
                    on.claim({"default": 9}, worker=worker, ledger=ledger)
                    for worker, ledger in zip(workers, [on.ledger, other] * 4, strict=True)
                )
            )
            assert any(rounds)
            taken += [each.id for jobs in rounds for each in jobs]
        assert sorted(taken) == sorted(ids)

    @conformance_test
    async def test_fences_and_attempts_grow_with_every_claim(self, on: Stage) -> None:
        claimed = await on.running(job(max_attempts=9))
        for attempt in range(2, 5):
            fence = claimed.fence
            await on.end(claimed, State.RETRYING, error=FAILED)
            [claimed] = await on.claim()
            assert claimed.attempt == attempt
            assert claimed.fence > fence

    @conformance_test
    async def test_a_paused_queue_gives_nothing_until_it_is_resumed(self, on: Stage) -> None:
        [one] = await on.add(job())
        [gated] = await on.add(job(gate=Gate("g", limit=3)))
        [elsewhere] = await on.add(job(queue="mail"))
        other = await on.another()
        await on.worker()
        await other.pause("default", True)
        claims = await on.claims({"default": 5, "mail": 5})
        assert [each.id for each in claims.jobs] == [elsewhere]
        assert claims.more is False
        await other.pause("default", False)
        assert [each.id for each in await on.claim()] == [one, gated]

    @conformance_test
    async def test_running_jobs_of_a_paused_queue_go_on(self, on: Stage) -> None:
        claimed = await on.running()
        await on.ledger.pause("default", True)
        assert await on.end(claimed)

    @conformance_test
    async def test_a_pause_is_seen_with_its_time_and_outlives_declarations(self, on: Stage) -> None:
        await on.ledger.pause("default", True)
        on.time.move(60)
        await on.ledger.pause("default", True)  # again; it has been paused since the first
        await on.ledger.declare([QueueRow(name="default", limit=3)])
        assert await on.ledger.queues() == [QueueRow(name="default", paused_at=START, limit=3)]
        await on.ledger.pause("default", False)
        assert await on.ledger.queues() == [QueueRow(name="default", limit=3)]

    @conformance_test
    async def test_a_declaration_does_not_pause(self, on: Stage) -> None:
        await on.ledger.declare([QueueRow(name="default", paused_at=START)])
        assert [each.paused_at for each in await on.ledger.queues()] == [None]

    @conformance_test
    async def test_jobs_are_claimed_though_the_clock_went_back(self, on: Stage) -> None:
        [one] = await on.add(job())
        claimed = await on.running(job(queue="mail"))
        on.time.move(-7200)
        assert [each.id for each in await on.claim()] == [one]
        assert await on.end(claimed)
        assert await on.ledger.orphans() == []
        [later] = await on.add(job(delay_s=10))
        on.time.move(11)
        assert [each.id for each in await on.claim()] == [later]

    @conformance_test
    async def test_a_job_of_the_far_future_is_no_matter(self, on: Stage) -> None:
        [far] = await on.add(job(run_at=START + timedelta(days=365 * 500)))
        await on.worker()
        claims = await on.claims()
        assert claims.jobs == []
        assert await on.state(far) is State.SCHEDULED

    @on_its_own_clock
    async def test_its_own_clock_is_a_clock(self, on: Stage) -> None:
        before = await on.ledger.now()
        now_due, later = await on.add(job(), job(delay_s=3600))
        await on.worker()
        claims = await on.claims()
        assert [each.id for each in claims.jobs] == [now_due]
        assert claims.next_due_s is not None
        assert 3000 < claims.next_due_s <= 3600
        row = await on.row(later)
        assert row.run_at - row.created_at == timedelta(hours=1)
        assert before.utcoffset() == timedelta(0)
        assert await on.ledger.orphans() == []
        assert await on.end(claims.jobs[0], State.RETRYING, delay_s=3600, error=FAILED)
        assert await on.claim() == []
