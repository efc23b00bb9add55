"""Asks the store, and is no worse off for one that does not answer."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal

from backstay.clock import Clock
from backstay.errors import BadLimit, LimitsUnavailable
from backstay.limits.limit import Limit
from backstay.limits.memory import MemoryCounts
from backstay.limits.patience import Patience
from backstay.limits.port import CountStore, Strategy, Verdict

__all__ = ["Fail", "Limiter", "check_fail"]

logger = logging.getLogger("backstay.limits")

Fail = Literal["open", "closed"]
"""While the store is out of reach: each process counts for itself, or nothing passes."""

_Name = tuple[str, Strategy]

_REMEMBERED_S: Final = 1.0
_REMEMBERED_KEYS: Final = 10_000
_WARN_EVERY_S: Final = 60.0
_CLOSING_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The store has said no: so it will to whoever asks for as much, for a while."""

    verdict: Verdict
    cost: int
    at: float


class _Line:
    """Hits of one key that are waiting for the store."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: deque[tuple[int, asyncio.Future[Verdict]]] = deque()

    def take(self) -> tuple[int, list[asyncio.Future[Verdict]]]:
        """The first, and those behind it that cost as much; whoever has gone is left out."""
        cost = 0
        taken: list[asyncio.Future[Verdict]] = []
        while self.waiting and (not taken or self.waiting[0][0] == cost):
            cost_of_it, future = self.waiting.popleft()
            if not future.done():
                cost = cost_of_it
                taken.append(future)
        return cost, taken


class Limiter:
    """Counts, and says whether there is room for more.

    A store that is somewhere else is asked with care:

    - It gets ``timeout_s`` for an answer, and is left alone for ``retry_after_s`` if it fails
      again and again (``Patience``).
    - Hits of one key that come while another of the same key is being counted go together, in one
      step: a thousand at once are no more work than a few, so that nobody can keep the store busy
      until it fails.
    - A refusal is remembered for as long as it holds, a second at most.
    - While it is out of reach, this process counts for itself, from zero on: a client may use up
      each limit once more in each process, and no more than that.

    Args:
        store: keeps the counts.
        clock: what time it is.
        fail: what happens while the store is out of reach: ``"open"`` has this process count by
            itself, ``"closed"`` lets nothing pass. A single limit may say otherwise.
        timeout_s: seconds that a store gets.
        retry_after_s: seconds for which a store that has failed is left alone.
    """

    def __init__(
        self,
        store: CountStore,
        *,
        clock: Clock,
        fail: Fail = "open",
        timeout_s: float = 0.25,
        retry_after_s: float = 1.0,
    ) -> None:
        self.store = store
        self.fail: Fail = check_fail(fail)
        self._clock = clock
        self._patience = Patience(
            store.url, clock=clock, timeout_s=timeout_s, retry_after_s=retry_after_s
        )
        self._lines: dict[_Name, _Line] = {}
        self._refusals: dict[_Name, _Refusal] = {}
        # Kept when the store is back: one that comes and goes must not give a new start each time.
        self._own_counts = MemoryCounts(clock)
        self._warned_at: float | None = None

    async def hit(
        self,
        key: str,
        limits: Sequence[Limit],
        *,
        cost: int = 1,
        strategy: Strategy = Strategy.MOVING,
        fail: Fail | None = None,
    ) -> Verdict:
        """Count something, if there is room for it under every limit.

        Args:
            key: who does what. The same key always comes with the same limits.
            limits: as ``read_limits`` gives them.
            cost: how much it is; 0 counts nothing.
            strategy: how windows move on.
            fail: what to do while the store is out of reach. ``None``: as the limiter was told.

        Raises:
            LimitsUnavailable: the store is out of reach, and that is a reason to refuse.
        """
        if cost < 1:
            return await self.check(key, limits, cost=0, strategy=strategy, fail=fail)
        if self.store.is_local:
            return await self.store.hit(key, limits, cost, strategy)
        name = (key, strategy)
        if (refused := self._remembered(name, cost)) is not None:
            return refused
        try:
            return await self._in_line(name, limits, cost)
        except LimitsUnavailable as error:
            self._need_not(error, fail)
        return replace(await self._own_counts.hit(key, limits, cost, strategy), alone=True)

    async def check(
        self,
        key: str,
        limits: Sequence[Limit],
        *,
        cost: int = 1,
        strategy: Strategy = Strategy.MOVING,
        fail: Fail | None = None,
    ) -> Verdict:
        """Whether there is room, without counting. Like ``hit`` for the rest."""
        if self.store.is_local:
            return await self.store.check(key, limits, cost, strategy)
        try:
            return await self._patience.ask(partial(self.store.check, key, limits, cost, strategy))
        except LimitsUnavailable as error:
            self._need_not(error, fail)
        return replace(await self._own_counts.check(key, limits, cost, strategy), alone=True)

    async def clear(
        self, key: str, limits: Sequence[Limit], *, strategy: Strategy = Strategy.MOVING
    ) -> None:
        """Forget what has been counted.

        Other processes may go on refusing for a second, and keep what they have counted by
        themselves.

        Raises:
            LimitsUnavailable: the store is out of reach.
        """
        self._refusals.pop((key, strategy), None)
        await self._own_counts.clear(key, limits, strategy)
        await self._patience.ask(partial(self.store.clear, key, limits, strategy))

    async def prune(self, at_most: int) -> int:
        """Remove counts that no longer matter, some at a time. How many there were in the store.

        Raises:
            LimitsUnavailable: the store is out of reach.
        """
        await self._own_counts.prune(at_most)
        return await self.store.prune(at_most)

    async def open(self) -> None:
        """Open the store. If it is out of reach, that is a warning: an app starts without.

        Raises:
            BadLimit: what stands there is not ours.
        """
        try:
            await self._patience.ask(self.store.open)
        except LimitsUnavailable as error:
            self._warn(error)

    async def close(self) -> None:
        """Give up what is under way, and close the store; in seconds, even if it hangs."""
        await self._patience.close(within_s=_CLOSING_S)
        self._refusals.clear()
        await asyncio.wait({self._patience.start(self.store.close())}, timeout=_CLOSING_S)

    # ------------------------------------------------------------------ hits that come together

    async def _in_line(self, name: _Name, limits: Sequence[Limit], cost: int) -> Verdict:
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line()
            line.waiting.append((cost, future))
            self._patience.start(self._serve(name, limits, line))
        else:
            line.waiting.append((cost, future))
        return await future

    async def _serve(self, name: _Name, limits: Sequence[Limit], line: _Line) -> None:
        cost, taken = line.take()
        try:
            while taken:
                refused = self._remembered(name, cost)
                if refused is not None:
                    _tell(taken, refused)
                else:
                    try:
                        await self._count(name, limits, cost, taken)
                    except Exception as error:
                        _tell(taken, error)
                cost, taken = line.take()
        finally:
            del self._lines[name]
            # Only if this is given up is anybody still waiting.
            rest = [*taken, *(future for _, future in line.waiting)]
            _tell(rest, LimitsUnavailable(f"the limits' counts at {self.store.url} were closed"))

    async def _count(
        self,
        name: _Name,
        limits: Sequence[Limit],
        cost: int,
        waiting: list[asyncio.Future[Verdict]],
    ) -> None:
        """Count for all of them, or else for as many as there is room for, and tell them."""
        key, strategy = name
        together = len(waiting)
        while waiting:
            verdict = await self._patience.ask(
                partial(self.store.hit, key, limits, cost * together, strategy)
            )
            if verdict.allowed:
                _tell(waiting[:together], verdict)
                del waiting[:together]
                together = len(waiting)
            elif together > 1:
                # In the end one by itself is refused, so that what they hear is about one.
                together = max(1, min(together - 1, verdict.remaining // cost))
            else:
                self._remember(name, verdict, cost)
                _tell(waiting, verdict)
                return

    # ------------------------------------------------------------------ refusals and failures

    def _remember(self, name: _Name, verdict: Verdict, cost: int) -> None:
        if len(self._refusals) >= _REMEMBERED_KEYS:
            self._refusals.clear()  # each of them only saves a question
        self._refusals[name] = _Refusal(verdict, cost, self._clock.monotonic())

    def _remembered(self, name: _Name, cost: int) -> Verdict | None:
        refusal = self._refusals.get(name)
        if refusal is None or cost < refusal.cost:
            return None
        passed_s = self._clock.monotonic() - refusal.at
        verdict = refusal.verdict
        if passed_s >= min(_REMEMBERED_S, verdict.retry_after_s):
            del self._refusals[name]
            return None
        counts = tuple(
            replace(each, reset_s=max(0.0, each.reset_s - passed_s)) for each in verdict.counts
        )
        return Verdict(False, counts, verdict.retry_after_s - passed_s)

    def _need_not(self, error: LimitsUnavailable, fail: Fail | None) -> None:
        """Do without the store, or refuse to."""
        self._warn(error)
        if (fail or self.fail) == "closed":
            raise error

    def _warn(self, error: LimitsUnavailable) -> None:
        now = self._clock.monotonic()
        if self._warned_at is None or now - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = now
            logger.warning(
                "limits do without their store at the moment (fail=%r: %s): %s",
                self.fail,
                "this process counts by itself" if self.fail == "open" else "nothing passes",
                error,
                exc_info=error.__cause__,
            )


def check_fail(fail: object) -> Fail:
    """What to do while the store is out of reach.

    Raises:
        BadLimit: it is neither ``"open"`` nor ``"closed"``.
    """
    if fail == "open":
        return "open"
    if fail == "closed":
        return "closed"
    raise BadLimit(
        f'fail={fail!r}: while the store of the counts is out of reach, "open" has each process '
        'count by itself, and "closed" lets nothing pass'
    )


def _tell(waiting: Sequence[asyncio.Future[Verdict]], what: Verdict | Exception) -> None:
    for each in waiting:
        if not each.done():
            if isinstance(what, Exception):
                each.set_exception(what)
            else:
                each.set_result(what)
