"""What is not there is made, by one of those who want it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from backstay.cache.background import Background
from backstay.cache.flight import Flight, Flights
from backstay.cache.guard import StoreSilent
from backstay.cache.outcome import Fill, Outcome
from backstay.cache.port import LockingStore
from backstay.cache.reading import Reading
from backstay.cache.shelf import Shelf
from backstay.cache.stats import Tally
from backstay.context import current_work
from backstay.log import correlation_id
from backstay.observation import Kind

__all__ = ["Filling", "Produce", "Terms", "uncommitted"]

Produce: TypeAlias = Callable[[], Awaitable[Fill | None]]

_LOCK_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Terms:
    """On which a value is kept.

    Attributes:
        ttl_s: seconds it is good.
        stale_s: seconds that it is better than nothing, after these.
        tags: by which it can be invalidated.
    """

    ttl_s: float
    stale_s: float
    tags: Sequence[str]


def uncommitted(fill: Fill | None, terms: Terms) -> Outcome:
    """What came of making a value that is not kept."""
    if fill is None:
        return Outcome(None, "BYPASS", 0.0, 0.0)
    ttl_s = terms.ttl_s if fill.ttl_s is None else fill.ttl_s
    return Outcome(fill.value, "BYPASS", 0.0, max(0.0, ttl_s))


class Filling:
    """Looks, waits or makes, for any number of tasks of one event loop.

    Args:
        shelf: where values are looked for and kept.
        flights: what is being made.
        background: has values made anew.
        tally: is told what came of each.
        timeout_s: seconds that anybody waits for somebody else.
        across: whether other processes are waited for, too.
    """

    def __init__(
        self,
        shelf: Shelf,
        flights: Flights,
        background: Background,
        tally: Tally,
        *,
        timeout_s: float,
        across: bool,
    ) -> None:
        self._shelf = shelf
        self._flights = flights
        self._background = background
        self._tally = tally
        self._timeout_s = timeout_s
        self._across = across
        self._clock = shelf.clock

    async def get(self, key: str, produce: Produce, *, terms: Terms, refresh: Produce) -> Outcome:
        """As ``Cache.get_or_fill``."""
        deadline = self._clock.monotonic() + self._timeout_s
        while True:
            landed, ticket = self._flights.landed(key), self._flights.ticket()
            reading = await self._shelf.look(key, terms.tags)
            reading.ticket = ticket
            found = reading.outcome(self._shelf.now())
            if found is not None:
                self._tally.add(key, found.status)
                if found.status == "STALE":
                    again = partial(self._refresh, reading, refresh, terms)
                    self._background.refresh(key, again)
                return found
            flight = self._flights.to_join(reading)
            if flight is None:
                if landed != self._flights.landed(key):
                    continue  # somebody has made it while the store was answering
                return await self._produce(reading, produce, terms)
            await flight.wait(self._clock, deadline - self._clock.monotonic())
            if flight.outcome is not None:
                self._tally.add(key, "HIT")
                return flight.outcome
            if not flight.failed:
                return await self._produce(reading, produce, terms, alone=True)

    async def get_uncommitted(
        self, key: str, produce: Produce, *, terms: Terms, hidden: Container[str]
    ) -> Outcome:
        """The same for work that has changed what has some tags, and has not committed that.

        It gets nothing with these tags that was made before its changes, and nothing that it
        makes is for others: it may never be committed.
        """
        reading = await self._shelf.look(key, terms.tags)
        found = None if reading.touches(hidden) else reading.outcome(self._shelf.now())
        if found is None or found.status != "HIT":
            found = uncommitted(await _watched(key, produce), terms)
        self._tally.add(key, found.status)
        return found

    async def _produce(
        self, reading: Reading, produce: Produce, terms: Terms, *, alone: bool = False
    ) -> Outcome:
        """Make the value, tell those who wait, and keep it."""
        flight = self._flights.begin(reading, alone=alone)
        turn = _Turn(self._clock.new_id().encode())
        try:
            await self._shelf.settle(reading)
            if self._across and reading.reached and not alone:
                found = await self._take_turn(turn, reading)
                if found is not None:
                    # Who waits looks for himself: he may have come after this was looked up.
                    flight.fail()
                    self._tally.add(reading.key, "HIT")
                    return found
            self._flights.produces(flight)
            fill = await _watched(reading.key, produce)
            if fill is None:
                self._tally.add(reading.key, "BYPASS")
                return Outcome(None, "BYPASS", 0.0, 0.0)
            return await self._keep(flight, fill, terms)
        except BaseException:
            flight.fail()
            raise
        finally:
            self._flights.finish(flight)
            if turn.may_be_held:
                await self._give_turn(turn, reading.key)

    async def _keep(self, flight: Flight, fill: Fill, terms: Terms) -> Outcome:
        reading = flight.reading
        made = uncommitted(fill, terms)
        kept = False
        if await self._is_of_now(flight, fill):
            # Before it is kept: whoever waits need not wait for the store as well.
            flight.succeed(replace(made, status="HIT"))
            ttl_s = terms.ttl_s if fill.ttl_s is None else fill.ttl_s
            kept = not flight.doomed and await self._shelf.keep(reading, fill, ttl_s, terms.stale_s)
            if kept and flight.doomed:  # while the store was at it
                await self._shelf.drop([reading.key])
                kept = False
        if kept:
            made = replace(made, status="MISS")
        self._tally.add(reading.key, made.status)
        return made

    async def _is_of_now(self, flight: Flight, fill: Fill) -> bool:
        """Whether the tags that the value has brought were not invalidated while it was made.

        If one was, it may have been before somebody joined who is to have a newer value.
        """
        if not fill.tags:
            return True
        self._flights.withdraw(flight)
        learned = await self._shelf.learn(flight.reading, fill)
        good = learned and flight.bumped.isdisjoint(fill.tags)
        if not good:
            flight.fail()
        return good

    async def _refresh(self, reading: Reading, produce: Produce, terms: Terms) -> None:
        # Looked at again: another process may have made it, and the tags' marks may be others.
        landed = self._flights.landed(reading.key)
        reading = await self._shelf.look(reading.key, reading.tags)
        found = reading.outcome(self._shelf.now())
        if found is not None and found.status == "HIT":
            return
        if landed == self._flights.landed(reading.key) and not self._flights.to_join(reading):
            await self._produce(reading, produce, terms)

    # ------------------------------------------------------------------ several processes

    async def _take_turn(self, turn: _Turn, reading: Reading) -> Outcome | None:
        """Be the only process that makes this value, or wait for the one that is.

        Returns:
            What another has made meanwhile. ``None`` if it is this one's turn; or if the store
            fails, or the other takes too long, and this one goes on without.
        """
        store, clock = self._shelf.store, self._clock
        assert isinstance(store, LockingStore)
        name = self._shelf.names.lock(reading.key)
        deadline = clock.monotonic() + self._timeout_s
        with suppress(StoreSilent):
            while True:
                turn.may_be_held = True  # and is, if this is broken off
                turn.may_be_held = await self._shelf.guard.ask(
                    lambda: store.lock(name, turn.token, self._timeout_s), "locking"
                )
                if not turn.may_be_held:
                    if clock.monotonic() >= deadline:
                        return None
                    await clock.sleep(_LOCK_POLL_S * (0.5 + clock.random()))
                found = await self._made_meanwhile(reading)
                if found is not None or turn.may_be_held:
                    return found
        return None

    async def _made_meanwhile(self, reading: Reading) -> Outcome | None:
        again = await self._shelf.look(reading.key, reading.tags)
        found = again.outcome(self._shelf.now())
        return found if found is not None and found.status == "HIT" else None

    async def _give_turn(self, turn: _Turn, key: str) -> None:
        store, name = self._shelf.store, self._shelf.names.lock(key)
        assert isinstance(store, LockingStore)
        with suppress(StoreSilent):  # it is free after its time
            await self._shelf.guard.ask(lambda: store.unlock(name, turn.token), "unlocking")


async def _watched(key: str, produce: Produce) -> Fill | None:
    """Make the value, and let whoever observes the app know."""
    work = current_work.get()
    if work is None or not work.app.is_observed(Kind.FILL):
        return await produce()
    # Of keys there are as many as of questions; of what stands before their first colon, few.
    seen = work.app.observe(Kind.FILL, key.partition(":")[0], correlation_id.get())
    assert seen is not None
    try:
        fill = await produce()
    except BaseException as error:
        seen.end("failed" if isinstance(error, Exception) else "cancelled", error=error)
        raise
    seen.end("ok")
    return fill


class _Turn:
    """A lock that one flight takes, unless it never gets so far."""

    __slots__ = ("may_be_held", "token")

    def __init__(self, token: bytes) -> None:
        self.token = token
        self.may_be_held = False
