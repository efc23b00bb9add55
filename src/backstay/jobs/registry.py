"""The tasks an app knows by name."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

from backstay.errors import BadJob
from backstay.jobs.definition import AnyTask, TaskFunction

__all__ = ["Registry"]

logger = logging.getLogger("backstay.jobs")


class Registry:
    """Finds a ``@task`` by what a row calls it.

    Nothing is registered at import. Tasks are found in the modules that are loaded, when the
    app starts and again when a row names one that is not known; and whatever is scheduled is
    known from then on.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, AnyTask] = {}
        self._aliases: dict[str, AnyTask] = {}
        self._scanned = 0

    def add(self, task: AnyTask) -> None:
        """Know a task, its aliases, and the tasks that handle its failures.

        Raises:
            BadJob: another one has its name.
        """
        known = self._tasks.get(task.name)
        if known is task:
            return
        if known is not None and not _replaces(task, known):
            raise BadJob(
                f"two tasks are called {task.name!r}: {_place(known)} and {_place(task)}; give "
                "one of them another name="
            )
        for alias in task.aliases:
            holder = self._tasks.get(alias) or self._aliases.get(alias)
            if holder is not None and holder.name != task.name:
                raise self._two_of(alias, holder, task)
        holder = self._aliases.get(task.name)
        if holder is not None and holder.name != task.name:
            raise self._two_of(task.name, task, holder)
        self._tasks[task.name] = task
        self._aliases.update(dict.fromkeys(task.aliases, task))
        for handler in (task.on_error, task.on_discard):
            if handler is not None:
                self.add(handler)

    @staticmethod
    def _two_of(name: str, one: AnyTask, other: AnyTask) -> BadJob:
        return BadJob(
            f"rows named {name!r} would belong to both {one.name} and {other.name}, by name or by "
            "alias; they can belong to one of them only"
        )

    def scan(self) -> None:
        """Look for tasks in every loaded module.

        Raises:
            BadJob: two have the same name.
        """
        self._scanned = len(sys.modules)
        for module in list(sys.modules.values()):
            for value in list(getattr(module, "__dict__", {}).values()):
                if type(value) is TaskFunction:
                    self.add(value)

    def find(self, name: str) -> AnyTask | None:
        """The task a row means, ``None`` if no loaded module has it."""
        task = self._tasks.get(name) or self._aliases.get(name)
        if task is None and self._scanned != len(sys.modules):
            # Only if more is loaded than last time: a table full of strangers must not cost much.
            try:
                self.scan()
            except BadJob:
                # Found out too late to refuse to start; the one that was known first stays.
                logger.exception("a module that was loaded later brings a task that cannot be")
            task = self._tasks.get(name) or self._aliases.get(name)
        return task

    @property
    def queues(self) -> set[str]:
        """Every queue that a known task names."""
        return {task.queue for task in self}

    def __iter__(self) -> Iterator[AnyTask]:
        return iter(list(self._tasks.values()))

    def __len__(self) -> int:
        return len(self._tasks)


def _replaces(task: AnyTask, known: AnyTask) -> bool:
    """Whether ``task`` is what its module has now for ``known``: the module was loaded again."""
    new, old = task.func, known.func
    return (
        new.__module__ == old.__module__
        and new.__qualname__ == old.__qualname__
        # Functions made by a function have one place and may still be different.
        and "<locals>" not in new.__qualname__
    )


def _place(task: AnyTask) -> str:
    code = getattr(task.func, "__code__", None)
    where = "" if code is None else f" ({code.co_filename}:{code.co_firstlineno})"
    return f"{task.func.__module__}.{task.func.__qualname__}{where}"
