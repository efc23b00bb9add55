"""More than somebody may: asked for, slipped in, kept, or borrowed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backstay.testing import FakeClock
from tests.attacks.forging import Genuine
from tests.attacks.stage import (
    GUARDED,
    Stage,
    Standing,
    assert_problem,
    bearer,
    service,
)
from tests.support import async_test, shown


@pytest.fixture(scope="module")
def standing() -> Iterator[Standing]:
    with Standing() as found:
        yield found


def scopes_of(token: str) -> set[str]:
    return set(Genuine.of(token).claims["scope"].split())


WANTED = [
    *("articles", "articles orders", "orders articles admin", "*", "admin", "orders:*", "openid"),
    *("ORDERS", "orders\u00a0articles", "orders,articles", "orders+articles", "articles%20orders"),
    *(" articles", "articles ", "  ", "orders  articles", "orders\tarticles", "orders\narticles"),
    *('orders" articles', "orders\\articles", "\u043erders", "x" * 5000, "a " * 2500, "\0", "-"),
]


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: shown(wanted)[:40])
@pytest.mark.parametrize("name", ["bob", "eve"])
def test_asking_for_a_scope_gives_none_that_one_may_not_have(
    name: str, wanted: str, standing: Standing
) -> None:
    stage = standing.stage()
    may = {"bob": {"orders"}, "eve": set()}[name]

    async def try_it() -> None:
        form = {"username": name, "password": f"{name} of the shop", "scope": wanted}
        answer = await stage.client.post("/token", data=form)
        if answer.status_code != 200:
            assert_problem(answer, 400)
            assert answer.json()["error"] == "invalid_scope"
            return
        found = answer.json()
        assert scopes_of(found["access_token"]) <= may
        assert set(found["scope"].split()) <= may
        await _opens_no_more_than(stage, found["access_token"], scopes_of(found["access_token"]))

    standing.run(try_it)


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: shown(wanted)[:40])
def test_an_exchange_gives_no_more_than_the_login_had(wanted: str, standing: Standing) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        grant = await stage.log_in("ada", scope="orders")
        answer = await stage.refresh(grant["refresh_token"], scope=wanted)
        if answer.status_code != 200:
            assert_problem(answer, 400)
            return
        found = answer.json()
        assert scopes_of(found["access_token"]) <= {"orders"}
        # Nor at the next one, when nobody says what is wanted.
        again = (await stage.refresh(found["refresh_token"])).json()
        assert scopes_of(again["access_token"]) <= {"orders"}

    standing.run(try_it)


EXTRAS: list[dict[str, Any]] = [
    {"roles": "admin"},
    {"role": "admin"},
    {"scopes": "articles orders"},
    {"scp": "articles"},
    {"scope[]": "articles"},
    {"sub": "ada"},
    {"claims": '{"roles":["admin"]}'},
    {"is_admin": "true"},
    {"client_id": "ada", "client_secret": "x"},
    {"audience": "other", "resource": "other"},
    {"user": "ada"},
    {"exp": "99999999999"},
    {"requested_token_type": "x", "subject_token": "ada", "actor_token": "ada"},
]


@pytest.mark.parametrize("extra", EXTRAS, ids=shown)
def test_nothing_else_in_the_form_gets_into_a_token(
    extra: dict[str, Any], standing: Standing
) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        grant = await stage.log_in("eve", **extra)
        for found in (grant, (await stage.refresh(grant["refresh_token"], **extra)).json()):
            claims = Genuine.of(found["access_token"]).claims
            assert (claims["sub"], claims["scope"], claims["roles"]) == ("eve", "", [])
            assert claims["aud"] == "backstay"
            assert set(claims) == {
                *("iss", "sub", "aud", "iat", "iat_us", "nbf", "exp", "jti", "sid", "scope"),
                "roles",
            }
            await _opens_no_more_than(stage, found["access_token"], set())

    standing.run(try_it)


RESERVED = ["iss", "sub", "aud", "exp", "nbf", "iat", "iat_us", "jti", "sid", "api_key"]


@pytest.mark.parametrize("claim", RESERVED)
@async_test
async def test_what_tokens_are_trusted_by_is_not_the_apps_to_set(claim: str) -> None:
    """Say, because it passes on what the user has written into his profile."""
    async with service() as stage:
        good = await stage.log_in("eve")
        stage.people["eve"].more = {claim: "ada"}
        form = {"username": "eve", "password": "eve of the shop"}
        for answer in (
            await stage.client.post("/token", data=form),
            await stage.refresh(good["refresh_token"]),
        ):
            assert_problem(answer, 500)  # the app's own fault, and no login
            assert "access_token" not in answer.text
        # The exchange did not happen: once the fault is mended, the session goes on.
        stage.people["eve"].more = {}
        assert (await stage.refresh(good["refresh_token"])).status_code == 200


@pytest.mark.parametrize(
    "more",
    [
        {"name": float("nan")},
        {"name": {1, 2}},
        {"name": object},
        {"name": "x" * 20_000},
        {1: "x"},
    ],
    ids=lambda more: shown(more)[:40],
)
@async_test
async def test_what_no_token_can_say_makes_none(more: dict[Any, Any]) -> None:
    async with service() as stage:
        stage.people["eve"].more = more
        form = {"username": "eve", "password": "eve of the shop"}
        assert_problem(await stage.client.post("/token", data=form), 500)


@async_test
async def test_names_in_a_profile_that_look_like_claims_change_no_rights() -> None:
    async with service() as stage:
        stage.people["eve"].more = {
            "scp": "articles orders",
            "scopes": ["articles"],
            "role": "admin",
            "Roles": ["admin"],
            "admin": True,
            "name": '","roles":["admin"],"x":"',
        }
        await _opens_no_more_than(stage, await stage.token("eve"), set())


@async_test
async def test_a_role_that_was_taken_away_is_gone_at_the_next_exchange() -> None:
    async with service() as stage:
        grant = await stage.log_in("ada")
        stage.people["ada"].roles = []
        found = (await stage.refresh(grant["refresh_token"])).json()
        assert_problem(await stage.send("a role", headers=bearer(found["access_token"])), 403)


@async_test
async def test_a_scope_that_was_taken_away_is_gone_at_the_next_exchange_and_comes_back_by_login() -> (
    None
):
    async with service() as stage:
        grant = await stage.log_in("ada")
        stage.people["ada"].scopes = ["orders"]
        found = (await stage.refresh(grant["refresh_token"])).json()
        assert scopes_of(found["access_token"]) == {"orders"}
        await _opens_no_more_than(stage, found["access_token"], {"orders"}, roles={"admin"})


@async_test
async def test_a_role_that_was_taken_away_counts_no_longer_than_an_access_token() -> None:
    clock = FakeClock()
    async with service(clock=clock, terms={"ACCESS_TOKEN_EXPIRE_MINUTES": 5}) as stage:
        token = await stage.token("ada")
        stage.people["ada"].roles = []
        await clock.advance(5 * 60 + 10)
        assert_problem(await stage.send("a role", headers=bearer(token)), 401)


@async_test
async def test_logging_out_everywhere_takes_a_role_away_at_once() -> None:
    async with service() as stage:
        token = await stage.token("ada")
        stage.people["ada"].roles = []
        await stage.auth.end_sessions("ada")
        assert_problem(await stage.send("a role", headers=bearer(token)), 401)
        assert_problem(await stage.send("a role", headers=bearer(await stage.token("ada"))), 403)


@pytest.mark.parametrize("route", GUARDED)
@pytest.mark.parametrize("how", ["X-HTTP-Method-Override", "X-Original-URL", "X-Rewrite-URL"])
def test_no_header_leads_to_another_route(how: str, route: str, standing: Standing) -> None:
    stage = standing.stage()
    method, path = GUARDED[route]
    value = method if "Method" in how else path

    async def try_it() -> None:
        headers = {how: value, **bearer(await stage.token("eve"))}
        answer = await stage.client.get("/openapi.json", headers=headers)
        assert answer.status_code == 200
        assert_problem(await stage.client.post("/orders", headers=headers), 405)
        assert stage.reached == []

    standing.run(try_it)


@pytest.mark.parametrize(
    "path",
    [
        *("/Reports", "/REPORTS", "/reports/", "//reports", "/./reports", "/x/../reports"),
        *("/reports%2f", "/reports%00", "/reports;x=1", "/reports?", "/%72eports", "/reports.json"),
        *("/partners/../reports", "/partners//deals", "/partners/%2e%2e/reports", "/reports%20"),
    ],
)
def test_no_way_to_write_a_path_gets_around_a_role(path: str, standing: Standing) -> None:
    stage = standing.stage()

    async def try_it() -> None:
        for headers in ({}, bearer(await stage.token("bob"))):
            for method in ("GET", "HEAD", "POST", "OPTIONS", "TRACE", "get"):
                answer = await stage.client.request(method, path, headers=headers)
                assert answer.status_code in (307, 400, 401, 403, 404, 405)
        assert "reports" not in stage.reached

    standing.run(try_it)


async def _opens_no_more_than(
    stage: Stage, token: str, scopes: set[str], roles: set[str] | None = None
) -> None:
    needs = {
        "a scope": "orders" in scopes,
        "a role": "admin" in (roles or set()),
        "a view set, reading": "articles" in scopes,
        "a view set, writing": "articles" in scopes,
        "a view set, deleting": "articles" in scopes,
    }
    for route, may in needs.items():
        answer = await stage.send(route, headers=bearer(token))
        assert (answer.status_code < 300) == may
        if not may:
            assert_problem(answer, 403)
            challenge = answer.headers.get("www-authenticate", "")
            assert route == "a role" or 'error="insufficient_scope"' in challenge
    if "articles" not in scopes:
        assert await stage.articles() == 1
