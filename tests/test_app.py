"""One app's parts: the order they open and close in, and what a failing one may not do."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from backstay import Backstay, Context, Origin
from backstay.clock import SystemClock
from backstay.errors import AlreadyInstalled, NotInstalled
from backstay.settings import Settings
from backstay.testing import FakeClock
from tests.support import async_test


class LoggedPart:
    """Writes down when it opens and closes, and fails where it is told to."""

    def __init__(
        self,
        attribute: str,
        log: list[str],
        *,
        on_open: Callable[[], None] = lambda: None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.attribute = attribute
        self._log = log
        self._on_open = on_open
        self._on_close = on_close

    def bind(self, ctx: Context) -> str:
        return self.attribute

    async def open(self) -> None:
        self._on_open()
        self._log.append(f"open {self.attribute}")

    async def close(self) -> None:
        self._log.append(f"close {self.attribute}")
        self._on_close()


def fail(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


@async_test
async def test_parts_open_in_order_and_close_in_reverse() -> None:
    app, log = Backstay(), []
    for name in ("a", "b", "c"):
        app.add(LoggedPart(name, log))
    assert [part.attribute for part in app] == ["a", "b", "c"]
    assert not app.started
    await app.start()
    assert app.started
    await app.stop()
    assert not app.started
    assert log == ["open a", "open b", "open c", "close c", "close b", "close a"]


@pytest.mark.parametrize("error", [OSError("port taken"), asyncio.CancelledError()])
@async_test
async def test_a_part_that_fails_to_open_closes_those_that_did(error: BaseException) -> None:
    app, log = Backstay(), []
    app.add(LoggedPart("a", log))
    app.add(LoggedPart("b", log))
    app.add(LoggedPart("bad", log, on_open=fail(error)))
    app.add(LoggedPart("never", log))
    with pytest.raises(type(error)):
        await app.start()
    assert log == ["open a", "open b", "close b", "close a"]
    assert not app.started


@async_test
async def test_a_part_that_fails_to_close_is_logged_and_the_others_close(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, log = Backstay(logger=logging.getLogger("shop")), []
    app.add(LoggedPart("a", log))
    app.add(LoggedPart("bad", log, on_close=fail(OSError("gone"))))
    app.add(LoggedPart("c", log))
    await app.start()
    await app.stop()
    assert log == ["open a", "open bad", "open c", "close c", "close bad", "close a"]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("shop", logging.ERROR)
    assert "'bad'" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "gone"


@async_test
async def test_stopping_twice_closes_once() -> None:
    app, log = Backstay(), []
    app.add(LoggedPart("a", log))
    await app.start()
    await app.stop()
    await app.stop()
    assert log == ["open a", "close a"]


@async_test
async def test_an_app_can_start_again() -> None:
    app, log = Backstay(), []
    app.add(LoggedPart("a", log))
    for _ in range(2):
        await app.start()
        await app.stop()
    assert log == ["open a", "close a"] * 2


def test_one_attribute_belongs_to_one_part() -> None:
    app = Backstay()
    app.add(LoggedPart("tasks", []))
    with pytest.raises(AlreadyInstalled, match="'tasks' is switched on for this app already"):
        app.add(LoggedPart("tasks", []))


@async_test
async def test_parts_are_chosen_before_the_app_starts() -> None:
    app = Backstay()
    await app.start()
    with pytest.raises(RuntimeError, match="'late' was switched on after the app had started"):
        app.add(LoggedPart("late", []))
    await app.stop()
    app.add(LoggedPart("late", []))


def test_a_part_is_found_by_its_attribute() -> None:
    app, part = Backstay(), LoggedPart("greeter", [])
    app.add(part)
    assert app.part("greeter") is part


def test_a_part_backstay_has_and_the_app_has_not_names_the_line_to_add() -> None:
    with pytest.raises(NotInstalled, match=r"call backstay\.tasks\.add_tasks\(app\)"):
        Backstay().part("tasks")


def test_anything_else_is_an_attribute_error_that_lists_what_there_is() -> None:
    app = Backstay()
    with pytest.raises(AttributeError, match=r"'cachet'.*none"):
        app.part("cachet")
    app.add(LoggedPart("one", []))
    app.add(LoggedPart("two", []))
    with pytest.raises(AttributeError, match=r"'cachet'.*one, two"):
        app.part("cachet")


def test_an_app_covers_another_if_it_has_every_part_of_it() -> None:
    def with_parts(*names: str) -> Backstay:
        app = Backstay()
        for name in names:
            app.add(LoggedPart(name, []))
        return app

    assert with_parts("a", "b").covers(with_parts("a"))
    assert with_parts("a").covers(with_parts("a"))
    assert with_parts("a").covers(with_parts())
    assert not with_parts("a").covers(with_parts("a", "b"))
    assert not with_parts().covers(with_parts("a"))
    itself = with_parts("a")
    assert itself.covers(itself)


def test_a_context_takes_the_id_it_is_given_or_its_parents_or_a_new_one() -> None:
    app = Backstay(clock=FakeClock())
    given = app.open(Origin.REQUEST, correlation_id="abc")
    child = app.open(Origin.TASK, parent=given)
    new = app.open(Origin.SCRIPT)
    assert (given.correlation_id, child.correlation_id) == ("abc", "abc")
    assert new.correlation_id == f"{1:032x}"
    assert child.parent is given
    assert (given.origin, new.origin) == (Origin.REQUEST, Origin.SCRIPT)


def test_without_options_an_app_has_the_machines_time_and_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BACKSTAY_TEST_SETTING", "set")
    app = Backstay()
    assert isinstance(app.clock, SystemClock)
    assert app.settings.get("BACKSTAY_TEST_SETTING") == "set"
    assert app.logger is logging.getLogger("app")


def test_what_an_app_is_given_it_uses() -> None:
    clock, settings, logger = FakeClock(), Settings({"A": 1}), logging.getLogger("shop")
    app = Backstay(clock=clock, settings=settings, logger=logger)
    assert (app.clock, app.settings, app.logger) == (clock, settings, logger)


class RicherContext(Context):
    """A context of work that offers more."""

    __slots__ = ()


def test_work_may_open_a_context_of_its_own_kind() -> None:
    app = Backstay()
    parent = app.open(Origin.REQUEST, correlation_id="abc")
    ctx = app.open_as(RicherContext, Origin.WIDGET, parent=parent)
    assert type(ctx) is RicherContext
    assert (ctx.origin, ctx.correlation_id, ctx.parent) == (Origin.WIDGET, "abc", parent)
    assert type(parent) is Context
    assert app.open_as(RicherContext, Origin.WIDGET).correlation_id != "abc"
