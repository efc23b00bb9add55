"""A circuit that processes share opens and closes for all, and one call of all of them tries."""

import asyncio
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backstay.errors import CallRefused, StabilityTimeoutError
from backstay.integration import sp
from backstay.integration.outgoing import OutgoingCall, current_call
from backstay.integration.stability.pattern import patterns_of
from backstay.integration.stability.shared import SharedStates
from backstay.testing import FakeClock
from tests.integration.stability.shared.several import MoodyStore, Process, Upstream, until
from tests.support import async_test

Three = tuple[FakeClock, MoodyStore, Upstream, list[Process]]


def three(**options: object) -> Three:
    clock, upstream = FakeClock(), Upstream()
    store = MoodyStore(clock)
    return clock, store, upstream, [Process(store, clock, upstream, **options) for _ in range(3)]


async def opened(**options: object) -> Three:
    """Three processes; the first has opened the circuit, and all have heard of it."""
    clock, store, upstream, processes = three(**options)
    upstream.is_down = True
    for each in processes[1:]:  # each has called once, so none hears of it only now
        await each.fail(1)
    await processes[0].fail()
    await processes[0].quiet()
    for each in processes[1:]:
        await clock.advance(1)
        await each.try_to()
        await each.quiet()
        assert await each.try_to() == "refused"
    return clock, store, upstream, processes


@async_test
async def test_what_one_opens_is_open_for_the_others_within_a_second_of_calls() -> None:
    clock, _, upstream, [first, second, third] = three()
    upstream.is_down = True
    await second.fail(1)
    await first.fail()
    await first.quiet()
    assert upstream.calls == 4
    await clock.advance(0.5)
    assert await second.try_to() == "failed", "it has looked just now"
    await clock.advance(0.5)
    assert await second.try_to() == "failed", "this one looks, and does not wait for the answer"
    await second.quiet()
    assert await second.try_to() == "refused"
    assert await third.try_to() == "failed", "the same for one that comes new"
    await third.quiet()
    assert await third.try_to() == "refused"


@async_test
async def test_a_closed_circuit_asks_once_a_second_and_never_waits() -> None:
    clock, store, _, [first, *_] = three()
    store.gates["look"] = asyncio.Event()
    for _ in range(100):
        assert await first.try_to() == "answer"
        await first.quiet()
    assert store.begun == ["look"]
    store.gates["look"].set()
    for _ in range(10):
        await clock.advance(0.5)
        assert await first.try_to() == "answer"
        await first.quiet()
    assert store.asked == ["look"] * 6


@async_test
async def test_of_all_processes_one_tries_and_the_others_hear_how_it_went() -> None:
    clock, _, upstream, processes = await opened()
    await clock.advance(10)
    upstream.calls, upstream.is_down = 0, False
    upstream.may_answer.clear()
    calls = [asyncio.create_task(each.try_to()) for each in processes for _ in range(20)]
    await until(lambda: sum(each.done() for each in calls) == 59)
    assert upstream.calls == 1
    upstream.may_answer.set()
    ends = await asyncio.gather(*calls)
    assert sorted(set(ends)) == ["answer", "refused"]
    assert ends.count("answer") == 1
    for each in processes:
        await each.hear()
        assert await each.try_to() == "answer"


@async_test
async def test_a_probe_that_fails_has_it_open_for_all_for_as_long_again() -> None:
    clock, _, upstream, processes = await opened()
    upstream.calls = 0
    await clock.advance(9)
    for round_ in range(1, 6):
        await clock.advance(1)
        ends = [await each.try_to() for each in processes for _ in range(5)]
        assert ends.count("failed") == 1
        assert upstream.calls == round_
        await clock.advance(9)
        assert [await each.try_to() for each in processes] == ["refused"] * 3
        for each in processes:
            await each.quiet()


@async_test
async def test_the_next_call_finds_the_circuit_as_the_probe_has_left_it() -> None:
    clock, _, upstream, [first, *_] = await opened()
    await clock.advance(10)
    assert await first.try_to() == "failed"
    assert await first.try_to() == "refused"
    await clock.advance(10)
    upstream.is_down = False
    assert await first.try_to() == "answer"
    assert await first.try_to() == "answer"


@async_test
async def test_a_probe_that_is_cancelled_lets_another_process_try() -> None:
    clock, _, upstream, [first, second, _] = await opened()
    await clock.advance(10)
    upstream.may_answer.clear()
    probe = asyncio.create_task(first.try_to())
    await until(lambda: upstream.running)
    assert await second.try_to() == "refused"
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    await first.quiet()
    upstream.is_down = False
    upstream.may_answer.set()
    await clock.advance(0.3)
    assert await second.try_to() == "answer"


@async_test
async def test_who_is_cancelled_while_asking_leaves_no_probe_behind() -> None:
    clock, store, upstream, [first, second, _] = await opened()
    await clock.advance(10)
    store.gates["lease"] = asyncio.Event()
    asking = asyncio.create_task(first.try_to())
    await until(lambda: store.begun[-1] == "lease")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    store.gates["lease"].set()
    upstream.is_down = False
    assert await first.try_to() == "answer"
    await second.hear()
    assert await second.try_to() == "answer"


@async_test
async def test_a_probe_that_takes_long_keeps_its_right() -> None:
    clock, _, upstream, [first, second, _] = await opened(lease_s=3)
    await clock.advance(10)
    upstream.may_answer.clear()
    upstream.is_down = False
    probe = asyncio.create_task(first.try_to())
    await until(lambda: upstream.running)
    for _ in range(30):
        await clock.advance(1)
        assert await second.try_to() == "refused"
        await second.quiet()
    upstream.may_answer.set()
    assert await probe == "answer"
    await second.hear()
    assert await second.try_to() == "answer"


@async_test
async def test_who_comes_back_after_its_lease_says_nothing_and_others_are_heard() -> None:
    clock, store, upstream, [first, second, third] = await opened()
    await clock.advance(10)
    zombies_gate = upstream.hold()
    zombie = asyncio.create_task(first.try_to())
    await until(lambda: upstream.running)
    store.gates["renew"] = asyncio.Event()  # it is stopped, so it renews nothing
    await clock.advance(6)
    gate = upstream.hold()
    probe = asyncio.create_task(second.try_to())
    await until(lambda: upstream.running == 2)
    zombies_gate.set()
    assert await zombie == "failed"
    assert [await each.try_to() for each in (first, third)] == ["refused"] * 2
    upstream.is_down = False
    gate.set()
    assert await probe == "answer"
    for each in (first, second, third):
        await each.hear()
        assert await each.try_to() == "answer"


@async_test
async def test_a_zombies_success_does_not_close_what_another_has_found_open() -> None:
    clock, store, upstream, [first, second, third] = await opened()
    await clock.advance(10)
    zombies_gate = upstream.hold()
    zombie = asyncio.create_task(first.try_to())
    await until(lambda: upstream.running)
    store.gates["renew"] = asyncio.Event()
    await clock.advance(6)
    upstream.hold_no_more()
    assert await second.try_to() == "failed"
    upstream.is_down = False
    zombies_gate.set()
    assert await zombie == "answer", "which is what it got"
    upstream.calls = 0
    assert [await each.try_to() for each in (first, second, third)] == ["refused"] * 3
    await clock.advance(5)
    assert [await each.try_to() for each in (first, second, third)] == ["refused"] * 3
    assert upstream.calls == 0


@async_test
async def test_a_timeout_further_outside_counts_and_ends_the_probe_for_all() -> None:
    clock, store, upstream, [first, second, _] = await opened()
    await clock.advance(10)
    upstream.may_answer.clear()
    late = sp.Timeout(2, clock=clock)(first.ask)
    probe = asyncio.create_task(late())
    await until(lambda: upstream.running)
    await clock.advance(2)
    with pytest.raises(StabilityTimeoutError):
        await probe
    await first.quiet()
    assert "settle" in store.asked
    await clock.advance(9)
    assert await second.try_to() == "refused"


@async_test
async def test_late_failures_of_an_outage_do_not_open_it_again() -> None:
    clock, _, upstream, [first, second, _] = three()
    upstream.is_down = True
    gate = upstream.hold()
    old = [asyncio.create_task(second.try_to()) for _ in range(5)]
    await until(lambda: upstream.running == 5)
    upstream.hold_no_more()
    await first.fail()
    await first.quiet()
    await second.hear()
    await clock.advance(10)
    upstream.is_down = False
    assert await first.try_to() == "answer"
    await second.hear()
    assert await second.try_to() == "answer"
    upstream.is_down = True
    gate.set()
    assert await asyncio.gather(*old) == ["failed"] * 5
    await second.quiet()
    upstream.is_down = False
    assert [await each.try_to() for each in (first, second)] == ["answer"] * 2


@async_test
async def test_an_answer_that_is_older_than_what_happened_here_is_not_heard(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, store, upstream, [first, *_] = await opened()
    await clock.advance(7)
    store.late["look"] = asyncio.Event()
    asked = store.begun.count("look")
    assert await first.try_to() == "refused"
    await until(lambda: store.begun.count("look") == asked + 1)  # it is open, this one will say
    await clock.advance(1)
    upstream.is_down = False
    assert await first.try_to() == "answer"
    caplog.set_level(logging.INFO, "backstay.integration")
    caplog.clear()
    store.late.pop("look").set()
    await first.quiet()
    assert await first.try_to() == "answer"
    assert caplog.messages == []


@async_test
async def test_who_hears_that_others_have_opened_and_closed_it_begins_to_count_anew() -> None:
    clock, _, upstream, [first, second, _] = three(reset_timeout=5)
    upstream.is_down = True
    await second.fail(2)
    await second.quiet()
    await first.fail()
    await first.quiet()
    await clock.advance(5)
    upstream.is_down = False
    assert await first.try_to() == "answer"
    await second.hear()
    upstream.is_down = True
    await second.fail(2)
    upstream.is_down = False
    assert await second.try_to() == "answer"


@async_test
async def test_who_opens_it_without_having_heard_of_that_is_not_heard() -> None:
    clock, store, upstream, [first, second, _] = three(reset_timeout=0.5)
    assert await second.try_to() == "answer"
    await second.quiet()
    upstream.is_down = True
    await first.fail()
    await first.quiet()
    await clock.advance(0.5)
    upstream.is_down = False
    assert await first.try_to() == "answer"
    upstream.is_down = True
    await second.fail()
    await second.quiet()
    assert store.asked.count("trip") == 2
    upstream.is_down = False
    assert [await each.try_to() for each in (first, second)] == ["answer"] * 2


@async_test
async def test_who_has_heard_nothing_for_long_is_heard_all_the_same() -> None:
    clock, store, upstream, [first, second, _] = three()
    assert await second.try_to() == "answer"
    await second.quiet()
    upstream.is_down = True
    await first.fail()
    await first.quiet()
    await clock.advance(10)
    upstream.is_down = False
    assert await first.try_to() == "answer"
    await clock.advance(3600)
    store.late["look"] = asyncio.Event()
    upstream.is_down = True
    await second.fail()
    await until(lambda: store.asked.count("trip") == 2)
    await second.quiet()
    assert await second.try_to() == "refused"
    store.late.pop("look").set()
    await first.hear()
    assert await first.try_to() == "refused"


@async_test
async def test_what_was_opened_before_there_was_anybody_to_share_with_is_told() -> None:
    clock, upstream = FakeClock(), Upstream()
    store = MoodyStore(clock)
    upstream.is_down = True

    class Owner:
        name = "here"
        shared_states: SharedStates | None = None

    def process(owner: Owner) -> Any:
        @sp.CircuitBreaker(shared=True, clock=clock)
        async def ask() -> str:
            return await upstream.ask()

        async def call() -> str:
            token = current_call.set(OutgoingCall(owner, "them.ask", "GET"))
            try:
                return await ask()
            except CallRefused:
                return "refused"
            except OSError:
                return "failed"
            finally:
                current_call.reset(token)
                for _ in range(30):
                    await asyncio.sleep(0)

        return call

    alone, other = Owner(), Owner()
    first, second = process(alone), process(other)
    assert [await first() for _ in range(4)] == ["failed"] * 3 + ["refused"]
    alone.shared_states = SharedStates(store, clock=clock)
    other.shared_states = SharedStates(store, clock=clock)
    assert [await first() for _ in range(3)] == ["refused"] * 3
    assert [await second() for _ in range(2)] == ["failed", "refused"]


# ---------------------------------------------------------------------- the store is out of reach


@pytest.mark.parametrize("mood", ["fails", "breaks", "hangs"])
@async_test
async def test_without_a_store_each_process_goes_on_alone(mood: str) -> None:
    clock, store, upstream, processes = three(timeout_s=0.01)
    store.mood = mood  # type: ignore[assignment]  # one of them
    upstream.is_down = True
    for each in processes:
        await each.fail()
        assert await each.try_to() == "refused"
    await clock.advance(10)
    upstream.calls = 0
    for each in processes:
        assert await each.try_to() == "failed"
        assert await each.try_to() == "refused"
    assert upstream.calls == 3, "a probe for each"
    await clock.advance(10)
    upstream.is_down = False
    for each in processes:
        assert await each.try_to() == "answer"
        assert await each.try_to() == "answer"


@async_test
async def test_what_was_found_out_alone_is_told_when_the_store_is_back() -> None:
    clock, store, upstream, [first, second, _] = three()
    assert await second.try_to() == "answer"
    store.mood = "fails"
    upstream.is_down = True
    await first.fail()
    await first.quiet()
    store.mood = "answers"
    await clock.advance(2)
    await first.hear()
    assert "trip" in store.asked
    await second.hear()
    await second.quiet()
    assert await second.try_to() == "refused"


@async_test
async def test_a_probe_whose_ending_nobody_hears_counts_here_and_is_made_again_elsewhere() -> None:
    clock, store, upstream, [first, second, _] = await opened()
    await clock.advance(10)
    upstream.may_answer.clear()
    upstream.is_down = False
    probe = asyncio.create_task(first.try_to())
    await until(lambda: upstream.running)
    store.mood = "fails"
    upstream.may_answer.set()
    assert await probe == "answer"
    assert await first.try_to() == "answer"
    assert await second.try_to() in {"answer", "refused"}
    store.mood = "answers"
    await clock.advance(6)
    for _ in range(3):
        await first.hear()
        await second.hear()
    assert [await each.try_to() for each in (first, second)] == ["answer"] * 2


@async_test
async def test_a_store_that_has_forgotten_is_told_again() -> None:
    clock, store, upstream, [first, second, third] = await opened()
    store.forget()
    upstream.calls = 0
    await clock.advance(1)
    for each in (first, second, third):
        assert await each.try_to() == "refused"
        await each.quiet()
        assert await each.try_to() == "refused"
    await clock.advance(10)
    ends = [await each.try_to() for each in (first, second, third)]
    assert ends.count("failed") == 1
    assert upstream.calls == 1


@async_test
async def test_who_comes_new_hears_from_a_store_that_had_forgotten() -> None:
    clock, store, upstream, [first, second, _] = await opened()
    store.forget()
    await clock.advance(1)
    await first.try_to()
    await first.quiet()
    new = Process(store, clock, upstream)
    await new.fail(1)
    await new.quiet()
    assert [await each.try_to() for each in (new, first, second)] == ["refused"] * 3


@async_test
async def test_who_tries_alone_is_not_joined_by_another_one_of_the_same_process() -> None:
    clock, store, upstream, [first, *_] = await opened()
    await clock.advance(10)
    store.mood = "fails"
    upstream.hold()
    probe = asyncio.create_task(first.try_to())
    await until(lambda: upstream.running)
    store.mood = "answers"
    for _ in range(3):
        await first.hear()
    assert upstream.running == 1
    upstream.may_answer.set()
    assert await probe == "failed"


@async_test
async def test_a_store_that_forgets_while_somebody_tries_is_no_way_round_the_others() -> None:
    clock, store, upstream, [first, second, _] = await opened()
    await clock.advance(10)
    upstream.may_answer.clear()
    probe = asyncio.create_task(first.try_to())
    await until(lambda: upstream.running)
    store.forget()
    upstream.may_answer.set()
    assert await probe == "failed"
    await first.quiet()
    await second.hear()
    upstream.is_down = False
    await clock.advance(12)
    ends = [await each.try_to() for each in (first, second) for _ in range(3)]
    assert "answer" in ends
    for each in (first, second):
        await each.hear()
        assert await each.try_to() == "answer"


@async_test
async def test_a_store_that_is_away_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "backstay.integration")
    _, store, _, [first, *_] = three()
    store.mood = "fails"
    for _ in range(59):
        await first.hear()
    lines = [line for line in caplog.messages if "goes on alone" in line]
    assert len(lines) == 1
    assert "somewhere else today" in lines[0]
    store.mood = "answers"
    await first.hear()
    await first.hear()
    assert caplog.messages[-1].endswith("in reach again")


@async_test
async def test_what_it_says_of_itself_is_logged_once_in_each_process(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "backstay.integration")
    clock, _, upstream, processes = await opened()
    opening = [(each.levelname, each.message) for each in caplog.records]
    assert opening.count(("WARNING", opening[0][1])) == 1
    assert sum("another process says so" in text for _, text in opening) == 2
    caplog.clear()
    await clock.advance(10)
    upstream.is_down = False
    assert await processes[0].try_to() == "answer"
    for each in processes[1:]:
        await each.hear()
    assert [line.endswith("closed again") for line in caplog.messages] == [True] * 3


# ---------------------------------------------------------------------- for people


@async_test
async def test_people_see_how_it_stands_and_whether_it_is_shared() -> None:
    _, store, _, [first, second, _] = await opened()
    for each in (first, second):
        [applied] = patterns_of(each.ask)
        assert applied.options["shared"] is True
        [found] = applied.live()
        assert found["state"] == "open"
        assert (found["shared"], found["alone"]) == (True, False)
        assert isinstance(found["opens_in_s"], float)
        assert 7 <= found["opens_in_s"] <= 10
    store.mood = "fails"
    for _ in range(4):
        await first.hear()
    assert patterns_of(first.ask)[0].live()[0]["alone"] is True


@async_test
async def test_thousands_of_circuits_are_looked_at_together() -> None:
    clock, upstream = FakeClock(), Upstream()
    store = MoodyStore(clock)
    process = Process(store, clock, upstream)

    @sp.CircuitBreaker(shared=process.states, clock=clock, key=lambda host: host)
    async def ask(host: str) -> str:
        return host

    for number in range(1200):
        await ask(f"host {number}")
    await until(lambda: len(store.asked) >= 3)
    await process.quiet()
    assert len(store.asked) <= 6
    assert set(store.asked) == {"look"}


# ---------------------------------------------------------------------- whatever happens

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(0, 2)),
        st.tuples(st.just("begin"), st.integers(0, 2)),
        st.tuples(st.just("end"), st.integers(0, 5)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.just("advance"), st.sampled_from([0.3, 1.0, 4.0, 10.0])),
        st.tuples(st.just("upstream"), st.booleans()),
        st.tuples(st.just("mood"), st.sampled_from(["answers", "answers", "fails", "breaks"])),
        st.tuples(st.just("forget"), st.just(0)),
        st.tuples(st.just("stop renewing"), st.booleans()),
    ),
    max_size=40,
)


async def live_through(steps: list[tuple[str, Any]]) -> None:
    clock, store, upstream, processes = three()
    under_way: list[tuple[asyncio.Event, asyncio.Task[str]]] = []
    upstream.is_down = True
    for step, what in steps:
        upstream.hold_no_more()
        if step == "call":
            await processes[what].try_to()
        elif step == "begin":
            gate = upstream.hold()
            task = asyncio.create_task(processes[what].try_to())
            await processes[what].quiet()
            under_way.append((gate, task))
        elif step in {"end", "cancel"} and under_way:
            gate, task = under_way.pop(what % len(under_way))
            if step == "cancel":
                task.cancel()
            gate.set()
            await asyncio.gather(task, return_exceptions=True)
        elif step == "advance":
            await clock.advance(what)
        elif step == "upstream":
            upstream.is_down = what
        elif step == "mood":
            store.mood = what
        elif step == "forget":
            store.forget()
        elif step == "stop renewing":
            store.gates["renew"] = asyncio.Event()
            if not what:
                store.gates.pop("renew").set()
    # In the end all is well, and everybody hears of it.
    upstream.hold_no_more()
    for gate, _ in under_way:
        gate.set()
    await asyncio.gather(*(task for _, task in under_way))
    if "renew" in store.gates:
        store.gates.pop("renew").set()
    upstream.is_down, store.mood = False, "answers"
    await clock.advance(30)
    for _ in range(3):
        for each in processes:
            await each.hear()
    assert [await each.try_to() for each in processes] == ["answer"] * 3
    # And an outage opens it for all again, and one of all of them tries.
    upstream.is_down = True
    await clock.advance(30)
    await processes[0].fail()
    await processes[0].quiet()
    for each in processes:
        await each.hear()
    assert [await each.try_to() for each in processes] == ["refused"] * 3
    await clock.advance(12)
    upstream.calls = 0
    for each in processes:
        for _ in range(4):
            await each.try_to()
    assert upstream.calls == 1
    for each in processes:
        await each.states.close()


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_whatever_happened_all_find_together_again(steps: list[tuple[str, Any]]) -> None:
    asyncio.run(live_through(steps))
