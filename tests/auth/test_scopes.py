"""Names of scopes."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.auth import read_scopes


def test_each_scope_comes_once_in_the_order_written() -> None:
    assert read_scopes(["b", "a", "b"]) == ("b", "a")
    assert read_scopes(x for x in ("orders:read", "https://a.example/scope#1")) == (
        "orders:read",
        "https://a.example/scope#1",
    )


def test_none_are_no_scopes() -> None:
    assert read_scopes(None) == () == read_scopes([])


@pytest.mark.parametrize("scopes", ["orders", b"orders", 5])
def test_one_string_is_no_list(scopes: object) -> None:
    with pytest.raises(TypeError, match=r"required is a list of strings; got .*: write \["):
        read_scopes(scopes, "required")  # type: ignore[arg-type]  # what is wrong with it


@pytest.mark.parametrize("scope", [None, 5, b"orders", ["orders"]])
def test_a_scope_is_a_string(scope: object) -> None:
    with pytest.raises(TypeError, match="in it"):
        read_scopes([scope])  # type: ignore[list-item]  # what is wrong with it


@pytest.mark.parametrize("scope", ["", " ", "a b", 'a"', "a\\b", "a\n", "\x7f", "ä", "a\t"])
def test_a_scope_has_the_characters_of_the_standard(scope: str) -> None:
    with pytest.raises(ValueError, match="is no scope"):
        read_scopes([scope])


@given(st.text(sorted(set(string.printable) - set(string.whitespace) - {'"', "\\"}), min_size=1))
def test_every_name_of_the_standard_is_a_scope(scope: str) -> None:
    assert read_scopes([scope]) == (scope,)
