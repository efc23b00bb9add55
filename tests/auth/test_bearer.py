"""The token in a request's headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.auth import read_bearer


@pytest.mark.parametrize(
    "header", ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c ", ["Bearer a.b.c"]]
)
def test_a_bearer_token_is_found(header: str | list[str]) -> None:
    assert read_bearer(header) == "a.b.c"


@pytest.mark.parametrize("header", [None, [], "", "Basic YTpi", "Bearertoken", "Token a.b.c"])
def test_there_may_be_none(header: str | list[str] | None) -> None:
    assert read_bearer(header) is None


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "bearer\t", ["Bearer a", "Bearer b"]])
def test_what_is_no_token_is_a_bad_one_and_not_none(header: str | list[str]) -> None:
    assert read_bearer(header) == ""


@given(st.text())
def test_no_header_is_an_error(header: str) -> None:
    found = read_bearer(header)
    assert found is None or found in header
