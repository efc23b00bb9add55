"""The cache in the memory of one process: gone when the process is, and never larger than said."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from backstay.clock import Clock, SystemClock
from backstay.errors import BadCache

__all__ = ["MemoryStore"]

# What Python needs for an entry besides its characters and bytes, measured and rounded up.
_OVERHEAD_BYTES = 250


class MemoryStore:
    """Implements ``LocalStore``: what was not used for the longest time makes room.

    Every operation takes the same time however much there is. Bytes are not changed by anybody,
    so nobody can change what others get.

    Args:
        max_bytes: of everything together, keys and Python's own needs included. What is larger
            than a quarter of it is not kept: one value should not drive out all others.
        clock: its ``monotonic`` counts. ``None``: the machine's.

    Raises:
        BadCache: ``max_bytes`` is no number of bytes.
    """

    def __init__(self, *, max_bytes: int = 64 * 1024 * 1024, clock: Clock | None = None) -> None:
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes <= 0:
            raise BadCache(f"max_bytes= is a number of bytes, 1 or more; got {max_bytes!r}")
        self._max_bytes = max_bytes
        self._clock = clock if clock is not None else SystemClock()
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0
        # Functions in threads look and put as well.
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return "memory://"

    @property
    def size_bytes(self) -> int:
        """About how much memory is taken."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    async def open(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        await self.clear()

    def peek(self, keys: Sequence[str]) -> list[bytes | None]:
        now = self._clock.monotonic()
        found: list[bytes | None] = []
        with self._lock:
            for key in keys:
                entry = self._entries.get(key)
                if entry is None:
                    found.append(None)
                elif entry[1] <= now:
                    self._forget(key)
                    found.append(None)
                else:
                    self._entries.move_to_end(key)
                    found.append(entry[0])
        return found

    def put(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        end = self._clock.monotonic() + ttl_s
        with self._lock:
            for key, value in values.items():
                self._put(key, value, end)

    def settle_now(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        now = self._clock.monotonic()
        found = []
        with self._lock:
            for key in keys:
                entry = self._entries.get(key)
                if entry is not None and entry[1] > now:
                    self._entries.move_to_end(key)
                    found.append(entry[0])
                else:
                    self._put(key, value, now + ttl_s)
                    found.append(value)
        return found

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return self.peek(keys)

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        self.put({key: value}, ttl_s)

    async def set_many(self, values: Mapping[str, bytes], ttl_s: float) -> None:
        self.put(values, ttl_s)

    async def settle(self, keys: Sequence[str], value: bytes, ttl_s: float) -> list[bytes]:
        return self.settle_now(keys, value, ttl_s)

    async def delete(self, keys: Sequence[str]) -> int:
        now = self._clock.monotonic()
        count = 0
        with self._lock:
            for key in keys:
                gone = self._forget(key)
                count += gone is not None and gone[1] > now
        return count

    async def clear(self) -> int:
        now = self._clock.monotonic()
        with self._lock:
            count = sum(end > now for _, end in self._entries.values())
            self._entries.clear()
            self._bytes = 0
        return count

    # ------------------------------------------------------------------ holding the lock

    def _put(self, key: str, value: bytes, end: float) -> None:
        self._forget(key)  # also if the new one is too large: the old one is not what was put
        size = _size(key, value)
        if size > self._max_bytes // 4:
            return
        self._entries[key] = bytes(value), end
        self._bytes += size
        while self._bytes > self._max_bytes:
            oldest, (gone, _) = self._entries.popitem(last=False)
            self._bytes -= _size(oldest, gone)

    def _forget(self, key: str) -> tuple[bytes, float] | None:
        gone = self._entries.pop(key, None)
        if gone is not None:
            self._bytes -= _size(key, gone[0])
        return gone


def _size(key: str, value: bytes) -> int:
    return len(key) + len(value) + _OVERHEAD_BYTES
