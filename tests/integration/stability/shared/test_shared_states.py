"""What processes share is there when it can be, in the loop it belongs to, and closed in the end."""

import asyncio
import logging
import threading

import pytest

from backstay.errors import BadIntegration
from backstay.integration import sp
from backstay.integration.stability.shared import SharedStates
from backstay.integration.stability.shared.memory_store import MemoryStore
from backstay.integration.stability.shared.port import Pace, StoreUnavailable
from backstay.testing import FakeClock
from tests.integration.stability.shared.several import MoodyStore, until
from tests.support import async_test


@pytest.mark.parametrize("option", ["timeout_s", "lease_s", "retry_after_s", "hear_every_s"])
@pytest.mark.parametrize("value", [0, -1.0, True, "1", float("nan")], ids=str)
def test_times_that_make_no_sense_are_refused(option: str, value: object) -> None:
    with pytest.raises(BadIntegration, match=option):
        SharedStates(MemoryStore(), **{option: value})


@async_test
async def test_an_app_starts_without_its_store(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "backstay.integration")
    store = MoodyStore(FakeClock())
    store.mood = "fails"
    async with SharedStates(store, clock=FakeClock()) as states:
        assert states.url == "memory://"
        assert not states.is_alone
    assert len(caplog.messages) == 1


@async_test
async def test_an_app_does_not_start_on_what_is_not_ours() -> None:
    class Wrong(MemoryStore):
        async def open(self) -> None:
            raise BadIntegration("somebody else's")

        async def take(self, *args: object, **kwargs: object) -> None:  # type: ignore[override]
            raise BadIntegration("somebody else's")

    states = SharedStates(Wrong(), clock=FakeClock())
    with pytest.raises(BadIntegration, match="somebody else's"):
        await states.open()
    with pytest.raises(StoreUnavailable):  # but no call ever fails because of it
        await states.take(bytes(16), Pace(1, 1), count=1, max_wait_s=0)
    await states.close()


@async_test
async def test_closing_ends_even_if_the_store_hangs_on_calls() -> None:
    store = MoodyStore(FakeClock())
    states = SharedStates(store, clock=FakeClock(), timeout_s=20)
    assert states.is_here
    store.mood = "hangs"
    task = states.start(states.give_back(bytes(16), Pace(1, 1), mark=1))
    assert task is not None
    await until(lambda: store.begun)
    await states.close()
    assert task.done()


def test_it_serves_one_loop_after_another_and_patterns_elsewhere_go_on_alone() -> None:
    clock = FakeClock()
    states = SharedStates(MemoryStore(clock), clock=clock)
    passed: list[str] = []

    @sp.Throttling(1, burst=2, shared=states, clock=clock)
    async def ask(where: str) -> None:
        passed.append(where)

    async def twice(where: str) -> None:
        for _ in range(3):
            await asyncio.gather(ask(where), return_exceptions=True)

    asyncio.run(twice("first"))
    asyncio.run(twice("second"))
    assert passed == ["first", "first"], "the second loop shares what the first has used up"

    async def beside() -> None:
        await ask("third")

    async def outside() -> None:
        assert states.is_here
        await clock.advance(1)
        thread = threading.Thread(target=asyncio.run, args=(beside(),))
        thread.start()
        await asyncio.to_thread(thread.join)
        await ask("fourth")

    asyncio.run(outside())
    assert passed[2:] == ["third", "fourth"]


def test_what_is_begun_from_another_thread_is_done_in_the_loop_and_dropped_after_its_end() -> None:
    states = SharedStates(MemoryStore(), clock=FakeClock())
    done = threading.Event()

    async def note() -> None:
        done.set()

    async def run() -> None:
        assert states.is_here
        await asyncio.to_thread(lambda: states.start(note()))
        await until(done.is_set)

    asyncio.run(run())
    assert states.start(note()) is None


@async_test
async def test_what_no_longer_matters_is_removed_now_and_then() -> None:
    clock = FakeClock()
    store = MemoryStore(clock)
    states = SharedStates(store, clock=clock)
    assert states.is_here
    for number in range(1200):
        await states.take(number.to_bytes(16, "big"), Pace(1, 1), count=1, max_wait_s=0)
    await clock.advance(901)
    await states.take(b"x" * 16, Pace(0.001, 1), count=1, max_wait_s=0)
    await until(lambda: len(store._buckets) == 1)


@async_test
async def test_a_lease_is_kept_while_the_store_is_away_for_a_moment() -> None:
    clock = FakeClock()
    store = MoodyStore(clock)
    states = SharedStates(store, clock=clock, lease_s=3)
    assert states.is_here
    name = bytes(16)
    lease = await states.lease(name)
    keeping = states.start(states.keep(name, lease.circuit.epoch, clock))
    assert keeping is not None
    await clock.until_waiting()
    store.mood = "fails"
    await clock.advance(1)
    store.mood = "answers"
    for _ in range(9):
        await clock.until_waiting()
        await clock.advance(1)
    assert not (await states.lease(name)).granted
    store.forget()
    await clock.until_waiting()
    await clock.advance(1)
    await until(keeping.done)  # it was lost, and nobody goes on asking for it
    await states.close()
