"""Names have a size, times are times, and messages say what was found."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import BadState
from backstay.state.bounds import MAX_TTL_S, key_bytes, scope_bytes, seconds_of


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_any_text_is_a_key_and_comes_back_from_its_bytes(text: str) -> None:
    if len(text) <= 128:
        assert key_bytes(text).decode("utf-8", "surrogatepass") == text


def test_sizes_are_of_bytes_not_of_characters() -> None:
    assert len(key_bytes("é" * 256)) == 512
    with pytest.raises(BadState, match="512 bytes at most.*has 514.*digest"):
        key_bytes("é" * 257)
    assert len(scope_bytes("s" * 1024)) == 1024
    with pytest.raises(BadState, match="scope has 1024 bytes at most.*has 1025"):
        scope_bytes("s" * 1025)


@pytest.mark.parametrize("key", [None, 1, b"key", ("a",)])
def test_a_key_is_text_and_nothing_is_made_into_one(key: object) -> None:
    with pytest.raises(BadState, match=f"is a str; got .* of type {type(key).__name__}"):
        key_bytes(key)


def test_a_long_name_is_not_shown_whole() -> None:
    with pytest.raises(BadState) as caught:
        key_bytes("x" * 100_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [(None, None), (1, 1.0), (0.001, 0.001), (timedelta(minutes=2), 120.0), (MAX_TTL_S, MAX_TTL_S)],
)
def test_times_to_live_are_seconds(ttl: Any, seconds: float | None) -> None:
    assert seconds_of(ttl) == seconds


@pytest.mark.parametrize(
    "ttl",
    [
        0,
        -1,
        0.0,
        timedelta(0),
        timedelta(days=-1),
        MAX_TTL_S * 2,
        float("inf"),
        float("nan"),
        10**400,
    ],
)
def test_what_is_over_at_once_or_hardly_ever_is_refused(ttl: Any) -> None:
    with pytest.raises(BadState, match="more than 0 seconds.*ttl=None"):
        seconds_of(ttl)


@pytest.mark.parametrize("ttl", ["60", True, b"1", [1], 1j])
def test_what_is_no_time_is_refused(ttl: Any) -> None:
    with pytest.raises(BadState, match="number of seconds, a timedelta, or None"):
        seconds_of(ttl)


def test_a_number_too_long_to_be_written_is_refused_in_words() -> None:
    with pytest.raises(BadState, match="an int of 16610 bits"):
        seconds_of(10**5000)
