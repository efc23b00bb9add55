"""Tokens in one form, whoever has verified them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from mcp.server.auth.provider import AccessToken

from backstay.auth import VerifiedToken, as_verified, ask_verifier
from backstay.auth.token import read_time
from backstay.errors import TokensUncheckable
from tests.support import async_test

NOW = datetime(2027, 1, 1, tzinfo=UTC)


class Answering:
    """A verifier with one answer, which may be an error."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[str] = []

    async def verify_token(self, token: str) -> Any:
        self.asked.append(token)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def access_token(**changes: Any) -> AccessToken:
    return AccessToken(
        **{"token": "opaque-1", "client_id": "chat", "scopes": ["orders"], **changes}
    )


def test_the_access_token_of_the_sdk_is_understood() -> None:
    found = as_verified(
        access_token(
            subject="ada",
            expires_at=1_800_000_000,
            resource="https://a.example/mcp",
            claims={"iss": "https://id.example", "email": "ada@example.com"},
        )
    )
    assert found == VerifiedToken(
        "ada",
        issuer="https://id.example",
        scopes=frozenset({"orders"}),
        client_id="chat",
        expires_at=datetime(2027, 1, 15, 8, 0, tzinfo=UTC),
        audience=frozenset({"https://a.example/mcp"}),
        claims={"iss": "https://id.example", "email": "ada@example.com"},
    )


def test_the_subject_may_be_among_the_claims() -> None:
    found = as_verified(access_token(claims={"sub": "ada", "aud": ["a", "b"]}))
    assert found is not None
    assert found.subject == "ada"
    assert found.audience == {"a", "b"}


def test_who_is_not_named_shares_nothing_with_others_of_the_same_client() -> None:
    one, again, other = (as_verified(access_token(token=each)) for each in ("t1", "t1", "t2"))
    assert one is not None
    assert again is not None
    assert other is not None
    assert one.subject == again.subject != other.subject
    assert "t1" not in one.subject


def test_an_older_access_token_has_fewer_attributes() -> None:
    found = as_verified(SimpleNamespace(token="t", client_id="chat", scopes=["a"], expires_at=None))
    assert found is not None
    assert found.scopes == {"a"}
    assert found.expires_at is None


def test_ones_own_answer_stays_what_it_is() -> None:
    token = VerifiedToken("ada")
    assert as_verified(token) is token
    assert as_verified(None) is None


@pytest.mark.parametrize(
    "answer",
    [
        True,
        "ada",
        {"sub": "ada"},
        SimpleNamespace(token=None, client_id="chat", scopes=[]),
        SimpleNamespace(token="hush-hush", client_id="chat", scopes="orders"),
        SimpleNamespace(token="hush-hush", client_id=5, scopes=[]),
        SimpleNamespace(token="hush-hush", client_id="chat", scopes=[], claims=5),
    ],
    ids=str,
)
def test_another_answer_is_an_error_that_does_not_show_the_token(answer: object) -> None:
    with pytest.raises(TypeError, match="neither a VerifiedToken nor like the MCP SDK's") as caught:
        as_verified(answer)
    assert "hush-hush" not in str(caught.value)


@async_test
async def test_a_verifier_is_asked_about_the_token_as_it_came() -> None:
    verifier = Answering(access_token(subject="ada"))
    found = await ask_verifier(verifier, "opaque-1", now=NOW)
    assert found is not None
    assert found.subject == "ada"
    assert verifier.asked == ["opaque-1"]


@pytest.mark.parametrize(("ends_in_s", "good"), [(1, True), (0, False), (-1, False)])
@async_test
async def test_an_access_token_that_has_ended_is_not_good(ends_in_s: int, good: bool) -> None:
    ends = int(NOW.timestamp()) + ends_in_s
    found = await ask_verifier(Answering(access_token(expires_at=ends)), "x", now=NOW)
    assert (found is not None) is good


@async_test
async def test_a_verifier_of_ours_may_allow_for_wrong_clocks() -> None:
    token = VerifiedToken("ada", expires_at=NOW - timedelta(seconds=10))
    assert await ask_verifier(Answering(token), "x", now=NOW) is token
    assert token.expired(NOW)


@pytest.mark.parametrize(
    ("meant_for", "good"),
    [
        ("https://a.example/mcp", True),
        ("https://a.example/mcp/", True),
        ("https://b.example/mcp", False),
        (None, True),
    ],
)
@async_test
async def test_a_token_for_others_is_not_good_here(meant_for: str | None, good: bool) -> None:
    verifier = Answering(access_token(resource=meant_for))
    found = await ask_verifier(verifier, "x", now=NOW, audience="https://a.example/mcp")
    assert (found is not None) is good


@pytest.mark.parametrize("answer", [OSError("no route"), {"sub": "ada"}, ZeroDivisionError()])
@async_test
async def test_a_verifier_that_fails_says_nothing_about_the_token(answer: object) -> None:
    with pytest.raises(TokensUncheckable, match="the token verifier Answering failed") as caught:
        await ask_verifier(Answering(answer), "x", now=NOW)
    assert caught.value.__cause__ is not None


@async_test
async def test_a_verifier_that_says_so_itself_is_left_alone() -> None:
    error = TokensUncheckable("down")
    with pytest.raises(TokensUncheckable) as caught:
        await ask_verifier(Answering(error), "x", now=NOW)
    assert caught.value is error


def test_claims_are_not_shown() -> None:
    assert "secret" not in repr(VerifiedToken("ada", claims={"email": "secret"}))


def test_a_token_cannot_be_changed() -> None:
    found = as_verified(access_token(claims={"sub": "ada"}))
    assert found is not None
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.subject = "root"  # type: ignore[misc]  # that is the point
    with pytest.raises(TypeError):
        found.claims["sub"] = "root"  # type: ignore[index]  # as above
    assert hash(found)


@pytest.mark.parametrize(
    "value", ["5", True, [], float("nan"), float("inf"), 1e300, 10**20, -(10**20)]
)
def test_a_time_is_a_number_that_a_calendar_has(value: object) -> None:
    with pytest.raises(ValueError, match="a time|the time"):
        read_time(value)
