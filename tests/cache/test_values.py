"""What people set comes back as it was, or is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.cache.values import decoded, encoded
from backstay.errors import BadCache

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_json_comes_back_as_it_was(value: Any) -> None:
    back = decoded(encoded(value, "it"), "default")
    assert back == value
    assert json.dumps(back) == json.dumps(value), "True is not 1"


@pytest.mark.parametrize(
    "value",
    [(1,), {1: 2}, {1}, b"1", float("nan"), object, [{"a": (1, 2)}]],
    ids=["tuple", "number as key", "set", "bytes", "nan", "class", "tuple inside"],
)
def test_what_would_come_back_as_something_else_is_refused(value: Any) -> None:
    with pytest.raises(BadCache, match="the value for 'k', of type .*, cannot be kept as JSON"):
        encoded(value, "the value for 'k'")


def test_what_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(BadCache, match="cannot be kept"):
        encoded(value, "it")


def test_bytes_that_somebody_filled_in_are_no_value() -> None:
    assert decoded(b"\xff<html>", "default") == "default"
