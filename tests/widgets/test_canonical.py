"""Inputs as JSON that is the same everywhere."""

from __future__ import annotations

import decimal
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretBytes, SecretStr

from backstay.widgets.canonical import digest_inputs, to_json_values


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Name(StrEnum):
    ANN = "ann"


@dataclass
class Record:
    x: int


class Anything(BaseModel):
    value: Any = None
    hidden: int = Field(0, exclude=True)


class Other(BaseModel):
    value: Any = None


def key(value: Any) -> str:
    return digest_inputs(Anything(value=value))


VALUES: list[tuple[Any, Any]] = [
    (b"\xff\xfe", "//4="),
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
    (date(2026, 1, 2), "2026-01-02"),
    (timedelta(seconds=90), "PT1M30S"),
    (Decimal("1.50"), "1.50"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Path("/a"), "/a"),
    (Colour.RED, "red"),
    (Level.LOW, 1),
    (Name.ANN, "ann"),
    (Record(1), {"x": 1}),
    (Other(value=b"a"), {"value": "YQ=="}),
    ((1, "a"), [1, "a"]),
    ({"c", "a", "b"}, ["a", "b", "c"]),
    (
        {2: "x", "b": 1, None: 2, True: 3, b"k": 4},
        {"2": "x", "aw==": 4, "b": 1, "null": 2, "true": 3},
    ),
    ([10**5000], [hex(10**5000)]),
]


@pytest.mark.parametrize(("value", "expected"), VALUES, ids=lambda each: type(each).__name__)
def test_every_kind_of_value_has_a_way_to_be_written(value: object, expected: object) -> None:
    found = to_json_values(value)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found)


def test_keys_are_in_order_at_every_depth() -> None:
    found = to_json_values({"b": {"d": 1, "c": [{"z": 1, "y": 2}]}, "a": 0})
    assert json.dumps(found) == '{"a": 0, "b": {"c": [{"y": 2, "z": 1}], "d": 1}}'


def test_a_secret_is_not_to_be_read_and_is_not_another() -> None:
    first, second = (to_json_values(SecretStr(each)) for each in ("hunter2", "hunter3"))
    assert "hunter" not in first
    assert first.startswith("**********")
    assert first != second
    assert first == to_json_values(SecretStr("hunter2"))
    assert to_json_values(SecretBytes(b"x")) != to_json_values(SecretStr("x"))


def test_a_key_is_short_and_hexadecimal() -> None:
    assert len(key("x")) == 32
    int(key("x"), 16)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_the_order_of_keys_makes_no_difference(value: Any) -> None:
    def turned(each: Any) -> Any:
        if isinstance(each, dict):
            return {name: turned(item) for name, item in reversed(each.items())}
        return [turned(item) for item in each] if isinstance(each, list) else each

    assert key(turned(value)) == key(value)
    assert json.dumps(to_json_values(turned(value))) == json.dumps(to_json_values(value))


@given(json_values, json_values)
def test_inputs_that_json_tells_apart_have_keys_of_their_own(first: Any, second: Any) -> None:
    def shown(value: Any) -> str:
        return json.dumps(value, sort_keys=True)

    if key(first) == key(second):
        assert json.loads(shown(first)) == json.loads(shown(second))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, "1"),
        (1, True),
        (0, None),
        (0, False),
        (b"a", "YQ=="),
        (b"a", "a"),
        ([1], {1}),
        ({"a": 1}, [["a", 1]]),
        ({"": ["set", [1]]}, {1}),
        (SecretStr("a"), SecretStr("b")),
        (SecretStr("a"), "a"),
        (date(2026, 1, 1), "2026-01-01"),
        (Colour.RED, "red"),
        (Anything(value=1), Other(value=1)),
        (Decimal("1.1"), "1.1"),
        (float("nan"), None),
        (float("inf"), float("-inf")),
        (Decimal(10**40 + 1), Decimal(10**40)),
        ([10**5000], [10**5000 + 1]),
        ([10**5000], [hex(10**5000)]),
        ("\ud800", "\ud801"),
    ],
)
def test_what_is_not_the_same_has_another_key(first: object, second: object) -> None:
    assert key(first) != key(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (Decimal(1), Decimal("1.000")),
        (Decimal(100), Decimal("1E+2")),
        (Decimal(0), Decimal("-0.00")),
        ({"a", "b"}, {"b", "a"}),
        (
            datetime(2026, 1, 1, 12, tzinfo=UTC),
            datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        ),
    ],
)
def test_what_is_equal_has_one_key_however_it_is_written(first: object, second: object) -> None:
    assert first == second
    assert key(first) == key(second)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 30))
def test_zeros_at_the_end_of_a_decimal_make_no_difference(value: Decimal, zeros: int) -> None:
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    longer = Decimal((sign, (*digits, *[0] * zeros), exponent - zeros))
    with decimal.localcontext() as context:
        context.prec = 10_000
        context.Emin, context.Emax = -999_999, 999_999
        assert key(longer) == key(value)


def test_a_field_that_is_not_dumped_counts_and_so_do_extra_ones() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    assert digest_inputs(Anything(hidden=1)) != digest_inputs(Anything(hidden=2))
    assert digest_inputs(Open.model_validate({"x": 1})) != digest_inputs(Open())


SCRIPT = """
from pydantic import BaseModel
from backstay.widgets.canonical import digest_inputs, to_json_values
class Inputs(BaseModel):
    names: set[str]
    data: bytes
instance = Inputs(names=set("abcdefgh"), data=b"x")
print(digest_inputs(instance), to_json_values(instance.model_dump()))
"""


def test_every_process_finds_the_same_key_whatever_its_hash_seed() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(told) == 1
