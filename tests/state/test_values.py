"""What is stored comes back as it was, or is refused with the reason."""

import dataclasses
import math
from collections import OrderedDict, namedtuple
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from backstay.errors import BadState, StateError
from backstay.state.values import decoded, encoded, whole

Pair = namedtuple("Pair", "a b")
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
    max_leaves=20,
)
ANYTHING = st.recursive(
    st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.dictionaries(st.text() | st.integers() | st.none(), inner)
    ),
    max_leaves=20,
)


class Model(BaseModel):
    a: int = 1


@dataclasses.dataclass
class Data:
    a: int = 1


class Colour(StrEnum):
    RED = "red"


def there_and_back(value: Any) -> Any:
    text = encoded(value, key="k", max_bytes=10**6)
    text.encode()  # no database takes anything else
    assert "\x00" not in text
    return decoded(text, key="k")


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types throughout: True is not 1 here."""
    return repr(one) == repr(other)


@given(JSON)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert same(there_and_back(value), value)


@given(ANYTHING)
def test_everything_comes_back_equal_or_is_refused(value: Any) -> None:
    try:
        found = there_and_back(value)
    except BadState:
        return
    assert same(found, value)


def test_what_is_equal_to_json_may_be_stored() -> None:
    assert there_and_back({"colour": Colour.RED}) == {"colour": "red"}
    assert there_and_back(OrderedDict(b=1, a=2)) == {"b": 1, "a": 2}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (math.nan, "value is nan, which JSON has no word for"),
        ({"a": [1, -math.inf]}, r"value\['a'\]\[1\] is -inf"),
        (b"abc", "value is of type bytes; store base64"),
        ({"a": {"b": (1, 2)}}, r"value\['a'\]\['b'\] is of type tuple; .* list\(it\)"),
        (Pair(1, 2), "of type Pair; a tuple comes back as a list"),
        ({1: "a"}, "a key of value is 1 of type int, and keys are str"),
        ([{None: 1}], r"a key of value\[0\] is None"),
        ({"a": {True: 1}}, r"a key of value\['a'\] is True"),
        ({(1, 2): 3}, r"a key of value is \(1, 2\) of type tuple"),
        ({1, 2}, r"of type set; store sorted\(it\)"),
        (Model(), r'of type Model; store it.model_dump\(mode="json"\)'),
        ([Data()], r"value\[0\] is of type Data; store dataclasses.asdict\(it\)"),
        (datetime(2027, 1, 1, tzinfo=UTC), r"of type datetime; store it.isoformat\(\)"),
        (Decimal("1.1"), "of type Decimal; store None, bools"),
        (range(3), r"of type range; store list\(it\)"),
        (object(), "of type object"),
    ],
)
def test_the_refusal_says_where_it_is_and_what_to_store_instead(value: Any, says: str) -> None:
    with pytest.raises(BadState, match=says):
        encoded(value, key="k", max_bytes=1000)


def test_what_holds_itself_is_refused() -> None:
    cycle: list[Any] = [1]
    cycle.append({"again": cycle})
    with pytest.raises(BadState, match="cannot be stored as JSON: Circular"):
        encoded(cycle, key="k", max_bytes=1000)


def test_what_is_too_deep_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(BadState, match="too deeply"):
        encoded(deep, key="k", max_bytes=10**6)


def test_an_int_of_more_digits_than_python_writes_is_refused() -> None:
    with pytest.raises(BadState, match="cannot be stored"):
        encoded(10**5000, key="k", max_bytes=10**6)


def test_the_size_is_that_of_the_text_in_utf_8() -> None:
    assert encoded("é" * 4, key="k", max_bytes=10) == '"éééé"'
    with pytest.raises(BadState, match="'k' has 12 bytes as JSON, and 10 is the limit"):
        encoded("é" * 5, key="k", max_bytes=10)


def test_what_somebody_else_wrote_is_named() -> None:
    with pytest.raises(StateError, match="'k' is no JSON.*set or delete the key"):
        decoded("{broken", key="k")


@pytest.mark.parametrize("text", ["1.0", "1e5", "true", '"1"', "null", "", " 1", "٣", "9" * 1001])
def test_what_is_no_whole_number(text: str) -> None:
    assert whole(text) is None


@pytest.mark.parametrize("number", [0, -1, 2**64, -(10**999)])
def test_whole_numbers(number: int) -> None:
    assert whole(str(number)) == number
