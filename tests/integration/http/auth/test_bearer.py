"""Bearer tokens."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from pydantic import SecretStr

from backstay.errors import BadIntegration
from backstay.integration.http.auth.bearer import BearerAuth
from tests.integration.http.auth_client import BOTH, auth_client
from tests.integration.upstream import Upstream
from tests.support import async_test


async def asked() -> str:
    return "fetched"


@BOTH
@pytest.mark.parametrize(
    ("token", "sent"),
    [("abc", "abc"), (SecretStr("hidden"), "hidden"), (asked, "fetched")],
    ids=["text", "SecretStr", "function"],
)
@async_test
async def test_the_token_is_sent(module: ModuleType, token: Any, sent: str) -> None:
    async with Upstream() as home:
        async with auth_client(module, BearerAuth(token)) as http:
            await http.get(home.url)
    assert home.last.header("authorization") == f"Bearer {sent}"


@BOTH
@async_test
async def test_a_function_is_asked_for_each_request(module: ModuleType) -> None:
    tokens = iter(("one", "two"))
    async with Upstream() as home:
        async with auth_client(module, BearerAuth(lambda: next(tokens))) as http:
            await http.get(home.url)
            await http.get(home.url)
    assert [each.header("authorization") for each in home.requests] == ["Bearer one", "Bearer two"]


def test_a_token_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(BadIntegration, match=r"BearerAuth\(token\) is empty"):
        BearerAuth("")


@BOTH
@async_test
async def test_a_function_without_a_token_fails_the_call(module: ModuleType) -> None:
    async with Upstream() as home:
        async with auth_client(module, BearerAuth(lambda: "")) as http:
            with pytest.raises(BadIntegration, match="is empty"):
                await http.get(home.url)
    assert home.requests == []
