"""API keys."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from backstay.errors import BadIntegration
from backstay.integration.http.auth.api_key import ApiKeyAuth
from tests.integration.http.auth_client import BOTH, auth_client
from tests.integration.upstream import Upstream
from tests.support import async_test


@BOTH
@pytest.mark.parametrize(
    ("options", "header", "target"),
    [
        ({}, ("x-api-key", "Token k&1"), "/x?a=1"),
        ({"header": "Authorization"}, ("authorization", "Token k&1"), "/x?a=1"),
        ({"query": "api key"}, None, "/x?a=1&api+key=Token+k%261"),
    ],
    ids=["default", "header", "query"],
)
@async_test
async def test_the_key_goes_where_it_is_wanted(
    module: ModuleType, options: dict[str, Any], header: tuple[str, str] | None, target: str
) -> None:
    async with Upstream() as home:
        async with auth_client(module, ApiKeyAuth("Token k&1", **options)) as http:
            await http.get(f"{home.url}/x", params={"a": 1})
    assert home.last.target == target
    if header is not None:
        assert home.last.header(header[0]) == header[1]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"header": "X", "query": "y"}, "header= or query=, not both"),
        ({"header": "X Key"}, "is a header's name; got 'X Key'"),
        ({"header": ""}, "is a header's name; got ''"),
        ({"query": ""}, "is a parameter's name"),
    ],
)
def test_places_that_are_none_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadIntegration, match=told):
        ApiKeyAuth("key", **options)


def test_a_key_is_not_shown_and_its_place_is() -> None:
    assert repr(ApiKeyAuth("hunter2")) == "ApiKeyAuth('***', header='X-API-Key')"
    assert repr(ApiKeyAuth("hunter2", query="key")) == "ApiKeyAuth('***', query='key')"
