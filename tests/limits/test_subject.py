"""Whoever asks is counted as himself, and cannot be somebody else by saying so."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import HTTPException
from starlette.requests import HTTPConnection

from backstay.app import Backstay
from backstay.context import User
from backstay.errors import BadLimit, NotAuthenticated, TokensUncheckable
from backstay.limits.subject import address_group, check_by, outcome_of, subject_of, subject_of_user
from backstay.web.exchange import Exchange
from tests.support import async_test

ALICE = User("alice", claims={"api_key": "k1"})


class Says:
    """A verifier that finds somebody, nobody, or something wrong."""

    def __init__(self, outcome: User | Exception | None) -> None:
        self.outcome = outcome
        self.asked = 0

    async def verify(self, connection: HTTPConnection) -> User | None:
        self.asked += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def request(
    verifier: Says | None = None, peer: str | None = "192.0.2.1"
) -> tuple[HTTPConnection, Exchange]:
    scope: dict[str, Any] = {
        "type": "http",
        "headers": [(b"x-team", b"blue")],
        "client": None if peer is None else (peer, 1),
    }
    exchange = Exchange(Backstay(), scope, "0" * 32, verifier)
    return HTTPConnection(scope), exchange


@pytest.mark.parametrize(
    ("by", "verifier", "subject"),
    [
        ("user", Says(ALICE), "user:alice"),
        ("user", Says(None), "ip:192.0.2.1"),
        ("user", None, "ip:192.0.2.1"),
        ("ip", Says(ALICE), "ip:192.0.2.1"),
        ("api_key", Says(ALICE), "key:k1"),
        ("api_key", Says(User("bob")), "user:bob"),
        ("api_key", Says(None), "ip:192.0.2.1"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
@async_test
async def test_users_keys_and_addresses_are_told_apart(
    by: Any, verifier: Says | None, subject: str
) -> None:
    connection, exchange = request(verifier)
    assert await subject_of(connection, by, exchange) == subject


@pytest.mark.parametrize(
    "error",
    [NotAuthenticated("no"), HTTPException(401), HTTPException(403), TokensUncheckable("away")],
    ids=repr,
)
@async_test
async def test_guessing_credentials_counts_for_the_address(error: Exception) -> None:
    verifier = Says(error)
    connection, exchange = request(verifier)
    assert await subject_of(connection, "user", exchange) == "ip:192.0.2.1"
    # And whoever needs the user still hears what is wrong.
    with pytest.raises(type(error)):
        await exchange.who(connection)


@async_test
async def test_a_broken_verifier_is_no_limits_affair() -> None:
    connection, exchange = request(Says(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        await subject_of(connection, "user", exchange)


@async_test
async def test_a_function_of_the_apps_says_who_it_is_or_leaves_it_to_the_address() -> None:
    async def team(connection: HTTPConnection) -> str | None:
        return connection.headers.get("x-team")

    connection, exchange = request()
    assert await subject_of(connection, team, exchange) == "by:blue"
    assert await subject_of(connection, lambda _: "user:alice", exchange) == "by:user:alice"
    assert await subject_of(connection, lambda _: None, exchange) == "ip:192.0.2.1"
    with pytest.raises(BadLimit, match="of type int"):
        await subject_of(connection, lambda _: 7, exchange)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.1", "ip:192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "ip:2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "ip:2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "ip:2001:db8:1:3::/64"),
        ("testclient", "ip:testclient"),
        ("a:b", "ip:a:b"),
        (None, "ip:none"),
    ],
)
def test_whoever_has_an_ipv6_address_has_all_around_it(address: str | None, group: str) -> None:
    assert address_group(address) == group


def test_a_user_is_one_whatever_key_he_came_with() -> None:
    assert subject_of_user(ALICE) == "user:alice"
    assert subject_of_user(ALICE, "api_key") == "key:k1"


def test_who_is_counted_is_said_right() -> None:
    assert [check_by(each) for each in ("user", "ip", "api_key")] == ["user", "ip", "api_key"]
    assert check_by(len) is len
    with pytest.raises(BadLimit, match="by='cookie'"):
        check_by("cookie")


@async_test
async def test_what_is_awaitable_is_awaited() -> None:
    async def later() -> int:
        return 1

    assert (await outcome_of(1), await outcome_of(later())) == (1, 1)
