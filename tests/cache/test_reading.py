"""What was found is good if it is young, and its tags stand where they stood."""

import pytest

from backstay.cache.entry import Entry, pack
from backstay.cache.reading import Reading

M1, M2 = b"1" * 16, b"2" * 16


def read(
    *, tags: dict[str, bytes | None] | None = None, asked: list[str] | None = None, **entry: object
) -> Reading:
    tags = tags or {}
    asked = list(tags) if asked is None else asked
    reading = Reading("k", asked, 0.0)
    fields = {"value": b"v", "stored_at": 100.0, "ttl_s": 10.0, "stale_s": 5.0, "generations": {}}
    more = reading.take([pack(Entry(**{**fields, **entry})), *(tags[tag] for tag in asked)])  # type: ignore[arg-type]
    reading.generations.update({tag: tags.get(tag) for tag in more})
    return reading


@pytest.mark.parametrize(
    ("now", "status", "age_s", "left_s"),
    [
        (100, "HIT", 0, 10),
        (109.5, "HIT", 9.5, 0.5),
        (110, "STALE", 10, 0),
        (114.5, "STALE", 14.5, -4.5),
        (115, None, 0, 0),
        (90, "HIT", 0, 10),
    ],
    ids=["new", "old", "too old", "nearly useless", "useless", "clock behind"],
)
def test_age_decides(now: float, status: str | None, age_s: float, left_s: float) -> None:
    found = read().outcome(now)
    if status is None:
        assert found is None
    else:
        assert found is not None
        assert (found.status, found.age_s, found.left_s) == (status, age_s, left_s)


def test_one_tag_that_moved_is_enough() -> None:
    marks = {"t": M1, "u": M2}
    assert read(tags=dict(marks), generations=marks).valid_entry is not None
    assert read(tags={"t": M1, "u": M1}, generations=marks).valid_entry is None


def test_a_lost_mark_is_a_moved_one() -> None:
    assert read(tags={"t": None}, generations={"t": M1}).valid_entry is None


def test_tags_that_nobody_asked_for_count_too() -> None:
    reading = read(tags={"t": M1, "u": M2}, asked=["t"], generations={"t": M1, "u": M2})
    assert reading.valid_entry is not None
    assert read(tags={"u": M1}, asked=[], generations={"u": M2}).valid_entry is None


def test_what_was_made_without_a_tag_that_is_asked_for_is_not_good() -> None:
    assert read(tags={"t": M1}, generations={}).valid_entry is None


def test_tags_to_look_up_besides_are_those_of_the_entry() -> None:
    reading = Reading("k", ["t"], 0.0)
    raw = pack(Entry(b"v", 0, 1, 0, {"t": M1, "u": M2}))
    assert reading.take([raw, None]) == ["u"]
    assert reading.unmarked == ["t"]
    assert reading.reached


def test_something_else_than_an_entry_is_nothing() -> None:
    reading = Reading("k", [], 0.0)
    assert reading.take([b"somebody else's"]) == []
    assert reading.outcome(0) is None
