"""Of those who want one value at once, one makes it; who waits is told in any case."""

import asyncio
import threading
import time

from backstay.cache.flight import Flight, Flights, ThreadFlights
from backstay.cache.outcome import Outcome
from backstay.cache.reading import Reading
from backstay.testing import FakeClock
from tests.support import async_test

VALUE = Outcome(b"1", "HIT", 0.0, 10.0)


def reading(key: str = "k", **marks: bytes | None) -> Reading:
    return Reading(key, list(marks), 0.0, reached=True, generations=dict(marks))


async def joined(flights: Flights, found: Reading) -> Flight | None:
    """As another task than the one that makes it."""

    async def join() -> Flight | None:
        return flights.to_join(found)

    return await asyncio.create_task(join())


@async_test
async def test_whoever_comes_while_it_is_made_joins() -> None:
    flights = Flights()
    assert await joined(flights, reading()) is None
    flight = flights.begin(reading())
    assert await joined(flights, reading()) is flight
    assert await joined(flights, reading("other")) is None
    flights.finish(flight)
    assert await joined(flights, reading()) is None


@async_test
async def test_nobody_joins_one_that_is_made_alone_or_waits_for_himself() -> None:
    flights = Flights()
    flights.begin(reading(), alone=True)
    assert await joined(flights, reading()) is None
    flights.begin(reading())
    assert flights.to_join(reading()) is None


@async_test
async def test_what_was_begun_before_an_invalidation_is_not_joined_after_it() -> None:
    flights = Flights()
    early = reading(t=b"2", u=None)
    early.ticket = flights.ticket()
    flight = flights.begin(reading(t=b"1", u=b"1"))
    assert await joined(flights, reading(t=b"2")) is flight, "it has not begun to read"
    flights.produces(flight)

    def late(**marks: bytes | None) -> Reading:
        found = reading(**marks)
        found.ticket = flights.ticket()
        return found

    assert await joined(flights, early) is flight
    assert await joined(flights, late(t=b"1", u=b"1")) is flight
    assert await joined(flights, late(t=b"1", u=b"2")) is None
    assert await joined(flights, late(t=b"1", u=None)) is None, "the mark may be lost since"


@async_test
async def test_the_doomed_are_not_joined() -> None:
    for doom in (
        lambda flights: flights.doom_keys(["k"]),
        lambda flights: flights.doom_tags(["t", "x"]),
        lambda flights: flights.doom_all(),
    ):
        flights = Flights()
        flight, other = flights.begin(reading(t=b"1")), flights.begin(reading("other", u=b"1"))
        doom(flights)
        assert flight.doomed
        assert await joined(flights, reading(t=b"1")) is None
        assert other.doomed is (await joined(flights, reading("other", u=b"1")) is None)


@async_test
async def test_tags_invalidated_meanwhile_are_known_whoever_may_bring_them() -> None:
    flights = Flights()
    flight = flights.begin(reading())
    flights.doom_tags(["t"])
    flights.doom_tags(["u"])
    assert flight.bumped == {"t", "u"}
    assert not flight.doomed


@async_test
async def test_one_that_was_withdrawn_is_joined_by_nobody_more() -> None:
    flights = Flights()
    flight = flights.begin(reading())
    flights.withdraw(flight)
    assert await joined(flights, reading()) is None
    again = flights.begin(reading())
    flights.finish(flight)
    assert await joined(flights, reading()) is again


@async_test
async def test_who_waits_is_told_of_success_failure_and_nothing() -> None:
    clock = FakeClock()
    for end, failed, outcome in (
        (lambda flight: flight.succeed(VALUE), False, VALUE),
        (lambda flight: flight.fail(), True, None),
        (lambda flight: flight.end(), False, None),
    ):
        flight = Flight(reading())
        waiting = [asyncio.create_task(flight.wait(clock, 10)) for _ in range(3)]
        await asyncio.sleep(0)
        end(flight)
        await asyncio.gather(*waiting)
        assert (flight.failed, flight.outcome) == (failed, outcome)
    assert clock.waiting == []


@async_test
async def test_a_failure_after_success_is_none() -> None:
    flight = Flight(reading())
    flight.succeed(VALUE)
    flight.fail()
    assert not flight.failed


@async_test
async def test_waiting_ends_after_its_time_and_leaves_nothing_behind() -> None:
    clock = FakeClock()
    flight = Flight(reading())
    waiting = asyncio.create_task(flight.wait(clock, 10))
    await clock.until_waiting()
    await clock.advance(10)
    await waiting
    assert flight.outcome is None
    await flight.wait(clock, 0)
    await flight.wait(clock, -1)


@async_test
async def test_a_waiter_that_leaves_disturbs_nobody() -> None:
    clock = FakeClock()
    flight = Flight(reading())
    leaving, staying = (asyncio.create_task(flight.wait(clock, 10)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert not staying.done()
    flight.succeed(VALUE)
    await staying


@async_test
async def test_landings_are_counted_for_the_latest_keys() -> None:
    flights = Flights()
    for number in range(1500):
        flight = flights.begin(reading(str(number)))
        flight.succeed(VALUE)
        flights.finish(flight)
    assert flights.landed("1499") == 1
    assert flights.landed("0") == 0
    failed = flights.begin(reading("1499"))
    flights.finish(failed)
    assert flights.landed("1499") == 1


def test_what_another_event_loop_was_making_is_forgotten() -> None:
    flights = Flights()

    async def leave_behind() -> None:
        flights.begin(reading())

    asyncio.run(leave_behind())

    async def look() -> None:
        assert flights.to_join(reading()) is None

    asyncio.run(look())


def test_threads_take_turns_for_one_key_and_not_for_others() -> None:
    flights = ThreadFlights()
    inside, most = 0, 0

    def work(key: str) -> None:
        nonlocal inside, most
        with flights.turn(key, 10) as mine:
            assert mine
            inside += 1
            most = max(most, inside)
            time.sleep(0.002)
            inside -= 1

    threads = [threading.Thread(target=work, args=("k",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    with flights.turn("a", 0), flights.turn("b", 0) as mine:
        assert mine
    assert not flights._locks


def test_a_turn_that_does_not_come_in_time_is_said() -> None:
    flights = ThreadFlights()
    found = []

    def wait() -> None:
        with flights.turn("k", 0.01) as mine:
            found.append(mine)

    with flights.turn("k", 1):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert found == [False]
    assert not flights._locks
