"""Whoever listens hears once that time is up."""

from backstay.integration.stability.deadline import Deadline


def test_listeners_hear_of_their_deadline_and_of_outer_ones() -> None:
    heard: list[str] = []
    outer = Deadline(None)
    inner = Deadline(outer)
    inner.listen(lambda: heard.append("a"))
    outer.expire()
    assert heard == ["a"]
    assert not inner.expired


def test_what_begins_after_the_end_is_not_late() -> None:
    heard: list[str] = []
    deadline = Deadline(None)
    deadline.expire()
    deadline.listen(lambda: heard.append("a"))
    deadline.expire()
    assert heard == []


def test_who_wants_to_hear_no_more_does_not() -> None:
    heard: list[str] = []

    def listener() -> None:
        heard.append("a")

    outer = Deadline(None)
    inner = Deadline(outer)
    inner.listen(listener)
    inner.forget(listener)
    outer.expire()
    inner.expire()
    assert heard == []
