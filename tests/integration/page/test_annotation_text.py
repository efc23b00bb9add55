"""Annotations and defaults read as somebody would have written them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from enum import Enum
from inspect import Parameter
from typing import Annotated, Any, ForwardRef, Literal, Optional, TypeVar, Union

import pytest
from pydantic import SecretStr

from backstay.integration.page.annotation_text import annotation_text, default_text

T = TypeVar("T")


class Outer:
    class Inner:
        pass


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (None, "None"),
        (type(None), "None"),
        (Any, "Any"),
        ("Schema.Item", "Schema.Item"),
        (ForwardRef("Item"), "Item"),
        (Outer.Inner, "Outer.Inner"),
        (int | None, "int | None"),
        (Optional[int], "int | None"),  # noqa: UP045
        (Union[int, str], "int | str"),  # noqa: UP007
        (list[Outer.Inner], "list[Outer.Inner]"),
        (dict[str, list[int | None]], "dict[str, list[int | None]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Annotated[int, "more"], "int"),
        (Literal["a", 1], "Literal['a', 1]"),
        (Callable[[int, str], bool], "Callable[[int, str], bool]"),
        (AsyncIterator[bytes], "AsyncIterator[bytes]"),
        (T, "T"),
        (Parameter.empty, ""),
    ],
    ids=str,
)
def test_an_annotation_is_written_without_its_modules(annotation: Any, text: str) -> None:
    assert annotation_text(annotation) == text


def test_a_class_made_inside_a_function_has_its_own_name() -> None:
    class Local:
        pass

    assert annotation_text(list[Local]) == "list[Local]"


def parameter(default: Any, name: str = "limit") -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default)


@pytest.mark.parametrize(
    ("default", "text"),
    [
        (Parameter.empty, None),
        (None, "None"),
        (10, "10"),
        ("en", "'en'"),
        ("", "''"),
        (True, "True"),
        ([], "[]"),
        (Colour.RED, "Colour.RED"),
        (["a"], "list(…)"),
        (SecretStr("hush"), "SecretStr(…)"),
    ],
    ids=[
        "none",
        "None",
        "number",
        "text",
        "empty text",
        "True",
        "empty list",
        "enum",
        "list",
        "other",
    ],
)
def test_a_default_is_written_if_it_is_short_and_plain(default: Any, text: str | None) -> None:
    assert default_text(parameter(default)) == text


def test_a_long_default_is_cut() -> None:
    found = default_text(parameter("x" * 500))
    assert found is not None
    assert len(found) == 120


@pytest.mark.parametrize("name", ["api_key", "token", "client_secret", "PASSWORD"])
def test_a_default_that_looks_like_a_secret_is_not_written(name: str) -> None:
    assert default_text(parameter("sk-1234", name)) == "'***'"
    assert default_text(parameter(None, name)) == "None"
