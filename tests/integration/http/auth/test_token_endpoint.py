"""Asking for a token, of servers that are as bad as they can be."""

from __future__ import annotations

import json
import traceback
from base64 import b64decode
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from backstay.errors import (
    BadAnswer,
    BadIntegration,
    IntegrationError,
    StabilityTimeoutError,
    UpstreamBusy,
    UpstreamError,
    UpstreamUnreachable,
)
from backstay.integration.http.auth.token_endpoint import TokenEndpoint
from backstay.integration.http.watching import AUXILIARY
from tests.integration.http.auth_client import BOTH
from tests.integration.upstream import Line, Received, Upstream, answer, closed_port, json_answer
from tests.support import async_test

SECRET = "hunter2 & more"
GRANT = {"grant_type": "client_credentials", "scope": "a b"}
GOOD = {"access_token": "token", "token_type": "Bearer", "expires_in": 3600}


def endpoint(url: str, **options: Any) -> TokenEndpoint:
    given: dict[str, Any] = {"style": "header", "extra": {}, "timeout_s": 10.0, "client": None}
    given |= {"allow_plain_http": False, **options}
    return TokenEndpoint(url, "client:id", SECRET, **given)


def shown(error: BaseException) -> str:
    """All that a log or a tracker of errors could show of it."""
    chain = [error, error.__cause__, error.__context__]
    texts = [f"{each!r}{each}{vars(each) if each is not None else ''}" for each in chain]
    return "".join(texts) + "".join(traceback.format_exception(error))


# ------------------------------------------------------------------ as it should be


@BOTH
@async_test
async def test_a_client_proves_itself_in_the_header(module: ModuleType) -> None:
    async with Upstream(json_answer(GOOD)) as server:
        granted = await endpoint(f"{server.url}/t", extra={"resource": "r"}).ask(module, GRANT)
    assert (granted.token, granted.lifetime_s, granted.refresh) == ("token", 3600.0, None)
    sent = server.last
    scheme, _, text = (sent.header("authorization") or "").partition(" ")
    assert (scheme, b64decode(text)) == ("Basic", b"client%3Aid:hunter2+%26+more")
    assert parse_qs(sent.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["a b"],
        "resource": ["r"],
    }
    assert sent.header("content-type") == "application/x-www-form-urlencoded"
    assert sent.header("accept") == "application/json"


@BOTH
@async_test
async def test_a_client_proves_itself_in_the_form_where_that_is_wanted(module: ModuleType) -> None:
    async with Upstream(json_answer(GOOD)) as server:
        await endpoint(f"{server.url}/t", style="body").ask(module, GRANT)
    form = parse_qs(server.last.body.decode())
    assert (form["client_id"], form["client_secret"]) == (["client:id"], [SECRET])
    assert server.last.header("authorization") is None


@pytest.mark.parametrize(
    ("members", "lifetime_s"),
    [
        ({}, 3600.0),
        ({"token_type": "bearer"}, 3600.0),
        ({"expires_in": "120"}, 120.0),
        ({"expires_in": 1.5}, 1.5),
        ({"expires_in": 0}, 0.0),
        ({"expires_in": -5}, 0.0),
        ({"expires_in": None}, None),
        ({"expires_in": "soon"}, None),
        ({"expires_in": True}, None),
        ({"expires_in": {}}, None),
    ],
    ids=str,
)
@async_test
async def test_a_lifetime_is_read_as_servers_write_it(
    members: dict[str, Any], lifetime_s: float | None
) -> None:
    async with Upstream(json_answer({**GOOD, **members})) as server:
        assert (await endpoint(server.url).ask(httpx, GRANT)).lifetime_s == lifetime_s


@async_test
async def test_a_type_that_is_left_out_is_bearer_and_a_refresh_token_is_kept() -> None:
    members = {"access_token": "token", "refresh_token": "again"}
    async with Upstream(json_answer(members)) as server:
        granted = await endpoint(server.url).ask(httpx, GRANT)
    assert (granted.token, granted.refresh) == ("token", "again")
    assert "again" not in repr(granted)
    assert "'token'" not in repr(granted)


@BOTH
@async_test
async def test_a_client_of_ones_own_is_asked_with_and_stays_open(module: ModuleType) -> None:
    async with Upstream(json_answer(GOOD)) as server:
        async with module.AsyncClient(verify=False, auth=("wrong", "wrong")) as client:
            asked = endpoint(server.url, client=client)
            seen: list[Any] = []

            async def watch(request: Any) -> None:
                seen.append(request.extensions.get(AUXILIARY))

            client.event_hooks = {"request": [watch], "response": []}
            await asked.ask(module, GRANT)
            await asked.ask(module, GRANT)
            assert not client.is_closed
    assert b64decode((server.last.header("authorization") or "")[6:]).startswith(b"client")
    assert seen == [True, True], "these requests are no calls of an endpoint"


# ------------------------------------------------------------------ as it should not


async def hang(line: Line, request: Received) -> None:
    await line.hang()


async def drip(line: Line, request: Received) -> None:
    await line.send(answer(length=1000))
    await line.hang()


async def reset(line: Line, request: Received) -> None:
    line.reset()


async def echo(line: Line, request: Received) -> None:
    text = {
        "error": "invalid_client",
        "error_description": f"{SECRET} is wrong, so is {request.body.decode()}\n\x1b[31m",
    }
    await line.send(answer(json.dumps(text).encode(), 401))


BAD = [
    ("hang", hang, StabilityTimeoutError, "did not answer within 0.2 seconds", 504),
    ("drip", drip, StabilityTimeoutError, "did not answer within 0.2 seconds", 504),
    ("reset", reset, UpstreamUnreachable, "could not be reached or broke off (ReadError)", 502),
    ("no HTTP", b"\0\1\r\n\r\n", UpstreamUnreachable, "broke off (RemoteProtocolError)", 502),
    ("400", json_answer({"error": "invalid_scope"}, 400), UpstreamError, "400: invalid_scope", 502),
    ("echo", echo, UpstreamError, "answered 401: invalid_client (*** is wrong, so is", 502),
    ("500", answer(b"<html>oops", 500), UpstreamError, "answered 500", 502),
    ("429", answer(status=429, headers=[("Retry-After", "7")]), UpstreamBusy, "answered 429", 503),
    ("503", answer(status=503), UpstreamBusy, "answered 503", 503),
    ("204", b"HTTP/1.1 204 No\r\n\r\n", UpstreamError, "answered 204", 502),
    ("redirect", answer(status=307, headers=[("Location", "/x")]), UpstreamError, "redirect", 502),
    ("page", answer(b"<html>log in"), BadAnswer, "something that is no JSON object", 502),
    ("list", json_answer([GOOD]), BadAnswer, "no JSON object", 502),
    ("deep", answer(b"[" * 100_000), BadAnswer, "no JSON object", 502),
    ("large", answer(b" " * 300_000), UpstreamError, "more than 262144 bytes", 502),
    ("no token", json_answer({"token_type": "Bearer"}), BadAnswer, "without an access_token", 502),
    ("empty", json_answer({**GOOD, "access_token": ""}), BadAnswer, "without an access_token", 502),
    ("lines", json_answer({**GOOD, "access_token": "a\r\nX: b"}), BadAnswer, "could be sent", 502),
    ("mac", json_answer({**GOOD, "token_type": "mac"}), BadAnswer, "a token of type 'mac'", 502),
    ("odd", json_answer({**GOOD, "token_type": 7}), BadAnswer, "a token of type '7'", 502),
]


@BOTH
@pytest.mark.parametrize("style", ["header", "body"])
@pytest.mark.parametrize(
    ("script", "kind", "told", "status"),
    [each[1:] for each in BAD],
    ids=[each[0] for each in BAD],
)
@async_test
async def test_a_fault_of_the_server_is_told_without_the_secret(
    module: ModuleType,
    style: str,
    script: Any,
    kind: type[IntegrationError],
    told: str,
    status: int,
) -> None:
    timeout_s = 0.2 if script in (hang, drip) else 10.0
    async with Upstream(script) as server:
        asked = endpoint(f"{server.url}/token", style=style, timeout_s=timeout_s)
        with pytest.raises(kind) as failed:
            await asked.ask(module, GRANT)
    error = failed.value
    assert type(error) is kind
    assert told in str(error)
    assert "'127.0.0.1'" in str(error)
    assert "\x1b" not in str(error)
    assert error.status == status
    assert "hunter2" not in shown(error)
    assert "aHVudGVy" not in shown(error)
    if isinstance(error, UpstreamBusy):
        assert error.retry_after_s == (7 if "429" in told else 5)


@BOTH
@async_test
async def test_a_server_that_is_not_there_is_told(module: ModuleType) -> None:
    with closed_port() as port:
        with pytest.raises(
            UpstreamUnreachable, match=r"could not be reached .*ConnectError"
        ) as failed:
            await endpoint(f"http://127.0.0.1:{port}/token").ask(module, GRANT)
    assert failed.value.__context__ is None, "an error of the client holds the request"


@async_test
async def test_a_fault_of_ones_own_client_is_ones_own() -> None:
    client = httpx.AsyncClient(verify=False)
    await client.aclose()
    with pytest.raises(RuntimeError, match="has been closed"):
        await endpoint("http://127.0.0.1/", client=client).ask(httpx, GRANT)


# ------------------------------------------------------------------ how it is declared


@pytest.mark.parametrize(
    "url",
    [
        "",
        "id.example.com",
        "ftp://id.example.com",
        "https://",
        "https://[::1",
        "https://a/#b",
        None,
    ],
)
def test_an_address_that_is_none_is_refused(url: Any) -> None:
    with pytest.raises(BadIntegration, match="absolute URL"):
        endpoint(url)


def test_a_secret_goes_to_nobody_without_tls_unless_that_is_said() -> None:
    with pytest.raises(BadIntegration, match="'id.example.com' begins with http://"):
        endpoint("http://id.example.com/token")
    with pytest.raises(BadIntegration, match="without user and password") as refused:
        endpoint("https://id:hunter2@id.example.com/token")
    assert "hunter2" not in str(refused.value)
    endpoint("http://id.example.com/token", allow_plain_http=True)
    endpoint("http://localhost:8080/token")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"style": "query"}, "got 'query'"),
        ({"timeout_s": 0}, "seconds above 0; got 0"),
        ({"timeout_s": float("nan")}, "seconds above 0"),
        ({"extra": {"client_secret": "x"}}, "extra= has 'client_secret'"),
    ],
    ids=["style", "zero", "nan", "extra"],
)
def test_options_that_could_not_work_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadIntegration, match=told):
        endpoint("https://id.example.com/", **options)
