"""Places for calls that run, and for those that wait for one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock

__all__ = ["Compartment", "Waiter"]


class Waiter:
    """Somebody who waits for a place.

    Attributes:
        wake: called in whichever thread gives the place away. Says whether it could be told; if
            not, the place goes to the next one.
        granted: it has the place.
    """

    __slots__ = ("granted", "wake")

    def __init__(self, wake: Callable[[], bool]) -> None:
        self.wake = wake
        self.granted = False


class Compartment:
    """So many places, and a queue for them. Safe to use from several threads and event loops.

    Args:
        places: how many calls may run.
        queue: how many more may wait.
    """

    __slots__ = ("_lock", "_places", "_queue", "_running", "_waiters")

    def __init__(self, places: int, queue: int) -> None:
        self._places = places
        self._queue = queue
        self._running = 0
        self._waiters: deque[Waiter] = deque()
        self._lock = Lock()

    @property
    def running(self) -> int:
        """How many places are taken."""
        return self._running

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return len(self._waiters)

    def enter(self, new_waiter: Callable[[], Waiter]) -> Waiter | bool:
        """Take a place, or else one in the queue.

        Returns:
            ``True`` for a place; whoever waits for one; ``False`` if there is no room at all.
        """
        with self._lock:
            if self._running < self._places:
                self._running += 1
                return True
            if len(self._waiters) >= self._queue:
                return False
            waiter = new_waiter()
            self._waiters.append(waiter)
            return waiter

    def leave(self) -> None:
        """Give a place up; whoever waits for longest has it then."""
        while True:
            with self._lock:
                if not self._waiters:
                    self._running -= 1
                    return
                waiter = self._waiters.popleft()
                waiter.granted = True
            if waiter.wake():
                return
            waiter.granted = False

    def give_up(self, waiter: Waiter) -> None:
        """Wait no more. A place that was given meanwhile is given up, too."""
        with self._lock:
            if not waiter.granted:
                if waiter in self._waiters:  # unless it could not be told that it had a place
                    self._waiters.remove(waiter)
                return
        self.leave()

    def is_idle(self, now: float) -> bool:
        return self._running == 0
