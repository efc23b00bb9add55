"""Counts in this process's memory.

Not the library's own: with each hit, that one starts a task that makes a hop to a thread for every
key there is (0.2 to 0.6 ms of CPU a hit), and it asks the machine what time it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from backstay.clock import Clock
from backstay.limits.buckets import Buckets
from backstay.limits.limit import Limit
from backstay.limits.log import Log
from backstay.limits.port import Count, Strategy, Verdict

__all__ = ["MemoryCounts"]

_Name = tuple[str, Strategy, int]
"""The key, and of its limit the amount."""

_KEYS: Final = 100_000


class _Pair:
    """A pair of buckets that changes."""

    __slots__ = ("_buckets",)

    def __init__(self, limit: Limit, strategy: Strategy) -> None:
        self._buckets = Buckets(limit, strategy)

    def fits(self, cost: int, now: float) -> bool:
        self._buckets = self._buckets.at(now)
        return self._buckets.fits(cost, now)

    def add(self, cost: int, now: float) -> None:
        self._buckets = self._buckets.plus(cost)

    def count(self, now: float) -> Count:
        return self._buckets.count(now)

    def wait_s(self, cost: int, now: float) -> float:
        return self._buckets.wait_s(cost, now)


@dataclass(slots=True)
class _Place:
    """Where one count is kept, and when it was last looked at."""

    tally: Log | _Pair
    seen_at: float


class MemoryCounts:
    """Implements ``CountStore``: exact, for one process, until it ends.

    Nothing in it waits, so nothing comes in between the steps of a hit.

    Args:
        clock: what time it is.
        max_keys: how many counts with windows of one length are remembered; beyond that, the one
            that was seen longest ago is forgotten.
    """

    is_local = True
    url = "memory://"

    def __init__(self, clock: Clock, *, max_keys: int = _KEYS) -> None:
        self._clock = clock
        self._max_keys = max_keys
        # By the length of the window. What was seen last is at the end, so what stands at the
        # beginning is over first, and nothing has to be searched for.
        self._shelves: dict[int, OrderedDict[_Name, _Place]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._shelves.values()))

    async def open(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing: who was refused before is refused after, if the app starts again."""

    async def hit(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy
    ) -> Verdict:
        return self._judge(key, limits, cost, strategy, counting=True)

    async def check(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy
    ) -> Verdict:
        return self._judge(key, limits, cost, strategy, counting=False)

    async def clear(self, key: str, limits: Sequence[Limit], strategy: Strategy) -> None:
        for each in limits:
            self._shelf(each).pop((key, strategy, each.amount), None)

    async def prune(self, at_most: int) -> int:
        now = self._clock.monotonic()
        gone = 0
        for window_s, shelf in self._shelves.items():
            gone += _forget(shelf, window_s, now, at_most - gone)
        return gone

    def _judge(
        self, key: str, limits: Sequence[Limit], cost: int, strategy: Strategy, *, counting: bool
    ) -> Verdict:
        now = self._clock.monotonic()
        tallies = [self._tally(key, each, strategy, now, keep=counting) for each in limits]
        # All of them, so that each has come to the present, before the first counts anything.
        late = [each for each in tallies if not each.fits(cost, now)]
        if late:
            wait_s = max([each.wait_s(cost, now) for each in late])
            return Verdict(False, tuple([each.count(now) for each in tallies]), wait_s)
        if counting:
            for each in tallies:
                each.add(cost, now)
        return Verdict(True, tuple([each.count(now) for each in tallies]))

    def _tally(
        self, key: str, limit: Limit, strategy: Strategy, now: float, *, keep: bool
    ) -> Log | _Pair:
        shelf = self._shelf(limit)
        name = (key, strategy, limit.amount)
        place = shelf.get(name)
        if place is None:
            tally = Log(limit) if strategy is Strategy.MOVING else _Pair(limit, strategy)
            if keep:
                _forget(shelf, limit.window_s, now, 2)
                if len(shelf) >= self._max_keys:
                    shelf.popitem(last=False)
                shelf[name] = _Place(tally, now)
            return tally
        shelf.move_to_end(name)
        place.seen_at = now
        return place.tally

    def _shelf(self, limit: Limit) -> OrderedDict[_Name, _Place]:
        shelf = self._shelves.get(limit.window_s)
        if shelf is None:
            shelf = self._shelves[limit.window_s] = OrderedDict()
        return shelf


def _forget(shelf: OrderedDict[_Name, _Place], window_s: int, now: float, at_most: int) -> int:
    """Remove what is over, from the beginning on. How many there were."""
    over = now - 2 * window_s  # two buckets, and whatever a moving window has
    gone = 0
    while gone < at_most and shelf:
        name = next(iter(shelf))
        if shelf[name].seen_at > over:
            break
        del shelf[name]
        gone += 1
    return gone
