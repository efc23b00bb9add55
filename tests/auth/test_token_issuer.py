"""What an access token says, and what an app may add to it."""

import base64
import json
import types
from datetime import UTC, datetime
from typing import Any

import pytest

from backstay.auth import BaseAuthJWT, Keyring, SigningKey
from backstay.auth.token_issuer import MAX_TOKEN, RESERVED, TokenBody, TokenIssuer
from backstay.auth.token_policy import read_policy
from backstay.errors import BadAuth
from tests.auth.service import SECRET

NOW = datetime(2027, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)


def claims_of(body: Any = None, **attributes: Any) -> dict[str, Any]:
    policy = read_policy(type("Declared", (BaseAuthJWT,), attributes))
    issuer = TokenIssuer(Keyring(SigningKey.from_secret(SECRET)), policy)
    token = issuer.write("ada", session="s", scopes={"b", "a"}, body=TokenBody(body), issued_at=NOW)
    payload = token.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(found, dict)
    return found


def test_it_says_everything_by_which_it_is_trusted() -> None:
    claims = claims_of({"version": "Ada", "roles": ["admin"]})
    assert len(claims.pop("jti")) >= 22
    at = NOW.timestamp()
    assert claims == {
        "version": "Ada",
        "roles": ["admin"],
        "iss": "backstay",
        "sub": "ada",
        "aud": "backstay",
        "iat": int(at),
        "iat_us": round(at * 1_000_000),
        "nbf": int(at),
        "exp": int(at) + 1800,
        "sid": "s",
        "scope": "a b",
    }


def test_no_two_tokens_have_the_same_id() -> None:
    assert len({claims_of()["jti"] for _ in range(100)}) == 100


def test_several_audiences_are_a_list() -> None:
    assert claims_of(AUDIENCE=("a", "b"))["aud"] == ["a", "b"]


def test_scope_and_roles_are_always_said() -> None:
    claims = claims_of(None)
    assert (claims["scope"], claims["roles"]) == ("a b", [])


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_an_app_cannot_set_what_tokens_are_trusted_by(name: str) -> None:
    with pytest.raises(BadAuth, match=rf"add_jwt_body sets \['{name}'\]"):
        TokenBody({name: "x"})


@pytest.mark.parametrize(
    ("scope", "names"),
    [("a b", ("a", "b")), (["b", "a"], ("b", "a")), (("a",), ("a",)), ("", ()), (None, ())],
    ids=str,
)
def test_a_scope_is_a_text_or_a_list(scope: Any, names: tuple[str, ...]) -> None:
    assert TokenBody({"scope": scope}).scopes == names


@pytest.mark.parametrize("scope", [7, ["a b"], ['a"'], [1], {"a": 1}.items()], ids=str)
def test_a_scope_that_is_none_is_refused(scope: Any) -> None:
    with pytest.raises(BadAuth, match="scope that is none"):
        TokenBody({"scope": scope})


@pytest.mark.parametrize("roles", ["admin", [1], {"admin": 1}, None, 7], ids=str)
def test_roles_are_a_list_of_texts(roles: Any) -> None:
    with pytest.raises(BadAuth, match="list of strings"):
        TokenBody({"roles": roles})


def test_roles_may_be_a_set() -> None:
    assert TokenBody({"roles": {"b", "a"}}).claims["roles"] == ["a", "b"]


def never() -> Any:
    async def add_jwt_body() -> dict[str, Any]:
        return {}

    coroutine = add_jwt_body()
    coroutine.close()
    return coroutine


@pytest.mark.parametrize(
    "added", ["admin", 7, [("a", 1)], {1: 2}, never(), True], ids=lambda each: type(each).__name__
)
def test_what_an_app_adds_is_a_dict(added: Any) -> None:
    with pytest.raises(BadAuth, match="it returns a dict"):
        TokenBody(added)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", float("nan"), NOW], ids=type)
def test_what_json_cannot_say_is_refused(value: Any) -> None:
    with pytest.raises(BadAuth, match="cannot be written as JSON"):
        claims_of({"value": value})


def test_what_goes_round_in_circles_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(BadAuth, match="cannot be written as JSON"):
        claims_of({"value": circle})


def test_a_token_that_no_header_carries_is_not_written() -> None:
    with pytest.raises(BadAuth, match=f"{MAX_TOKEN} is the most"):
        claims_of({"value": "x" * MAX_TOKEN})


def test_what_an_app_adds_is_not_changed() -> None:
    added = types.MappingProxyType({"scope": "a", "roles": ("x",), "x": 1})
    assert TokenBody(added).claims == {"roles": ["x"], "x": 1}
    assert dict(added) == {"scope": "a", "roles": ("x",), "x": 1}
