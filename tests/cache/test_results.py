"""What a function returned comes back as its annotation says, made anew each time."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, Field

from backstay.cache.results import Results


class Item(BaseModel):
    name: str
    price: Decimal
    at: datetime = datetime(2027, 1, 1)
    tags: set[str] = set()
    alias: int = Field(1, alias="aliased")


class Opaque:
    pass


def items() -> list[Item]:
    return []


def union() -> Item | None:
    return None


def pairs() -> tuple[int, bytes]:
    return 1, b""


def nothing_said():  # type: ignore[no-untyped-def]  # that is what is tried
    return None


def anything() -> Any:
    return None


def later() -> Later:
    raise NotImplementedError


def opaque() -> Opaque:
    return Opaque()


def unknown() -> Nobody:  # type: ignore[name-defined]  # noqa: F821  # that is what is tried
    return None


@pytest.mark.parametrize(
    ("func", "value"),
    [
        (items, [Item(name="a", price=Decimal("1.10"), tags={"x"}, aliased=3)]),
        (union, None),
        (union, Item(name="a", price=Decimal(1))),
        (pairs, (1, b"\x00")),
        (nothing_said, {"a": [1, None]}),
        (anything, [1.5]),
    ],
    ids=["models", "none", "one of two", "tuple", "json", "any"],
)
def test_a_result_comes_back_as_it_was(func: Any, value: Any) -> None:
    results = Results(func)
    back = results.load(results.dump(value))
    assert back == value
    assert type(back) is type(value)
    assert back is not value or value is None


def test_names_in_annotations_may_be_defined_later() -> None:
    results = Results(later)
    assert results.load(results.dump(Later(n=1))) == Later(n=1)


class Later(BaseModel):
    n: int


@pytest.mark.parametrize(
    ("func", "value", "why"),
    [
        (items, [1], r"items\(\) returned list, which its annotation \(list\[Item\]\)"),
        (pairs, "text", "does not describe"),
        (nothing_said, (1, 2), r"what nothing_said\(\) returned, of type tuple, cannot be kept"),
        (opaque, Opaque(), r"cannot be cached by its return annotation \(Opaque\)"),
        (unknown, None, "cannot be cached by its return annotation"),
    ],
    ids=["another type", "no pair", "no json", "opaque", "unknown name"],
)
def test_what_cannot_come_back_is_refused_at_once(func: Any, value: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        Results(func).dump(value)


def test_bytes_that_are_no_such_result_are_an_error() -> None:
    with pytest.raises(ValueError, match="validation error"):
        Results(union).load(b'{"name": 1}')
