"""Whose turn it is: tasks of one process that change one value queue up instead of racing."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

__all__ = ["Turns"]


class Turns:
    """A lock for each value that somebody is changing, and none for the others.

    Without it, of 64 tasks that update one value at once 63 would find that another was faster,
    then 62, and so on. It saves work; what makes updates safe is the store's ``swap``.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[bytes, bytes], asyncio.Lock] = WeakValueDictionary()

    def of(self, scope: bytes, key: bytes) -> asyncio.Lock:
        """The lock of one value; hold on to it for as long as it matters."""
        lock = self._locks.get((scope, key))
        if lock is None:
            lock = self._locks[scope, key] = asyncio.Lock()
        return lock

    def __len__(self) -> int:
        return len(self._locks)
