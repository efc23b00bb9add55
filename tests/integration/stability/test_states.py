"""States are apart by name, and do not fill the memory."""

from backstay.integration.states import States


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def is_idle(self, now: float) -> bool:
        return self.calls == 0


def test_each_name_has_one_state() -> None:
    states = States(Counter)
    assert states.of("a", 0) is states.of("a", 0)
    assert states.of("a", 0) is not states.of("b", 0)


def test_the_idle_ones_that_were_not_used_for_longest_are_let_go() -> None:
    states = States(Counter, most=2)
    first, second = states.of(1, 0), states.of(2, 0)
    assert states.of(1, 0) is first
    states.of(3, 0)
    assert len(states) == 2
    assert states.of(1, 0) is first
    assert states.of(2, 0) is not second


def test_those_that_know_something_stay() -> None:
    states = States(Counter, most=2)
    busy = [states.of(number, 0) for number in range(20)]
    for each in busy:
        each.calls = 1
    known = states.of("known", 0)
    known.calls = 1
    for number in range(100, 200):
        states.of(number, 0)
    assert states.of("known", 0) is known
    assert len(states) < 30
