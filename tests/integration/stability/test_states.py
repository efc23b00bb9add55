"""States are apart by name, and do not fill the memory."""

import gc

from backstay.integration.stability.states import States


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


class Owner:
    """An integration."""


def test_each_owner_has_states_of_its_own() -> None:
    states, first, second = States(Counter), Owner(), Owner()
    owners = (None, first, second, "text", 3)
    found = [states.of("a", 0, owner) for owner in owners]
    assert len({id(each) for each in found}) == 5
    assert [states.of("a", 0, owner) for owner in owners] == found
    for owner, state in zip(owners, found, strict=True):
        assert states.known(owner) == [("a", state)]
        assert states.at_hand("a", owner) in {state, None}
    assert states.known(Owner()) == []


def test_states_of_owners_that_are_gone_are_gone() -> None:
    states = States(Counter)
    kept = Owner()
    states.of("a", 0, kept)
    for _ in range(100_000):
        states.of("a", 0, Owner()).calls = 1
    gc.collect()
    assert len(states) == 1
    assert len(states.known(kept)) == 1


def test_a_single_state_is_at_hand() -> None:
    states, owner = States(Counter), Owner()
    for each in (None, owner):
        assert states.at_hand("a", each) is None
        state = states.of("a", 0, each)
        assert states.at_hand("a", each) is state
        assert states.at_hand("b", each) is None
