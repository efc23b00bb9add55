"""The terms that a class declares, or why they could never work."""

from typing import Any

import pytest

from backstay.auth import BaseAuthJWT
from backstay.auth.token_policy import read_policy
from backstay.errors import BadAuth


def declared(**attributes: Any) -> Any:
    return type("Declared", (BaseAuthJWT,), attributes)


def test_the_terms_are_those_of_the_documentation() -> None:
    policy = read_policy(declared())
    assert (policy.issuer, policy.audience) == ("backstay", ("backstay",))
    assert (policy.access_s, policy.refresh_s) == (30 * 60, 30 * 86_400)
    assert (policy.refresh_reuse_s, policy.leeway_s, policy.revocation_delay_s) == (0, 10, 1)
    assert policy.store_patience_s == 2
    assert policy.gives_refresh_tokens


def test_the_audience_is_the_issuer_unless_it_is_said() -> None:
    assert read_policy(declared(ISSUER="https://a.example")).audience == ("https://a.example",)
    policy = read_policy(declared(ISSUER="a", AUDIENCE=["b", "c", "b"]))
    assert (policy.issuer, policy.audience) == ("a", ("b", "c"))
    assert policy.accepted_audience == {"b", "c"}


@pytest.mark.parametrize(
    "name",
    ["ACCESS_TOKEN_EXPIRE_MINUTES", "REFRESH_TOKEN_EXPIRE_DAYS", "STORE_PATIENCE_SECONDS"],
)
@pytest.mark.parametrize("value", [0, -1, "30", None, True, float("nan"), float("inf"), 1e300])
def test_a_life_that_is_none_is_refused(name: str, value: Any) -> None:
    with pytest.raises(BadAuth, match=f"{name} is a number, more than 0"):
        read_policy(declared(**{name: value}))


@pytest.mark.parametrize(
    "name", ["REFRESH_REUSE_SECONDS", "LEEWAY_SECONDS", "REVOCATION_DELAY_SECONDS"]
)
def test_seconds_may_be_zero_and_not_less(name: str) -> None:
    read_policy(declared(**{name: 0}))
    for value in (-0.1, None, "1", float("nan")):
        with pytest.raises(BadAuth, match=f"{name} is a number, 0 or more"):
            read_policy(declared(**{name: value}))


@pytest.mark.parametrize(
    "attributes",
    [{"ISSUER": ""}, {"ISSUER": 7}, {"AUDIENCE": ""}, {"AUDIENCE": []}, {"REFRESH_TOKENS": 1}],
    ids=str,
)
def test_names_that_are_none_are_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(BadAuth, match=next(iter(attributes))):
        read_policy(declared(**attributes))
