"""Whatever an exception carries, the answer to it can be written."""

import enum
import json
import uuid
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, model_serializer

from backstay.web.safe_values import safe_headers, safe_json


class Colour(enum.Enum):
    RED = "red"


class Point(BaseModel):
    x: int = 1


class Failing(BaseModel):
    @model_serializer
    def write(self) -> Any:
        raise RuntimeError("hush")

    def __str__(self) -> str:
        return "failing"


@dataclass
class Pair:
    left: int = 1
    right: Any = None


class Silent:
    def __str__(self) -> str:
        raise RuntimeError("hush")


class Named:
    def __init__(self) -> None:
        self.password = "hush"

    def __str__(self) -> str:
        return "named"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (1.5, 1.5),
        (float("inf"), "inf"),
        (10**1300, hex(10**1300)),
        ("naïve", "naïve"),
        ("\ud800", "?"),
        (b"\xff", "\ufffd"),
        ((1, {2}), [1, [2]]),
        ({1: 2, Colour.RED: 3}, {"1": 2, "Colour.RED": 3}),
        (Colour.RED, "red"),
        (Point(), {"x": 1}),
        (Pair(right="\ud800"), {"left": 1, "right": "?"}),
        (date(2026, 7, 1), "2026-07-01"),
        (Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ValueError("no"), "no"),
        (Failing(), "failing"),
        (Silent(), "<Silent>"),
        (Named(), "named"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_value_becomes_json(value: Any, expected: Any) -> None:
    assert safe_json(value) == expected
    json.dumps(safe_json(value), allow_nan=False, ensure_ascii=False).encode()


def test_a_value_that_holds_itself_ends_somewhere() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "…" in json.dumps(safe_json(loop), ensure_ascii=False)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
    | st.text(st.characters(codec=None)) | st.dates() | st.decimals(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)  # fmt: skip


@given(anything)
def test_anything_becomes_json(value: Any) -> None:
    json.dumps(safe_json(value), allow_nan=False, ensure_ascii=False).encode()


@given(st.dictionaries(st.text() | st.just("X-Own"), st.text(st.characters(codec=None))))
def test_no_header_breaks_an_answer(headers: dict[str, str]) -> None:
    for name, value in safe_headers(headers).items():
        assert name.isascii()
        assert not set("\r\n\0: ") & set(name)
        assert not set("\r\n\0") & set(value)
        value.encode("latin-1")


def test_headers_are_as_they_were_otherwise() -> None:
    given_ = {"WWW-Authenticate": 'Bearer error="x",\terror_description="y"', "X-é": "1"}
    assert safe_headers(given_) == {"WWW-Authenticate": given_["WWW-Authenticate"]}
    assert safe_headers(None) == {}


@pytest.mark.parametrize("name", ["Content-Type", "CONTENT-LENGTH", "Transfer-Encoding"])
def test_headers_about_the_body_are_left_out(name: str) -> None:
    assert safe_headers({name: "1", "Allow": "GET"}) == {"Allow": "GET"}


def test_values_that_are_no_text_are_written_or_left_out() -> None:
    given_: Any = {
        "Retry-After": 5,
        "X-None": None,
        "X-Bytes": b"\xe9",
        "X-Silent": Silent(),
        7: "x",
    }
    assert safe_headers(given_) == {"Retry-After": "5", "X-Bytes": "é", "X-Silent": "<Silent>"}
