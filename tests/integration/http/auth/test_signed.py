"""Requests that are signed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from types import ModuleType
from typing import Any

import pytest

from backstay.errors import BadIntegration
from backstay.integration.http.auth.signed import SignedAuth
from tests.integration.http.auth_client import BOTH, auth_client
from tests.integration.upstream import Upstream
from tests.support import async_test


def mac(*parts: bytes) -> str:
    return hmac.new(b"key", b"\n".join(parts), hashlib.sha256).hexdigest()


def sign(method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    return {
        "X-Signature": mac(method.encode(), url.encode(), headers["x-date"].encode(), body),
        "X-Key-Id": "7",
    }


async def sign_later(
    method: str, url: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    return sign(method, url, headers, body)


@BOTH
@pytest.mark.parametrize("function", [sign, sign_later], ids=["sync", "async"])
@async_test
async def test_the_signature_is_of_what_is_sent(module: ModuleType, function: Any) -> None:
    async with Upstream() as home:
        async with auth_client(module, SignedAuth(function)) as http:
            await http.post(f"{home.url}/x?y=1", content=b"body", headers={"X-Date": "today"})
    want = mac(b"POST", f"{home.url}/x?y=1".encode(), b"today", b"body")
    assert home.last.header("x-signature") == want
    assert home.last.body == b"body"


@BOTH
@async_test
async def test_a_streamed_content_is_read_and_signed(module: ModuleType) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"bo"
        yield b"dy"

    async with Upstream() as home:
        async with auth_client(module, SignedAuth(sign)) as http:
            await http.put(home.url, content=pieces(), headers={"X-Date": "today"})
    assert home.last.body == b"body"
    assert home.last.header("x-signature") == mac(b"PUT", home.url.encode(), b"today", b"body")


@BOTH
@async_test
async def test_a_function_that_returns_no_headers_fails_the_call(module: ModuleType) -> None:
    async with Upstream() as home:
        auth: Any = SignedAuth(lambda *_: "signature")  # type: ignore[arg-type, return-value]
        async with auth_client(module, auth) as http:
            with pytest.raises(BadIntegration, match="as a mapping; got a str"):
                await http.get(home.url)
    assert home.requests == []


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="SignedAuth"):
        SignedAuth("key")  # type: ignore[arg-type]  # what is wrong with it
