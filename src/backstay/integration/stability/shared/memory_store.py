"""Circuits and buckets in this process's memory: for tests, and the plainest way to say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from backstay.clock import Clock, SystemClock
from backstay.integration.stability.shared.port import (
    CLOSED,
    Ending,
    Lease,
    Pace,
    SharedCircuit,
    Taken,
)

__all__ = ["DAY_US", "MemoryStore", "microseconds"]

DAY_US: Final = 86_400_000_000
"""For so long circuits that nobody changes are remembered."""


def microseconds(seconds: float) -> int:
    """The nearest whole number of them."""
    return round(seconds * 1_000_000)


@dataclass(slots=True)
class _Circuit:
    epoch: int
    opened_until: int | None
    leased_until: int
    changed_at: int


class MemoryStore:
    """Implements ``SharedStore``.

    Nothing in it waits, so nothing comes in between the steps of a call.

    Args:
        clock: what time it is.
    """

    url = "memory://"

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock: Clock = SystemClock() if clock is None else clock
        self._circuits: dict[bytes, _Circuit] = {}
        self._buckets: dict[bytes, int] = {}

    async def open(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""

    async def look(self, names: Sequence[bytes]) -> list[SharedCircuit]:
        now = self._now()
        return [_told(self._circuits.get(each), now) for each in names]

    async def trip(self, name: bytes, *, epoch: int, reset_s: float) -> SharedCircuit:
        now = self._now()
        found = self._circuits.get(name) or _Circuit(0, None, 0, 0)
        if found.opened_until is None and found.epoch <= epoch:
            found = self._change(name, found, now + microseconds(reset_s), 0, now)
        return _told(found, now)

    async def lease(self, name: bytes, *, lease_s: float) -> Lease:
        now = self._now()
        found = self._circuits.get(name) or _Circuit(0, now, 0, 0)
        granted = (
            found.opened_until is not None
            and found.opened_until <= now
            and found.leased_until <= now
        )
        if granted:
            until = now + microseconds(lease_s)
            found = self._change(name, found, found.opened_until, until, now)
        return Lease(granted, _told(found, now))

    async def renew(self, name: bytes, *, epoch: int, lease_s: float) -> bool:
        now = self._now()
        found = self._circuits.get(name)
        if found is None or found.epoch != epoch or found.leased_until <= now:
            return False
        found.leased_until = now + microseconds(lease_s)
        return True

    async def settle(
        self, name: bytes, *, epoch: int, ending: Ending, reset_s: float
    ) -> SharedCircuit:
        now = self._now()
        found = self._circuits.get(name)
        if found is not None and found.epoch == epoch and found.leased_until > now:
            until = found.opened_until
            if ending is not Ending.NOTHING:
                until = None if ending is Ending.SUCCESS else now + microseconds(reset_s)
            found = self._change(name, found, until, 0, now)
        return _told(found, now)

    async def take(self, name: bytes, pace: Pace, *, count: int, max_wait_s: float) -> Taken:
        now = self._now()
        full_at = max(self._buckets.get(name, 0), now)
        room = microseconds(max_wait_s) + pace.slack_us + now - full_at
        granted = 0 if room < 0 else min(count, room // pace.each_us + 1)
        if granted:
            full_at = self._buckets[name] = full_at + granted * pace.each_us
        return Taken(granted, max(0, full_at - pace.slack_us - now) / 1_000_000, full_at)

    async def give_back(self, name: bytes, pace: Pace, *, mark: int) -> None:
        if self._buckets.get(name) == mark:
            self._buckets[name] -= pace.each_us

    async def prune(self, at_most: int) -> int:
        now = self._now()
        full = [name for name, full_at in self._buckets.items() if full_at <= now][:at_most]
        for name in full:
            del self._buckets[name]
        over = now - DAY_US
        old = [
            name
            for name, each in self._circuits.items()
            if each.changed_at <= over and (each.opened_until or 0) <= over
        ][: at_most - len(full)]
        for name in old:
            del self._circuits[name]
        return len(full) + len(old)

    def _now(self) -> int:
        return microseconds(self._clock.now().timestamp())

    def _change(
        self, name: bytes, found: _Circuit, opened_until: int | None, leased_until: int, now: int
    ) -> _Circuit:
        changed = _Circuit(max(found.epoch + 1, now), opened_until, leased_until, now)
        self._circuits[name] = changed
        return changed


def _told(found: _Circuit | None, now: int) -> SharedCircuit:
    if found is None:
        return CLOSED
    until = found.opened_until
    return SharedCircuit(
        found.epoch,
        until is not None,
        0.0 if until is None else max(0, until - now) / 1_000_000,
        max(0, found.leased_until - now) / 1_000_000,
    )
