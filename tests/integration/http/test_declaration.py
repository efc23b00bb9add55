"""A declaration is looked over when it is made; an instance has one pool, and options of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2
import pytest
from pydantic import BaseModel

from backstay.errors import BadAnswer, BadIntegration, CircuitBreakerError
from backstay.integration import (
    ApiHTTP,
    ApiKeyAuth,
    EndpointsDeclaration,
    HTTPMethod,
    IntegrationHTTP,
    sp,
)
from tests.integration.upstream import Upstream, answer, json_answer
from tests.support import async_test


class Stock(EndpointsDeclaration):
    integration = IntegrationHTTP("Stock")

    class Schema:
        class Item(BaseModel):
            sku: str

    @integration.endpoint(HTTPMethod.get, "/items/{sku}", version="v3")
    async def item(api: ApiHTTP, sku: str) -> Schema.Item:
        return await api.send()

    @integration.endpoint(HTTPMethod.post, "/items", idempotency_key=True)
    @sp.RetryPattern(3, 0)
    async def add(api: ApiHTTP, sku: str) -> Schema.Item:
        return (await api.send(body={"sku": sku})).raise_for_status()

    @integration.endpoint(HTTPMethod.post, "/items")
    @sp.RetryPattern(3, 0)
    async def add_once(api: ApiHTTP, sku: str) -> Schema.Item:
        return (await api.send(body={"sku": sku})).raise_for_status()

    @integration.endpoint(HTTPMethod.get, "/down")
    @sp.CircuitBreaker(fail_threshold=1)
    async def down(api: ApiHTTP) -> Any:
        return (await api.send()).raise_for_status()


class MoreStock(Stock):
    integration = IntegrationHTTP("More stock")

    @integration.endpoint(HTTPMethod.delete, "/items/{sku}", handled=[404])
    async def drop(api: ApiHTTP, sku: str) -> bool:
        return (await api.send()).status_code != 404


def test_it_has_the_endpoints_of_its_bases_too() -> None:
    assert list(Stock.endpoints()) == ["item", "add", "add_once", "down"]
    assert list(MoreStock.endpoints()) == ["item", "add", "add_once", "down", "drop"]


def test_endpoints_without_an_integration_are_refused() -> None:
    with pytest.raises(BadIntegration, match="has no integration"):

        class Odd(EndpointsDeclaration):
            @IntegrationHTTP("x").endpoint(HTTPMethod.get, "/")
            async def get(api: ApiHTTP) -> Any:
                return await api.send()


@pytest.mark.parametrize("client", [None, httpx2], ids=["httpx", "httpx2"])
@async_test
async def test_a_hundred_calls_in_turn_use_one_connection(client: Any) -> None:
    async with (
        Upstream(json_answer({"sku": "a"})) as upstream,
        Stock(upstream.url, client=client) as stock,
    ):
        for _ in range(100):
            assert await stock.item("a") == Stock.Schema.Item(sku="a")
        assert (len(upstream.requests), upstream.connections) == (100, 1)
    # And it is closed by now.


@async_test
async def test_the_version_and_the_path_reach_the_method() -> None:
    async with (
        Upstream(json_answer({"sku": "a"})) as upstream,
        Stock(f"{upstream.url}/base/") as stock,
    ):
        await stock.item("a/b")
    assert upstream.last.target == "/base/items/a%2Fb"


@async_test
async def test_a_status_that_is_handled_is_the_methods_to_read() -> None:
    async with Upstream([answer(status=204), answer(status=404)]) as upstream:
        async with MoreStock(upstream.url) as stock:
            assert await stock.drop("a") is True
            assert await stock.drop("a") is False


@async_test
async def test_one_that_carries_a_key_is_repeated_with_the_same_key_and_one_without_is_not() -> (
    None
):
    script = [answer(status=500), answer(status=500), json_answer({"sku": "a"})]
    async with Upstream(script) as upstream, Stock(upstream.url) as stock:
        assert await stock.add("a") == Stock.Schema.Item(sku="a")
        keys = {each.header("idempotency-key") for each in upstream.requests}
    assert len(upstream.requests) == 3
    assert len(keys) == 1
    assert None not in keys
    async with Upstream(script) as upstream, Stock(upstream.url) as stock:
        with pytest.raises(httpx.HTTPStatusError, match="500"):
            await stock.add_once("a")
        assert len(upstream.requests) == 1


@async_test
async def test_calls_may_have_options_of_their_own_and_share_the_rest() -> None:
    async with Upstream(json_answer({"sku": "a"})) as upstream, Stock(upstream.url) as stock:
        mine = stock.with_options(idempotency_key="order-7", headers={"X-Tenant": "t1"}, timeout=3)
        await mine.add_once("a")
        await stock.add_once("a")
        assert upstream.requests[0].header("idempotency-key") == "order-7"
        assert upstream.requests[0].header("x-tenant") == "t1"
        assert upstream.requests[1].header("x-tenant") is None
        assert upstream.connections == 1
        assert mine.owner is stock.owner
        assert mine.with_options(headers={"X-B": "2"})._call_headers == {
            "X-Tenant": "t1",
            "X-B": "2",
        }


async def redirected(stock_headers: dict[str, str], **options: Any) -> tuple[Any, Any]:
    """What was sent to the service, and to where it redirects."""
    async with Upstream(json_answer({"sku": "a"})) as elsewhere:
        location = [("Location", f"http://localhost:{elsewhere.port}/x")]
        async with Upstream(answer(status=307, headers=location)) as upstream:
            async with Stock(upstream.url, follow_redirects=True, **options) as stock:
                await stock.with_options(headers=stock_headers).item("a")
            return upstream.last, elsewhere.last


@async_test
async def test_nothing_secret_goes_along_where_a_redirection_leads_elsewhere() -> None:
    home, away = await redirected(
        {"X-Tenant": "t1", "X-Bearer": "Bearer t0ken"},
        headers={"X-Own": "1"},
        credentials={"KEY": "t0ken"},
        auth=ApiKeyAuth("k3y", header="X-API-Key"),
    )
    for name in ("x-tenant", "x-bearer", "x-own", "x-api-key"):
        assert home.header(name) is not None
        assert away.header(name) is None


@async_test
async def test_without_being_asked_to_it_follows_nowhere() -> None:
    async with Upstream(answer(status=302, headers=[("Location", "/x")])) as upstream:
        async with Stock(upstream.url) as stock:
            with pytest.raises(BadAnswer, match=r"answered 302, which leads elsewhere"):
                await stock.item("a")
    assert len(upstream.requests) == 1


@async_test
async def test_the_breaker_of_one_instance_is_not_that_of_another() -> None:
    async with Upstream(answer(status=500)) as upstream:
        async with Stock(upstream.url) as one, Stock(upstream.url) as other:
            for stock in (one, other):
                with pytest.raises(httpx.HTTPStatusError):
                    await stock.down()
                with pytest.raises(CircuitBreakerError):
                    await stock.down()
            with pytest.raises(CircuitBreakerError):
                await one.with_options(timeout=1).down()
    assert len(upstream.requests) == 2


@async_test
async def test_without_an_address_nothing_can_be_called() -> None:
    with pytest.raises(BadIntegration, match="base_url="):
        await Stock().item("a")


def test_what_could_never_work_is_refused_at_once() -> None:
    with pytest.raises(BadIntegration, match="credentials="):
        Stock("http://x", credentials="secret")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(BadIntegration, match="timeout="):
        Stock("http://x", timeout=0)
    with pytest.raises(BadIntegration, match="base_url="):
        Stock("x")


def test_it_shows_no_secrets() -> None:
    stock = Stock("http://user:s3cret@stock.example/v1", credentials={"KEY": "t0ken"})
    assert repr(stock) == "<Stock at http://stock.example/v1>"
    assert "t0ken" not in f"{stock} {stock.credentials}"
    assert stock.credentials == {"KEY": "t0ken"}
    assert Stock("http://x").credentials is None


@async_test
async def test_a_second_loop_after_the_first_finds_connections_of_its_own() -> None:
    stock = Stock()

    def use(url: str) -> None:
        async def call() -> None:
            stock.base_url = url
            async with stock:
                await stock.item("a")

        asyncio.run(call())

    async with Upstream(json_answer({"sku": "a"})) as upstream:
        await asyncio.to_thread(use, upstream.url)
        await asyncio.to_thread(use, upstream.url)
        assert len(upstream.requests) == 2


class Pages(EndpointsDeclaration):
    integration = IntegrationHTTP("Pages")

    @integration.endpoint(HTTPMethod.get, "/numbers")
    async def numbers(api: ApiHTTP, size: int) -> AsyncIterator[int]:
        page = 0
        while found := (await api.send(query={"page": page, "size": size})).json():
            for each in found:
                yield each
            page += 1


@async_test
async def test_one_that_yields_asks_for_more_as_it_is_wanted() -> None:
    script = [json_answer([1, 2]), json_answer([3]), json_answer([])]
    async with Upstream(script) as upstream, Pages(upstream.url) as pages:
        numbers = pages.numbers(2)
        assert [await anext(numbers), await anext(numbers)] == [1, 2]
        assert len(upstream.requests) == 1
        assert [each async for each in numbers] == [3]
    assert [each.query for each in upstream.requests][-1] == "page=2&size=2"


@async_test
async def test_a_user_in_the_address_is_sent_as_such_and_is_in_no_url() -> None:
    async with Upstream(json_answer({"sku": "a"})) as upstream:
        base_url = upstream.url.replace("//", "//ada:p%40ss@")
        async with Stock(base_url) as stock:
            assert stock.base_url == upstream.url
            await stock.item("a")
        assert upstream.last.header("authorization") == "Basic YWRhOnBAc3M="
    with pytest.raises(BadIntegration, match="say it once"):
        Stock(base_url, auth=("a", "b"))


@async_test
async def test_an_instance_without_credentials_has_none_and_says_so() -> None:
    class Open(EndpointsDeclaration):
        integration = IntegrationHTTP("Open")

        @integration.endpoint(HTTPMethod.get, "/")
        async def get(api: ApiHTTP) -> str:
            return str(api.credentials["KEY"])

    with pytest.raises(KeyError, match="has no 'KEY'; it has nothing"):
        await Open("http://x").get()
