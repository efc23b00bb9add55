"""Single flight: of all who want the same value at once, one makes it and the others wait."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from backstay.cache.outcome import Outcome
from backstay.cache.reading import Reading
from backstay.clock import Clock

__all__ = ["Flight", "Flights", "ThreadFlights"]


_MOST_LANDED = 1024


class Flight:
    """One value that is being made.

    Args:
        reading: as the attribute.
        owner: the task that makes it, ``None`` for a thread.

    Attributes:
        reading: what was found before it was begun.
        produces_since: the ticket of the moment when its producer began; ``None``: not yet.
        bumped: tags that were invalidated in this process since it was begun.
        doomed: its key or one of its tags was made worthless since: what comes of it is not for
            those who come now, and not to be kept.
        failed: it is over, and nothing came of it: somebody else may try.
        outcome: what came of it, for those who waited; ``None``: not yet, or nothing for them.
    """

    __slots__ = (
        "_over",
        "_owner",
        "bumped",
        "doomed",
        "failed",
        "outcome",
        "produces_since",
        "reading",
    )

    def __init__(self, reading: Reading, owner: asyncio.Task[Any] | None = None) -> None:
        self.reading = reading
        self.produces_since: int | None = None
        self.bumped: set[str] = set()
        self.doomed = False
        self.failed = False
        self.outcome: Outcome | None = None
        self._over: asyncio.Future[None] | None = None
        self._owner = owner

    def succeed(self, outcome: Outcome) -> None:
        """There is a value, for all who wait."""
        self.outcome = outcome
        self._tell()

    def end(self) -> None:
        """It is over. If nothing came of it, who waits makes the value himself."""
        self._tell()

    def fail(self) -> None:
        """Nothing came of it, and one of those who wait may try."""
        self.failed = self.outcome is None
        self._tell()

    def may_be_joined(self, reading: Reading) -> bool:
        """Whether what comes of it is good for somebody who found ``reading`` just now."""
        if self.doomed or self._owner is asyncio.current_task():  # who would wait for himself
            return False
        if self.produces_since is None or reading.ticket < self.produces_since:
            return True  # whatever is true for him is still to be read
        ours, theirs = self.reading.generations, reading.generations
        # A mark that is missing may have been lost after an invalidation.
        return all(mark is not None and ours.get(tag) == mark for tag, mark in theirs.items())

    async def wait(self, clock: Clock, seconds: float) -> None:
        """Until it is over, or so many seconds have passed."""
        if seconds <= 0:
            return
        over = self._over
        if over is None:
            over = self._over = asyncio.get_running_loop().create_future()
        waiter = asyncio.get_running_loop().create_future()

        def wake(_: object = None) -> None:
            if not waiter.done():
                waiter.set_result(None)

        over.add_done_callback(wake)
        timer = clock.call_later(seconds, wake)
        try:
            await waiter
        finally:
            timer.cancel()
            over.remove_done_callback(wake)

    def _tell(self) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


class Flights:
    """All values that are being made in this event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._by_key: dict[str, Flight] = {}
        self._all: set[Flight] = set()
        self._tickets = itertools.count(1)
        # How often each was made, for the latest of them.
        self._landed: OrderedDict[str, int] = OrderedDict()

    def ticket(self) -> int:
        """One more than the last."""
        return next(self._tickets)

    def landed(self, key: str) -> int:
        """How many came to their end with a value: another number says that one did meanwhile."""
        return self._landed.get(key, 0)

    def begin(self, reading: Reading, *, alone: bool = False) -> Flight:
        """Begin to make a value.

        Args:
            reading: what was found of it.
            alone: nobody is to wait for this one. Those may be begun in any thread.
        """
        if alone:
            flight = Flight(reading)
        else:
            self._of_this_loop()
            flight = self._by_key[reading.key] = Flight(reading, asyncio.current_task())
        self._all.add(flight)
        return flight

    def produces(self, flight: Flight) -> None:
        """Its producer begins: what is changed from now on may not be in the value."""
        flight.produces_since = self.ticket()

    def withdraw(self, flight: Flight) -> None:
        """Nobody may join it any more; those who have still wait."""
        if self._by_key.get(flight.reading.key) is flight:
            del self._by_key[flight.reading.key]

    def finish(self, flight: Flight) -> None:
        """It is over, whatever came of it."""
        flight.end()
        self._all.discard(flight)
        self.withdraw(flight)
        if flight.outcome is not None and not flight.doomed:
            key = flight.reading.key
            self._landed[key] = self._landed.pop(key, 0) + 1
            if len(self._landed) > _MOST_LANDED:
                self._landed.popitem(last=False)

    def to_join(self, reading: Reading) -> Flight | None:
        """One to wait for, ``None`` if there is none."""
        self._of_this_loop()
        flight = self._by_key.get(reading.key)
        return flight if flight is not None and flight.may_be_joined(reading) else None

    def doom_tags(self, tags: Iterable[str]) -> None:
        """What is being made of these is old already."""
        if self._all:
            found = frozenset(tags)
            for each in list(self._all):
                each.bumped |= found  # it may bring tags that nobody knows of yet
                if found & each.reading.generations.keys():
                    each.doomed = True

    def doom_keys(self, keys: Iterable[str]) -> None:
        """The same for keys."""
        if self._all:
            found = frozenset(keys)
            for each in list(self._all):
                if each.reading.key in found:
                    each.doomed = True

    def doom_all(self) -> None:
        """The same for everything."""
        for each in list(self._all):
            each.doomed = True

    def _of_this_loop(self) -> None:
        """Forget those of another event loop, which will never be heard of in this one."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._by_key.clear()
            self._all.clear()


class ThreadFlights:
    """The same for functions in threads: those who want one value take turns."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.RLock, int]] = {}

    @contextmanager
    def turn(self, key: str, timeout_s: float) -> Iterator[bool]:
        """Wait to be the only one for this key, ``timeout_s`` at most. Whether that came."""
        with self._guard:
            lock, users = self._locks.get(key) or (threading.RLock(), 0)
            self._locks[key] = lock, users + 1
        has_it = lock.acquire(timeout=timeout_s)
        try:
            yield has_it
        finally:
            if has_it:
                lock.release()
            with self._guard:
                lock, users = self._locks[key]
                if users == 1:
                    del self._locks[key]
                else:
                    self._locks[key] = lock, users - 1
