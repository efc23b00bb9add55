"""The suite notices engines whose limits leak, or starve somebody."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from backstay.ledger import Claims, Inserted, NewJob, QueueRow
from backstay.testing.ledger_conformance.limits import Limits
from tests.testing.ledger_conformance.broken import Broken, changed, notices


def with_gates(name: str, change: Any) -> type[Broken]:
    class Changed(Broken):
        async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
            return await self.good.insert(
                [changed(each, gate=each.gate and change(each.gate)) for each in jobs]
            )

    Changed.__name__ = name
    return Changed


NoGates = with_gates("NoGates", lambda gate: None)
OneMore = with_gates("OneMore", lambda gate: gate.limit and changed(gate, limit=gate.limit + 1))
OneGate = with_gates("OneGate", lambda gate: changed(gate, name="g"))
NoRates = with_gates("NoRates", lambda gate: changed(gate, rate=None))
HalfPeriod = with_gates("HalfPeriod", lambda gate: changed(gate, per_s=gate.per_s / 2))
LateRate = with_gates("LateRate", lambda gate: changed(gate, per_s=gate.per_s * 3))
Closed = with_gates("Closed", lambda gate: changed(gate, limit=gate.limit or 1))


class NoQueueLimits(Broken):
    async def declare(self, queues: Iterable[QueueRow]) -> None:
        await self.good.declare(changed(list(queues), limit=None, rate=None))


class FirstDeclarationOnly(Broken):
    done = False

    async def declare(self, queues: Iterable[QueueRow]) -> None:
        if not self.done:
            self.done = True
            await self.good.declare(queues)


class GatedLast(Broken):
    """Puts jobs behind gates after all others."""

    async def insert(self, jobs: Sequence[NewJob]) -> list[Inserted]:
        return await self.good.insert(
            [changed(each, priority=each.priority - 5 * bool(each.gate)) for each in jobs]
        )


class AlwaysSleepy(Broken):
    async def claim(self, worker: str, wants: Mapping[str, int]) -> Claims:
        return (await self.good.claim(worker, wants))._replace(more=False, next_due_s=None)


CASES = [
    (NoGates, "test_a_gate_lets_so_many_run_over_all_workers"),
    (NoGates, "test_a_gate_holds_however_many_claim_at_once"),
    (OneMore, "test_a_gate_lets_so_many_run_over_all_workers"),
    (OneMore, "test_a_gate_holds_however_many_claim_at_once"),
    (OneGate, "test_each_gate_has_a_limit_of_its_own"),
    (OneGate, "test_none_of_many_gates_starves"),
    (NoRates, "test_a_rate_lets_no_more_start_in_any_window"),
    (NoRates, "test_a_gate_may_have_a_limit_and_a_rate"),
    (HalfPeriod, "test_a_rate_lets_no_more_start_in_any_window"),
    (LateRate, "test_a_claim_says_when_a_rate_lets_the_next_one_start"),
    (Closed, "test_a_gate_without_limits_is_open"),
    (NoQueueLimits, "test_a_queue_lets_so_many_run_over_all_workers"),
    (NoQueueLimits, "test_a_queues_rate_lets_no_more_start"),
    (FirstDeclarationOnly, "test_a_queues_limits_are_what_was_declared_last"),
    (GatedLast, "test_jobs_with_and_without_a_gate_are_claimed_by_rank"),
    (GatedLast, "test_a_flood_of_jobs_without_a_gate_does_not_starve_those_with_one"),
    (AlwaysSleepy, "test_none_of_many_gates_starves"),
]


@pytest.mark.parametrize(("broken", "test"), CASES)
def test_a_broken_promise_is_noticed(broken: type[Broken], test: str) -> None:
    assert notices(Limits, test, broken)
    assert not notices(Limits, test, None)
