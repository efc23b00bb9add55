"""What is true of gates and of the queues' own limits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

from backstay.ledger.rows import Gate, QueueRow, State
from backstay.testing.ledger_conformance.stage import (
    FAILED,
    LedgerHome,
    Stage,
    conformance_test,
    job,
)

__all__ = ["Limits"]


class Limits(LedgerHome):
    """Limits: they hold over all workers, and starve nobody."""

    @conformance_test
    async def test_a_gate_lets_so_many_run_over_all_workers(self, on: Stage) -> None:
        gate = Gate("g", limit=3)
        ids = await on.add(*(job(gate=gate) for _ in range(7)))
        assert (await on.row(ids[0])).gate == "g"
        other = await on.another()
        await on.worker("w1")
        await on.worker("w2")
        first = await on.claim({"default": 2})
        second = await on.claim(worker="w2", ledger=other)
        assert [each.id for each in (*first, *second)] == ids[:3]
        assert await on.claim() == []
        await on.end(first[0])
        assert [each.id for each in await on.claim(worker="w2")] == [ids[3]]
        assert await on.claim() == []

    @conformance_test
    async def test_every_way_out_of_running_makes_room(self, on: Stage) -> None:
        gate = Gate("g", limit=1)
        await on.worker()
        ways: list[dict[str, Any]] = [
            {"state": State.SUCCEEDED},
            {"state": State.RETRYING, "delay_s": 60, "error": FAILED},
            {"state": State.SCHEDULED, "delay_s": 60, "give_back": True},
            {"state": State.DISCARDED, "error": FAILED},
            {"state": State.CANCELLED, "error": FAILED},
        ]
        await on.add(*(job(gate=gate, max_attempts=2) for _ in range(len(ways) + 1)))
        for way in ways:
            [claimed] = await on.claim()
            assert await on.claim() == []
            assert await on.end(claimed, **way)
        assert len(await on.claim()) == 1

    @conformance_test
    async def test_what_was_rescued_makes_room(self, on: Stage) -> None:
        gate = Gate("g", limit=1)
        dead = await on.running(job(gate=gate))
        [waiting] = await on.add(job(gate=gate))
        on.time.move(31)
        await on.worker("w2")
        assert await on.claim(worker="w2") == []
        await on.ledger.orphans()
        await on.end(dead, State.DISCARDED, error=FAILED)
        assert [each.id for each in await on.claim(worker="w2")] == [waiting]

    @conformance_test
    async def test_each_gate_has_a_limit_of_its_own(self, on: Stage) -> None:
        await on.add(*(job(gate=Gate(f"g{n % 3}", limit=1)) for n in range(9)), job())
        await on.worker()
        assert len(await on.claim()) == 4

    @conformance_test
    async def test_a_gate_is_shared_by_jobs_of_several_queues(self, on: Stage) -> None:
        gate = Gate("g", limit=1)
        await on.add(job(gate=gate), job(gate=gate, queue="mail"))
        await on.worker()
        [claimed] = await on.claim({"default": 5, "mail": 5})
        assert await on.claim({"default": 5, "mail": 5}) == []
        await on.end(claimed)
        assert len(await on.claim({"default": 5, "mail": 5})) == 1

    @conformance_test
    async def test_names_of_gates_and_queues_may_be_any_text(self, on: Stage) -> None:
        await on.worker()
        for name in ("", " ", "a%_'\"\\", "🦄", "queue:default", "\uffff", "x" * 500):
            gate = Gate(name, limit=1, rate=5, per_s=1)
            await on.add(job(gate=gate), job(gate=gate), job(gate=gate, queue=name))
            taken = await on.claim({"default": 5, name: 5})
            assert len(taken) == 1, name
            for _ in range(2):
                await on.end(taken[0])
                taken = await on.claim({"default": 5, name: 5})
                assert len(taken) == 1, name
            await on.end(taken[0])

    @conformance_test
    async def test_a_gate_without_limits_is_open(self, on: Stage) -> None:
        await on.add(*(job(gate=Gate("g")) for _ in range(30)))
        await on.worker()
        assert len(await on.claim()) == 30

    @conformance_test
    async def test_a_gate_holds_however_many_claim_at_once(self, on: Stage) -> None:
        other = await on.another()
        gates = [Gate(f"g{number}", limit=2) for number in range(3)]
        ids = await on.add(*(job(gate=gates[n % 3]) for n in range(60)))
        workers = [await on.worker(f"w{number}") for number in range(8)]
        done = 0
        for _ in range(60):
            rounds = await asyncio.gather(
                *(
                    on.claim({"default": 5}, worker=worker, ledger=ledger)
                    for worker, ledger in zip(workers, [on.ledger, other] * 4, strict=True)
                )
            )
            taken = [each for jobs in rounds for each in jobs]
            for number in range(3):
                assert len({each.id for each in taken} & set(ids[number::3])) <= 2
            for each in taken:
                await on.end(each)
            done += len(taken)
            if done == 60:
                return
        raise AssertionError(f"{done} of 60 jobs came through in 60 rounds")

    @conformance_test
    async def test_jobs_with_and_without_a_gate_are_claimed_by_rank(self, on: Stage) -> None:
        ids: list[UUID] = []
        for number in range(12):
            gate = Gate(f"g{number % 2}", limit=50) if number % 3 else None
            ids += await on.add(job(gate=gate))
            on.time.move(1)
        [urgent] = await on.add(job(gate=Gate("g0", limit=50), priority=1))
        await on.worker()
        first = await on.claim({"default": 7})
        assert [each.id for each in first] == [urgent, *ids[:6]]
        assert [each.id for each in await on.claim()] == ids[6:]

    @conformance_test
    async def test_a_closed_gate_holds_up_nobody_else(self, on: Stage) -> None:
        closed = Gate("closed", limit=1)
        await on.running(job(gate=closed))
        await on.add(*(job(gate=closed) for _ in range(300)))
        on.time.move(1)
        plain, other = await on.add(job(), job(gate=Gate("open", limit=1)))
        claims = await on.claims({"default": 5})
        assert [each.id for each in claims.jobs] == [plain, other]
        assert claims.more is False
        assert await on.claims({"default": 5}) == ([], None, False)

    @conformance_test
    async def test_a_flood_of_jobs_without_a_gate_does_not_starve_those_with_one(
        self, on: Stage
    ) -> None:
        [gated] = await on.add(job(gate=Gate("g", limit=1)))
        on.time.move(1)
        await on.add(*(job() for _ in range(50)))
        await on.worker()
        assert gated in {each.id for each in await on.claim({"default": 5})}

    @conformance_test
    async def test_none_of_many_gates_starves(self, on: Stage) -> None:
        count = 450
        ids = await on.add(*(job(gate=Gate(f"customer {n}", limit=1)) for n in range(count)))
        await on.worker()
        taken: list[UUID] = []
        for _ in range(count):
            claims = await on.claims({"default": 40})
            taken += [each.id for each in claims.jobs]
            if len(taken) == count:
                break
            assert claims.more or claims.next_due_s is not None, "it would sleep, and jobs wait"
        assert sorted(taken) == sorted(ids)

    @conformance_test
    async def test_many_closed_gates_do_not_hide_an_open_one(self, on: Stage) -> None:
        await on.worker()
        gates = [Gate(f"a{number:03}", limit=1) for number in range(300)]
        await on.add(*(job(gate=gate) for gate in gates))
        holders = 0
        while holders < 300:
            claims = await on.claims({"default": 300})
            holders += len(claims.jobs)
        await on.add(*(job(gate=gate) for gate in gates))
        on.time.move(1)
        [reachable] = await on.add(job(gate=Gate("zzz", limit=1)))
        for _ in range(10):
            claims = await on.claims({"default": 5})
            if claims.jobs:
                break
        assert [each.id for each in claims.jobs] == [reachable]

    @conformance_test
    async def test_where_jobs_of_a_gate_disagree_the_oldest_waiting_one_is_right(
        self, on: Stage
    ) -> None:
        [strict] = await on.add(job(gate=Gate("g", limit=1)))
        on.time.move(1)
        loose = await on.add(*(job(gate=Gate("g", limit=3)) for _ in range(5)))
        await on.worker()
        assert [each.id for each in await on.claim()] == [strict]
        assert [each.id for each in await on.claim()] == loose[:2]

    @conformance_test
    async def test_a_rate_lets_no_more_start_in_any_window(self, on: Stage) -> None:
        other = await on.another()
        gate = Gate("g", rate=4, per_s=10)
        await on.add(*(job(gate=gate) for _ in range(40)))
        await on.worker("w1")
        await on.worker("w2")
        starts: list[float] = []
        at = 0.0
        while len(starts) < 30:
            for worker, ledger in (("w1", on.ledger), ("w2", other)):
                claims = await on.claims({"default": 3}, worker=worker, ledger=ledger)
                for each in claims.jobs:
                    starts.append(at)
                    await on.end(each)
            step = 0.7 if len(starts) < 15 else (claims.next_due_s or 0.1)
            assert 0 < step <= 11, step
            on.time.move(step)
            at += step
            assert at < 200, "the rate let too few start"
        for start in starts:
            assert sum(start <= each < start + 10 for each in starts) <= 4

    @conformance_test
    async def test_a_claim_says_when_a_rate_lets_the_next_one_start(self, on: Stage) -> None:
        await on.add(*(job(gate=Gate("g", rate=2, per_s=60)) for _ in range(4)))
        await on.worker()
        claims = await on.claims()
        assert len(claims.jobs) == 2
        assert claims.more is False
        assert claims.next_due_s is not None
        assert 0 < claims.next_due_s <= 63  # a slot of the memory, a twentieth, may be lost
        assert await on.claim() == []
        on.time.move(claims.next_due_s)
        assert len(await on.claim()) == 2

    @conformance_test
    async def test_a_gate_may_have_a_limit_and_a_rate(self, on: Stage) -> None:
        await on.add(*(job(gate=Gate("g", limit=1, rate=2, per_s=60)) for _ in range(4)))
        await on.worker()
        for _ in range(2):
            [claimed] = await on.claim()
            assert await on.claim() == []
            await on.end(claimed)
        assert await on.claim() == []
        on.time.move(64)
        assert len(await on.claim()) == 1

    @conformance_test
    async def test_a_rate_is_of_starts_and_a_retry_is_one(self, on: Stage) -> None:
        claimed = await on.running(job(gate=Gate("g", rate=1, per_s=60), max_attempts=2))
        await on.end(claimed, State.RETRYING, error=FAILED)
        assert await on.claim() == []
        on.time.move(64)
        assert len(await on.claim()) == 1

    @conformance_test
    async def test_a_scheduled_job_passes_its_gate_when_it_is_due(self, on: Stage) -> None:
        gate = Gate("g", limit=1)
        await on.add(*(job(gate=gate, delay_s=5) for _ in range(3)))
        await on.worker()
        assert await on.claim() == []
        on.time.move(6)
        assert len(await on.claim()) == 1
        assert await on.claim() == []

    @conformance_test
    async def test_a_queue_lets_so_many_run_over_all_workers(self, on: Stage) -> None:
        await on.ledger.declare([QueueRow(name="default", limit=3)])
        other = await on.another()
        await on.add(*(job() for _ in range(4)), *(job(gate=Gate("g")) for _ in range(4)))
        await on.add(job(queue="mail"))
        await on.worker("w1")
        await on.worker("w2")
        first = await on.claim({"default": 2})
        second = await on.claim(worker="w2", ledger=other)
        assert (len(first), len(second)) == (2, 1)
        assert [each.queue for each in await on.claim({"default": 5, "mail": 5})] == ["mail"]
        await on.end(first[0])
        assert len(await on.claim()) == 1

    @conformance_test
    async def test_a_queues_limit_holds_however_many_claim_at_once(self, on: Stage) -> None:
        await on.ledger.declare([QueueRow(name="default", limit=5)])
        other = await on.another()
        await on.add(*(job() for _ in range(40)))
        workers = [await on.worker(f"w{number}") for number in range(6)]
        rounds = await asyncio.gather(
            *(
                on.claim({"default": 4}, worker=worker, ledger=ledger)
                for worker, ledger in zip(workers, [on.ledger, other] * 3, strict=True)
            )
        )
        assert sum(map(len, rounds)) <= 5
        while await on.claim():
            pass
        counts = {each.state: each.jobs for each in await on.ledger.counts()}
        assert counts[State.RUNNING] == 5

    @conformance_test
    async def test_a_queues_rate_lets_no_more_start(self, on: Stage) -> None:
        await on.ledger.declare([QueueRow(name="default", rate=3, per_s=60)])
        await on.add(*(job() for _ in range(5)))
        await on.worker()
        claims = await on.claims()
        assert len(claims.jobs) == 3
        assert claims.next_due_s is not None
        for each in claims.jobs:
            await on.end(each)
        assert await on.claim() == []
        on.time.move(claims.next_due_s)
        assert len(await on.claim()) == 2

    @conformance_test
    async def test_a_queues_limits_are_what_was_declared_last(self, on: Stage) -> None:
        await on.add(*(job() for _ in range(6)))
        await on.worker()
        await on.ledger.declare([QueueRow(name="default", limit=1), QueueRow(name="mail")])
        assert len(await on.claim()) == 1
        await on.ledger.declare([QueueRow(name="default", limit=2)])
        assert len(await on.claim()) == 1
        await on.ledger.declare([QueueRow(name="default")])
        assert len(await on.claim()) == 4
        assert await on.ledger.queues() == [QueueRow(name="default"), QueueRow(name="mail")]

    @conformance_test
    async def test_a_rate_does_not_stop_when_the_clock_went_back(self, on: Stage) -> None:
        await on.add(*(job(gate=Gate("g", rate=1, per_s=10)) for _ in range(3)))
        await on.worker()
        assert len(await on.claim()) == 1
        on.time.move(-timedelta(days=1).total_seconds())
        got = 0
        for _ in range(60):
            on.time.move(1)
            got += len(await on.claim())
        assert got == 2, "a rate remembered starts of the future"
