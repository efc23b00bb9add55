"""``api.send`` and ``api.stream`` send requests as their endpoints are declared."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import httpx
import httpx2
import pytest
from pydantic import BaseModel, Field

from backstay.errors import BadIntegration, UpstreamError
from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP
from tests.integration.upstream import Upstream, json_answer
from tests.support import async_test

both = pytest.mark.parametrize("client", [httpx, httpx2], ids=["httpx", "httpx2"])


class Order(BaseModel):
    number: int
    price: Decimal = Decimal("1.20")
    placed_at: datetime = Field(datetime(2027, 1, 2, tzinfo=UTC), serialization_alias="placedAt")


class Shop(EndpointsDeclaration):
    integration = IntegrationHTTP("Shop")

    @integration.endpoint(HTTPMethod.put, "/orders/{number}")
    async def put(api: ApiHTTP, number: int, options: dict[str, Any]) -> Any:
        return await api.send(**options)

    @integration.endpoint(HTTPMethod.get, "/photo")
    async def photo(api: ApiHTTP) -> bytes:
        async with api.stream(query={"size": "large"}) as response:
            return b"".join([piece async for piece in response.aiter_bytes()])


@both
@async_test
async def test_a_body_is_json_by_its_aliases(client: Any) -> None:
    async with Upstream() as upstream, Shop(upstream.url, client=client) as shop:
        await shop.put(
            3, {"body": Order(number=3), "query": {"dry": True}, "headers": {"X-A": "1"}}
        )
    sent = upstream.last
    assert (sent.method, sent.target) == ("PUT", "/orders/3?dry=true")
    assert sent.json() == {"number": 3, "price": "1.20", "placedAt": "2027-01-02T00:00:00Z"}
    assert sent.header("content-type") == "application/json"
    assert sent.header("x-a") == "1"


@async_test
async def test_lists_texts_and_none_are_bodies_too() -> None:
    async with Upstream() as upstream, Shop(upstream.url) as shop:
        for body in ([Order(number=1)], "text", None, {"ä": 1}):
            await shop.put(3, {"body": body})
    assert upstream.requests[0].json()[0]["number"] == 1
    assert [each.json() for each in upstream.requests[1:]] == ["text", None, {"ä": 1}]


@both
@async_test
async def test_forms_and_files_are_sent_as_such(client: Any) -> None:
    async with Upstream() as upstream, Shop(upstream.url, client=client) as shop:
        await shop.put(3, {"form": {"a": "b c"}})
        files = {"photo": ("cat.png", BytesIO(b"PNG"), "image/png")}
        await shop.put(3, {"files": files, "form": {"a": "1"}})
    assert upstream.requests[0].body == b"a=b+c"
    body = upstream.requests[1].body
    assert b'filename="cat.png"' in body
    assert b"PNG" in body
    assert b'name="a"' in body


@both
@async_test
async def test_content_is_sent_as_it_is_and_may_be_streamed(client: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    async with Upstream() as upstream, Shop(upstream.url, client=client) as shop:
        await shop.put(3, {"content": b"raw", "headers": {"Content-Type": "text/x"}})
        await shop.put(3, {"content": pieces()})
    assert [each.body for each in upstream.requests] == [b"raw", b"one two"]
    assert upstream.requests[0].header("content-type") == "text/x"


@async_test
async def test_a_body_that_is_no_json_is_refused_and_nothing_is_sent() -> None:
    async with Upstream() as upstream, Shop(upstream.url) as shop:
        for body in (float("nan"), object(), {"a": float("inf")}):
            with pytest.raises(BadIntegration, match=r"Shop\.put is not JSON"):
                await shop.put(3, {"body": body})
        with pytest.raises(BadIntegration, match="several bodies"):
            await shop.put(3, {"body": 1, "content": b"x"})
    assert upstream.requests == []


@both
@async_test
async def test_an_answer_may_be_read_piece_by_piece(client: Any) -> None:
    async with Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc") as upstream:
        async with Shop(upstream.url, client=client) as shop:
            assert await shop.photo() == b"abc"
    assert upstream.last.target == "/photo?size=large"


@async_test
async def test_an_error_is_raised_before_the_first_piece() -> None:
    async with Upstream(json_answer({"why": "gone"}, 410)) as upstream:
        async with Shop(upstream.url) as shop:
            with pytest.raises(UpstreamError, match="410") as raised:
                await shop.photo()
    assert raised.value.body == '{"why": "gone"}'


@async_test
async def test_it_shows_no_secrets() -> None:
    seen: list[ApiHTTP] = []

    class Peek(EndpointsDeclaration):
        integration = IntegrationHTTP("Peek")

        @integration.endpoint(HTTPMethod.get, "/")
        async def get(api: ApiHTTP) -> None:
            seen.append(api)

    async with Peek("http://x", credentials={"TOKEN": "s3cret"}) as peek:
        await peek.get()
    assert "s3cret" not in repr(seen[0])
    assert seen[0].credentials == {"TOKEN": "s3cret"}
    assert (seen[0].httpmethod, seen[0].url.geturl()) == ("get", "http://x/")
