"""Claims without the signature around them; which ones are good is in test_jwt."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.auth.claims import read_claims
from backstay.auth.token import BadToken, VerifiedToken

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def read(payload: bytes) -> VerifiedToken:
    return read_claims(
        payload, issuer="https://id.example", audience={"shop"}, now=NOW, leeway_s=30
    )


def payload(**changes: Any) -> bytes:
    good = {"iss": "https://id.example", "aud": "shop", "sub": "ada", "exp": NOW.timestamp() + 60}
    return json.dumps(good | changes).encode()


def test_the_client_may_be_called_azp() -> None:
    assert read(payload(azp="chat")).client_id == "chat"
    assert read(payload(client_id="mine", azp="chat")).client_id == "mine"
    assert read(payload()).client_id is None


def test_claims_are_read_only() -> None:
    with pytest.raises(TypeError):
        read(payload()).claims["sub"] = "root"  # type: ignore[index]  # that is the point


def test_the_reason_is_short_however_long_the_claims_are() -> None:
    for changes in ({"iss": "x" * 9000}, {"aud": ["x" * 9000]}, {"exp": "9" * 9000}):
        with pytest.raises(BadToken) as caught:
            read(payload(**changes))
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("again", ['"sub":"eve"', '"\\u0073ub":"eve"', '"a":{"b":1,"b":1}'])
def test_what_is_said_twice_is_believed_not_at_all(again: str) -> None:
    with pytest.raises(BadToken, match="says something twice"):
        read(payload().replace(b"{", b"{" + again.encode() + b",", 1))


@given(st.binary())
def test_bytes_that_nobody_meant_are_a_bad_token(data: bytes) -> None:
    with pytest.raises(BadToken):
        read(data)
