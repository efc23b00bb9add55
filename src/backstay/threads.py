"""The threads sync tasks run in: their own, never those that serve sync endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context as Variables
from queue import SimpleQueue
from typing import Any

__all__ = ["Job", "ThreadPool"]

try:
    # So that anyio.from_thread works in sync tasks as it does in Starlette's threads. AnyIO has
    # no public way to say that a thread belongs to an event loop; without this one, only
    # anyio.from_thread is missing there.
    from anyio._backends._asyncio import AsyncIOBackend
    from anyio._core._eventloop import claim_worker_thread
except ImportError:  # pragma: no cover  # an AnyIO that arranges this differently
    claim_worker_thread = None  # type: ignore[assignment]  # asked for below

logger = logging.getLogger("backstay.tasks")


class Job:
    """One call on its way through a thread.

    Attributes:
        running: a thread is at it.
        abandoned: nobody waits for it any more.
        at_end: called in its thread when an abandoned call has come to its end after all.
    """

    __slots__ = ("abandoned", "at_end", "call", "future", "running", "variables")

    def __init__(
        self,
        call: Callable[[], Any],
        variables: Variables,
        future: asyncio.Future[tuple[Any, BaseException | None]],
    ) -> None:
        self.call = call
        self.variables = variables
        self.future = future
        self.running = False
        self.abandoned = False
        self.at_end: Callable[[], object] | None = None


class ThreadPool:
    """At most ``size`` daemon threads, started as needed, kept until ``stop``.

    Not ``concurrent.futures``: its threads are joined when the interpreter exits, so one task
    that hangs would keep the process alive for ever, and shutdown here is bounded. Results
    cross back in batches, one wake-up of the event loop for all that finished meanwhile.

    Args:
        size: threads at most. A thread left behind by a timeout or a cancellation no longer
            counts, and ends when its function does.
        loop: the event loop that awaits the results.
    """

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop) -> None:
        self._size = size
        self._loop = loop
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._unclaimed = 0
        self._lock = threading.Lock()
        self._done: deque[tuple[Job, Any, BaseException | None]] = deque()
        self._wake_pending = False

    def submit(self, call: Callable[[], Any], variables: Variables) -> Job:
        """Hand ``call`` to a thread, now. Call from the event loop."""
        job = Job(call, variables, self._loop.create_future())
        with self._lock:
            self._unclaimed += 1
            self._queue.put(job)
            self._grow_if_needed()
        return job

    async def result(self, job: Job) -> Any:
        """Wait for a job: its value, or its exception raised.

        If the waiting is cancelled the job is given up: it never starts if it has not, and its
        result is ignored if it has.
        """
        try:
            value, error = await job.future
        except asyncio.CancelledError:
            self._abandon(job)
            raise
        if error is not None:
            raise error
        return value

    def stop(self) -> None:
        """Let every thread end as soon as it is free."""
        with self._lock:
            for _ in range(self._threads):
                self._unclaimed += 1
                self._queue.put(None)

    def _abandon(self, job: Job) -> None:
        with self._lock:
            if job.abandoned:
                return
            job.abandoned = True
            if job.running:
                self._threads -= 1  # a new thread may take its place
                self._grow_if_needed()

    def _grow_if_needed(self) -> None:
        """Start a thread if there are more jobs than threads to claim them. Holds the lock."""
        if self._unclaimed > self._idle and self._threads < self._size:
            self._threads += 1
            threading.Thread(target=self._work, name="backstay-task", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            job = self._queue.get()
            with self._lock:
                # Both together, and not the queue's own length: a thread that has been handed
                # a job and has not got here yet must not pass for one that could take another.
                self._idle -= 1
                self._unclaimed -= 1
                if job is None:
                    self._threads -= 1
                    return
                if job.abandoned:
                    continue
                job.running = True
            value, error = None, None
            try:
                with _as_anyio_worker(self._loop):
                    value = job.variables.run(job.call)
            except BaseException as raised:
                error = raised
            with self._lock:
                job.running = False
                abandoned = job.abandoned
            if abandoned:
                if error is not None:
                    logger.warning("a task that had been given up failed later", exc_info=error)
                if job.at_end is not None:
                    job.at_end()
                return  # this thread has been replaced
            self._deliver(job, value, error)
            del job, value, error  # an idle thread should keep nobody's arguments alive

    def _deliver(self, job: Job, value: Any, error: BaseException | None) -> None:
        self._done.append((job, value, error))
        if not self._wake_pending:
            self._wake_pending = True
            # A closed loop refuses: nobody is waiting any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._flush)

    def _flush(self) -> None:
        # First the flag, then the queue: whoever appends after the last popleft sees False.
        self._wake_pending = False
        while self._done:
            job, value, error = self._done.popleft()
            if not job.future.done():
                job.future.set_result((value, error))


def _as_anyio_worker(loop: asyncio.AbstractEventLoop) -> contextlib.AbstractContextManager[object]:
    if claim_worker_thread is None:  # pragma: no cover  # see the import
        return contextlib.nullcontext()
    return claim_worker_thread(AsyncIOBackend, loop)
