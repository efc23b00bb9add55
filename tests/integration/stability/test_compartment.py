"""Places are neither lost nor given twice."""

from hypothesis import given
from hypothesis import strategies as st

from backstay.integration.stability.compartment import Compartment, Waiter


def reached() -> Waiter:
    return Waiter(lambda: True)


def gone() -> Waiter:
    return Waiter(lambda: False)


def test_places_then_the_queue_then_nothing() -> None:
    compartment = Compartment(1, 1)
    assert compartment.enter(reached) is True
    waiter = compartment.enter(reached)
    assert isinstance(waiter, Waiter)
    assert compartment.enter(reached) is False
    compartment.leave()
    assert waiter.granted
    assert (compartment.running, compartment.waiting) == (1, 0)


def test_a_place_given_to_who_gives_up_goes_to_the_next_one() -> None:
    compartment = Compartment(1, 2)
    compartment.enter(reached)
    first, second = compartment.enter(reached), compartment.enter(reached)
    assert isinstance(first, Waiter)
    assert isinstance(second, Waiter)
    compartment.leave()
    compartment.give_up(first)
    assert second.granted
    assert compartment.running == 1


def test_who_cannot_be_told_is_passed_over_and_may_give_up_later() -> None:
    compartment = Compartment(1, 2)
    compartment.enter(reached)
    lost, next_one = compartment.enter(gone), compartment.enter(reached)
    assert isinstance(lost, Waiter)
    assert isinstance(next_one, Waiter)
    compartment.leave()
    assert next_one.granted
    compartment.give_up(lost)
    assert compartment.running == 1
    compartment.leave()
    assert compartment.is_idle(0)


@given(st.lists(st.integers(0, 3), max_size=60))
def test_whatever_happens_the_numbers_are_right(steps: list[int]) -> None:
    compartment = Compartment(2, 3)
    inside, waiters = 0, list[Waiter]()
    for step in steps:
        if step < 2:
            place = compartment.enter(reached)
            if place is True:
                inside += 1
            elif isinstance(place, Waiter):
                waiters.append(place)
            else:
                assert (inside, len(waiters)) == (2, 3)
        elif step == 2 and inside:
            compartment.leave()
            inside -= 1
        elif step == 3 and waiters:
            compartment.give_up(waiters.pop())
        for each in [each for each in waiters if each.granted]:
            waiters.remove(each)
            inside += 1
        assert (compartment.running, compartment.waiting) == (inside, len(waiters))
        assert inside == 2 or not waiters
