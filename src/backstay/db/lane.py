"""A thread in which short statements run one after the other.

Python's ``sqlite3`` lets go of the interpreter's lock at every row, so that several threads that
read at once spend more time on handing it to each other than on reading: ten readers in four
threads were measured to cost two to three times the CPU of the same ten in one. So there is one,
as long as it keeps up, and another when a slow statement holds it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context as Variables
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from backstay.errors import MissingExtra

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

try:
    from sqlalchemy.exc import IntegrityError
except ImportError as missing:
    raise MissingExtra("db", "sqlalchemy") from missing

__all__ = ["Lane"]

T = TypeVar("T")

_STALL_S = 0.005
"""A statement that makes others wait for longer than this gets a thread beside it."""

_IDLE_S = 10.0
"""A thread with nothing to do for so long ends, and closes its connection."""


class Lane:
    """Calls with a connection, made for the coroutines of one event loop.

    Args:
        connect: opens a connection, in the thread that will use it.
        loop: the event loop that awaits the results.
        size: threads at most.
        keep: whether a thread keeps its connection from one call to the next, which saves a
            fifth of a short read. Then a call must leave no transaction open.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        loop: asyncio.AbstractEventLoop,
        *,
        size: int = 1,
        keep: bool = False,
    ) -> None:
        self._connect = connect
        self._loop = loop
        self._size = size
        self._keep = keep
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._serving = 0
        self._idle = 0
        self._unclaimed = 0
        self._claimed = 0
        self._claimed_before = 0
        self._watch: asyncio.TimerHandle | None = None
        self._done: deque[tuple[_Call, Any, BaseException | None]] = deque()
        self._wake_pending = False

    async def run(self, call: Callable[[Connection], T]) -> T:
        """What ``call`` returns, or raises, in the thread. Call from the event loop.

        If the waiting is cancelled, a call that has not begun never does, and one that has is
        carried through, its connection given back, its result thrown away.
        """
        waiting = _Call(call, copy_context(), self._loop.create_future())
        with self._lock:
            self._unclaimed += 1
            self._queue.put(waiting)
            if not self._serving:
                self._start_thread()
            elif self._unclaimed > self._idle and self._watch is None and self._size > 1:
                self._claimed_before = self._claimed
                self._watch = self._loop.call_later(_STALL_S, self._look)
        value, error = await waiting.future
        if error is not None:
            try:
                raise error
            finally:
                del error  # which holds this frame, which would hold it
        return value  # type: ignore[no-any-return]  # what the call returned

    def stop(self) -> None:
        """Let every thread end when it has done what is waiting already."""
        with self._lock:
            for _ in range(self._serving):
                self._unclaimed += 1
                self._queue.put(None)

    def join(self, timeout_s: float) -> None:
        """Wait for the threads to end, each for at most that long. Blocks."""
        with self._lock:
            threads = tuple(self._threads)
        for thread in threads:
            thread.join(timeout_s)

    # ------------------------------------------------------------------ in the event loop

    def _look(self) -> None:
        """Once every few milliseconds while something waits: does it get on?"""
        with self._lock:
            self._watch = None
            if self._unclaimed <= self._idle:
                return
            if self._claimed == self._claimed_before and self._serving < self._size:
                self._start_thread()
            self._claimed_before = self._claimed
            self._watch = self._loop.call_later(_STALL_S, self._look)

    def _flush(self) -> None:
        # First the flag, then the queue: whoever appends after the last popleft sees False.
        self._wake_pending = False
        while self._done:
            waiting, value, error = self._done.popleft()
            if not waiting.future.done():
                waiting.future.set_result((value, error))

    # ------------------------------------------------------------------ in the threads

    def _start_thread(self) -> None:
        """Holds the lock."""
        thread = threading.Thread(target=self._work, name="backstay-db", daemon=True)
        self._threads.add(thread)
        self._serving += 1
        thread.start()

    def _work(self) -> None:
        connection: Connection | None = None
        while (waiting := self._next()) is not None:
            if waiting.future.cancelled():
                continue
            value: Any = None
            error: BaseException | None = None
            try:
                if connection is None:
                    connection = self._connect()
                value = waiting.variables.run(waiting.call, connection)
            except BaseException as raised:
                error = raised
            if connection is not None and not (self._keep and _is_sound(error)):
                _close(connection)
                connection = None
            self._deliver(waiting, value, error)
            del waiting, value, error  # an idle thread should keep nobody's arguments alive
        if connection is not None:
            _close(connection)
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _next(self) -> _Call | None:
        """What to do next; ``None`` to end, which this thread then has to do."""
        with self._lock:
            if self._idle and self._unclaimed <= self._idle:
                # Somebody waits here already, and two would get into each other's way.
                self._serving -= 1
                return None
            self._idle += 1
        try:
            waiting = self._queue.get(timeout=_IDLE_S)
        except Empty:
            with self._lock:
                self._idle -= 1
                if self._unclaimed <= self._idle:
                    self._serving -= 1
                    return None
            return self._next()
        with self._lock:
            self._idle -= 1
            self._unclaimed -= 1
            self._claimed += 1
            if waiting is None:
                self._serving -= 1
            return waiting

    def _deliver(self, waiting: _Call, value: Any, error: BaseException | None) -> None:
        self._done.append((waiting, value, error))
        if not self._wake_pending:
            self._wake_pending = True
            # A closed loop refuses: nobody is waiting any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._flush)


class _Call:
    __slots__ = ("call", "future", "variables")

    def __init__(
        self, call: Callable[[Connection], Any], variables: Variables, future: asyncio.Future[Any]
    ) -> None:
        self.call = call
        self.variables = variables
        self.future = future


def _is_sound(error: BaseException | None) -> bool:
    """Whether the connection may be used again after that."""
    return error is None or isinstance(error, IntegrityError)


def _close(connection: Connection) -> None:
    with contextlib.suppress(Exception):  # broken already; the call's own error is the one to tell
        connection.close()
