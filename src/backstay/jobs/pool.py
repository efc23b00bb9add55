"""Processes for functions that keep a processor busy."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing
from collections.abc import Mapping
from typing import Any

from backstay.errors import MissingExtra, TaskCrashed
from backstay.jobs.definition import AnyTask, require_task
from backstay.jobs.outcome import OUTCOMES

__all__ = ["ProcessPool", "run_in_process"]


class ProcessPool:
    """Runs tasks with ``executor="process"``; starts its processes when the first one comes.

    On pebble, because ``concurrent.futures`` cannot stop a process that runs, and one that dies
    takes every other call of its pool with it.

    Args:
        most: processes at most; more than there are processors only wait for each other.
    """

    def __init__(self, most: int) -> None:
        self._most = max(1, min(most, multiprocessing.cpu_count()))
        self._pool: Any = None

    async def run(self, task: AnyTask, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run a task on its arguments, which are pickled. Cancelling kills its process.

        Raises:
            MissingExtra: pebble is not installed.
            TaskCrashed: the process died.
        """
        try:
            from pebble import ProcessExpired
            from pebble import ProcessPool as PebblePool
        except ImportError as missing:
            raise MissingExtra("process", "pebble") from missing
        if self._pool is None:
            # Not fork: this process has threads, and a lock one of them holds would stay held.
            self._pool = PebblePool(
                max_workers=self._most, context=multiprocessing.get_context("spawn")
            )
        future = self._pool.schedule(
            run_in_process, args=(task.func.__module__, task.func.__qualname__, args, dict(kwargs))
        )
        try:
            text = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.cancel()
            raise
        except ProcessExpired as died:
            raise TaskCrashed(
                f"the process that ran {task.name} died with the exit code {died.exitcode}"
            ) from died
        return None if text is None else task.result.load(text)

    async def stop(self) -> None:
        """Kill what runs and let the processes go."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
            with contextlib.suppress(TimeoutError):  # then they end when this process does
                await asyncio.to_thread(pool.join, 5)


def run_in_process(
    module: str, qualname: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    """The other side: find the task, run it, give its result as JSON.

    Raises:
        Exception: what the task raised, or the outcome it returned.
    """
    found: Any = importlib.import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    task = require_task(found, "executor='process'")
    value = task.func(*args, **kwargs)
    if isinstance(value, OUTCOMES):
        raise value
    return None if value is None else task.result.dump(value)
