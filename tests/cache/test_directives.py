"""``Cache-Control`` is read as RFC 9111 says, whatever it holds."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.cache.directives import directives_of, http_time, lifetime_of


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([], {}),
        ([""], {}),
        (["no-store"], {"no-store": None}),
        (["Public, MAX-AGE=60"], {"public": None, "max-age": "60"}),
        (['private="set-cookie, x", no-cache'], {"private": "set-cookie, x", "no-cache": None}),
        (["max-age=1, max-age=9"], {"max-age": "1"}),
        (["no-cache", "no-store"], {"no-cache": None, "no-store": None}),
        ([",, , no-store ,"], {"no-store": None}),
        (["max-age=60; no-store"], {"max-age": "60"}),
        (['max-age="60"'], {"max-age": "60"}),
    ],
)
def test_directives_have_names_in_lower_case_and_arguments(
    values: list[str], found: dict[str, str | None]
) -> None:
    assert directives_of(values) == found


@given(st.lists(st.text(max_size=60), max_size=3))
def test_no_field_whatever_it_holds_is_too_much(values: list[str]) -> None:
    for name in directives_of(values):
        assert name == name.lower()


@given(st.lists(st.sampled_from(["no-store", "max-age=5", 'x="a, no-cache"', "public"])))
def test_what_was_written_is_what_is_read(parts: list[str]) -> None:
    found = directives_of([", ".join(parts)])
    assert set(found) == {part.partition("=")[0] for part in parts}


@pytest.mark.parametrize(
    ("value", "shared", "seconds"),
    [
        ("", False, None),
        ("max-age=60", False, 60.0),
        ("max-age=60, s-maxage=5", False, 60.0),
        ("max-age=60, s-maxage=5", True, 5.0),
        ("s-maxage=5", False, None),
        ("max-age=soon", True, 0.0),
        ("max-age=-1", True, 0.0),
        ("max-age", True, 0.0),
        ("max-age=" + "9" * 5000, True, float(2**31)),
        ("max-age=٣", True, 0.0),
    ],
)
def test_a_lifetime_that_is_no_number_is_over(
    value: str, shared: bool, seconds: float | None
) -> None:
    assert lifetime_of(directives_of([value]), shared=shared) == seconds


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)),
        ("0", None),
        ("", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
    ],
)
def test_dates_are_moments_or_nothing(value: str, moment: datetime | None) -> None:
    assert http_time(value) == moment


@given(st.text(max_size=40))
def test_no_date_is_too_much(value: str) -> None:
    moment = http_time(value)
    assert moment is None or moment.tzinfo is not None


@pytest.mark.parametrize("piece", [", ", 'x="', 'x="\\",', "=,", "x=;", "\t"])
def test_an_endless_field_takes_no_endless_time(piece: str) -> None:
    assert len(directives_of([piece * 30_000 + "(("])) <= 1
