"""What a request shows, and what it is told to show."""

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from backstay.auth.credentials import Credentials, challenge, read_credentials


def connection(*headers: tuple[str, str], query: str = "") -> HTTPConnection:
    scope: dict[str, Any] = {
        "type": "http",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    return HTTPConnection(scope)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], None),
        ([("Authorization", "Bearer a.b.c")], Credentials("a.b.c")),
        ([("Authorization", "bearer  a.b.c ")], Credentials("a.b.c")),
        ([("Authorization", "Basic YTpi")], None),
        ([("Authorization", "Bearer")], Credentials("")),
        ([("Authorization", "Bearer a"), ("Authorization", "Bearer b")], Credentials("")),
        ([("X-API-Key", " k ")], Credentials("k", is_api_key=True)),
        ([("X-API-Key", "a"), ("X-API-Key", "b")], Credentials("", is_api_key=True)),
        ([("Authorization", "Bearer a"), ("X-API-Key", "k")], Credentials("a")),
        ([("Authorization", "Basic YTpi"), ("X-API-Key", "k")], Credentials("k", is_api_key=True)),
        ([("Cookie", "access_token=a")], None),
    ],
    ids=str,
)
def test_a_bearer_token_counts_else_an_api_key(
    headers: list[tuple[str, str]], found: Credentials | None
) -> None:
    assert read_credentials(connection(*headers)) == found


def test_a_token_in_the_url_is_not_looked_at() -> None:
    assert read_credentials(connection(query="access_token=a&token=a&api_key=a")) is None


def test_a_token_is_not_shown() -> None:
    assert "a.b.c" not in repr(Credentials("a.b.c"))


def test_a_challenge_is_written_as_the_rfc_says() -> None:
    assert challenge() == "Bearer"
    assert challenge("invalid_token", "It ended.") == (
        'Bearer error="invalid_token", error_description="It ended."'
    )
    assert challenge("insufficient_scope", scopes=["a", "b"]) == (
        'Bearer error="insufficient_scope", scope="a b"'
    )
