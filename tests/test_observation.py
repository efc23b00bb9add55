"""What an app does is seen by whoever wants to, and costs nothing while nobody does."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pytest

from backstay.app import Backstay
from backstay.observation import Kind, Observation
from backstay.testing import FakeClock
from tests.support import async_test


class Notes:
    """An observer that writes down what it is told."""

    def __init__(self, *kinds: Kind, name: str = "", log: list[str] | None = None) -> None:
        self.kinds = frozenset(kinds)
        self.name = name
        self.log: list[str] = [] if log is None else log
        self.seen: list[Observation] = []
        self.parent: str | None = None

    def begin(self, seen: Observation) -> object:
        self.log.append(f"{self.name}begin {seen.kind} {seen.name}")
        return f"mark of {seen.name}"

    def end(self, seen: Observation, mark: object) -> None:
        self.log.append(f"{self.name}end {seen.kind} {seen.name} {seen.outcome} {mark}")
        self.seen.append(seen)

    def link(self) -> str | None:
        return self.parent


class Broken(Notes):
    def begin(self, seen: Observation) -> object:
        raise RuntimeError("cannot begin")

    def end(self, seen: Observation, mark: object) -> None:
        assert mark is None
        raise RuntimeError("cannot end")


def app_with(*observers: Notes, clock: FakeClock | None = None) -> Backstay:
    app = Backstay(clock=clock)
    for each in observers:
        app.add_observer(each)
    return app


def test_nothing_is_made_of_what_nobody_wants_to_know() -> None:
    app = app_with(Notes(Kind.TASK))
    assert app.observe(Kind.REQUEST, "GET /", "c1") is None
    assert not app.is_observed(Kind.REQUEST)
    assert app.is_observed(Kind.TASK)


def test_an_observer_hears_of_its_kinds_with_its_own_mark() -> None:
    notes = Notes(Kind.TASK, Kind.JOB)
    app = app_with(notes)
    for kind in (Kind.TASK, Kind.JOB):
        seen = app.observe(kind, "send", "c1")
        assert seen is not None
        seen.end("ok")
    assert notes.log == [
        "begin task send",
        "end task send ok mark of send",
        "begin job send",
        "end job send ok mark of send",
    ]


def test_the_first_that_hears_of_a_beginning_is_the_last_that_hears_of_the_end() -> None:
    log: list[str] = []
    app = app_with(Notes(Kind.TASK, name="a ", log=log), Notes(Kind.TASK, name="b ", log=log))
    seen = app.observe(Kind.TASK, "t", None)
    assert seen is not None
    seen.end("ok")
    assert [each.split()[:2] for each in log] == [
        ["a", "begin"],
        ["b", "begin"],
        ["b", "end"],
        ["a", "end"],
    ]


@async_test
async def test_times_come_from_the_app_clock() -> None:
    clock = FakeClock()
    notes = Notes(Kind.CALL)
    began = clock.now()
    seen = app_with(notes, clock=clock).observe(Kind.CALL, "rates", "c1")
    assert seen is not None
    await clock.advance(2.5)
    seen.end("ok", status=200)
    assert (seen.started_at, seen.duration_s, seen.status) == (began, 2.5, 200)


def test_a_second_end_says_nothing() -> None:
    notes = Notes(Kind.TASK)
    seen = app_with(notes).observe(Kind.TASK, "t", None)
    assert seen is not None
    seen.end("failed")
    seen.end("ok")
    assert seen.outcome == "failed"
    assert len(notes.seen) == 1


def test_an_error_is_let_go_once_everybody_has_heard_of_it() -> None:
    class Reads(Notes):
        def end(self, seen: Observation, mark: object) -> None:
            self.log.append(repr(seen.error))

    notes = Reads(Kind.TASK)
    seen = app_with(notes).observe(Kind.TASK, "t", None)
    assert seen is not None
    seen.end("failed", error=ValueError("no"))
    assert notes.log[-1] == "ValueError('no')"
    assert seen.error is None


def test_an_observer_that_fails_harms_neither_the_work_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notes = Notes(Kind.TASK)
    seen = app_with(Broken(Kind.TASK), notes).observe(Kind.TASK, "t", None)
    assert seen is not None
    with caplog.at_level(logging.ERROR):
        seen.end("ok")
    assert [each.outcome for each in notes.seen] == ["ok"]
    assert "cannot end" in caplog.text


@pytest.mark.parametrize(
    ("links", "expected"), [((None, "00-b"), "00-b"), ((None,), None), ((), None)]
)
def test_the_first_link_that_somebody_has_is_sent_along(
    links: Iterable[str | None], expected: str | None
) -> None:
    observers = []
    for link in links:
        notes = Notes(Kind.TASK)
        notes.parent = link
        observers.append(notes)
    assert app_with(*observers).link() == expected
