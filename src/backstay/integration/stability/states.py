"""What a pattern remembers, apart for each thing that is called."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar

__all__ = ["State", "States"]

_LOOKED_AT: Final = 8
"""How many of the oldest are asked whether they can be let go, each time one is added."""


class State(Protocol):
    """What is remembered about one thing."""

    def is_idle(self, now: float) -> bool:
        """Whether a new one would behave the same from now on.

        Args:
            now: seconds, as the clock's ``monotonic()``.
        """


S = TypeVar("S", bound=State)


class States(Generic[S]):
    """States by name, made on first use. Safe to use from several threads.

    Args:
        make: makes a new one.
        most: beyond so many, those not used for longest are let go if they are idle, so that keys
            taken from requests do not fill the memory.
    """

    def __init__(self, make: Callable[[], S], *, most: int = 10_000) -> None:
        self._make = make
        self._most = most
        self._states: OrderedDict[Hashable, S] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._states)

    def of(self, name: Hashable, now: float) -> S:
        """The state of that name."""
        with self._lock:
            state = self._states.get(name)
            if state is not None:
                self._states.move_to_end(name)
                return state
            state = self._states[name] = self._make()
            if len(self._states) > self._most:
                self._let_go(now)
            return state

    def _let_go(self, now: float) -> None:
        """Drop old ones. Holds the lock; never drops the newest."""
        for _ in range(min(_LOOKED_AT, len(self._states) - 1)):
            if len(self._states) <= self._most:
                return
            name, oldest = next(iter(self._states.items()))
            if oldest.is_idle(now):
                del self._states[name]
            else:
                self._states.move_to_end(name)
