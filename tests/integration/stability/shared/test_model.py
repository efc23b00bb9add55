"""Whatever is asked of a store, in whatever order and by whom, it answers as a simple model does."""

import asyncio
import itertools
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from backstay.integration.stability.shared.opening import new_store
from backstay.integration.stability.shared.port import Ending, Pace, SharedStore
from backstay.testing import FakeClock
from tests.integration.stability.shared.shared_stores import EVERY_STORE, a_place

HOSTS = [0, 1]
TIMES = st.sampled_from([0.0, 0.25, 1.0, 1.5, 5.0, 30.0])
PACES = {b"b" * 16: Pace(4, 3), b"c" * 16: Pace(1, 1)}


@dataclass
class Circuit:
    """What is true, in words of its own: who may try until when, and who has said what."""

    opened_until: Fraction | None = None
    holder: int | None = None
    held_until: Fraction = Fraction(0)
    turns: int = 0
    epochs: list[int] = field(default_factory=lambda: [0])

    def is_held(self, now: Fraction) -> bool:
        return self.holder is not None and self.held_until > now


class Walk(RuleBasedStateMachine):
    """Two processes on one store."""

    stores: list[SharedStore]
    clock: FakeClock
    runner: asyncio.Runner
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.name = next(self.numbers).to_bytes(8, "big")
        self.now = Fraction(0)
        self.circuit = Circuit()
        self.leases: list[int] = []
        self.passed: dict[bytes, list[Fraction]] = {each: [] for each in PACES}

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    @property
    def one(self) -> bytes:
        return self.name * 2

    @rule(seconds=TIMES)
    def time_passes(self, seconds: float) -> None:
        self.run(self.clock.advance(seconds))
        self.now += Fraction(seconds)

    @rule(host=st.sampled_from(HOSTS), reset_s=TIMES, behind=st.integers(0, 2))
    def trip(self, host: int, reset_s: float, behind: int) -> None:
        known = self.circuit.epochs[max(0, len(self.circuit.epochs) - 1 - behind)]
        found = self.run(self.stores[host].trip(self.one, epoch=known, reset_s=reset_s))
        if self.circuit.opened_until is None and known == self.circuit.epochs[-1]:
            self.circuit.opened_until = self.now + Fraction(reset_s)
            self.circuit.holder = None
            self.turned(found.epoch)
        self.same(found)

    @rule(host=st.sampled_from(HOSTS), lease_s=TIMES.filter(bool))
    def lease(self, host: int, lease_s: float) -> None:
        found = self.run(self.stores[host].lease(self.one, lease_s=lease_s))
        circuit = self.circuit
        is_forgotten = circuit.epochs == [0]
        due = circuit.opened_until is not None and circuit.opened_until <= self.now
        assert found.granted == (is_forgotten or (due and not circuit.is_held(self.now)))
        if found.granted:
            if is_forgotten:
                circuit.opened_until = self.now
            self.turned(found.circuit.epoch)
            self.leases.append(found.circuit.epoch)
            circuit.holder = found.circuit.epoch
            circuit.held_until = self.now + Fraction(lease_s)
        self.same(found.circuit)

    @precondition(lambda self: self.leases)
    @rule(host=st.sampled_from(HOSTS), lease_s=TIMES.filter(bool), back=st.integers(0, 2))
    def renew(self, host: int, lease_s: float, back: int) -> None:
        epoch = self.leases[-1 - min(back, len(self.leases) - 1)]
        renewed = self.run(self.stores[host].renew(self.one, epoch=epoch, lease_s=lease_s))
        assert renewed == (self.circuit.is_held(self.now) and self.circuit.holder == epoch)
        if renewed:
            self.circuit.held_until = self.now + Fraction(lease_s)

    @precondition(lambda self: self.leases)
    @rule(
        host=st.sampled_from(HOSTS),
        ending=st.sampled_from(list(Ending)),
        reset_s=TIMES,
        back=st.integers(0, 2),
    )
    def settle(self, host: int, ending: Ending, reset_s: float, back: int) -> None:
        epoch = self.leases[-1 - min(back, len(self.leases) - 1)]
        found = self.run(
            self.stores[host].settle(self.one, epoch=epoch, ending=ending, reset_s=reset_s)
        )
        if self.circuit.is_held(self.now) and self.circuit.holder == epoch:
            self.circuit.holder = None
            if ending is Ending.SUCCESS:
                self.circuit.opened_until = None
            elif ending is Ending.FAILURE:
                self.circuit.opened_until = self.now + Fraction(reset_s)
            self.turned(found.epoch)
        self.same(found)

    @rule(
        host=st.sampled_from(HOSTS),
        bucket=st.sampled_from(sorted(PACES)),
        count=st.integers(1, 9),
        max_wait_s=st.sampled_from([0.0, 0.25, 2.0]),
    )
    def take(self, host: int, bucket: bytes, count: int, max_wait_s: float) -> None:
        pace, passed = PACES[bucket], self.passed[bucket]
        name = self.name + bucket[:8]
        found = self.run(self.stores[host].take(name, pace, count=count, max_wait_s=max_wait_s))
        each = Fraction(pace.each_us, 1_000_000)
        burst = pace.slack_us // pace.each_us + 1
        times = []
        for number in range(found.count, 0, -1):
            wait = max(Fraction(0), Fraction(found.next_in_s) - number * each)
            assert wait <= Fraction(max_wait_s) + Fraction(1, 10**9)
            times.append(self.now + wait)
        passed += times
        # In no stretch of time more than burst + rate * t, whoever asked.
        for first, last in itertools.combinations(range(len(passed)), 2):
            span = passed[last] - passed[first]
            assert last - first + 1 <= burst + span / each + Fraction(1, 1000)
        if found.count < count:
            assert found.next_in_s > max_wait_s
        if not passed[: -found.count or None]:
            assert found.count == min(count, burst + Fraction(max_wait_s) // each)

    @invariant()
    def looks_the_same_to_all(self) -> None:
        for store in self.stores:
            [found] = self.run(store.look([self.one]))
            self.same(found)

    def turned(self, epoch: int) -> None:
        assert epoch > self.circuit.epochs[-1]
        self.circuit.epochs.append(epoch)

    def same(self, found: Any) -> None:
        until = self.circuit.opened_until
        assert found.epoch == self.circuit.epochs[-1]
        assert found.is_open == (until is not None)
        assert found.opens_in_s == float(max(Fraction(0), (until or self.now) - self.now))
        held = self.circuit.held_until if self.circuit.holder is not None else self.now
        assert found.leased_for_s == float(max(Fraction(0), held - self.now))


@pytest.mark.parametrize("kind", EVERY_STORE)
def test_a_store_does_what_the_model_does(kind: str) -> None:
    with a_place(kind) as (where, prefix), asyncio.Runner() as runner:
        clock = FakeClock()
        stores = [new_store(where, clock=clock, key_prefix=prefix)]
        stores += [
            stores[0] if kind == "memory" else new_store(where, clock=clock, key_prefix=prefix)
        ]
        here = type("Here", (Walk,), {"stores": stores, "clock": clock, "runner": runner})
        try:
            run_state_machine_as_test(
                here,
                settings=settings(
                    max_examples=200 if kind == "memory" else 25,
                    stateful_step_count=30,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    database=None,
                ),
            )
        finally:
            for each in stores:
                runner.run(each.close())
