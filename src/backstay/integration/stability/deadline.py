"""When a call has taken too long, and who wants to hear of it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from threading import Lock

__all__ = ["Deadline", "current_deadline"]


class Deadline:
    """The end of somebody's patience with what runs inside it.

    A time-out reaches an async function as a cancellation, which says nothing of the other side,
    and another function not at all. A breaker that stands inside hears of it here.
    """

    __slots__ = ("_listeners", "_lock", "expired", "outer")

    def __init__(self, outer: Deadline | None) -> None:
        self.outer = outer
        self.expired = False
        self._lock = Lock()
        self._listeners: dict[Callable[[], object], None] = {}

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` when this or an outer one expires.

        Those that have expired do not count: what begins after that (in a task or thread that was
        left behind, say) is nothing that anybody waited for too long.
        """
        each: Deadline | None = self
        while each is not None:
            with each._lock:
                if not each.expired:
                    each._listeners[listener] = None
            each = each.outer

    def forget(self, listener: Callable[[], object]) -> None:
        """Call it no more."""
        each: Deadline | None = self
        while each is not None:
            with each._lock:
                each._listeners.pop(listener, None)
            each = each.outer

    def expire(self) -> None:
        """Time is up."""
        with self._lock:
            self.expired = True
            listeners = list(self._listeners)
            self._listeners.clear()
        for each in listeners:
            each()


current_deadline: ContextVar[Deadline | None] = ContextVar("backstay_deadline", default=None)
"""The innermost deadline of the code that is running."""
