"""What is repeated of a request: its path, and in debug mode more, without secrets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.web.request_facts import facts_of, header_of, path_of


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({"path": "/x"}, "/x"),
        ({"path": "/x", "root_path": "/api"}, "/api/x"),
        ({"path": "/api/x", "root_path": "/api"}, "/api/x"),
        ({"path": "/api", "root_path": "/api"}, "/api"),
        ({"path": "/apix", "root_path": "/api/"}, "/api/apix"),
        ({"path": "/in/x", "root_path": "/in", "app_root_path": ""}, "/in/x"),
        ({"path": "/in/x", "root_path": "/api/in", "app_root_path": "/api"}, "/api/in/x"),
        ({"path": "/a?b#c%\n\\\u00e9"}, "/a%3Fb%23c%25%0A%5C%C3%A9"),
        ({"path": "/\udcff"}, "/%3F"),
        ({"path": "//evil.example/x"}, "//evil.example/x"),
        ({"path": ""}, ""),
    ],
    ids=repr,
)
def test_a_path_is_the_one_the_client_knows(scope: dict[str, Any], expected: str) -> None:
    assert path_of(scope) == expected


@given(st.text(st.characters(codec=None)))
def test_a_path_is_always_one_line_of_ascii(path: str) -> None:
    found = path_of({"path": f"/{path}"})
    assert found.isascii()
    assert found.isprintable()
    assert not set("?# ") & set(found)


def test_a_header_that_comes_several_times_is_joined() -> None:
    scope = {"headers": [(b"accept", b"a"), (b"x", b"y"), (b"accept", b"\xe9")]}
    assert header_of(scope, b"accept") == "a, é"
    assert header_of(scope, b"host") is None


def test_facts_are_there_as_far_as_they_are_known() -> None:
    assert facts_of({"type": "http", "path": "/x", "client": None}) == {
        "method": None,
        "path": "/x",
        "query": "",
        "host": None,
        "user_agent": None,
        "client": None,
    }


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("page=2&size=10", "page=2&size=10"),
        ("token=hush&page=2", "token=***&page=2"),
        ("API_KEY=hush", "API_KEY=***"),
        ("%74oken=hush", "%74oken=***"),
        ("access+token=hush", "access+token=***"),
        ("password=hush&password=hush", "password=***&password=***"),
        ("token", "token"),
        ("=&&", "=&&"),
        ("x" * 5000, "x" * 1000),
    ],
    ids=lambda each: each[:30],
)
def test_secrets_in_the_query_are_masked(query: str, shown: str) -> None:
    assert facts_of({"path": "/", "query_string": query.encode()})["query"] == shown
