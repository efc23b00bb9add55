"""A circuit opens when it should, and lets exactly one through to close again."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backstay.integration.stability.circuit import (
    Circuit,
    CircuitRules,
    CircuitState,
    Outcome,
    Permit,
)

RULES = CircuitRules(fail_threshold=3, fail_rate=0.5, minimum_calls=3, window_s=10, reset_s=5)


def passed(circuit: Circuit, now: float) -> Permit:
    permit = circuit.admit(now)
    assert isinstance(permit, Permit)
    return permit


def play(circuit: Circuit, outcomes: str, now: float = 0) -> None:
    kinds = {"+": Outcome.SUCCESS, "-": Outcome.FAILURE, ".": Outcome.NOTHING}
    for each in outcomes:
        circuit.settle(passed(circuit, now), kinds[each], now)


def test_three_failures_open_it() -> None:
    circuit = Circuit(RULES)
    play(circuit, "--")
    assert circuit.state(0) is CircuitState.CLOSED
    play(circuit, "-")
    assert circuit.state(0) is CircuitState.OPEN
    assert circuit.admit(1) == 4
    assert not circuit.is_idle(1)


def test_three_failures_among_many_successes_do_not() -> None:
    circuit = Circuit(RULES)
    play(circuit, "+" * 1000 + "---")
    assert circuit.state(0) is CircuitState.CLOSED


def test_failures_that_are_long_ago_do_not_count() -> None:
    circuit = Circuit(RULES)
    play(circuit, "--", 0)
    play(circuit, "-", 10)
    assert circuit.state(10) is CircuitState.CLOSED
    assert not circuit.is_idle(10)
    assert circuit.is_idle(20)


def test_what_says_nothing_does_not_count() -> None:
    circuit = Circuit(RULES)
    play(circuit, "." * 100 + "--")
    assert circuit.state(0) is CircuitState.CLOSED


def test_one_of_fifty_is_the_probe_and_closes_it() -> None:
    circuit = Circuit(RULES)
    play(circuit, "---")
    answers = [circuit.admit(5) for _ in range(50)]
    probes = [each for each in answers if isinstance(each, Permit)]
    assert len(probes) == 1
    assert circuit.state(5) is CircuitState.HALF_OPEN
    assert circuit.settle(probes[0], Outcome.SUCCESS, 6) is CircuitState.CLOSED
    play(circuit, "--", 6)  # the window is empty again
    assert circuit.state(6) is CircuitState.CLOSED


def test_a_probe_that_fails_opens_it_for_as_long_again() -> None:
    circuit = Circuit(RULES)
    play(circuit, "---")
    assert circuit.settle(passed(circuit, 5), Outcome.FAILURE, 7) is CircuitState.OPEN
    assert circuit.admit(11) == 1


def test_a_probe_that_says_nothing_lets_the_next_one_try() -> None:
    circuit = Circuit(RULES)
    play(circuit, "---")
    play(circuit, ".", 5)
    assert passed(circuit, 5).is_probe


def test_late_news_of_earlier_calls_change_nothing() -> None:
    circuit = Circuit(RULES)
    late = [passed(circuit, 0) for _ in range(5)]
    play(circuit, "---")
    probe = passed(circuit, 5)
    for each in late[:3]:
        assert circuit.settle(each, Outcome.SUCCESS, 5) is None
    assert not isinstance(circuit.admit(5), Permit)
    circuit.settle(probe, Outcome.SUCCESS, 5)
    for each in late:
        circuit.settle(each, Outcome.FAILURE, 5)
    assert circuit.state(5) is CircuitState.CLOSED


class Circuits(RuleBasedStateMachine):
    """Compared with a list of everything that ever happened."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit(RULES)
        self.now = 0
        self.under_way: list[tuple[Permit, int]] = []
        self.seen: list[tuple[int, bool]] = []
        self.opened_at: int | None = None
        self.changes = 0

    @property
    def probes(self) -> int:
        return sum(p.is_probe and since == self.changes for p, since in self.under_way)

    @rule(seconds=st.integers(1, 12))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def call(self) -> None:
        permit = self.circuit.admit(self.now)
        is_open = self.opened_at is not None
        may_probe = is_open and self.now >= self.opened_at + 5 and self.probes == 0  # type: ignore[operator]  # is_open
        assert isinstance(permit, Permit) == (not is_open or may_probe)
        if isinstance(permit, Permit):
            assert permit.is_probe == is_open
            self.under_way.append((permit, self.changes))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def end(self, data: st.DataObject, outcome: Outcome) -> None:
        at = data.draw(st.integers(0, len(self.under_way) - 1))
        permit, since = self.under_way.pop(at)
        self.circuit.settle(permit, outcome, self.now)
        self.circuit.settle(permit, Outcome.FAILURE, self.now)  # a second word does not count
        if since != self.changes or outcome is Outcome.NOTHING:
            return
        failed = outcome is Outcome.FAILURE
        if not permit.is_probe:
            self.seen.append((self.now, failed))
            recent = [each for when, each in self.seen if when > self.now - 10]
            if not failed or sum(recent) < 3 or sum(recent) < len(recent) / 2:
                return
        self.opened_at = self.now if failed else None
        self.seen.clear()
        self.changes += 1

    @rule()
    def somebody_else_opens_it(self) -> None:
        assert self.circuit.open_until(self.now + 5) == (self.opened_at is None)
        self.opened_at = self.now
        self.seen.clear()
        self.changes += 1

    @rule()
    def somebody_else_closes_it(self) -> None:
        assert self.circuit.close() == (self.opened_at is not None)
        self.opened_at = None
        self.seen.clear()
        self.changes += 1

    @invariant()
    def it_stands_as_it_should(self) -> None:
        assert (self.circuit.state(self.now) is CircuitState.CLOSED) == (self.opened_at is None)
        standing = self.circuit.standing(self.now)
        assert standing.state is self.circuit.state(self.now)
        recent = [failed for when, failed in self.seen if when > self.now - 10]
        assert (standing.calls, standing.failures) == (len(recent), sum(recent))
        opens_in = 0 if self.opened_at is None else max(0, self.opened_at + 5 - self.now)
        assert standing.opens_in_s == opens_in
        assert self.probes <= 1


TestCircuits = Circuits.TestCase
TestCircuits.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
