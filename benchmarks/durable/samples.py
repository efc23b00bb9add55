"""What was measured: a value for each side, metric and round."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from statistics import median
from typing import Any, NamedTuple

__all__ = ["Samples", "Spread"]


class Spread(NamedTuple):
    """The median of the rounds, and the least and the greatest."""

    value: float
    low: float
    high: float

    def short(self, digits: int = 0) -> str:
        """``median ±x%``, where x is how far the farthest round is from the median."""
        farthest = max(self.high - self.value, self.value - self.low)
        if not self.value or not farthest:
            return f"{self.value:,.{digits}f}"
        return f"{self.value:,.{digits}f} ±{farthest / abs(self.value):.0%}"

    def text(self, digits: int = 0) -> str:
        """``median [least, greatest]``."""
        return f"{self.value:,.{digits}f} [{self.low:,.{digits}f}, {self.high:,.{digits}f}]"


class Samples:
    """By side, metric and round, with what could not be measured and why."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
        self.missing: dict[str, str] = {}

    def add(self, side: str, number: int, figures: Mapping[str, float]) -> None:
        """What one turn of a side in one round gave."""
        for metric, value in figures.items():
            self._values[side, metric][number] = value

    def sides(self) -> set[str]:
        """Who was measured, with success or without."""
        return {side for side, _ in self._values} | set(self.missing)

    def rounds(self) -> int:
        """How many rounds there were."""
        return max((len(rounds) for rounds in self._values.values()), default=0)

    def spread(self, side: str, metric: str) -> Spread | None:
        """Over all rounds; ``None`` if it was not measured."""
        return _spread(list(self._values.get((side, metric), {}).values()))

    def ratio(self, one: tuple[str, str], other: tuple[str, str]) -> Spread | None:
        """Of two ``(side, metric)``, round by round, so that a bad moment counts for both."""
        first, second = self._values.get(one, {}), self._values.get(other, {})
        return _spread(
            [value / second[number] for number, value in first.items() if second.get(number)]
        )

    def kept(self) -> dict[str, Any]:
        """All of it, for a file."""
        found: dict[str, Any] = defaultdict(dict)
        for (side, metric), rounds in self._values.items():
            found[side][metric] = [rounds[number] for number in sorted(rounds)]
        return {"samples": found, "missing": self.missing}


def _spread(values: list[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None
