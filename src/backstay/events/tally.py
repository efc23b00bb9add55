"""Counts what happens, minute by minute, until it is written."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from backstay.events.minute import BOUNDS_MS, OTHERS

__all__ = ["BUCKETS", "MAX_NAMES", "Tally"]

MAX_NAMES = 200
"""So many names of a kind are told apart in one minute; whoever makes up more gets no further."""

_BOUNDS_US = [round(each * 1000) for each in BOUNDS_MS]
BUCKETS = tuple(f"bucket_{number}" for number in range(len(BOUNDS_MS) + 1))
_COLUMNS = (
    "count",
    "failed",
    "status_2xx",
    "status_3xx",
    "status_4xx",
    "status_5xx",
    "total_us",
    "max_us",
    *BUCKETS,
)
_TOTAL, _MAX, _FIRST_BUCKET = 6, 7, 8
_MINUTES_REMEMBERED = 64


class Tally:
    """Sums of what has ended since they were last taken."""

    def __init__(self) -> None:
        self._sums: dict[tuple[int, str, str], list[int]] = {}
        self._names: dict[tuple[int, str], set[str]] = {}

    def add(
        self,
        kind: str,
        name: str,
        minute: int,
        duration_s: float,
        *,
        failed: bool,
        status: int | None,
    ) -> None:
        """Count one.

        Args:
            kind: what it was.
            name: what it was called.
            minute: when it ended, in minutes since 1970.
            duration_s: how long it took.
            failed: whether it failed.
            status: its HTTP status, if it had one.
        """
        key = (minute, kind, name)
        sums = self._sums.get(key)
        if sums is None:
            sums = self._new(key)
        sums[0] += 1
        if failed:
            sums[1] += 1
        if status is not None and 200 <= status < 600:
            sums[status // 100] += 1  # 2xx is the third one
        microseconds = int(duration_s * 1_000_000) if duration_s > 0 else 0
        sums[_TOTAL] += microseconds
        sums[_MAX] = max(sums[_MAX], microseconds)
        sums[_FIRST_BUCKET + bisect_left(_BOUNDS_US, microseconds)] += 1

    def take(self) -> list[dict[str, Any]]:
        """What has been counted, as rows to add, in one order whoever takes them."""
        sums, self._sums = self._sums, {}
        return [
            {
                "minute": minute,
                "kind": kind,
                "name": name,
                **dict(zip(_COLUMNS, sums[minute, kind, name], strict=True)),
            }
            for minute, kind, name in sorted(sums)
        ]

    def __len__(self) -> int:
        return len(self._sums)

    def _new(self, key: tuple[int, str, str]) -> list[int]:
        minute, kind, name = key
        names = self._names.get((minute, kind))
        if names is None:
            if len(self._names) >= _MINUTES_REMEMBERED:
                del self._names[min(self._names)]
            names = self._names[minute, kind] = set()
        if name not in names:
            if len(names) >= MAX_NAMES:
                key = (minute, kind, OTHERS)
            else:
                names.add(name)
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = [0] * len(_COLUMNS)
        return sums
