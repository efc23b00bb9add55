"""Calls of one are not taken for those of another, nor do they leave anything behind."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from backstay.errors import AddressRefused, BadAnswer
from backstay.integration import (
    ApiHTTP,
    BearerAuth,
    EndpointsDeclaration,
    HTTPMethod,
    IntegrationHTTP,
)
from tests.attacks.integration.victim import SECRET, Victim
from tests.integration.upstream import Upstream, answer, json_answer
from tests.support import async_test


class Delivery(BaseModel):
    """What a service tells of what another one answered."""

    status_code: int
    headers: dict[str, str]
    content: str


class Deputy(EndpointsDeclaration):
    integration = IntegrationHTTP("Deputy")

    class SchemaError:
        class http404(BaseModel):
            reason: str

    @integration.endpoint(HTTPMethod.get, "/raw")
    async def raw(api: ApiHTTP) -> httpx.Response:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/own")
    async def asks(api: ApiHTTP, other: Any) -> str | SchemaError.http404:
        await api.send()
        (await other.raw()).raise_for_status()
        return "all is well"

    @integration.endpoint(HTTPMethod.get, "/delivery")
    async def delivery(api: ApiHTTP) -> Delivery:
        return Delivery(**(await api.send()).json())


@async_test
async def test_cookies_of_one_call_do_not_go_along_with_the_next() -> None:
    cookie = json_answer(1, headers=[("Set-Cookie", "session=of-ada; Path=/")])
    async with Upstream(cookie) as up, Victim(up.url) as victim:
        await victim.any()
        await victim.any()
    assert [each.header("cookie") for each in up.requests] == [None, None]


@async_test
async def test_an_error_of_another_integration_is_not_ones_own() -> None:
    missing = json_answer({"reason": "of the other"}, 404)
    async with Upstream(missing) as theirs, Upstream() as ours:
        async with Deputy(theirs.url) as other, Deputy(ours.url) as deputy:
            with pytest.raises(httpx.HTTPStatusError):
                await deputy.asks(other)


@async_test
async def test_a_model_that_looks_like_a_response_is_a_model() -> None:
    told = {"status_code": 500, "headers": {"a": "b"}, "content": "gone"}
    async with Upstream(json_answer(told)) as up, Deputy(up.url) as deputy:
        assert await deputy.delivery() == Delivery(**told)


@async_test
async def test_keys_that_the_other_side_chose_are_one_line_of_an_error() -> None:
    class Counts(EndpointsDeclaration):
        integration = IntegrationHTTP("Counts")

        @integration.endpoint(HTTPMethod.get, "/")
        async def all(api: ApiHTTP) -> dict[str, int]:
            return await api.send()

    body = json_answer({"a\n2024-01-01 ERROR all is lost\x1b[31m": "x", "k" * 100_000: "y"})
    async with Upstream(body) as up, Counts(up.url) as counts:
        with pytest.raises(BadAnswer) as caught:
            await counts.all()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    assert all(len(each) <= 250 for each in caught.value.fields)


@pytest.mark.parametrize("name", ["\ud800", "x" * 100_000], ids=["surrogate", "long"])
@async_test
async def test_an_argument_that_no_url_can_hold_is_refused(name: str) -> None:
    async with Upstream() as up, Victim(up.url) as victim:
        with pytest.raises(AddressRefused):
            await victim.one(name)
    assert up.requests == []


@async_test
async def test_a_host_in_another_script_gets_what_is_for_it() -> None:
    asked: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=1)

    def client() -> httpx.AsyncClient:
        auth = BearerAuth(SECRET).for_client(httpx)
        return httpx.AsyncClient(transport=httpx.MockTransport(reply), auth=auth)

    async with Victim("https://MÜNCHEN.example/x", headers={"X-A": "b"}, client=client) as victim:
        await victim.any()
    assert asked[0].url.host == "münchen.example"
    assert asked[0].headers["x-a"] == "b"
    assert asked[0].headers["authorization"] == f"Bearer {SECRET}"


@async_test
async def test_clients_of_event_loops_that_are_over_are_let_go() -> None:
    async with Upstream(answer(b"1")) as up:
        victim = Victim(up.url)

        async def once() -> Any:
            try:
                return await victim.any()
            finally:
                # What asyncio.run() leaves of a client is no matter here.
                client = await victim.open_client()
                await client.aclose()

        for _ in range(5):
            assert await asyncio.to_thread(lambda: asyncio.run(once())) == 1
        async with victim:
            await victim.any()
            assert len(victim._clients._open) == 1


def test_a_call_may_be_closed_from_another_context() -> None:
    import contextvars

    async def main() -> None:
        async with Upstream() as up, Victim(up.url) as victim:
            call = victim.any()
            contextvars.copy_context().run(call.send, None)
            contextvars.copy_context().run(call.close)
            assert victim.statistics.snapshot("any")["total"]["cancelled"] == 1

    asyncio.run(main())
