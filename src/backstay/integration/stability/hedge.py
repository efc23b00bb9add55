"""A call that takes unusually long is made once more, and the first answer is taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import Any

from backstay.calls import is_async_callable, name_of
from backstay.clock import Clock
from backstay.errors import BadIntegration
from backstay.integration.outgoing import OutgoingCall, current_call
from backstay.integration.stability.failures import FailureOn, Failures
from backstay.integration.stability.hedging import Hedging
from backstay.integration.stability.options import Seconds, read_count, read_fraction, read_seconds
from backstay.integration.stability.pattern import JSON, Call, Key, Pattern

__all__ = ["Hedge"]


class Hedge(Pattern[Hedging]):
    """Starts a copy of an async call that takes long; the first success is the answer.

    The others are cancelled then, and waited for. If the call fails before there is a copy, it has
    failed: trying again is what ``RetryPattern`` does. If all copies fail, the first one's failure
    is the call's. Copies run in tasks of their own, and are cancelled with the call.

    Only for what may run twice at a time. Inside a declared endpoint that is seen to: where the
    method is unsafe, such as POST, and there is no idempotency key, or one that was sent along
    with something unsafe, there are no copies. Elsewhere nobody knows.

    Args:
        delay: seconds until a copy starts, and until each further one. ``None`` means the time that
            only 5 % of the last 200 calls took longer than, and no copies until twenty are known.
        max_extra: copies of one call at most.
        budget: copies for each call at most, on the average, and ten more. ``None`` for no bound.
        failure_on: what is a failure: types of errors, HTTP statuses, functions that get results;
            see ``Failures``. ``None`` means every ``Exception`` and no result. Such a result waits
            for the other copies, if there are any.
        repeat_unsafe: make copies inside declared endpoints whatever is sent.
        key: see ``Pattern``; what has latencies and a budget of its own, such as the host.
        clock: see ``Pattern``.

    Raises:
        BadIntegration: an option makes no sense, or the function is not async.
    """

    def __init__(
        self,
        delay: Seconds | None = None,
        *,
        max_extra: int = 1,
        budget: float | None = 0.1,
        failure_on: FailureOn | None = None,
        repeat_unsafe: bool = False,
        key: Key | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(key=key, clock=clock)
        self._delay_s = None if delay is None else read_seconds(delay, "Hedge(delay=)")
        self._max_extra = read_count(max_extra, "Hedge(max_extra=)")
        self._budget = None if budget is None else read_fraction(budget, "Hedge(budget=)")
        self._failures = Failures(failure_on)
        self._repeat_unsafe = repeat_unsafe

    def _check(self, func: Callable[..., Any]) -> None:
        if not is_async_callable(func):
            raise BadIntegration(
                f"Hedge: {name_of(func)} is not async, and a thread that is left behind cannot be "
                "stopped; make it an async function"
            )

    def _options(self) -> dict[str, JSON]:
        options: dict[str, JSON] = {
            "delay_s": self._delay_s,
            "max_extra": self._max_extra,
            "budget": self._budget,
        }
        if self._failures.names:
            options["failure_on"] = list(self._failures.names)
        if self._repeat_unsafe:
            options["repeat_unsafe"] = True
        return options

    def _describe(self, state: Hedging, now: float) -> dict[str, JSON]:
        left = state.left(now)
        return {
            "calls": state.calls,
            "copies": state.copies,
            "won": state.won,
            "copies_left": None if left is None else round(left, 2),
            "delay_s": state.delay_s(),
        }

    def _new_state(self) -> Hedging:
        return Hedging(self._budget, self._delay_s)

    def _run(self, call: Call[Hedging]) -> Any:
        raise NotImplementedError  # _check has refused it

    async def _run_async(self, call: Call[Hedging]) -> Any:
        began_at = call.clock.monotonic()
        delay_s = call.state.count_call(began_at)
        outgoing = call.outgoing
        may_run_twice = outgoing is None or self._repeat_unsafe or outgoing.is_repeatable
        if delay_s is None or not may_run_twice:
            result = await call.make()
            if not self._failures.has_result(result):
                ended_at = call.clock.monotonic()
                call.state.took(ended_at - began_at, ended_at)
            return result
        race = _Race(call, began_at, delay_s, self)
        error: Exception | None = None
        result, has_failed = None, True
        try:
            try:
                result = await call.make()
                has_failed = self._failures.has_result(result)
            except asyncio.CancelledError:
                if not race.is_only_cancelled_by_itself:
                    raise
            except Exception as raised:
                error = raised
            finally:
                race.end_first()
            if has_failed and race.copies:
                await race.until_decided()
        finally:
            if race.copies:
                await race.end_copies()
        winner = race.winner if has_failed else None  # both may have come at once
        race.count(winner, has_succeeded=not has_failed)
        if winner is not None:
            return winner.task.result()[0]
        if error is not None:
            try:
                raise error
            finally:
                error = None  # its traceback holds this frame, which would hold it
        return result

    def may_copy(self, call: Call[Hedging], sent: Iterable[OutgoingCall | None]) -> bool:
        """Whether there may be one more, which is counted then.

        Args:
            call: the call.
            sent: what each of those that run has sent; ``None`` outside declared endpoints.
        """
        if not self._repeat_unsafe and any(each is not None and each.sent_unsafe for each in sent):
            return False
        return call.state.take(call.clock.monotonic())

    @property
    def max_extra(self) -> int:
        """How many copies of one call there may be."""
        return self._max_extra

    async def make_copy(self, call: Call[Hedging]) -> tuple[Any, bool]:
        """Make the call: its result, and whether that is a failure."""
        result = await call.make()
        return result, self._failures.has_result(result)


class _Copy:
    """A copy of a call, in a task of its own.

    Attributes:
        task: returns the result, and whether it is a failure.
        branch: what it sends, ``None`` outside declared endpoints.
    """

    __slots__ = ("branch", "task")

    def __init__(self, task: asyncio.Task[tuple[Any, bool]], branch: OutgoingCall | None) -> None:
        self.task = task
        self.branch = branch


class _Race:
    """A call and the copies of it.

    The call itself stays in the task that it was made in: most calls are never copied, and a task
    for each would cost more than all other patterns together.

    Args:
        call: the call.
        began_at: when that was, as the clock's ``monotonic()``.
        delay_s: seconds from the start of one to when it is time for one more.
        hedge: says what there may be.

    Attributes:
        copies: those that were started.
        winner: the copy that answered before any other one did.
    """

    # Not slots: what most calls never need is not set for each.
    _has_cancelled = False
    _is_first_over = False
    _took_s = 0.0
    _woken: asyncio.Future[None] | None = None
    winner: _Copy | None = None

    def __init__(self, call: Call[Hedging], began_at: float, delay_s: float, hedge: Hedge) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._call = call
        self._began_at = began_at
        self._delay_s = delay_s
        self._hedge = hedge
        self._task = task
        self._cancelled_before = task.cancelling()
        self._context = copy_context()
        self._timer = call.clock.call_later(delay_s, self._time_is_up)
        self.copies: list[_Copy] = []

    def end_first(self) -> None:
        """The call itself is over, however it ended."""
        self._is_first_over = True
        self._took_s = self._call.clock.monotonic() - self._began_at
        if not self.copies:
            self._timer.cancel()
        if self._has_cancelled:
            self._task.uncancel()

    @property
    def is_only_cancelled_by_itself(self) -> bool:
        """Whether the call was cancelled because a copy has won, and for nothing else."""
        return self._has_cancelled and self._task.cancelling() - 1 <= self._cancelled_before

    async def until_decided(self) -> None:
        """Wait until a copy has won, or there is none that could."""
        while self.winner is None and not all(each.task.done() for each in self.copies):
            self._woken = asyncio.get_running_loop().create_future()
            await self._woken

    async def end_copies(self) -> None:
        """Cancel those that still run, and wait until they are over."""
        self._timer.cancel()
        interrupted: asyncio.CancelledError | None = None
        while running := [each.task for each in self.copies if not each.task.done()]:
            for task in running:
                task.cancel()
            try:
                await asyncio.wait(running)
            except asyncio.CancelledError as error:
                interrupted = error
        for each in self.copies:
            if not each.task.cancelled():
                each.task.exception()  # or asyncio would complain that nobody asked
            if each.branch is not None and self._call.outgoing is not None:
                self._call.outgoing.merge(each.branch, is_result=False)
        if interrupted is not None:
            raise interrupted

    def count(self, winner: _Copy | None, *, has_succeeded: bool) -> None:
        """Note how it ended.

        Args:
            winner: the copy whose end is the call's, ``None`` for the call's own.
            has_succeeded: the call itself has.
        """
        if has_succeeded or winner is not None:
            self._call.state.took(
                self._took_s, self._began_at + self._took_s, copy_won=winner is not None
            )
        if winner is not None and winner.branch is not None and self._call.outgoing is not None:
            self._call.outgoing.take_answer(winner.branch)

    def _time_is_up(self) -> None:
        call, outgoing = self._call, self._call.outgoing
        if not self._hedge.may_copy(call, (outgoing, *(each.branch for each in self.copies))):
            return
        # Of what the call began with: this runs in whatever context the clock calls in.
        context, branch = self._context.copy(), None
        if outgoing is not None:
            branch = outgoing.branch()
            branch.begin_attempt()
            context.run(current_call.set, branch)
        task = self._task.get_loop().create_task(self._hedge.make_copy(call), context=context)
        copy = _Copy(task, branch)
        self.copies.append(copy)
        task.add_done_callback(lambda _: self._copy_is_over(copy))
        if len(self.copies) < self._hedge.max_extra:
            self._timer = call.clock.call_later(self._delay_s, self._time_is_up)

    def _copy_is_over(self, copy: _Copy) -> None:
        task = copy.task
        if (
            self.winner is None
            and not task.cancelled()
            and task.exception() is None
            and not task.result()[1]
        ):
            self.winner = copy
            # Somebody else's cancellation goes first, and is not to be disturbed.
            if not self._is_first_over and self._task.cancelling() <= self._cancelled_before:
                self._has_cancelled = True
                self._task.cancel()
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)
