"""State in the memory of one process: gone when it is closed."""

from __future__ import annotations

import heapq
import itertools

from backstay.clock import Clock, SystemClock
from backstay.errors import StateUnavailable
from backstay.state.port import Ttl
from backstay.state.values import whole

__all__ = ["MemoryStore"]


class MemoryStore:
    """Implements ``StateStore``. Nothing bounds it but the times to live.

    Args:
        clock: its ``monotonic`` counts. ``None``: the machine's.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock if clock is not None else SystemClock()
        self._scopes: dict[bytes, dict[bytes, tuple[str, float | None]]] = {}
        # When to look at what: entries that were changed since are passed over.
        self._due: list[tuple[float, int, bytes, bytes]] = []
        self._order = itertools.count()
        self._expiring = 0
        self._open = False

    @property
    def url(self) -> str:
        return "memory://"

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False
        self._scopes.clear()
        self._due.clear()
        self._expiring = 0

    async def read(self, scope: bytes, key: bytes) -> str | None:
        found = self._live(scope, key)
        return None if found is None else found[0]

    async def write(self, scope: bytes, key: bytes, value: str, ttl_s: float | None) -> None:
        self._check()
        self._put(scope, key, value, self._end(ttl_s))

    async def remove(self, scope: bytes, key: bytes) -> bool:
        found = self._live(scope, key)
        self._forget(scope, key)
        return found is not None

    async def clear(self, scope: bytes) -> int:
        self._check()
        now = self._clock.monotonic()
        gone = self._scopes.pop(scope, {})
        self._expiring -= sum(end is not None for _, end in gone.values())
        return sum(end is None or now < end for _, end in gone.values())

    async def add(self, scope: bytes, key: bytes, by: int, ttl_s: float | None) -> int | None:
        found = self._live(scope, key)
        text, end = ("0", None) if found is None else found
        before = whole(text)
        if before is None:
            return None
        total = before + by
        self._put(scope, key, str(total), end if ttl_s is None else self._end(ttl_s))
        return total

    async def swap(
        self, scope: bytes, key: bytes, expected: str | None, value: str, ttl: Ttl
    ) -> bool:
        found = self._live(scope, key)
        text, end = (None, None) if found is None else found
        if text != expected:
            return False
        self._put(scope, key, value, end if ttl is ... else self._end(ttl))
        return True

    async def keys(self, scope: bytes, prefix: bytes) -> list[bytes]:
        self._check()
        now = self._clock.monotonic()
        return sorted(
            key
            for key, (_, end) in self._scopes.get(scope, {}).items()
            if key.startswith(prefix) and (end is None or now < end)
        )

    async def sweep(self, limit: int) -> int:
        self._check()
        now = self._clock.monotonic()
        swept = 0
        while self._due and self._due[0][0] <= now and swept < limit:
            end, _, scope, key = heapq.heappop(self._due)
            found = self._scopes.get(scope, {}).get(key)
            if found is not None and found[1] == end:
                self._forget(scope, key)
                swept += 1
        return swept

    # ------------------------------------------------------------------ within one turn of the loop

    def _check(self) -> None:
        if not self._open:
            raise StateUnavailable(
                "the state in memory is not open: it lives from the app's start to its end"
            )

    def _live(self, scope: bytes, key: bytes) -> tuple[str, float | None] | None:
        self._check()
        found = self._scopes.get(scope, {}).get(key)
        if found is None or (found[1] is not None and found[1] <= self._clock.monotonic()):
            return None
        return found

    def _end(self, ttl_s: float | None) -> float | None:
        return None if ttl_s is None else self._clock.monotonic() + ttl_s

    def _put(self, scope: bytes, key: bytes, value: str, end: float | None) -> None:
        entries = self._scopes.setdefault(scope, {})
        before = entries.get(key)
        entries[key] = value, end
        if before is not None and before[1] is not None:
            self._expiring -= 1
        if end is None:
            return
        self._expiring += 1
        if before is None or before[1] != end:
            heapq.heappush(self._due, (end, next(self._order), scope, key))
            if len(self._due) > 2 * self._expiring + 1000:
                self._tidy()

    def _forget(self, scope: bytes, key: bytes) -> None:
        entries = self._scopes.get(scope)
        gone = None if entries is None else entries.pop(key, None)
        if gone is not None and gone[1] is not None:
            self._expiring -= 1
        if entries is not None and not entries:
            del self._scopes[scope]

    def _tidy(self) -> None:
        """One value set again and again must not leave a trace of each time."""
        self._due = [
            (end, next(self._order), scope, key)
            for scope, entries in self._scopes.items()
            for key, (_, end) in entries.items()
            if end is not None
        ]
        heapq.heapify(self._due)
