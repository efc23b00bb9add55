"""What every store of shared circuits and buckets has to prove, as a class of pytest tests.

Whoever writes a ``SharedStore`` subclasses ``SharedStoreConformance`` in a test module and says how
to make one; the tests come along. ::

    pytest.register_assert_rewrite("backstay.testing.integration_conformance")  # in a conftest.py

    from backstay.testing.integration_conformance import SharedStoreConformance

    class TestMyStore(SharedStoreConformance):
        def new_store(self, clock):
            return MyStore("my://" + fresh_database(), clock=clock)

        def same_store(self, store, clock):      # optional
            return MyStore(store.url, clock=clock)

Neither plug-ins nor fixtures of pytest are needed: each test is a function that runs an event loop
of its own, twenty seconds (``patience_s``) at most. Fixtures of the subclass (``autouse``) work as
in any class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from backstay.integration.stability.shared.port import (
    ANY_EPOCH,
    CLOSED,
    Ending,
    Pace,
    SharedCircuit,
    SharedStore,
)
from backstay.testing.fake_clock import FakeClock

__all__ = ["SharedStage", "SharedStoreConformance"]

Home = TypeVar("Home", bound="SharedStoreConformance")

ONE: Final = b"one.............".ljust(16)
OTHER: Final = b"other...........".ljust(16)
_DAY_S: Final = 86_400.0


class SharedStage:
    """One test's store, open, and its time.

    Attributes:
        store: the store.
        clock: what it goes by.
    """

    store: SharedStore

    def __init__(self, home: SharedStoreConformance) -> None:
        self._home = home
        self._opened: list[SharedStore] = []
        self.clock = FakeClock()

    async def open(self) -> None:
        """Open the store of this test."""
        self.store = self._home.new_store(self.clock)
        self._opened.append(self.store)
        await self.store.open()

    async def close(self) -> None:
        """Close every store of this test."""
        try:
            for store in reversed(self._opened):
                await store.close()
        finally:
            if self._opened:
                self._home.clean_up(self._opened[0])

    async def another(self) -> SharedStore:
        """The store as another process sees it; the same object if only one can reach it."""
        store = self._home.same_store(self.store, self.clock)
        if store is None:
            return self.store
        self._opened.append(store)
        await store.open()
        return store

    async def tripped(self, *, reset_s: float = 10.0) -> SharedCircuit:
        """The circuit, just opened."""
        return await self.store.trip(ONE, epoch=ANY_EPOCH, reset_s=reset_s)

    async def due(self) -> SharedCircuit:
        """The circuit, opened long enough ago for somebody to try."""
        await self.tripped()
        await self.clock.advance(10)
        return await self.standing()

    async def standing(self, store: SharedStore | None = None) -> SharedCircuit:
        """How the circuit stands."""
        [found] = await (store or self.store).look([ONE])
        return found


def _test(test: Callable[[Home, SharedStage], Awaitable[None]]) -> Callable[[Home], None]:
    def run(self: Home) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(self.patience_s):
                stage = SharedStage(self)
                try:
                    await stage.open()
                    await test(self, stage)
                finally:
                    await stage.close()

        asyncio.run(bounded())

    # Not functools.wraps: pytest would take the wrapped test's parameters for fixtures.
    run.__name__ = test.__name__
    run.__qualname__ = test.__qualname__
    run.__doc__ = test.__doc__
    run.__module__ = test.__module__
    return run


class SharedStoreConformance:
    """The promises of ``backstay.integration.stability.shared.SharedStore``, one test each.

    To override: ``new_store`` at least; ``same_store`` for stores that others can reach;
    ``clean_up`` for what has to be done after each test.

    Attributes:
        patience_s: seconds after which a test is failed rather than left hanging.
    """

    patience_s = 20.0

    def new_store(self, clock: FakeClock) -> SharedStore:
        """A store with nothing in it, not opened.

        Args:
            clock: what it goes by, whatever it goes by otherwise.
        """
        raise NotImplementedError(f"{type(self).__name__} has to say how a store is made")

    def same_store(self, store: SharedStore, clock: FakeClock) -> SharedStore | None:
        """Another one with the same in it, as another process would have it, not opened.

        ``None``: this process alone reaches it.
        """
        return None

    def clean_up(self, store: SharedStore) -> None:
        """After a test; its stores are closed."""

    # ------------------------------------------------------------------ opening

    @_test
    async def test_what_nobody_has_heard_of_is_closed(self, stage: SharedStage) -> None:
        assert await stage.store.look([ONE, OTHER]) == [CLOSED, CLOSED]
        assert await stage.store.look([]) == []

    @_test
    async def test_a_circuit_that_one_opens_is_open_for_all(self, stage: SharedStage) -> None:
        other = await stage.another()
        opened = await stage.store.trip(ONE, epoch=0, reset_s=10.5)
        assert (opened.is_open, opened.opens_in_s, opened.leased_for_s) == (True, 10.5, 0)
        await stage.clock.advance(4)
        found = await stage.standing(other)
        assert (found.is_open, found.opens_in_s, found.epoch) == (True, 6.5, opened.epoch)
        await stage.clock.advance(60)
        assert (await stage.standing(other)).is_open
        assert (await stage.standing(other)).opens_in_s == 0
        assert await other.look([OTHER, ONE, OTHER]) == [CLOSED, await stage.standing(), CLOSED]

    @_test
    async def test_who_opens_it_once_more_prolongs_nothing(self, stage: SharedStage) -> None:
        opened = await stage.tripped()
        await stage.clock.advance(3)
        again = await stage.store.trip(ONE, epoch=ANY_EPOCH, reset_s=10)
        assert (again.epoch, again.opens_in_s) == (opened.epoch, 7)

    @_test
    async def test_who_has_not_heard_that_it_was_opened_and_closed_does_not_open_it(
        self, stage: SharedStage
    ) -> None:
        await stage.due()
        lease = await stage.store.lease(ONE, lease_s=5)
        closed = await stage.store.settle(
            ONE, epoch=lease.circuit.epoch, ending=Ending.SUCCESS, reset_s=10
        )
        for outdated in (0, lease.circuit.epoch, closed.epoch - 1):
            assert await stage.store.trip(ONE, epoch=outdated, reset_s=10) == closed
        opened = await stage.store.trip(ONE, epoch=closed.epoch, reset_s=10)
        assert opened.is_open
        assert opened.epoch > closed.epoch

    @_test
    async def test_of_many_that_open_it_at_once_all_hear_the_same(self, stage: SharedStage) -> None:
        stores = [stage.store, await stage.another()] * 10
        found = await asyncio.gather(*(each.trip(ONE, epoch=0, reset_s=10) for each in stores))
        assert len(set(found)) == 1
        assert found[0].is_open

    @_test
    async def test_epochs_are_times_so_that_none_returns_when_all_is_forgotten(
        self, stage: SharedStage
    ) -> None:
        opened = await stage.tripped()
        assert opened.epoch >= stage.clock.now().timestamp() * 1_000_000 - 1
        assert opened.epoch < ANY_EPOCH

    # ------------------------------------------------------------------ trying

    @_test
    async def test_nobody_may_try_before_it_is_time(self, stage: SharedStage) -> None:
        opened = await stage.tripped()
        await stage.clock.advance(9)
        lease = await stage.store.lease(ONE, lease_s=5)
        assert not lease.granted
        assert (lease.circuit.epoch, lease.circuit.opens_in_s) == (opened.epoch, 1)
        await stage.clock.advance(1)
        assert (await stage.store.lease(ONE, lease_s=5)).granted

    @_test
    async def test_of_many_exactly_one_may_try(self, stage: SharedStage) -> None:
        await stage.due()
        stores = [stage.store, await stage.another()] * 20
        found = await asyncio.gather(*(each.lease(ONE, lease_s=5) for each in stores))
        assert sum(each.granted for each in found) == 1
        assert len({each.circuit for each in found}) == 1
        assert found[0].circuit.leased_for_s == 5

    @_test
    async def test_nobody_tries_what_is_closed(self, stage: SharedStage) -> None:
        await stage.due()
        lease = await stage.store.lease(ONE, lease_s=5)
        closed = await stage.store.settle(
            ONE, epoch=lease.circuit.epoch, ending=Ending.SUCCESS, reset_s=10
        )
        again = await stage.store.lease(ONE, lease_s=5)
        assert (again.granted, again.circuit) == (False, closed)

    @_test
    async def test_one_may_try_what_the_store_has_forgotten(self, stage: SharedStage) -> None:
        first = await stage.store.lease(ONE, lease_s=5)
        assert first.granted
        assert first.circuit.is_open
        assert not (await stage.store.lease(ONE, lease_s=5)).granted

    @_test
    async def test_a_success_closes_it_for_all(self, stage: SharedStage) -> None:
        other = await stage.another()
        await stage.due()
        lease = await other.lease(ONE, lease_s=5)
        said = await other.settle(ONE, epoch=lease.circuit.epoch, ending=Ending.SUCCESS, reset_s=10)
        assert not said.is_open
        assert said.epoch > lease.circuit.epoch
        assert await stage.standing() == said

    @_test
    async def test_a_failure_has_it_open_for_as_long_again(self, stage: SharedStage) -> None:
        other = await stage.another()
        await stage.due()
        lease = await stage.store.lease(ONE, lease_s=5)
        await stage.clock.advance(3)
        said = await stage.store.settle(
            ONE, epoch=lease.circuit.epoch, ending=Ending.FAILURE, reset_s=8
        )
        assert (said.is_open, said.opens_in_s, said.leased_for_s) == (True, 8, 0)
        assert await stage.standing(other) == said

    @_test
    async def test_who_says_nothing_lets_the_next_one_try(self, stage: SharedStage) -> None:
        await stage.due()
        first = await stage.store.lease(ONE, lease_s=5)
        said = await stage.store.settle(
            ONE, epoch=first.circuit.epoch, ending=Ending.NOTHING, reset_s=8
        )
        assert (said.is_open, said.opens_in_s, said.leased_for_s) == (True, 0, 0)
        second = await stage.store.lease(ONE, lease_s=5)
        assert second.granted
        assert second.circuit.epoch > said.epoch > first.circuit.epoch

    @_test
    async def test_when_a_lease_is_over_the_next_one_may_try(self, stage: SharedStage) -> None:
        await stage.due()
        await stage.store.lease(ONE, lease_s=5)
        await stage.clock.advance(4.999)
        assert not (await stage.store.lease(ONE, lease_s=5)).granted
        await stage.clock.advance(0.001)
        assert (await stage.store.lease(ONE, lease_s=5)).granted

    @_test
    async def test_a_lease_that_is_renewed_goes_on(self, stage: SharedStage) -> None:
        await stage.due()
        lease = await stage.store.lease(ONE, lease_s=5)
        for _ in range(4):
            await stage.clock.advance(3)
            assert await stage.store.renew(ONE, epoch=lease.circuit.epoch, lease_s=5)
            assert not (await stage.store.lease(ONE, lease_s=5)).granted
        assert (await stage.standing()).epoch == lease.circuit.epoch
        await stage.clock.advance(5)
        assert not await stage.store.renew(ONE, epoch=lease.circuit.epoch, lease_s=5)
        assert not await stage.store.renew(OTHER, epoch=lease.circuit.epoch, lease_s=5)
        assert (await stage.store.lease(ONE, lease_s=5)).granted

    @_test
    async def test_who_was_away_for_too_long_changes_nothing(self, stage: SharedStage) -> None:
        await stage.due()
        late = (await stage.store.lease(ONE, lease_s=5)).circuit.epoch
        await stage.clock.advance(5)
        alone = await stage.standing()
        for ending in Ending:
            said = await stage.store.settle(ONE, epoch=late, ending=ending, reset_s=10)
            assert said == alone
        taken_over = (await stage.store.lease(ONE, lease_s=5)).circuit
        for ending in Ending:
            said = await stage.store.settle(ONE, epoch=late, ending=ending, reset_s=10)
            assert said == taken_over
        assert not await stage.store.renew(ONE, epoch=late, lease_s=500)
        failed = await stage.store.settle(
            ONE, epoch=taken_over.epoch, ending=Ending.FAILURE, reset_s=10
        )
        assert (
            await stage.store.settle(ONE, epoch=late, ending=Ending.SUCCESS, reset_s=10) == failed
        ), "it is still open"

    @_test
    async def test_what_is_said_twice_is_heard_once(self, stage: SharedStage) -> None:
        await stage.due()
        epoch = (await stage.store.lease(ONE, lease_s=5)).circuit.epoch
        said = await stage.store.settle(ONE, epoch=epoch, ending=Ending.FAILURE, reset_s=10)
        await stage.clock.advance(1)
        again = await stage.store.settle(ONE, epoch=epoch, ending=Ending.FAILURE, reset_s=10)
        assert (again.epoch, again.opens_in_s) == (said.epoch, 9)

    @_test
    async def test_any_sixteen_bytes_are_a_name(self, stage: SharedStage) -> None:
        names = [bytes(16), b"\xff" * 16, b"'; DROP TABLE x;", b'%:*?[]{}\\\x00\n\r\t"$']
        for number, name in enumerate(names):
            await stage.store.trip(name, epoch=0, reset_s=number + 1)
            assert (await stage.store.take(name, Pace(1, 1), count=1, max_wait_s=0)).count == 1
        found = await stage.store.look(names)
        assert [each.opens_in_s for each in found] == [1, 2, 3, 4]

    @_test
    async def test_many_are_looked_at_together(self, stage: SharedStage) -> None:
        names = [number.to_bytes(16, "big") for number in range(500)]
        opened = await stage.store.trip(names[321], epoch=0, reset_s=3)
        found = await stage.store.look(names)
        assert found == [opened if name == names[321] else CLOSED for name in names]

    # ------------------------------------------------------------------ buckets

    @_test
    async def test_a_burst_passes_and_then_one_by_one(self, stage: SharedStage) -> None:
        pace = Pace(4, 3)
        found = [await stage.store.take(ONE, pace, count=1, max_wait_s=0) for _ in range(5)]
        counts = [each.count for each in found]
        assert counts == [1, 1, 1, 0, 0]
        refused = await stage.store.take(ONE, pace, count=1, max_wait_s=0)
        assert refused.next_in_s == 0.25
        await stage.clock.advance(0.25)
        assert (await stage.store.take(ONE, pace, count=1, max_wait_s=0)).count == 1
        assert (await stage.store.take(ONE, pace, count=1, max_wait_s=0)).count == 0
        await stage.clock.advance(1000)
        assert (await stage.store.take(ONE, pace, count=9, max_wait_s=0)).count == 3
        assert (await stage.store.take(OTHER, pace, count=9, max_wait_s=0)).count == 3

    @_test
    async def test_places_are_given_in_order_to_who_is_willing_to_wait(
        self, stage: SharedStage
    ) -> None:
        pace, other = Pace(10, 2), await stage.another()
        waits = []
        for store in [stage.store, other] * 3:
            found = await store.take(ONE, pace, count=1, max_wait_s=0.4)
            waits.append((found.count, found.next_in_s))
        assert waits == [(1, 0), (1, 0.1), (1, 0.2), (1, 0.3), (1, 0.4), (1, 0.5)]
        refused = await other.take(ONE, pace, count=1, max_wait_s=0.4)
        assert (refused.count, refused.next_in_s) == (0, 0.5)

    @_test
    async def test_several_places_at_once_are_as_many_as_there_are(
        self, stage: SharedStage
    ) -> None:
        pace = Pace(10, 5)
        first = await stage.store.take(ONE, pace, count=3, max_wait_s=0.2)
        assert (first.count, first.next_in_s) == (3, 0)
        rest = await stage.store.take(ONE, pace, count=100, max_wait_s=0.2)
        assert (rest.count, rest.next_in_s) == (4, 0.3)
        none = await stage.store.take(ONE, pace, count=100, max_wait_s=0.2)
        assert none.count == 0
        assert none.next_in_s == 0.3

    @_test
    async def test_of_many_at_once_exactly_as_many_pass_as_may(self, stage: SharedStage) -> None:
        pace = Pace(1, 50)
        stores = [stage.store, await stage.another()] * 100
        found = await asyncio.gather(
            *(each.take(ONE, pace, count=1, max_wait_s=0) for each in stores)
        )
        assert sum(each.count for each in found) == 50
        await stage.clock.advance(7)
        found = await asyncio.gather(
            *(each.take(ONE, pace, count=2, max_wait_s=0) for each in stores[:20])
        )
        assert sum(each.count for each in found) == 7

    @_test
    async def test_the_last_place_can_be_given_back(self, stage: SharedStage) -> None:
        pace = Pace(1, 2)
        first = await stage.store.take(ONE, pace, count=1, max_wait_s=0)
        second = await stage.store.take(ONE, pace, count=1, max_wait_s=0)
        await stage.store.give_back(ONE, pace, mark=first.mark)  # somebody has come after it
        assert (await stage.store.take(ONE, pace, count=1, max_wait_s=0)).count == 0
        await stage.store.give_back(ONE, pace, mark=second.mark)
        await stage.store.give_back(ONE, pace, mark=second.mark)  # once is enough
        assert (await stage.store.take(ONE, pace, count=9, max_wait_s=0)).count == 1
        await stage.store.give_back(OTHER, pace, mark=second.mark)  # nobody has taken any there

    @_test
    async def test_any_rate_is_kept_for_long(self, stage: SharedStage) -> None:
        for number, (rate, burst) in enumerate([(3, 1), (7, 20), (0.01, 1), (999_999, 10**6)]):
            name, pace = number.to_bytes(16, "big"), Pace(rate, burst)
            passed, seconds = 0, 0.0
            for pause_s in (0.0, 0.1, 1 / 3, 2.0, 1000.0):
                await stage.clock.advance(pause_s)
                seconds += pause_s
                passed += (await stage.store.take(name, pace, count=10**9, max_wait_s=0)).count
                assert passed <= burst + rate * seconds + 0.001
            assert passed >= burst

    # ------------------------------------------------------------------ the rest

    @_test
    async def test_what_no_longer_matters_is_let_go_and_the_rest_stays(
        self, stage: SharedStage
    ) -> None:
        full = [number.to_bytes(16, "big") for number in range(7)]
        for each in full:
            await stage.store.take(each, Pace(10, 1), count=1, max_wait_s=0)
        await stage.store.take(ONE, Pace(0.001, 1), count=1, max_wait_s=0)
        await stage.tripped()
        long_open = await stage.store.trip(OTHER, epoch=0, reset_s=3 * _DAY_S)
        assert await stage.store.prune(100) == 0
        await stage.clock.advance(1)
        while await stage.store.prune(3):
            pass
        assert (await stage.store.take(ONE, Pace(0.001, 1), count=1, max_wait_s=0)).count == 0
        assert (await stage.standing()).is_open
        await stage.clock.advance(_DAY_S + 11)
        while await stage.store.prune(3):
            pass
        assert (await stage.store.look([OTHER]))[0].epoch == long_open.epoch

    @_test
    async def test_opening_and_closing_twice_does_nothing(self, stage: SharedStage) -> None:
        await stage.store.open()
        opened = await stage.tripped()
        await stage.store.close()
        await stage.store.close()
        await stage.store.open()
        assert (await stage.standing()).epoch in (opened.epoch, 0)

    @_test
    async def test_the_first_call_opens_it(self, stage: SharedStage) -> None:
        other = await stage.another()
        await other.close()
        assert (await other.take(ONE, Pace(1, 1), count=1, max_wait_s=0)).count == 1
