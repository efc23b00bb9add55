"""Tokens that are signed as they should be, and say what they must not.

Whoever has the secret key, such as another service, can sign these; and mistakes of an app's own
code may. What they say is looked at all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.attacks.forging import Genuine, hmac_signed
from tests.attacks.stage import SECRET, Standing, assert_problem, assert_refused, bearer
from tests.support import shown

GONE: Any = ...
HUGE = 10**400

CLAIMS: dict[str, list[Any]] = {
    "exp": [
        *(GONE, None, "1830000000", "2027-01-01", True, [], {}, [1830000000], -1, 0, 1),
        *(float("nan"), float("-inf"), float("inf"), 1e308, -1e308, HUGE, -HUGE, 10**15),
    ],
    "iss": [
        *(GONE, None, "", "Backstay", "backstay ", " backstay", "backstay/", "backstay\0"),
        *(["backstay"], {"backstay": 1}, True, 0, "b\u0430ckstay", "https://other.example"),
    ],
    "aud": [
        *(
            GONE,
            None,
            "",
            [],
            {},
            1,
            True,
            "other",
            ["other"],
            "Backstay",
            "backstay ",
            "backstay/",
        ),
        *([["backstay"]], [None], [1], ["backstay", 1], {"backstay": 1}, "backstay other", "*"),
        *(["back", "stay"], "backstay,other"),
    ],
    "sub": [GONE, None, "", 1, True, [], ["ada"], {"name": "ada"}],
    "nbf": ["now", True, [], float("nan"), HUGE, 4102444800],
    "iat": [GONE, None, "now", True, [], float("nan"), float("inf"), HUGE, 4102444800],
    "iat_us": [GONE, None, "0", True, 1.0, [], {}],
    "jti": [GONE, None, "", 1, True, [], ["x"]],
    "sid": [GONE, None, "", 1, True, [], ["x"]],
    "scope": [1, True, {}, [1], ["orders", 1], [["orders"]], [None]],
}
SEVERAL = [(name, value) for name, values in CLAIMS.items() for value in values]

TWICE: dict[str, bytes] = {
    "sub twice": b'"sub":"ada"',
    "sub twice, once escaped": b'"\\u0073ub":"ada"',
    "exp twice": b'"exp":4102444800',
    "scope twice": b'"scope":"articles orders"',
    "roles twice": b'"roles":["admin"]',
    "aud twice": b'"aud":["backstay","x"]',
    "sid twice": b'"sid":"x"',
    "something twice within": b'"more":{"a":1,"a":2}',
}


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    with Standing() as found:
        yield found


def named(value: object) -> str:
    return "missing" if value is GONE else shown(value)[:40]


@pytest.mark.parametrize(
    ("name", "value"), SEVERAL, ids=[f"{name} {named(value)}" for name, value in SEVERAL]
)
def test_a_signed_token_that_says_something_else_is_refused(
    name: str, value: Any, standing: Standing
) -> None:
    _refused(standing, lambda bob: hmac_signed(bob.header, bob.saying(**{name: value}), SECRET))


@pytest.mark.parametrize("where", ["in front", "behind"])
@pytest.mark.parametrize("more", TWICE.values(), ids=TWICE)
def test_a_claim_that_comes_twice_is_refused(more: bytes, where: str, standing: Standing) -> None:
    def signed(bob: Genuine) -> str:
        payload = json.dumps(bob.claims).encode()
        twice = (
            b"{" + more + b"," + payload[1:]
            if where == "in front"
            else (payload[:-1] + b"," + more + b"}")
        )
        return hmac_signed(bob.header, twice, SECRET)

    _refused(standing, signed)


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"exp": 9}, True),
        ({"exp": -9}, True),
        ({"exp": -10}, False),
        ({"nbf": 10}, True),
        ({"nbf": 11}, False),
        ({"iat": 10}, True),
        ({"iat": 11}, False),
    ],
    ids=str,
)
def test_clocks_may_differ_by_ten_seconds_and_no_more(
    changes: dict[str, int], good: bool, standing: Standing
) -> None:
    now = int(standing.stage().clock.now().timestamp())
    said = {name: now + seconds for name, seconds in changes.items()}
    if not good:
        _refused(standing, lambda bob: hmac_signed(bob.header, bob.saying(**said), SECRET))
        return
    stage = standing.stage()

    async def try_it() -> None:
        bob = Genuine.of(await stage.token("bob"))
        assert await stage.is_in(hmac_signed(bob.header, bob.saying(**said), SECRET))

    standing.run(try_it)


@pytest.mark.parametrize(
    "roles",
    [
        None,
        "admin",
        {"admin": True},
        [["admin"]],
        ["Admin"],
        ["admin "],
        ["administrator"],
        1,
        True,
    ],
    ids=shown,
)
def test_roles_are_a_list_of_texts_or_nothing(roles: Any, standing: Standing) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        bob = Genuine.of(await stage.token("bob"))
        token = hmac_signed(bob.header, bob.saying(roles=roles), SECRET)
        assert_problem(await stage.send("a role", headers=bearer(token)), 403)
        await stage.assert_untouched()

    standing.run(try_it)


@pytest.mark.parametrize(
    "iat_us",
    [HUGE, -HUGE, 10**30, -1, 0],
    ids=lambda value: f"{value:.0e}" if abs(value) < 10**100 else f"{value > 0} huge",
)
def test_no_moment_of_issue_is_an_error_or_outlives_logging_out(
    iat_us: int, standing: Standing
) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        token = await stage.token("eve")
        await stage.client.post("/logout/everywhere", headers=bearer(token))
        eve = Genuine.of(token)
        forged = hmac_signed(eve.header, eve.saying(iat_us=iat_us, sid="x", jti="x"), SECRET)
        await assert_refused(stage, forged)

    standing.run(try_it)


def _refused(standing: Standing, forge: Callable[[Genuine], str]) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        await assert_refused(stage, forge(Genuine.of(await stage.token("bob"))))

    standing.run(try_it)
