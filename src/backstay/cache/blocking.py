"""The cache for plain functions, which cannot wait the way async ones do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from backstay.cache.filling import Terms, uncommitted
from backstay.cache.flight import Flights, ThreadFlights
from backstay.cache.outcome import Fill, Outcome
from backstay.cache.reading import Reading
from backstay.cache.shelf import Shelf
from backstay.cache.stats import Tally

__all__ = ["Blocking", "ProduceBlocking", "run_in_loop"]

T = TypeVar("T")

ProduceBlocking: TypeAlias = Callable[[], Fill | None]


class Blocking:
    """Looks, waits or makes, for any number of threads.

    A cache in memory is reached from anywhere. One elsewhere is asked in the event loop, by the
    worker thread that the function runs in; see ``run_in_loop``.

    Args:
        shelf: where values are looked for and kept.
        flights: what is being made.
        tally: is told what came of each.
        timeout_s: seconds that a thread waits for another that makes the same value.
    """

    def __init__(self, shelf: Shelf, flights: Flights, tally: Tally, *, timeout_s: float) -> None:
        self._shelf = shelf
        self._flights = flights
        self._tally = tally
        self._timeout_s = timeout_s
        self._threads = ThreadFlights()

    def get(self, key: str, produce: ProduceBlocking, terms: Terms) -> Outcome:
        """As ``Cache.get_or_fill_blocking``."""
        found = self._look(key, terms).outcome(self._shelf.now())
        if found is None or found.status == "STALE":
            # For an old value nobody waits: the first who finds it so makes it anew.
            wait_s = self._timeout_s if found is None else 0.0
            with self._threads.turn(key, wait_s) as has_it:
                if found is None or has_it:
                    return self._get_or_make(key, produce, terms)
        self._tally.add(key, found.status)
        return found

    def get_uncommitted(
        self, key: str, produce: ProduceBlocking, terms: Terms, hidden: Container[str]
    ) -> Outcome:
        """As ``Filling.get_uncommitted``."""
        reading = self._look(key, terms)
        found = None if reading.touches(hidden) else reading.outcome(self._shelf.now())
        if found is None or found.status != "HIT":
            found = uncommitted(produce(), terms)
        self._tally.add(key, found.status)
        return found

    def _get_or_make(self, key: str, produce: ProduceBlocking, terms: Terms) -> Outcome:
        reading = self._look(key, terms)
        found = reading.outcome(self._shelf.now())
        if found is None or found.status == "STALE":
            found = self._make(reading, produce, terms)
        self._tally.add(key, found.status)
        return found

    def _make(self, reading: Reading, produce: ProduceBlocking, terms: Terms) -> Outcome:
        flight = self._flights.begin(reading, alone=True)
        try:
            self._settle(reading)
            fill = produce()
            if fill is None:
                return uncommitted(None, terms)
            made = uncommitted(fill, terms)
            good = self._learn(reading, fill) and flight.bumped.isdisjoint(fill.tags)
            ttl_s = terms.ttl_s if fill.ttl_s is None else fill.ttl_s
            if good and not flight.doomed and self._keep(reading, fill, ttl_s, terms.stale_s):
                made = replace(made, status="MISS")
            return made
        finally:
            self._flights.finish(flight)

    # ------------------------------------------------------------------ here, or in the loop

    def _look(self, key: str, terms: Terms) -> Reading:
        if self._shelf.local is not None:
            return self._shelf.look_now(key, terms.tags)
        return run_in_loop(self._shelf.look, key, terms.tags)

    def _settle(self, reading: Reading) -> None:
        if self._shelf.local is not None:
            self._shelf.settle_now(reading)
        else:
            run_in_loop(self._shelf.settle, reading)

    def _learn(self, reading: Reading, fill: Fill) -> bool:
        if self._shelf.local is not None:
            return self._shelf.learn_now(reading, fill)
        return run_in_loop(self._shelf.learn, reading, fill)

    def _keep(self, reading: Reading, fill: Fill, ttl_s: float, stale_s: float) -> bool:
        if self._shelf.local is not None:
            return self._shelf.keep_now(reading, fill, ttl_s, stale_s)
        return run_in_loop(self._shelf.keep, reading, fill, ttl_s, stale_s)


def run_in_loop(call: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Have the event loop await something, and wait for it in this worker thread.

    Raises:
        TypeError: this is no worker thread of an event loop: not FastAPI's, which plain endpoints
            and dependencies run in, nor backstay's, which plain tasks do.
    """
    from anyio import from_thread

    began = False

    async def called() -> T:
        nonlocal began
        began = True
        return await call(*args)

    try:
        return from_thread.run(called)
    except RuntimeError as error:
        if began:
            raise
        raise TypeError(
            "a plain function reaches a cache that is not in memory only from a worker thread of "
            "an event loop, where plain endpoints, dependencies and tasks run. Make it async, or "
            'give it a cache in memory: @cached(cache=Cache("memory://"))'
        ) from error
