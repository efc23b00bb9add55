"""What is shown of a body has no secret of the request, though services repeat what they refuse."""

from __future__ import annotations

import traceback
from typing import Any

import httpx
import httpx2
import pytest

from backstay.errors import UpstreamError
from backstay.integration import (
    ApiHTTP,
    ApiKeyAuth,
    BearerAuth,
    EndpointsDeclaration,
    HTTPMethod,
    IntegrationHTTP,
)
from backstay.integration.http.shown_body import shown_body
from tests.integration.upstream import Line, Received, Upstream, answer
from tests.support import async_test

SECRET = "sk-live-123456"


class Bank(EndpointsDeclaration):
    integration = IntegrationHTTP("Bank")

    @integration.endpoint(HTTPMethod.get, "/balance")
    async def balance(api: ApiHTTP) -> int:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/balance")
    async def by_hand(api: ApiHTTP) -> int:
        return await api.send(query={"k": (api.credentials or {})["KEY"]})

    @integration.endpoint(HTTPMethod.get, "/balance")
    async def in_pieces(api: ApiHTTP) -> int:
        async with api.stream() as response:
            return len(await response.aread())


async def parrot(line: Line, received: Received) -> None:
    said = f"no such key: {received.target} {received.header('authorization')} "
    said += f"{received.header('x-api-key')} {'.' * 1000}"
    await line.send(answer(said.encode(), status=401))


@pytest.mark.parametrize("client", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("balance", {"auth": BearerAuth(SECRET)}),
        ("balance", {"auth": ApiKeyAuth(SECRET)}),
        ("balance", {"auth": ApiKeyAuth(SECRET, query="key")}),
        ("in_pieces", {"auth": BearerAuth(SECRET)}),
        ("by_hand", {"credentials": {"KEY": SECRET, "NO": 7}}),
    ],
    ids=["bearer", "key", "query", "stream", "credentials"],
)
@async_test
async def test_an_error_has_no_secret_that_the_other_side_repeats(
    client: Any, method: str, options: dict[str, Any]
) -> None:
    async with Upstream(parrot) as upstream, Bank(upstream.url, client=client, **options) as bank:
        with pytest.raises(UpstreamError) as raised:
            await getattr(bank, method)()
    error = raised.value
    assert SECRET not in "".join([*traceback.format_exception(error), error.body])
    assert "no such key" in str(error)
    assert "***" in error.body
    assert len(error.body) == 500


def test_what_nobody_can_read_is_empty() -> None:
    assert shown_body(None) == shown_body(object()) == ""
    assert shown_body(httpx.Response(500, stream=httpx.ByteStream(b"not read yet"))) == ""


def test_of_a_long_body_the_beginning_is_shown() -> None:
    assert shown_body(httpx.Response(500, text="ü" * 9999)) == "ü" * 500
