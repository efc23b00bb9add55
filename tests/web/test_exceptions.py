"""HTTP errors by name: what they say unless they are told otherwise."""

from typing import Any

import pytest
from fastapi import HTTPException

from backstay.web import exceptions
from backstay.web.exceptions import (
    HTTPException401,
    HTTPException403,
    HTTPException404,
    HTTPException429,
    HTTPException503,
    HTTPProblem,
)

NAMED: list[Any] = [
    getattr(exceptions, name) for name in exceptions.__all__ if name != "HTTPProblem"
]


@pytest.mark.parametrize("cls", NAMED, ids=lambda cls: str(cls.__name__))
def test_each_has_the_status_of_its_name_and_says_something(cls: Any) -> None:
    error = cls()
    assert isinstance(error, HTTPException)
    assert cls.__name__ == f"HTTPException{error.status_code}"
    assert error.detail.endswith(".")
    assert error.title is None
    assert error.type_uri is None
    assert error.members == {}


@pytest.mark.parametrize("cls", NAMED, ids=lambda cls: str(cls.__name__))
def test_each_says_what_it_is_told(cls: Any) -> None:
    error = cls(
        "No such order.", {"X-Own": "1"}, title="Gone", type_uri="tag:x", members={"order": 17}
    )
    assert (error.detail, error.title, error.type_uri) == ("No such order.", "Gone", "tag:x")
    assert error.headers["X-Own"] == "1"
    assert error.members == {"order": 17}


@pytest.mark.parametrize("detail", ["", 0, [], {}], ids=repr)
def test_an_empty_detail_is_a_detail(detail: Any) -> None:
    assert HTTPException403(detail).detail == detail


def test_nobody_known_is_asked_for_a_bearer_token_unless_told_otherwise() -> None:
    assert HTTPException401().headers == {"WWW-Authenticate": "Bearer"}
    assert HTTPException401(headers={"X-Own": "1"}).headers == {
        "X-Own": "1",
        "WWW-Authenticate": "Bearer",
    }
    assert HTTPException401(headers={"www-authenticate": "Basic"}).headers == {
        "www-authenticate": "Basic"
    }


@pytest.mark.parametrize("cls", [HTTPException429, HTTPException503])
@pytest.mark.parametrize(
    ("retry_after_s", "headers", "expected"),
    [
        (None, None, None),
        (20, None, {"Retry-After": "20"}),
        (0.2, None, {"Retry-After": "1"}),
        (-3, None, {"Retry-After": "0"}),
        (20, {"retry-after": "5", "X-Own": "1"}, {"X-Own": "1", "Retry-After": "20"}),
        (None, {"retry-after": "5"}, {"retry-after": "5"}),
    ],
)
def test_one_may_say_when_to_come_again(
    cls: Any, retry_after_s: float | None, headers: Any, expected: Any
) -> None:
    assert cls(headers=headers, retry_after_s=retry_after_s).headers == expected


class OrderNotFound(HTTPException404):
    """A user's own."""

    detail = "There is no such order."
    title = "Unknown order"
    type_uri = "https://example.com/problems/order"


def test_a_class_of_the_users_says_its_own() -> None:
    error = OrderNotFound()
    assert (error.status_code, error.detail) == (404, "There is no such order.")
    assert (error.title, error.type_uri) == ("Unknown order", OrderNotFound.type_uri)
    assert OrderNotFound("Order 17 is gone.").detail == "Order 17 is gone."


def test_any_status_may_be_a_problem() -> None:
    assert (error := HTTPProblem(418, "short and stout")).status_code == 418
    assert str(error) == "418: short and stout"
    assert HTTPProblem(418).detail == "I'm a Teapot"
