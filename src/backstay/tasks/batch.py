"""Tasks that wait for a moment."""

from __future__ import annotations

from backstay.tasks.supervisor import AnyTask, Supervisor

__all__ = ["Batch", "start_or_skip"]


class Batch:
    """The tasks that wait for one moment of one context."""

    __slots__ = ("_supervisor", "_tasks", "_what")

    def __init__(self, supervisor: Supervisor, what: str) -> None:
        self._supervisor = supervisor
        self._what = what
        self._tasks: list[AnyTask] = []
        supervisor.batches.add(self)

    def add(self, task: AnyTask) -> None:
        """One more task waits."""
        self._tasks.append(task)
        self._supervisor.pending.count += 1

    def withdraw(self) -> list[AnyTask]:
        """Nothing waits any more; what did is returned, without those cancelled meanwhile."""
        tasks, self._tasks = self._tasks, []
        self._supervisor.pending.count -= len(tasks)
        self._supervisor.batches.discard(self)
        return [task for task in tasks if task.outcome is None]

    def fire(self, succeeded: bool) -> None:
        """The moment has come: start what waited for such an end, skip the rest."""
        supervisor = self._supervisor
        for task in self.withdraw():
            start_or_skip(supervisor, task, succeeded, self._what)
        supervisor.notice_idle()


def start_or_skip(supervisor: Supervisor, task: AnyTask, succeeded: bool, what: str) -> None:
    """Start a task whose moment has come, if it waited for this kind of end."""
    when = task.config.when or "success"
    if (when == "success") is succeeded or when == "always":
        supervisor.submit(task)
    else:
        ended = "succeeded" if succeeded else "failed"
        supervisor.skip(task, f"the {what} {ended} and the task waited for when={when!r}")
