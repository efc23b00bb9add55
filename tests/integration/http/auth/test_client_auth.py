"""What all ways of saying who one is have in common: where the secrets go, and where not."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import httpx
import pytest

from backstay.errors import BadIntegration
from backstay.integration.http.auth.api_key import ApiKeyAuth
from backstay.integration.http.auth.basic import BasicAuth
from backstay.integration.http.auth.bearer import BearerAuth
from backstay.integration.http.auth.client_auth import ClientAuth
from backstay.integration.http.auth.oauth2 import OAuth2ClientCredentials
from backstay.integration.http.auth.signed import SignedAuth
from backstay.integration.http.origin import origin_of
from backstay.integration.http.watching import Sending, current_sending
from tests.integration.http.auth_client import BOTH, auth_client
from tests.integration.upstream import Upstream, answer
from tests.support import async_test

SECRET = "hunter2-hunter2"


def sign(method: str, url: str, headers: Any, body: bytes) -> dict[str, str]:
    return {"X-Signature": SECRET, "Authorization": f"HMAC {SECRET}"}


def every() -> list[ClientAuth]:
    return [
        BearerAuth(SECRET),
        ApiKeyAuth(SECRET),
        ApiKeyAuth(SECRET, query="key"),
        BasicAuth("user", SECRET),
        SignedAuth(sign),
    ]


EVERY = pytest.mark.parametrize(
    "auth", every(), ids=["bearer", "header key", "query key", "basic", "signed"]
)


def redirect(to: str) -> bytes:
    return answer(status=307, headers=[("Location", to)])


def has_secret(upstream: Upstream) -> bool:
    """Whether any request held something that was secret."""
    told = ("x-api-key", "authorization", "x-signature", SECRET)
    return any(word in str(each).lower() for each in upstream.requests for word in told)


@BOTH
@EVERY
@async_test
async def test_no_redirect_takes_a_secret_to_another_origin(
    module: ModuleType, auth: ClientAuth
) -> None:
    async with Upstream(answer(b"ok")) as elsewhere:
        async with Upstream(redirect(f"{elsewhere.url}/steal")) as home:
            async with auth_client(module, auth, follow_redirects=True) as http:
                response = await http.post(home.url, content=b"x")
                assert response.content == b"ok"
    assert has_secret(home)
    assert len(elsewhere.requests) == 1
    assert not has_secret(elsewhere)


@BOTH
@EVERY
@async_test
async def test_a_call_to_another_origin_than_the_integrations_goes_without(
    module: ModuleType, auth: ClientAuth
) -> None:
    async with Upstream(answer(b"ok")) as elsewhere:
        sending = Sending(origin=("https", "api.example.com", 443), headers={})
        token = current_sending.set(sending)
        try:
            async with auth_client(module, auth) as http:
                await http.get(elsewhere.url)
        finally:
            current_sending.reset(token)
    assert not has_secret(elsewhere)


@BOTH
@async_test
async def test_hosts_that_are_trusted_with_it_get_it_too(module: ModuleType) -> None:
    async with Upstream(answer(b"ok")) as uploads:
        async with Upstream(redirect(f"{uploads.url}/file")) as home:
            auth = ApiKeyAuth(SECRET, origins=[uploads.url])
            async with auth_client(module, auth, follow_redirects=True) as http:
                await http.get(home.url)
                token = current_sending.set(Sending(origin=origin_of(home.url), headers={}))
                try:
                    await http.get(uploads.url)
                finally:
                    current_sending.reset(token)
    assert [each.header("x-api-key") for each in uploads.requests] == [SECRET, SECRET]


@BOTH
@EVERY
@async_test
async def test_no_log_line_and_no_repr_shows_a_secret(
    module: ModuleType, auth: ClientAuth, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with Upstream(answer(status=500)) as home:
        async with auth_client(module, auth) as http:
            response = await http.get(home.url)
            with pytest.raises(module.HTTPStatusError) as failed:
                response.raise_for_status()
    shown = [*map(str, caplog.messages), repr(auth), repr(auth.for_client(module))]
    shown += [str(failed.value), repr(response), repr(response.request), str(response.url)]
    assert len(caplog.messages) >= 1
    assert not any(SECRET in each for each in shown)


@BOTH
@EVERY
@async_test
async def test_an_error_of_the_connection_shows_no_secret(
    module: ModuleType, auth: ClientAuth
) -> None:
    async with Upstream(b"garbage\r\n\r\n") as home:
        async with auth_client(module, auth) as http:
            with pytest.raises(module.TransportError) as failed:
                await http.get(home.url)
    assert SECRET not in f"{failed.value!r}{failed.value.request!r}{failed.value.request.url}"


@BOTH
@EVERY
@async_test
async def test_a_redirect_within_the_origin_keeps_what_headers_say(
    module: ModuleType, auth: ClientAuth
) -> None:
    paths = {"/a": redirect("/b"), "/b": answer(b"ok")}
    async with Upstream(paths) as home:
        async with auth_client(module, auth, follow_redirects=True) as http:
            assert (await http.get(f"{home.url}/a")).content == b"ok"
    if "query" not in repr(auth):
        assert home.last.header("authorization") or home.last.header("x-api-key")


@EVERY
def test_clients_that_do_not_wait_are_told_which_one_does(auth: ClientAuth) -> None:
    with httpx.Client(auth=auth.for_client(httpx), verify=False) as http:
        with pytest.raises(BadIntegration, match="is for AsyncClient"):
            http.get("http://127.0.0.1:9/")


def test_a_module_without_auth_is_refused() -> None:
    with pytest.raises(BadIntegration, match="logging has no Auth"):
        BearerAuth(SECRET).for_client(logging)


@pytest.mark.parametrize("origin", ["api.example.com", "ftp://a", "https://", "http://[::1"])
def test_an_origin_that_is_none_is_refused(origin: str) -> None:
    with pytest.raises(BadIntegration, match="origins= are URLs"):
        BearerAuth(SECRET, origins=origin)


class Renewing(ClientAuth):
    """Sends a number, and thinks once that the next one may do."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def authorize(self, request: Any, module: ModuleType) -> tuple[tuple[str, ...], str]:
        self.count += 1
        request.headers["X-Count"] = str(self.count)
        return ("x-count",), "p"

    async def renew(self, response: Any) -> bool:
        return bool(response.status_code == 401)


@BOTH
@async_test
async def test_a_request_is_sent_once_more_and_no_more_than_that(module: ModuleType) -> None:
    async with Upstream(answer(status=401)) as home:
        async with auth_client(module, Renewing()) as http:
            assert (await http.post(home.url, content=b"body")).status_code == 401
    assert [(each.header("x-count"), each.body) for each in home.requests] == [
        ("1", b"body"),
        ("2", b"body"),
    ]


@BOTH
@async_test
async def test_what_was_streamed_is_not_sent_again(module: ModuleType) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async with Upstream(answer(status=401)) as home:
        async with auth_client(module, Renewing()) as http:
            assert (await http.post(home.url, content=pieces())).status_code == 401
    assert [each.body for each in home.requests] == [b"ab"]


@BOTH
@async_test
async def test_a_refusal_by_somebody_else_renews_nothing(module: ModuleType) -> None:
    auth = Renewing()
    async with Upstream(answer(status=401)) as elsewhere, Upstream(redirect(elsewhere.url)) as home:
        async with auth_client(module, auth, follow_redirects=True) as http:
            assert (await http.get(home.url)).status_code == 401
    assert auth.count == 1


@BOTH
@async_test
async def test_the_integrations_oauth_tokens_stay_home_as_well(module: ModuleType) -> None:
    token = answer(b'{"access_token": "hunter2-hunter2", "token_type": "Bearer"}')
    async with Upstream(token) as identity, Upstream(answer(b"ok")) as elsewhere:
        async with Upstream(redirect(elsewhere.url)) as home:
            auth = OAuth2ClientCredentials(f"{identity.url}/token", "id", "very-secret")
            async with auth_client(module, auth, follow_redirects=True) as http:
                assert (await http.get(home.url)).content == b"ok"
    assert home.last.header("authorization") == f"Bearer {SECRET}"
    assert not has_secret(elsewhere)
