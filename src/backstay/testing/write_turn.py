"""Whose turn it is to use the one connection that everything in a test shares."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Protocol

__all__ = ["IsolationError", "Sitter", "WriteTurn"]


class IsolationError(AssertionError):
    """A test asked of its database what a test cannot have; the message says what to do instead.

    Not a ``BackstayError``, for which an app has an answer: it has to reach the test.
    """


class Sitter(Protocol):
    """Who may have the turn.

    Attributes:
        owner: the thread and, in an event loop, the task that used it last.
        doing: the statement that it asked the turn for.
    """

    owner: Owner
    doing: str


Owner = tuple[int, int | None]
"""A thread's id, and the id of the task that runs in it, ``None`` outside of event loops."""


class WriteTurn:
    """One holder at a time, first come, first served, across threads and event loops.

    Args:
        wait_s: seconds that anybody waits before it is called a mistake in the test.
    """

    def __init__(self, *, wait_s: float) -> None:
        self.wait_s = wait_s
        self.holder: Sitter | None = None
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Future[None], Sitter]] = deque()

    def take(self, sitter: Sitter) -> None:
        """Take the turn, blocking the thread until it comes.

        Raises:
            IsolationError: it cannot come, since the holder needs this thread to get on; or it
                did not come in time; or the test is over.
        """
        turn = self._ask(sitter, same=0)
        if turn is None:
            return
        try:
            turn.result(self.wait_s)
        except NotInTime:
            if turn.cancel():
                raise self._too_late(sitter) from None
            turn.result()  # it came just now, or the test ended

    async def take_async(self, sitter: Sitter) -> None:
        """Take the turn without blocking the event loop.

        Raises:
            IsolationError: as ``take``; what the holder needs here is the task.
        """
        turn = self._ask(sitter, same=1)
        if turn is None:
            return
        try:
            async with asyncio.timeout(self.wait_s):
                await asyncio.wrap_future(turn)
        except TimeoutError:
            if turn.cancel():
                raise self._too_late(sitter) from None
            turn.result()
        except BaseException:
            # Cancelled: if the turn has been given in this very moment it is handed on.
            if not turn.cancel() and turn.exception() is None:
                self.leave(sitter)
            raise

    def leave(self, sitter: Sitter) -> None:
        """Give the turn to whoever has waited longest, unless it has been lost with its test."""
        with self._lock:
            if self.holder is not sitter:
                return
            self.holder = None
            while self._waiting:
                turn, following = self._waiting.popleft()
                if turn.set_running_or_notify_cancel():
                    self.holder = following
                    break
            else:
                return
        turn.set_result(None)

    def require_free(self) -> None:
        """Refuse to go on if this thread has the turn, and is about to wait for somebody else.

        Raises:
            IsolationError: it has.
        """
        holder = self.holder
        if holder is not None and holder.owner[0] == threading.get_ident():
            raise IsolationError(
                f"a session of the test's is in the middle of a transaction, begun by "
                f"{holder.doing!r}, and the app would wait for its end: commit it before the request"
            )

    def end(self) -> Sitter | None:
        """The test is over: whoever waits hears so.

        Returns:
            Who had the turn.
        """
        with self._lock:
            holder, self.holder = self.holder, None
            waiting, self._waiting = self._waiting, deque()
        for turn, _ in waiting:
            if turn.set_running_or_notify_cancel():
                turn.set_exception(IsolationError("the test was over before its turn came"))
        return holder

    def _ask(self, sitter: Sitter, *, same: int) -> Future[None] | None:
        with self._lock:
            holder = self.holder
            if holder is None:
                self.holder = sitter
                return None
            if holder.owner[: same + 1] == sitter.owner[: same + 1]:
                raise IsolationError(
                    f"{sitter.doing!r} would wait for ever: another session of the same "
                    f"{'task' if same else 'thread'} is in the middle of a transaction, begun by "
                    f"{holder.doing!r}, and in a test all share one connection. Commit that one "
                    f'first, use one session for both, or run the test with isolation="truncate"'
                )
            turn: Future[None] = Future()
            self._waiting.append((turn, sitter))
            return turn

    def _too_late(self, sitter: Sitter) -> IsolationError:
        holder = self.holder
        begun = f", begun by {holder.doing!r}" if holder is not None else ""
        return IsolationError(
            f"{sitter.doing!r} has waited for {self.wait_s:g} seconds for another session to end "
            f"its transaction{begun}: in a test all share one connection. Commit or close that "
            f'session before (is it the test\'s own?), or run the test with isolation="truncate"'
        )
