"""How often the cache knew the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backstay.cache.outcome import Status

__all__ = ["Counts", "Stats", "Tally"]

_MOST_PREFIXES = 200
_OTHERS = "(others)"


@dataclass(frozen=True, slots=True)
class Counts:
    """How often it was asked, by what came of it, since the process began.

    Attributes:
        hits: it was there, or being made.
        misses: it was made, and kept.
        stale: it was there, a little too old.
        bypass: it was made, and not kept.
    """

    hits: int = 0
    misses: int = 0
    stale: int = 0
    bypass: int = 0

    @property
    def asked(self) -> int:
        """How often altogether."""
        return self.hits + self.misses + self.stale + self.bypass

    @property
    def hit_ratio(self) -> float:
        """The part that did not have to wait for a producer, 0 to 1; 0 if nobody has asked."""
        return (self.hits + self.stale) / self.asked if self.asked else 0.0


@dataclass(frozen=True, slots=True)
class Stats(Counts):
    """``Counts`` of all keys, and of each kind.

    Attributes:
        by_prefix: of the keys that are the same up to their first ``":"``. Of more than 200 kinds,
            the later ones are under ``"(others)"``.
    """

    by_prefix: Mapping[str, Counts] = field(default_factory=dict)


class Tally:
    """Counts, cheaply: two look-ups and an addition each time."""

    __slots__ = ("_by_prefix",)

    def __init__(self) -> None:
        self._by_prefix: dict[str, dict[Status, int]] = {}

    def add(self, key: str, status: Status) -> None:
        """One more."""
        prefix = key.partition(":")[0]
        counts = self._by_prefix.get(prefix)
        if counts is None:
            if len(self._by_prefix) >= _MOST_PREFIXES:
                prefix = _OTHERS
            counts = self._by_prefix.setdefault(
                prefix, {"HIT": 0, "MISS": 0, "STALE": 0, "BYPASS": 0}
            )
        counts[status] += 1

    def stats(self) -> Stats:
        """What has been counted."""
        kinds = {
            prefix: Counts(each["HIT"], each["MISS"], each["STALE"], each["BYPASS"])
            for prefix, each in list(self._by_prefix.items())
        }
        return Stats(
            hits=sum(each.hits for each in kinds.values()),
            misses=sum(each.misses for each in kinds.values()),
            stale=sum(each.stale for each in kinds.values()),
            bypass=sum(each.bypass for each in kinds.values()),
            by_prefix=kinds,
        )
