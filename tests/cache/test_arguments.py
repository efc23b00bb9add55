"""The same arguments have the same key, and no others have it."""

import enum
import gc
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from backstay.cache.arguments import Arguments
from backstay.testing import FakeClock


def price(item: Any = None, currency: Any = "EUR", *args: Any, **options: Any) -> None:
    """A function."""


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.StrEnum):
    SMALL = "red"


@dataclass
class Point:
    x: int
    y: Any


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    secret: str = Field("", exclude=True)


class Subclass(Model):
    pass


class Money:
    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __cache_key__(self) -> int:
        return self.amount


def key(*args: Any, **kwargs: Any) -> str:
    return Arguments(price, None, FakeClock()).key(args, kwargs, bound=False)


DIFFERENT: list[Any] = [
    None,
    True,
    1,
    1.0,
    "1",
    "",
    "red",
    b"red",
    b"",
    Color.RED,
    Color.BLUE,
    Size.SMALL,
    [],
    [1],
    [[1]],
    ["1"],
    {},
    {"a": 1},
    {"a": "1"},
    {1: 1},
    {"1": 1},
    {"$dict": []},
    {"$bytes": "726564"},
    set(),
    {1},
    {1, 2},
    date(2027, 1, 1),
    "2027-01-01",
    datetime(2027, 1, 1),
    datetime(2027, 1, 1, tzinfo=UTC),
    time(1),
    timedelta(1),
    timedelta(2),
    Decimal(1),
    Decimal("1.0"),
    UUID(int=1),
    str(UUID(int=1)),
    PurePosixPath("red"),
    Point(1, 2),
    Point(2, 1),
    Point(1, [2]),
    {"x": 1, "y": 2},
    Model(name="a"),
    Model(name="a", secret="s"),
    Model(name="a", more="m"),
    Subclass(name="a"),
    Money(1),
    Money(2),
    int,
    str,
    Point,
    float("inf"),
    float("nan"),
    -0.0,
    0.0,
]


def test_no_two_different_arguments_have_the_same_key() -> None:
    keys: dict[str, Any] = {}
    for value in DIFFERENT:
        found = key(value)
        assert found not in keys, (value, keys[found])
        keys[found] = value


def test_the_same_arguments_have_the_same_key_however_they_are_given() -> None:
    assert key(1, "EUR") == key(1) == key(item=1) == key(currency="EUR", item=1)
    assert key(1, x=1, y=2) == key(1, y=2, x=1)
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
    assert key({1, 2, 3}) == key(frozenset([3, 2, 1]))
    assert key((1, 2)) == key([1, 2]), "lists and tuples are the same to most"
    assert key(1, "EUR", 2, 3) != key(1, "EUR", [2, 3])


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_a_key_is_made_of_what_it_is_made_of(value: Any) -> None:
    assert key(value) == key(value)
    assert key(value) != key([value])
    assert key(value).startswith(f"{__name__}.price:")
    assert key(value).isascii()


def test_the_function_is_in_its_keys() -> None:
    def other(item: Any = None) -> None: ...

    found = Arguments(other, None, FakeClock()).key((1,), {}, bound=False)
    assert found.startswith(f"{__name__}.test_the_function_is_in_its_keys.<locals>.other:")


@pytest.mark.parametrize(
    "value", [object(), [object()], {"a": object()}, print, Point(1, object())]
)
def test_what_has_no_text_is_refused_by_the_name_of_its_parameter(value: Any) -> None:
    with pytest.raises(TypeError, match=r"price\(\) cannot be cached by its argument 'currency'"):
        key(1, value)


def test_what_is_nested_without_end_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(TypeError, match="nested more than 50 deep"):
        key(value)


def test_wrong_arguments_are_refused_as_the_function_would() -> None:
    def one(item: Any) -> None: ...

    with pytest.raises(TypeError, match="missing a required argument: 'item'"):
        Arguments(one, None, FakeClock()).key((), {}, bound=False)


def test_somebody_else_may_say_what_tells_calls_apart() -> None:
    arguments = Arguments(price, lambda item, **_: ["item", item], FakeClock())
    assert arguments.key((1,), {"currency": object()}, bound=False) == arguments.key(
        (1,), {}, bound=False
    )
    with pytest.raises(TypeError, match="the result of key="):
        arguments.key((object(),), {}, bound=False)


def test_an_object_is_the_same_only_as_itself_unless_it_says_more() -> None:
    arguments = Arguments(price, None, FakeClock())

    class Plain:
        pass

    def bound(owner: object) -> str:
        return arguments.key((owner, 1), {}, bound=True)

    one, other = Plain(), Plain()
    assert bound(one) == bound(one) != bound(other)
    assert bound(Money(1)) == bound(Money(1)) != bound(Money(2))
    assert bound(Point(1, 2)) == bound(Point(1, 2)) != bound(Point(2, 2))
    assert bound(Plain) == bound(Plain) != bound(Point)
    del one, other
    gc.collect()
    assert not arguments._objects, "nobody is kept alive, or mistaken for who is gone"
    with pytest.raises(TypeError, match="by its argument 'item': builtins.object has no text"):
        bound(object())
