"""A context's life: moments in order, everyone told once, and what is left when it is over."""

import gc
import logging
import math
import weakref
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backstay import Backstay, Context, Moment, Origin, Progress, User, current_context
from backstay.context import current_work
from backstay.errors import ContextClosed, NotInstalled
from backstay.settings import Settings
from backstay.testing import FakeClock
from tests.support import async_test

MOMENTS = st.sampled_from(list(Moment))


def open_context(**options: Any) -> Context:
    return Backstay(**options).open(Origin.REQUEST, correlation_id="abc")


class Life(RuleBasedStateMachine):
    """Any interleaving of ``at`` and ``reach``, beside the rules in a few plain lines."""

    def __init__(self) -> None:
        super().__init__()
        self.ctx = open_context()
        self.told: list[tuple[int, bool]] = []
        self.moment = Moment.OPENED
        self.succeeded: bool | None = None
        self.waiting: dict[Moment, list[tuple[int, Moment | None]]] = {each: [] for each in Moment}
        self.expected: list[tuple[int, bool]] = []
        self.listeners = 0

    def listener(self, number: int, then: Moment | None) -> Callable[[bool], None]:
        def tell(succeeded: bool) -> None:
            self.told.append((number, succeeded))
            if then is not None:
                self.ctx.at(then, self.listener(-number, None))

        return tell

    def expect(self, moment: Moment, number: int, then: Moment | None) -> None:
        if self.moment >= moment:
            self.expect_told(number, then)
        else:
            self.waiting[moment].append((number, then))

    def expect_told(self, number: int, then: Moment | None) -> None:
        self.expected.append((number, bool(self.succeeded)))
        if then is not None:
            self.expect(then, -number, None)

    @rule(moment=MOMENTS, then=st.none() | MOMENTS)
    def listen(self, moment: Moment, then: Moment | None) -> None:
        self.listeners += 1
        self.expect(moment, self.listeners, then)
        self.ctx.at(moment, self.listener(self.listeners, then))

    @rule(moment=MOMENTS, succeeded=st.booleans())
    def reach(self, moment: Moment, succeeded: bool) -> None:
        while self.moment < moment:
            self.moment = Moment(self.moment + 1)
            self.succeeded = succeeded and self.succeeded in (None, True)
            due, self.waiting[self.moment] = self.waiting[self.moment], []
            for number, then in due:
                self.expect_told(number, then)
        self.ctx.reach(moment, succeeded)

    @invariant()
    def everyone_was_told_once_in_order_with_the_right_flag(self) -> None:
        assert self.told == self.expected
        assert self.ctx.moment is self.moment
        assert self.ctx.succeeded is self.succeeded

    def teardown(self) -> None:
        self.reach(Moment.CLOSED, True)
        self.ctx.close()  # tells nobody twice
        assert self.told == self.expected
        assert not any(self.waiting.values())


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)


def test_moments_come_in_the_order_of_the_drawing() -> None:
    assert list(Moment) == sorted(Moment)
    assert Moment.OPENED < Moment.RETURNED < Moment.ANSWERED < Moment.CLOSED


def test_nothing_is_known_of_success_before_returned() -> None:
    assert open_context().succeeded is None


def test_work_that_returned_can_still_fail_before_it_is_answered() -> None:
    ctx = open_context()
    ctx.reach(Moment.RETURNED, True)
    assert ctx.succeeded is True
    ctx.reach(Moment.ANSWERED, False)
    assert ctx.succeeded is False


def test_work_that_failed_never_succeeds_later() -> None:
    ctx = open_context()
    ctx.reach(Moment.RETURNED, False)
    ctx.reach(Moment.ANSWERED, True)
    ctx.reach(Moment.CLOSED, True)
    assert ctx.succeeded is False


def test_moments_passed_over_are_told_in_order() -> None:
    ctx, told = open_context(), []
    for moment in (Moment.CLOSED, Moment.ANSWERED, Moment.RETURNED):
        ctx.at(moment, lambda ok, moment=moment: told.append((moment, ok)))
    ctx.reach(Moment.CLOSED, False)
    assert told == [(Moment.RETURNED, False), (Moment.ANSWERED, False), (Moment.CLOSED, False)]


def test_progress_is_the_latest_report_with_its_time() -> None:
    clock = FakeClock()
    ctx = open_context(clock=clock)
    assert ctx.latest_progress is None
    ctx.progress(1, 4)
    ctx.progress(2, 4, "half way")
    assert ctx.latest_progress == Progress(2, 4, "half way", clock.now())


@async_test
async def test_a_report_may_be_awaited_and_awaiting_it_takes_no_time() -> None:
    ctx = open_context()
    reports: list[Progress] = []
    ctx.on_progress = reports.append
    ctx.progress(1, 2)
    assert await ctx.progress(2, 2) is None  # type: ignore[func-returns-value]  # that is the point
    assert [each.done for each in reports] == [1, 2]


@pytest.mark.parametrize("moment", [Moment.OPENED, Moment.RETURNED, Moment.ANSWERED])
def test_progress_can_be_told_until_the_work_is_over(moment: Moment) -> None:
    ctx = open_context()
    ctx.reach(moment, True)
    ctx.progress(1)
    assert ctx.latest_progress is not None


def test_progress_after_the_end_says_clearly_that_it_is_over() -> None:
    ctx = open_context()
    ctx.progress(1, 3)
    ctx.reach(Moment.CLOSED, True)
    with pytest.raises(ContextClosed, match=r"progress\(2, 3\) came after this request was over"):
        ctx.progress(2, 3)
    assert ctx.latest_progress is not None
    assert ctx.latest_progress.done == 1


@settings(deadline=None)
@given(
    done=st.floats(allow_nan=False),
    total=st.none() | st.floats(min_value=0, allow_nan=False, allow_infinity=False),
)
def test_a_fraction_is_between_0_and_1_or_unknown(done: float, total: float | None) -> None:
    fraction = Progress(done, total, None, datetime(2027, 1, 1, tzinfo=UTC)).fraction
    if not total:
        assert fraction is None
    else:
        assert fraction is not None
        assert 0 <= fraction <= 1
        if 0 <= done <= total:
            assert math.isclose(fraction, done / total)


def test_settings_and_logger_outlive_the_work() -> None:
    ctx = open_context(settings=Settings({"A": 1}), logger=logging.getLogger("shop"))
    ctx.reach(Moment.CLOSED, True)
    assert ctx.settings.get("A") == 1
    assert ctx.logger.get_correlation_id() == "abc"
    assert ctx.logger.logger.name == "shop"
    assert ctx.logger is ctx.logger


class CountingPart:
    """The smallest part: what it gives to a context is a number."""

    attribute = "number"

    def __init__(self) -> None:
        self.bound: list[Context] = []

    def bind(self, ctx: Context) -> int:
        self.bound.append(ctx)
        return len(self.bound)

    async def open(self) -> None: ...

    async def close(self) -> None: ...


def test_a_part_is_bound_once_per_context_on_first_use() -> None:
    app, part = Backstay(), CountingPart()
    app.add(part)
    first: Any = app.open(Origin.REQUEST)
    second: Any = app.open(Origin.REQUEST)
    assert part.bound == []
    assert [second.number, first.number, first.number, second.number] == [1, 2, 2, 1]
    assert part.bound == [second, first]


class HoldingPart(CountingPart):
    """Gives out things that hold on to their context, as most parts do."""

    class Held:
        def __init__(self, ctx: Context) -> None:
            self.ctx = ctx

    def bind(self, ctx: Context) -> Any:
        return self.Held(ctx)


def test_closing_lets_go_of_what_parts_gave_without_a_garbage_collection() -> None:
    app = Backstay()
    app.add(HoldingPart())
    ctx: Any = app.open(Origin.REQUEST)
    held = weakref.ref(ctx.number)
    gc.disable()
    try:
        ctx.close()
        assert held() is None
    finally:
        gc.enable()


def test_a_closed_context_is_over_and_binds_its_parts_afresh() -> None:
    app, part = Backstay(), CountingPart()
    app.add(part)
    ctx: Any = app.open(Origin.REQUEST)
    assert ctx.number == 1
    ctx.close()
    assert ctx.moment is Moment.CLOSED
    assert ctx.number == 2


def test_a_part_that_is_not_switched_on_names_the_line_that_does_it() -> None:
    with pytest.raises(NotInstalled, match=r"backstay\.tasks\.add_tasks\(app\)"):
        _ = open_context().tasks


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    ctx: Any = open_context()
    with pytest.raises(AttributeError, match="cachet"):
        _ = ctx.cachet
    with pytest.raises(AttributeError, match="__deepcopy__"):
        _ = ctx.__deepcopy__


def test_the_user_is_whoever_was_recorded() -> None:
    ctx = open_context()
    assert ctx.user is None
    ctx.set_user(User("ada"))
    assert ctx.user == User("ada")


def test_what_a_context_starts_belongs_to_the_same_user_and_id() -> None:
    app = Backstay()
    request = app.open(Origin.REQUEST)
    task = app.open(Origin.TASK, parent=request)
    assert task.correlation_id == request.correlation_id
    assert task.user is None
    request.set_user(User("ada"))
    assert task.user == User("ada")
    task.set_user(User("grace"))
    assert task.user == User("grace")


def test_a_user_that_nobody_asked_for_is_an_error_not_an_anonymous() -> None:
    ctx = open_context()
    ctx.set_user(ContextClosed("nobody asked"))
    with pytest.raises(ContextClosed, match="nobody asked"):
        _ = ctx.user


class RunningWork:
    """A piece of work that is running here."""

    def __init__(self, ctx: Context) -> None:
        self.context = ctx

    def hold_answer(self, until: Callable[[], Awaitable[None]]) -> None:
        raise ContextClosed("there is no answer to hold")


def test_current_context_is_that_of_the_running_work() -> None:
    ctx = open_context()
    token = current_work.set(RunningWork(ctx))
    try:
        assert current_context() is ctx
    finally:
        current_work.reset(token)


def test_current_context_outside_any_work_names_what_is_missing() -> None:
    with pytest.raises(NotInstalled, match=r"add_tasks\(app\) or install\(app\)"):
        current_context()


def test_a_context_shows_what_it_is_and_no_more() -> None:
    ctx = open_context(settings=Settings({"KEY": "hush"}))
    assert repr(ctx) == "<Context request abc OPENED>"


def test_a_user_has_the_scopes_it_was_given() -> None:
    user = User("ada", frozenset({"orders"}))
    assert user.has_scope("orders")
    assert not user.has_scope("photos")
    assert not User("ben").has_scope("orders")
