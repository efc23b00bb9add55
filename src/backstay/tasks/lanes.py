"""Who may run now: per-function limits and the app-wide one."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any

from backstay.tasks.handle import Task

__all__ = ["Lane", "Lanes", "OUTSIDE", "Pending"]

AnyTask = Task[..., Any]


OUTSIDE = object()
"""The lane of tasks that no limit counts."""


class Pending:
    """How many tasks have been accepted and not started, wherever they wait."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Lane:
    """The tasks that share one ``limit``."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[AnyTask] = deque()


class Lanes:
    """Admits tasks in the order they came, as limits allow.

    A task first gets a place in its own lane, then one of the ``max_running`` places of the app.
    Lanes exist only while they hold a task, so keys may be as many as they like.

    Args:
        max_running: tasks that may run at a time. ``None`` means no limit.
        start: called with each task that is admitted.
        pending: counts the tasks that wait here, among others.
    """

    def __init__(
        self, max_running: int | None, start: Callable[[AnyTask], None], pending: Pending
    ) -> None:
        self._free = max_running if max_running is not None else float("inf")
        self._start = start
        self._lanes: dict[Hashable, Lane] = {}
        self._ready: deque[AnyTask] = deque()
        self._pending = pending

    def enter(self, task: AnyTask) -> None:
        """Start the task, or remember it until it may start."""
        limit = task.config.limit
        if limit is None and self._free > 0 and not self._ready:
            self._free -= 1
            self._start(task)
            return
        if limit is not None:
            key = task.config.limit_key
            if key is None:
                key = _function_of(task.func)
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = Lane()
            task._lane_key = key
            # Even where this task's own limit would admit it, it does not overtake.
            if lane.running >= limit or lane.waiting:
                task.remember_variables()
                lane.waiting.append(task)
                self._pending.count += 1
                return
            lane.running += 1
        self._admit(task)

    def leave(self, task: AnyTask) -> None:
        """The task, which was started, is over: its places go to the next ones."""
        if task._lane_key is not None:
            if task._lane_key is OUTSIDE:
                return
            self._release_lane(task)
        self._free += 1
        while self._ready and self._free > 0:
            following = self._ready.popleft()
            self._pending.count -= 1
            if following.outcome is None:
                self._free -= 1
                self._start(following)
            else:
                self._release_lane(following)  # cancelled while it waited

    def drain_waiting(self) -> list[AnyTask]:
        """Forget every task that waits here, and return them."""
        tasks = [task for lane in self._lanes.values() for task in lane.waiting]
        tasks += self._ready
        for task in self._ready:
            if task._lane_key is not None:
                self._lanes[task._lane_key].running -= 1
        for key, lane in list(self._lanes.items()):
            lane.waiting.clear()
            if lane.running == 0:
                del self._lanes[key]
        self._ready.clear()
        self._pending.count -= len(tasks)
        return [task for task in tasks if task.outcome is None]

    def _admit(self, task: AnyTask) -> None:
        if self._free > 0 and not self._ready:
            self._free -= 1
            self._start(task)
        else:
            task.remember_variables()
            self._ready.append(task)
            self._pending.count += 1

    def _release_lane(self, task: AnyTask) -> None:
        key, task._lane_key = task._lane_key, None
        if key is None:
            return
        lane = self._lanes[key]
        lane.running -= 1
        while lane.waiting:
            following = lane.waiting[0]
            if following.outcome is None:
                limit = following.config.limit
                if limit is not None and lane.running >= limit:
                    break
                lane.waiting.popleft()
                self._pending.count -= 1
                lane.running += 1
                self._admit(following)
            else:
                lane.waiting.popleft()
                self._pending.count -= 1
        if lane.running == 0 and not lane.waiting:
            del self._lanes[key]


def _function_of(func: Callable[..., Any]) -> Hashable:
    """What "per function" counts over: every partial of a function is that function."""
    while isinstance(func, functools.partial):
        func = func.func
    try:
        hash(func)
    except TypeError:
        return id(func)
    return func
