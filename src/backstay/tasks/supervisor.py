"""Runs tasks, so that whatever happens in one touches no other.

One supervisor lives in one event loop. Everything here runs in that loop, except where a
docstring says "any thread".
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, NoReturn, Protocol

from backstay.calls import is_async_callable
from backstay.clock import Clock
from backstay.context import Moment, current_work
from backstay.errors import (
    TaskCancelled,
    TaskCrashed,
    TasksClosed,
    TaskTimeout,
    TooManyTasks,
)
from backstay.observation import Kind
from backstay.tasks.handle import Task
from backstay.tasks.lanes import OUTSIDE, Lanes, Pending
from backstay.tasks.outcome import Cancelled, Failed, Skipped, Succeeded
from backstay.threads import ThreadPool

__all__ = ["AnyTask", "Supervisor", "WaitingTasks"]

logger = logging.getLogger("backstay.tasks")

AnyTask = Task[..., Any]

_SUCCEEDED_WITH_NOTHING = Succeeded(None)  # by far the most frequent outcome


class WaitingTasks(Protocol):
    """Tasks that wait for a moment, as far as a supervisor has to know."""

    def withdraw(self) -> list[AnyTask]:
        """Nothing waits any more; what did is returned."""


class Supervisor:
    """The tasks of one app in one event loop.

    Args:
        loop: the event loop; the caller runs in it.
        clock: time for time-outs, pauses and marks.
        max_running: tasks that run at a time, ``None`` for no limit.
        max_pending: tasks that may wait for their moment or for a place, ``None`` for no limit.
        threads: threads for sync functions, at most.

    Attributes:
        running: started and not over, error handlers included.
        pending: accepted and not started. Counted in the event loop only.
        inbox: what other threads have sent in and the event loop has not seen yet.
        room: how many may be pending.
        batches: what waits for moments still to come.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        *,
        max_running: int | None,
        max_pending: int | None,
        threads: int,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.running: set[AnyTask] = set()
        self.pending = Pending()
        self.room = math.inf if max_pending is None else max_pending
        self.batches: set[WaitingTasks] = set()
        self._lanes = Lanes(max_running, self._start, self.pending)
        self._pool = ThreadPool(threads, loop)
        self.thread = threading.get_ident()
        self.inbox: deque[Callable[[], object]] = deque()
        self._inbox_lock = threading.Lock()
        self._inbox_wake_pending = False
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._closed_because: str | None = None
        self._refusing = False

    # ------------------------------------------------------------------ taking tasks in

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self.running and not self.pending.count and not self.inbox

    def refuse(self, name: str) -> NoReturn:
        """Say why a task was not accepted: ``pending.count`` is not below ``room``. Any thread.

        Raises:
            TasksClosed: the app has stopped.
            TooManyTasks: ``max_pending`` is reached.
        """
        if self._closed_because is not None:
            raise TasksClosed(f"the task {name!r} was refused: {self._closed_because}")
        raise TooManyTasks(
            f"the task {name!r} was refused: {self.pending.count} tasks are waiting and "
            f"max_pending is {self.room}; raise max_pending or max_running in "
            "add_tasks(app, ...), or let the client come back later"
        )

    def in_loop(self, call: Callable[[], object]) -> None:
        """Run ``call`` in the event loop: now if this is its thread, else in its next turn.

        Any thread. Calls made from one thread keep their order. ``call`` takes in one task.
        """
        if threading.get_ident() == self.thread:
            call()
            return
        with self._inbox_lock:
            self.inbox.append(call)
            wake = not self._inbox_wake_pending
            self._inbox_wake_pending = True
        if wake:
            self.loop.call_soon_threadsafe(self._empty_inbox)

    def _empty_inbox(self) -> None:
        with self._inbox_lock:
            calls = list(self.inbox)
            self.inbox.clear()
            self._inbox_wake_pending = False
        for call in calls:
            call()
        self.notice_idle()

    def submit(self, task: AnyTask) -> None:
        """Run the task as soon as its limits allow."""
        if self._refusing:
            self._finish_unstarted(task, "the app is shutting down and its grace period is over")
        else:
            self._lanes.enter(task)

    def submit_outside_limits(self, task: AnyTask) -> None:
        """Run the task now, whatever the limits: FastAPI never had any for its own."""
        task._lane_key = OUTSIDE
        if self._refusing:
            self._finish_unstarted(task, "the app is shutting down and its grace period is over")
        else:
            self._start(task)

    # ------------------------------------------------------------------ running them

    def _start(self, task: AnyTask) -> None:
        self.running.add(task)
        if task.config.plain and not is_async_callable(task.func):
            # Into its thread at once: the event loop may be busy for a long while yet.
            task._job = self._submit_to_thread(task)
        if task._variables is None:
            task._asyncio_task = self.loop.create_task(self._run(task))
        else:
            task._asyncio_task = self.loop.create_task(self._run(task), context=task._variables)
            task._variables = None

    async def _run(self, task: AnyTask) -> None:
        current_work.set(task)
        task._begun = True
        seen = (
            task.app.observe(Kind.TASK, task.name, task.correlation_id)
            if task.app.is_observed(Kind.TASK)
            else None
        )
        try:
            if task._cancel_reason is not None:
                raise asyncio.CancelledError  # cancelled between create_task and here
            if task.config.plain and task._job is None:
                # The hot path: one asynchronous function, nothing asked for.
                task._running = True
                task.attempts = 1
                if task._started is not None:
                    task._started.set(self.clock.now())
                value = await task.func(*task.args, **task.kwargs)
            else:
                value = await self._attempts(task)
            if task._context is not None:
                await self._returned(task)
            outcome: Succeeded[Any] | Failed | Cancelled = (
                _SUCCEEDED_WITH_NOTHING if value is None else Succeeded(value)
            )
        except GeneratorExit:
            # The event loop is gone and the coroutine is being thrown away: no await works.
            self._log(task, logging.ERROR, "was lost: its event loop ended while it ran")
            raise
        except BaseException as error:
            outcome = await self._failed(task, error)
        if seen is not None:
            if isinstance(outcome, Failed):
                seen.end("failed", error=outcome.error)
            else:
                seen.end("ok" if outcome.ok else "cancelled")
        self._finish(task, outcome)
        self.running.discard(task)
        self._lanes.leave(task)
        if self._idle_waiters and not self.running:
            self.notice_idle()

    async def _returned(self, task: AnyTask) -> None:
        """The function returned: its own context passes RETURNED, and holds what was held."""
        assert task._context is not None
        while task._writing:
            writing, task._writing = task._writing, None
            for write in writing:
                await write()
        task._context.reach(Moment.RETURNED, True)
        if task._held:
            for until in task._held:
                await until()

    async def _attempts(self, task: AnyTask) -> Any:
        retry = task.config.retry
        while True:
            try:
                return await self.call(task)
            except Exception as error:
                if retry is None or not retry.wants(error, task.attempts):
                    raise
                if task._context is not None:
                    # What this attempt wanted written is not the next one's.
                    task._writing = None
                    task._context.unbind("durable")
                    if task._context.has("db"):
                        await self._roll_back(task)
                pause_s = retry.pause_s(task.attempts, self.clock.random())
                self._log(
                    task,
                    logging.WARNING,
                    "failed at attempt %d of %d and is tried again in %.3g s: %r",
                    task.attempts,
                    retry.attempts,
                    pause_s,
                    error,
                )
                await self.clock.sleep(pause_s)

    async def call(self, task: AnyTask) -> Any:
        """Run the function once, within its time; raise what it raises."""
        timeout_s = task.config.timeout
        if timeout_s is None:
            return await self._call_untimed(task)
        current = asyncio.current_task()
        assert current is not None
        task._expired = False

        def expire() -> None:
            task._expired = True
            current.cancel()

        timer = self.clock.call_later(timeout_s, expire)
        try:
            return await self._call_untimed(task)
        except asyncio.CancelledError:
            if not task._expired or task._cancel_reason is not None:
                raise
            current.uncancel()
            raise TaskTimeout(
                f"the task {task.name!r} ran longer than its timeout of {timeout_s} s"
            ) from None
        finally:
            task._expired = False
            timer.cancel()

    async def _call_untimed(self, task: AnyTask) -> Any:
        if is_async_callable(task.func):
            self._mark_started(task)
            return await task.func(*task.args, **task.kwargs)
        job, task._job = task._job or self._submit_to_thread(task), None
        value = await self._pool.result(job)
        if inspect.isawaitable(value):
            # A plain callable around a coroutine function: lambda: send(order).
            value = await value
        return value

    def _submit_to_thread(self, task: AnyTask) -> Any:
        variables = copy_context() if task._variables is None else task._variables.copy()
        variables.run(current_work.set, task)

        def call() -> Any:
            self._mark_started(task)
            return task.func(*task.args, **task.kwargs)

        return self._pool.submit(call, variables)

    def _mark_started(self, task: AnyTask) -> None:
        """Any thread."""
        task._running = True
        task.attempts += 1
        mark = task._started
        if mark is not None and not mark:
            if threading.get_ident() == self.thread:
                mark.set(self.clock.now())
            else:
                self.loop.call_soon_threadsafe(mark.set, self.clock.now())

    # ------------------------------------------------------------------ how they end

    async def _failed(self, task: AnyTask, error: BaseException) -> Any:
        """Say why the task ended, tell its handler, and name the outcome."""
        current = asyncio.current_task()
        assert current is not None
        outcome: Failed | Cancelled
        told: Exception
        if isinstance(error, asyncio.CancelledError) and (
            task._cancel_reason is not None or current.cancelling()
        ):
            while current.cancelling():
                current.uncancel()  # so that the handler may use timeouts and task groups
            reason = task._cancel_reason or "something outside backstay cancelled it"
            told = TaskCancelled(f"the task {task.name!r} was cancelled: {reason}")
            outcome = Cancelled(reason)
            self._log(task, logging.WARNING, "was cancelled: %s", reason)
        elif isinstance(error, Exception):
            told = error
            outcome = Failed(error)
            self._log(task, logging.ERROR, "failed", error=error)
        else:
            told = TaskCrashed(
                f"the task {task.name!r} ended by {type(error).__name__}, which is no Exception"
            )
            told.__cause__ = error
            outcome = Failed(told)
            self._log(task, logging.ERROR, "ended by %s", type(error).__name__, error=error)
        task._cancel_reason = None
        if task._context is not None:
            task._context.reach(Moment.RETURNED, False)
            if task._context.has("db"):
                # Or a commit in the handler would commit what the failed attempt wrote.
                await self._roll_back(task)
        task._telling = True
        await self._tell_handler(task, told)
        if task._rerun is not None and isinstance(outcome, Failed):
            return task._rerun
        return outcome

    async def _roll_back(self, task: AnyTask) -> None:
        try:
            await task.context.db.rollback()
        except Exception as raised:
            self._log(task, logging.ERROR, "could not roll back what it wrote", error=raised)

    async def _tell_handler(self, task: AnyTask, error: Exception) -> None:
        handler = task.config.on_error
        if handler is None:
            return
        try:
            if is_async_callable(handler):
                await handler(task, error)
            else:
                job = self._pool.submit(lambda: handler(task, error), copy_context())
                answer = await self._pool.result(job)
                if inspect.isawaitable(answer):
                    await answer
            if task._rerun is None:
                return
        except GeneratorExit:
            raise
        except BaseException as raised:
            task._rerun = None
            self._log(task, logging.ERROR, "has an error handler that failed", error=raised)

    def _finish(self, task: AnyTask, outcome: Any) -> None:
        task.outcome = outcome
        task._running = False
        task._asyncio_task = None
        if task._finished is not None:
            task._finished.set(self.clock.now())
        if task._context is not None:
            task._context.reach(Moment.ANSWERED, outcome.ok)
            task._context.close()

    def skip(self, task: AnyTask, reason: str) -> None:
        """The task will never start, because what it waited for did not happen."""
        self._log(task, logging.INFO, "was not run: %s", reason)
        self._finish(task, Skipped(reason))

    def _finish_unstarted(self, task: AnyTask, reason: str) -> None:
        """Cancel a task that was accepted and never started, and tell its handler."""
        self._log(task, logging.WARNING, "was cancelled before it started: %s", reason)
        if task.config.on_error is None:
            self._finish(task, Cancelled(reason))
            return

        async def tell() -> None:
            current_work.set(task)
            error = TaskCancelled(
                f"the task {task.name!r} was cancelled before it started: {reason}"
            )
            await self._tell_handler(task, error)
            self.running.discard(task)
            self._finish(task, Cancelled(reason))
            self.notice_idle()

        task._telling = True
        self.running.add(task)
        task._asyncio_task = self.loop.create_task(tell(), context=task._variables)

    def cancel(self, task: AnyTask, reason: str) -> bool:
        """Cancel one task. Any thread."""
        if task.outcome is not None or task._telling:
            return False
        if task.config.shield and task._asyncio_task is not None:
            return False
        self.in_loop(lambda: self._cancel_in_loop(task, reason))
        return True

    def _cancel_in_loop(self, task: AnyTask, reason: str) -> None:
        if task.outcome is not None or task._cancel_reason is not None:
            return
        if task._asyncio_task is None:
            self._finish_unstarted(task, reason)
            return
        task._cancel_reason = reason
        if task._begun:
            # Not before: asyncio would throw into a coroutine that has not reached its try.
            task._asyncio_task.cancel()

    def _log(
        self,
        task: AnyTask,
        level: int,
        what: str,
        *args: object,
        error: BaseException | None = None,
    ) -> None:
        if logger.isEnabledFor(level):
            logger.log(
                level,
                "the task %r " + what,
                task.name,
                *args,
                exc_info=error,
                extra={
                    "correlation_id": task._parent.correlation_id,
                    "task": task.name,
                    "attempts": task.attempts,
                },
            )

    # ------------------------------------------------------------------ waiting and stopping

    async def settled(self) -> None:
        """Wait until nothing runs and nothing waits.

        Raises:
            RuntimeError: called from inside a task, which would wait for itself.
        """
        work = current_work.get()
        if isinstance(work, Task) and work in self.running:
            raise RuntimeError(f"settle() inside the task {work.name!r} would wait for itself")
        while not self.idle:
            waiter = self.loop.create_future()
            self._idle_waiters.append(waiter)
            await waiter

    def notice_idle(self) -> None:
        """Wake who waits for rest, if this is it."""
        if self._idle_waiters and self.idle:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def close_for(self, reason: str) -> None:
        """Take no more tasks from now on."""
        self._closed_because = reason
        self.room = -1

    def cancel_unshielded(self, reason: str) -> None:
        """Cancel what is not shielded, running or waiting, and refuse to start anything more."""
        self._refusing = True
        for task in self._lanes.drain_waiting():
            self._finish_unstarted(task, reason)
        for task in list(self.running):
            if task._asyncio_task is not None and task._asyncio_task.done():
                # Somebody else cancelled it before its first step, so none of our code ran.
                self.running.discard(task)
                self._finish(task, Cancelled("something outside backstay cancelled it"))
            elif not task.config.shield and not task._telling:
                self._cancel_in_loop(task, reason)
        self.notice_idle()

    def cancel_all(self, reason: str) -> None:
        """Cancel everything: running tasks, shielded ones and error handlers included."""
        self._refusing = True
        for batch in list(self.batches):
            for task in batch.withdraw():
                self._finish_unstarted(task, reason)
        for task in list(self.running):
            task._cancel_reason = None  # a task in its error handler has been cancelled before
            self._cancel_in_loop(task, reason)
        self.notice_idle()

    def abandon(self) -> None:
        """Let go of what would not stop, so that the event loop can end without it."""
        for task in list(self.running):
            self._log(task, logging.ERROR, "ignored its cancellation and was abandoned")
            if task._asyncio_task is not None:
                # Documented for writers of task implementations: the loop's last act is to
                # wait for every task it knows, and this one has shown that it never ends.
                asyncio._unregister_task(task._asyncio_task)
            self._finish(task, Cancelled("it ignored its cancellation at shutdown"))
        self.running.clear()
        self.notice_idle()
        self._pool.stop()
