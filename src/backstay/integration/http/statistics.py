"""How calls went lately: counted in this process, in slots of a few seconds, in bounded memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from math import log2
from threading import Lock
from typing import Any, Final, Literal

from backstay.clock import Clock

__all__ = ["CallStatistics", "Ending", "SLOTS", "SLOT_S"]

Ending = Literal["ok", "failed", "cancelled"]
"""How a call ended: with a result, with an error, or given up by whoever made it."""

SLOT_S: Final = 15
"""Seconds that one slot is for."""

SLOTS: Final = 60
"""How many are kept: a quarter of an hour, the one that is running included."""

_STEPS: Final = 4
"""Buckets in each doubling: a quantile is less than 9 % off."""

_LEAST_S: Final = 0.0001
"""What is shorter goes into the first bucket."""

_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx")


class _Slot:
    """The calls that ended in one slot of time."""

    __slots__ = ("attempts", "buckets", "cancelled", "failed", "longest_s", "number", "ok")

    def __init__(self, number: int) -> None:
        self.number = number
        self.ok = 0
        self.failed = 0
        self.cancelled = 0
        self.attempts = 0
        self.longest_s = 0.0
        self.buckets: dict[int, int] = {}
        """How many took how long, without those that were cancelled. Few buckets are in use."""


class _Record:
    """What is known of one endpoint."""

    __slots__ = ("last", "lock", "past", "slot", "slots", "statuses")

    def __init__(self) -> None:
        self.lock = Lock()
        self.slot = _Slot(-1)
        self.slots: deque[_Slot] = deque(maxlen=SLOTS)
        self.past = _Slot(-1)
        """The sums of all slots but the newest, those that are gone included."""
        self.statuses = [0] * (len(_CLASSES) + 1)
        self.last: tuple[Ending, int | None, float, float] | None = None

    def begin(self, number: int) -> _Slot:
        """A new slot; the one before it is past."""
        past, slot = self.past, self.slot
        past.ok += slot.ok
        past.failed += slot.failed
        past.cancelled += slot.cancelled
        past.attempts += slot.attempts
        self.slot = _Slot(number)
        self.slots.append(self.slot)
        return self.slot


class CallStatistics:
    """Counts the calls of one integration. Safe to use from several threads.

    Remembers as much as its endpoints have names, which are those declared: about 60 slots each, of
    the last quarter of an hour, and the counts since the process began.

    Args:
        clock: tells when a call ended; only its ``monotonic()`` is asked.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}
        self._lock = Lock()

    def record(
        self,
        endpoint_name: str,
        *,
        duration_s: float,
        outcome: Ending,
        status: int | None,
        attempts: int,
    ) -> None:
        """A call has ended.

        Args:
            endpoint_name: whose.
            duration_s: seconds from its beginning, all attempts and pauses included.
            outcome: how it ended.
            status: of the last answer, ``None`` if there was none.
            attempts: how often its function ran; 0 if a pattern refused the call.
        """
        record = self._records.get(endpoint_name)
        if record is None:
            with self._lock:
                record = self._records.setdefault(endpoint_name, _Record())
        now = self._clock.monotonic()
        number = int(now // SLOT_S)
        with record.lock:
            slot = record.slot
            if slot.number < number:
                slot = record.begin(number)
            # Otherwise the newest, though a thread's time may be a little older.
            slot.attempts += attempts
            if outcome == "cancelled":
                slot.cancelled += 1  # how long somebody was willing to wait is no latency
            else:
                if outcome == "ok":
                    slot.ok += 1
                else:
                    slot.failed += 1
                bucket = int(log2(duration_s / _LEAST_S) * _STEPS) if duration_s > _LEAST_S else 0
                buckets = slot.buckets
                buckets[bucket] = buckets.get(bucket, 0) + 1
                if duration_s > slot.longest_s:  # noqa: PLR1730 - half as long as max()
                    slot.longest_s = duration_s
            record.statuses[0 if status is None or not 100 <= status < 600 else status // 100] += 1
            record.last = (outcome, status, duration_s, now)

    def snapshot(self, endpoint_name: str, *, since: int | None = None) -> dict[str, Any]:
        """What is known of one endpoint, as JSON.

        Args:
            endpoint_name: one that was never called is known to have no calls.
            since: the number of the first slot that is wanted, for whoever knows the earlier ones
                already. ``None`` means all; the sums are always of all.

        Returns:
            ``slot_s`` and ``slots``: seconds of a slot, and how many make the window;
            ``now``: the number of the slot that is running;
            ``window``: sums of the window: ``calls`` (ok and failed), ``ok``, ``failed``,
            ``cancelled``, ``attempts``, ``error_rate`` (of those calls, ``None`` without any),
            ``p50_ms``, ``p95_ms``, ``p99_ms`` and ``longest_ms`` (``None`` without any);
            ``total``: counts since the process began, and ``statuses`` by class (``"2xx"``, and
            ``"none"`` for calls that had no answer);
            ``last``: the call that ended last: ``outcome``, ``status``, ``duration_ms``, ``ago_s``;
            ``None`` before there is one;
            ``series``: of each slot that had calls its number and what it counts, the oldest first.
        """
        now = self._clock.monotonic()
        current = int(now // SLOT_S)
        record = self._records.get(endpoint_name)
        if record is None:
            record = _Record()
        with record.lock:
            slots = [each for each in record.slots if each.number > current - SLOTS]
            window = _sums(slots)
            series = [_shown(each) for each in slots if since is None or each.number >= since]
            past, slot, last = record.past, record.slot, record.last
            ok, failed = past.ok + slot.ok, past.failed + slot.failed
            total = {
                "calls": ok + failed,
                "ok": ok,
                "failed": failed,
                "cancelled": past.cancelled + slot.cancelled,
                "attempts": past.attempts + slot.attempts,
                "statuses": {
                    name: count
                    for name, count in zip(("none", *_CLASSES), record.statuses, strict=True)
                    if count
                },
            }
        return {
            "slot_s": SLOT_S,
            "slots": SLOTS,
            "now": current,
            "window": window,
            "total": total,
            "last": None
            if last is None
            else {
                "outcome": last[0],
                "status": last[1],
                "duration_ms": _ms(last[2]),
                "ago_s": round(max(0.0, now - last[3]), 1),
            },
            "series": series,
        }


def _shown(slot: _Slot) -> dict[str, Any]:
    p50, p95 = _quantiles(slot.buckets, slot.longest_s, (0.5, 0.95))
    return {
        "slot": slot.number,
        "ok": slot.ok,
        "failed": slot.failed,
        "cancelled": slot.cancelled,
        "p50_ms": p50,
        "p95_ms": p95,
    }


def _sums(slots: Sequence[_Slot]) -> dict[str, Any]:
    buckets: dict[int, int] = {}
    for each in slots:
        for bucket, count in each.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + count
    ok, failed = sum(each.ok for each in slots), sum(each.failed for each in slots)
    longest_s = max((each.longest_s for each in slots), default=0.0)
    p50, p95, p99 = _quantiles(buckets, longest_s, (0.5, 0.95, 0.99))
    return {
        "calls": ok + failed,
        "ok": ok,
        "failed": failed,
        "cancelled": sum(each.cancelled for each in slots),
        "attempts": sum(each.attempts for each in slots),
        "error_rate": round(failed / (ok + failed), 4) if ok + failed else None,
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "longest_ms": _ms(longest_s) if buckets else None,
    }


def _quantiles(
    buckets: dict[int, int], longest_s: float, wanted: Sequence[float]
) -> list[float | None]:
    """Durations in milliseconds that so many calls did not exceed; the middle of their buckets."""
    count = sum(buckets.values())
    if count == 0:
        return [None] * len(wanted)
    ordered = sorted(buckets.items())
    found: list[float | None] = []
    for each in wanted:
        rank, passed = math.ceil(each * count), 0
        for bucket, many in ordered:
            passed += many
            if passed >= rank:
                middle_s = _LEAST_S * 2 ** ((bucket + 0.5) / _STEPS)
                found.append(_ms(min(middle_s, longest_s)))
                break
    return found


def _ms(duration_s: float) -> float:
    """Milliseconds, to three digits that count: the rest is not known."""
    value = duration_s * 1000
    return float(f"{value:.3g}")
