"""Cursors: what is written is read again exactly, and nothing else is."""

from __future__ import annotations

import base64
import math
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backstay.errors import BadCursor, SettingMissing
from backstay.settings import Settings
from backstay.testing import FakeClock
from backstay.viewset.cursors import Cursors, Position, audience_of
from tests.support import async_test

KEY = "a key that is long enough"
CURSORS = Cursors([KEY])
HERE = audience_of("/orders", "{}", "name,id", "ann")

offsets = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(
    lambda each: timezone(timedelta(minutes=each // timedelta(minutes=1)))
)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.decimals(allow_nan=False),
    st.datetimes().map(lambda each: each.replace(fold=0)),
    st.datetimes(timezones=offsets | st.just(UTC)).map(lambda each: each.replace(fold=0)),
    st.dates(),
    st.times().map(lambda each: each.replace(fold=0)),
    st.timedeltas(),
    st.uuids(),
)
positions = st.builds(
    Position,
    values=st.lists(values, max_size=5).map(tuple),
    backward=st.booleans(),
    inclusive=st.booleans(),
)


@settings(deadline=None)
@given(positions, st.booleans())
def test_what_is_written_is_read_again_exactly(position: Position, sealed: bool) -> None:
    cursor = CURSORS.write(position, HERE, sealed=sealed)
    read = CURSORS.read(cursor, HERE)
    assert read == position
    assert [type(each) for each in read.values] == [type(each) for each in position.values]
    assert list(map(repr, read.values)) == list(map(repr, position.values))
    assert set(cursor) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_not_a_number_is_a_value_too() -> None:
    cursor = CURSORS.write(Position(values=(math.nan, math.inf)), HERE)
    found = CURSORS.read(cursor, HERE).values
    assert (math.isnan(found[0]), found[1]) == (True, math.inf)


def test_what_drivers_take_for_a_text_or_a_number_is_one() -> None:
    class Text(str):
        __slots__ = ()

    class Id(uuid.UUID):
        pass

    class Moment(datetime):
        pass

    given_values = (Text("a"), Id(int=1), Moment(2024, 1, 1))
    found = CURSORS.read(CURSORS.write(Position(values=given_values), HERE), HERE).values
    assert found == ("a", uuid.UUID(int=1), datetime(2024, 1, 1))


def test_a_value_without_a_form_is_refused_when_it_is_written() -> None:
    with pytest.raises(TypeError, match="a value of type dict, which has no form in a cursor"):
        CURSORS.write(Position(values=({},)), HERE)


@pytest.mark.parametrize("sealed", [False, True], ids=["signed", "sealed"])
def test_a_cursor_with_any_bit_changed_is_refused(sealed: bool) -> None:
    cursor = CURSORS.write(Position(values=("Teapot", 17)), HERE, sealed=sealed)
    body = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for index in range(len(body)):
        for bit in range(8):
            changed = bytearray(body)
            changed[index] ^= 1 << bit
            with pytest.raises(BadCursor):
                CURSORS.read(base64.urlsafe_b64encode(changed).decode().rstrip("="), HERE)


@pytest.mark.parametrize("sealed", [False, True], ids=["signed", "sealed"])
def test_a_cursor_with_any_character_changed_is_refused(sealed: bool) -> None:
    # Of lengths 0, 1 and 2 modulo 3, since the last character stands for fewer bits then.
    for text in ("a", "ab", "abc"):
        cursor = CURSORS.write(Position(values=(text,)), HERE, sealed=sealed)
        for index in range(len(cursor)):
            for other in "AQgw_-/+= \0é":
                if other != cursor[index]:
                    with pytest.raises(BadCursor):
                        CURSORS.read(cursor[:index] + other + cursor[index + 1 :], HERE)
        for changed in (cursor[:-1], cursor + "A", cursor + "=", cursor + "\n", " " + cursor):
            with pytest.raises(BadCursor):
                CURSORS.read(changed, HERE)


@given(
    st.text(max_size=100)
    | st.binary(max_size=100).map(lambda b: base64.urlsafe_b64encode(b).decode())
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursor):
        CURSORS.read(text, HERE)


def test_a_cursor_of_enormous_length_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(BadCursor, match="32768 are allowed"):
        CURSORS.read("A" * 100_000, HERE)


@pytest.mark.parametrize("sealed", [False, True], ids=["signed", "sealed"])
@pytest.mark.parametrize(
    "other",
    [
        ("/products", "{}", "name,id", "ann"),
        ("/orders", '{"state":"paid"}', "name,id", "ann"),
        ("/orders", "{}", "-name,-id", "ann"),
        ("/orders", "{}", "name,id", "bob"),
        ("/orders", "{}", "name,id", None),
        ("/orders{}", "", "name,id", "ann"),
    ],
    ids=["route", "filter", "order", "user", "nobody", "parts"],
)
def test_a_cursor_is_good_for_its_own_question_only(
    other: tuple[str | None, ...], sealed: bool
) -> None:
    cursor = CURSORS.write(Position(values=(1,)), HERE, sealed=sealed)
    with pytest.raises(BadCursor):
        CURSORS.read(cursor, audience_of(*other))


def test_a_signed_cursor_is_legible_and_a_sealed_one_is_not() -> None:
    def shown(sealed: bool) -> bytes:
        cursor = CURSORS.write(Position(values=("salary 1000",)), HERE, sealed=sealed)
        return base64.urlsafe_b64decode(cursor + "==")

    assert b"salary 1000" in shown(False)
    assert b"salary" not in shown(True)


def test_equal_positions_have_equal_cursors() -> None:
    """So that a page's bytes, and its ETag, change only if the page does."""
    for sealed in (False, True):
        first, second = (
            CURSORS.write(Position(values=(1,)), HERE, sealed=sealed) for _ in range(2)
        )
        assert first == second


def test_a_new_key_signs_and_former_ones_are_still_read() -> None:
    position = Position(values=(1,))
    rotated = Cursors(["another key, long enough", KEY])
    for sealed in (False, True):
        old = CURSORS.write(position, HERE, sealed=sealed)
        assert rotated.read(old, HERE) == position
        new = rotated.write(position, HERE, sealed=sealed)
        assert rotated.read(new, HERE) == position
        with pytest.raises(BadCursor):
            CURSORS.read(new, HERE)


@async_test
async def test_a_cursor_ages_only_where_that_was_asked_for() -> None:
    clock = FakeClock()
    ageing = Cursors([KEY], max_age_s=60, clock=clock)
    cursor = ageing.write(Position(values=(1,)), HERE)
    await clock.advance(59)
    assert ageing.read(cursor, HERE) == Position(values=(1,))
    await clock.advance(2)
    with pytest.raises(BadCursor, match="s old; 60 s are allowed"):
        ageing.read(cursor, HERE)
    assert CURSORS.read(cursor, HERE) == Position(values=(1,))
    with pytest.raises(BadCursor, match="inf s old"):
        ageing.read(CURSORS.write(Position(values=(1,)), HERE), HERE)


def test_keys_come_from_the_setting_and_none_is_made_up() -> None:
    position = Position(values=(1,))
    settings = Settings({"BACKSTAY_SECRET_KEY": f" another key that is longer , {KEY},"})
    assert Cursors.from_settings(settings).read(CURSORS.write(position, HERE), HERE) == position
    for value in (None, "", " , "):
        with pytest.raises(SettingMissing, match="cursors of lists cannot be signed"):
            Cursors.from_settings(Settings({"BACKSTAY_SECRET_KEY": value}))
    with pytest.raises(ValueError, match="16 characters or more; got 5"):
        Cursors.from_settings(Settings({"BACKSTAY_SECRET_KEY": "short"}))


def test_one_string_is_no_list_of_keys() -> None:
    wrong: Any = KEY
    with pytest.raises(TypeError, match="got one string"):
        Cursors(wrong)


def test_keys_are_never_shown() -> None:
    assert repr(CURSORS) == "<Cursors with 1 key(s)>"


def test_dates_and_times_keep_their_kind() -> None:
    wanted = (date(2024, 1, 2), time(1, 2, 3, 4), datetime(2024, 1, 2), Decimal("1.50"))
    read = CURSORS.read(CURSORS.write(Position(values=wanted), HERE), HERE)
    assert read.values == wanted
    assert str(read.values[3]) == "1.50"
