"""Tokens are asked for once, before they are needed, and again when they will not do."""

from __future__ import annotations

import asyncio
import json
import logging
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import SecretStr

from backstay.errors import (
    BadIntegration,
    IntegrationError,
    StabilityTimeoutError,
    UpstreamError,
)
from backstay.integration.http.auth.oauth2 import OAuth2ClientCredentials
from backstay.testing import FakeClock
from tests.integration.http.auth_client import BOTH, auth_client
from tests.integration.upstream import Line, Received, Upstream, answer, json_answer
from tests.support import async_test

SECRET = "hunter2-hunter2"


class Identity:
    """A token server: the tokens are numbered, and answers wait until they may go."""

    def __init__(self, **members: Any) -> None:
        self.members: dict[str, Any] = {"token_type": "Bearer", "expires_in": 3600} | members
        self.grants: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.status = 200

    async def __call__(self, line: Line, request: Received) -> None:
        form = parse_qs(request.body.decode())
        self.grants.append(form["grant_type"][0])
        number = len(self.grants)
        await self.may_answer.wait()
        members = self.members | {"access_token": f"t{number}"}
        await line.send(answer(json.dumps(members).encode(), self.status))


def auth_at(server: Upstream, clock: FakeClock | None = None, **options: Any) -> Any:
    return OAuth2ClientCredentials(
        f"{server.url}/token", "client", SECRET, clock=clock or FakeClock(), **options
    )


def sent(upstream: Upstream) -> list[str]:
    return [
        (each.header("authorization") or "").removeprefix("Bearer ") for each in upstream.requests
    ]


# ------------------------------------------------------------------ once


@BOTH
@async_test
async def test_a_token_is_asked_for_once_and_sent_with_each_call(module: ModuleType) -> None:
    identity = Identity()
    async with Upstream(identity) as server, Upstream() as home:
        async with auth_client(module, auth_at(server, scope=["a", "b"], audience="me")) as http:
            for _ in range(3):
                await http.get(home.url)
    assert sent(home) == ["t1", "t1", "t1"]
    form = parse_qs(server.last.body.decode())
    assert (form["scope"], form["audience"]) == (["a b"], ["me"])
    assert len(server.requests) == 1


@BOTH
@async_test
async def test_a_thousand_calls_at_once_ask_for_one_token(module: ModuleType) -> None:
    identity = Identity()
    identity.may_answer.clear()
    answered = 0

    class Home(module.AsyncBaseTransport):  # type: ignore[name-defined, misc]
        async def handle_async_request(self, request: Any) -> Any:
            nonlocal answered
            assert request.headers["authorization"] == "Bearer t1"
            answered += 1
            return module.Response(200)

    async with Upstream(identity) as server:
        async with auth_client(module, auth_at(server), transport=Home()) as http:
            calls = [asyncio.create_task(http.get("http://home.test")) for _ in range(1000)]
            await server.until(lambda it: len(it.requests) == 1)
            identity.may_answer.set()
            await asyncio.gather(*calls)
    assert answered == 1000
    assert len(server.requests) == 1


@async_test
async def test_a_call_that_is_cancelled_does_not_take_the_others_with_it() -> None:
    identity = Identity()
    identity.may_answer.clear()
    async with Upstream(identity) as server, Upstream() as home:
        async with auth_client(httpx, auth_at(server)) as http:
            first = asyncio.create_task(http.get(home.url))
            await server.until(lambda it: len(it.requests) == 1)
            second = asyncio.create_task(http.get(home.url))
            await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            identity.may_answer.set()
            assert (await second).status_code == 200
    assert identity.grants == ["client_credentials"]


@async_test
async def test_a_question_nobody_waits_for_any_more_is_answered_for_the_next() -> None:
    identity = Identity()
    identity.may_answer.clear()
    async with Upstream(identity) as server, Upstream() as home:
        auth = auth_at(server)
        async with auth_client(httpx, auth) as http:
            call = asyncio.create_task(http.get(home.url))
            await server.until(lambda it: len(it.requests) == 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            identity.may_answer.set()
            await http.get(home.url)
    assert sent(home) == ["t1"]
    assert len(server.requests) == 1


def test_one_object_serves_several_event_loops() -> None:
    made: list[Any] = []

    async def call(is_first: bool) -> None:
        async with Upstream(Identity(expires_in=0)) as server, Upstream() as home:
            if is_first:
                made.append(auth_at(server))
            made[0]._endpoint.url = f"{server.url}/token"
            async with auth_client(httpx, made[0]) as http:
                assert (await http.get(home.url)).status_code == 200

    asyncio.run(call(True))
    asyncio.run(call(False))
    assert made[0]._asking == {}, "nothing of a loop that is gone is kept"


# ------------------------------------------------------------------ before it ends


@async_test
async def test_a_new_token_is_asked_for_beside_the_calls_before_the_old_one_ends() -> None:
    identity, clock = Identity(expires_in=100), FakeClock()
    async with Upstream(identity) as server, Upstream() as home:
        async with auth_client(httpx, auth_at(server, clock, leeway_s=30)) as http:
            await http.get(home.url)
            await clock.advance(69)
            await http.get(home.url)
            assert len(identity.grants) == 1
            await clock.advance(2)
            identity.may_answer.clear()
            await http.get(home.url)  # does not wait
            await server.until(lambda it: len(it.requests) == 2)
            await http.get(home.url)
            await clock.advance(20)  # the last third
            waiting = asyncio.create_task(http.get(home.url))
            await asyncio.sleep(0)
            identity.may_answer.set()
            await waiting
    assert sent(home) == ["t1", "t1", "t1", "t1", "t2"]
    assert len(identity.grants) == 2


@async_test
async def test_an_outage_of_the_token_server_harms_nobody_while_the_old_token_lasts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    identity, clock = Identity(expires_in=100), FakeClock()
    async with Upstream(identity) as server, Upstream() as home:
        auth = auth_at(server, clock, leeway_s=30)
        async with auth_client(httpx, auth) as http:
            await http.get(home.url)
            await clock.advance(75)
            identity.status = 500
            with caplog.at_level(logging.WARNING, logger="backstay.integration"):
                for _ in range(5):
                    assert (await http.get(home.url)).status_code == 200
                    await asyncio.gather(*auth._asking.values(), return_exceptions=True)
            assert len(identity.grants) == 2, "a second between two questions that nobody waits for"
            assert "no access token for 'client': the token endpoint at" in caplog.text
            assert SECRET not in caplog.text
            await clock.advance(20)
            with pytest.raises(UpstreamError, match="answered 500"):
                await http.get(home.url)
            identity.status = 200
            await http.get(home.url)
    assert sent(home)[-1] == "t4"


@pytest.mark.parametrize("expires_in", [None, "soon"], ids=str)
@async_test
async def test_a_token_without_an_end_is_kept_until_it_is_refused(expires_in: Any) -> None:
    identity, clock = Identity(expires_in=expires_in), FakeClock()
    async with Upstream(identity) as server:
        async with Upstream([answer(), answer(), answer(status=401), answer()]) as home:
            async with auth_client(httpx, auth_at(server, clock)) as http:
                await http.get(home.url)
                await clock.advance(10_000_000)
                await http.get(home.url)
                assert (await http.get(home.url)).status_code == 200
    assert sent(home) == ["t1", "t1", "t1", "t2"]


@async_test
async def test_a_short_life_is_not_all_leeway() -> None:
    identity, clock = Identity(expires_in=20), FakeClock()
    async with Upstream(identity) as server, Upstream() as home:
        async with auth_client(httpx, auth_at(server, clock, leeway_s=30)) as http:
            await http.get(home.url)
            await clock.advance(9)
            await http.get(home.url)
            assert len(identity.grants) == 1
            await clock.advance(20)
            await http.get(home.url)
    assert sent(home) == ["t1", "t1", "t2"]


@async_test
async def test_a_refresh_token_is_used_and_done_without_when_it_is_refused() -> None:
    clock = FakeClock()
    first = {"access_token": "t1", "expires_in": 100, "refresh_token": "r1"}
    second = {"access_token": "t2", "expires_in": 100}
    third = json_answer({"error": "invalid_grant"}, 400)
    fourth = {"access_token": "t4", "expires_in": 100}
    script = [json_answer(first), json_answer(second), third, json_answer(fourth)]
    async with Upstream(script) as server, Upstream() as home:
        async with auth_client(httpx, auth_at(server, clock)) as http:
            for _ in range(3):
                await http.get(home.url)
                await clock.advance(200)
    assert sent(home) == ["t1", "t2", "t4"]
    forms = [parse_qs(each.body.decode()) for each in server.requests]
    assert [form["grant_type"][0] for form in forms] == [
        "client_credentials",
        "refresh_token",
        "refresh_token",
        "client_credentials",
    ]
    assert forms[1]["refresh_token"] == forms[2]["refresh_token"] == ["r1"]


# ------------------------------------------------------------------ refused


@BOTH
@async_test
async def test_a_refused_token_is_replaced_once_and_then_the_refusal_stands(
    module: ModuleType,
) -> None:
    identity, clock = Identity(), FakeClock()
    async with Upstream(identity) as server, Upstream(answer(status=401)) as home:
        async with auth_client(module, auth_at(server, clock)) as http:
            assert (await http.post(home.url, content=b"x")).status_code == 401
            assert sent(home) == ["t1", "t2"]
            # Whoever refuses everything is not asked twice, nor the token server each time.
            for _ in range(5):
                assert (await http.post(home.url, content=b"x")).status_code == 401
            assert (len(home.requests), len(identity.grants)) == (7, 2)
            await clock.advance(10)
            await http.post(home.url, content=b"x")
    assert sent(home)[-2:] == ["t2", "t3"]
    assert {each.body for each in home.requests} == {b"x"}


@async_test
async def test_many_calls_that_are_refused_at_once_ask_for_one_token() -> None:
    identity = Identity()
    everybody = asyncio.Barrier(20)

    async def refuse_first(line: Line, request: Received) -> None:
        if request.header("authorization") == "Bearer t1":
            await everybody.wait()
            await line.send(answer(status=401))
        else:
            await line.send(answer(b"ok"))

    async with Upstream(identity) as server, Upstream(refuse_first) as home:
        async with auth_client(httpx, auth_at(server)) as http:
            answers = await asyncio.gather(*(http.get(home.url) for _ in range(20)))
    assert {each.status_code for each in answers} == {200}
    assert len(identity.grants) == 2


@pytest.mark.parametrize(
    ("challenge", "asked"),
    [
        ('Bearer realm="x", error="invalid_token"', 2),
        ('Bearer realm="x"', 2),
        ('Bearer error="invalid_request"', 1),
        ('DPoP error="use_dpop_nonce"', 1),
    ],
)
@async_test
async def test_a_refusal_for_another_reason_has_no_token_fetched(
    challenge: str, asked: int
) -> None:
    identity = Identity()
    refusal = answer(status=401, headers=[("WWW-Authenticate", challenge)])
    async with Upstream(identity) as server, Upstream([refusal, answer()]) as home:
        async with auth_client(httpx, auth_at(server)) as http:
            await http.get(home.url)
    assert len(identity.grants) == asked


# ------------------------------------------------------------------ failing


@BOTH
@async_test
async def test_without_a_token_no_call_is_made_and_the_next_one_asks_again(
    module: ModuleType,
) -> None:
    script = [json_answer({"error": "invalid_client"}, 400), json_answer({"access_token": "t"})]
    async with Upstream(script) as server, Upstream() as home:
        async with auth_client(module, auth_at(server)) as http:
            with pytest.raises(UpstreamError, match="400: invalid_client; check client_id"):
                await http.get(home.url)
            assert home.requests == []
            assert (await http.get(home.url)).status_code == 200


@async_test
async def test_all_who_wait_hear_of_a_failure_each_by_an_error_of_its_own() -> None:
    identity = Identity()
    identity.may_answer.clear()
    identity.status = 503
    async with Upstream(identity) as server:
        async with auth_client(httpx, auth_at(server)) as http:
            calls = [asyncio.create_task(http.get("http://127.0.0.1:9")) for _ in range(10)]
            await server.until(lambda it: len(it.requests) == 1)
            identity.may_answer.set()
            errors = await asyncio.gather(*calls, return_exceptions=True)
    assert len({id(each) for each in errors}) == 10
    for each in errors:
        assert isinstance(each, UpstreamError)
        assert (each.answered, each.endpoint) == (503, "the token endpoint at '127.0.0.1'")


@async_test
async def test_a_wait_is_bounded() -> None:
    identity = Identity()
    identity.may_answer.clear()
    async with Upstream(identity) as server:
        async with auth_client(httpx, auth_at(server, timeout_s=0.05)) as http:
            with pytest.raises(StabilityTimeoutError, match=r"within 0\.05 seconds") as failed:
                await http.get("http://127.0.0.1:9")
    assert isinstance(failed.value, IntegrationError)


# ------------------------------------------------------------------ how it is declared


def test_a_secret_is_not_shown() -> None:
    auth = OAuth2ClientCredentials("https://id.example.com/token", "me", SecretStr(SECRET))
    assert repr(auth) == "OAuth2ClientCredentials('https://id.example.com/token', 'me', '***')"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_secret": None}, "client_secret"),
        ({"client_secret": ""}, "client_secret"),
        ({"leeway_s": -1}, "leeway_s= is seconds, 0 or more; got -1"),
        ({"auth_style": "jwt"}, "auth_style="),
        ({"token_url": "http://id.example.com"}, "allow_plain_http=True"),
    ],
    ids=["id", "no secret", "empty secret", "leeway", "style", "http"],
)
def test_what_could_not_work_is_refused_where_it_is_written(
    change: dict[str, Any], told: str
) -> None:
    given: dict[str, Any] = {
        "token_url": "https://id.example.com",
        "client_id": "me",
        "client_secret": SECRET,
    }
    with pytest.raises(BadIntegration, match=told):
        OAuth2ClientCredentials(**(given | change))
