"""A call is known to whatever runs in it, and counted once when it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from backstay.errors import BadAnswer, UpstreamError
from backstay.integration import (
    ApiHTTP,
    EndpointsDeclaration,
    HTTPMethod,
    IntegrationHTTP,
    add_integrations,
)
from backstay.integration.outgoing import current_call
from backstay.observation import Kind
from backstay.testing import running
from backstay.web import install
from tests.integration.upstream import Upstream, answer, json_answer
from tests.observing import watched
from tests.support import async_test


class Bank(EndpointsDeclaration):
    integration = IntegrationHTTP("Bank")

    class SchemaError:
        class http402(BaseModel):
            why: str

    @integration.endpoint(HTTPMethod.get, "/rates/{of}", version="1")
    async def rate(api: ApiHTTP, of: str) -> float | SchemaError.http402:
        response = await api.client.get(api.url.geturl())
        return response.json()

    @integration.endpoint(HTTPMethod.get, "/rates/{of}")
    async def strict(api: ApiHTTP, of: str) -> float | SchemaError.http402:
        return (await api.send()).raise_for_status().json()

    @integration.endpoint(HTTPMethod.get, "/rates/{of}")
    async def unraised(api: ApiHTTP, of: str) -> float | SchemaError.http402:
        return (await api.send()).json()

    @integration.endpoint(HTTPMethod.get, "/rates/{of}")
    async def hopeful(api: ApiHTTP, of: str) -> float | SchemaError.http402:
        return (await api.send()).json()["rates"][0]

    @integration.endpoint(HTTPMethod.get, "/rates/{of}")
    async def each(api: ApiHTTP, of: str) -> AsyncIterator[float]:
        for rate in (await api.send()).json()["rates"]:
            yield rate

    @integration.endpoint(HTTPMethod.get, "/")
    async def counts(api: ApiHTTP, upto: int) -> AsyncIterator[int]:
        for number in range(upto):
            assert current_call.get() is not None
            yield number
        raise OSError("that was the last")


def totals(bank: Bank, name: str = "rate") -> dict[str, Any]:
    total = bank.statistics.snapshot(name)["total"]
    return {each: total[each] for each in ("ok", "failed", "cancelled")}


@async_test
async def test_calls_are_counted_by_how_they_ended() -> None:
    script = {"/rates/eur": json_answer(1.1), "/rates/x": json_answer({"why": "pay"}, 402)}
    async with Upstream(script) as upstream, Bank(upstream.url) as bank:
        assert await bank.rate("eur") == 1.1
        assert await bank.rate("x") == Bank.SchemaError.http402(why="pay")
        with pytest.raises(UpstreamError):
            await bank.rate("unknown")
        assert current_call.get() is None
    assert totals(bank) == {"ok": 1, "failed": 2, "cancelled": 0}


@async_test
async def test_a_cancelled_call_is_counted_as_such() -> None:
    async def hangs(line: Any, request: Any) -> None:
        await line.hang()

    async with Upstream(hangs) as upstream, Bank(upstream.url) as bank:
        calling = asyncio.create_task(bank.rate("eur"))
        await upstream.until(lambda up: len(up.requests) == 1)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await upstream.until(lambda up: up.open_connections == 0)
    assert totals(bank) == {"ok": 0, "failed": 0, "cancelled": 1}


@async_test
async def test_what_the_method_could_not_read_is_an_error_of_ours() -> None:
    async with Upstream(answer(b"<html>oops")) as upstream, Bank(upstream.url) as bank:
        with pytest.raises(
            BadAnswer, match=r"Bank\.strict answered 200 with what is no JSON"
        ) as bad:
            await bank.strict("eur")
    assert isinstance(bad.value.__cause__, json.JSONDecodeError)


@async_test
async def test_an_error_page_that_the_method_could_not_read_is_the_error_it_stands_for() -> None:
    async with Upstream(answer(b"<html>oops", 500)) as upstream, Bank(upstream.url) as bank:
        with pytest.raises(UpstreamError, match="500"):
            await bank.unraised("eur")


@async_test
async def test_a_method_that_stumbles_over_an_error_gives_the_error() -> None:
    script = {"/rates/x": json_answer({"why": "pay"}, 402), "/rates/y": json_answer([], 500)}
    async with Upstream(script) as upstream, Bank(upstream.url) as bank:
        assert await bank.hopeful("x") == Bank.SchemaError.http402(why="pay")
        with pytest.raises(UpstreamError, match="500"):
            await bank.hopeful("y")
    async with Upstream(json_answer({})) as upstream, Bank(upstream.url) as bank:
        with pytest.raises(KeyError, match="rates"):  # which is a fault of ours
            await bank.hopeful("x")


@async_test
async def test_one_that_yields_has_the_same_errors() -> None:
    async def items(bank: Bank) -> list[float]:
        return [rate async for rate in bank.each("x")]

    async with Upstream(answer(b"<html>oops")) as upstream, Bank(upstream.url) as bank:
        with pytest.raises(BadAnswer, match=r"Bank\.each answered 200 with what is no JSON"):
            await items(bank)
    async with Upstream(json_answer({"why": "pay"}, 402)) as upstream, Bank(upstream.url) as bank:
        with pytest.raises(UpstreamError, match="402") as refused:
            await items(bank)
        assert refused.value.error == Bank.SchemaError.http402(why="pay")
        assert totals(bank, "each") == {"ok": 0, "failed": 1, "cancelled": 0}
    with pytest.raises(httpx.ConnectError) as unreachable:
        await items(bank)
    assert unreachable.value.__notes__ == ["calling Bank.each"]


@async_test
async def test_a_status_that_was_raised_is_its_model_if_there_is_one_and_itself_if_not() -> None:
    script = [json_answer({"why": "pay"}, 402), json_answer({}, 404)]
    async with Upstream(script) as upstream, Bank(upstream.url) as bank:
        assert await bank.strict("eur") == Bank.SchemaError.http402(why="pay")
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            await bank.strict("eur")


@async_test
async def test_items_are_read_one_by_one_and_other_code_between_them_is_not_of_the_call() -> None:
    async with Bank("http://x") as bank:
        seen = []
        with pytest.raises(OSError, match="the last"):  # noqa: PT012 -- the loop is what raises
            async for number in bank.counts(3):
                assert current_call.get() is None
                seen.append(number)
        stopped = bank.counts(9)
        assert await anext(stopped) == 0
        await stopped.aclose()
    assert seen == [0, 1, 2]
    assert totals(bank, "counts") == {"ok": 1, "failed": 1, "cancelled": 0}


@async_test
async def test_observers_see_calls_with_their_status_and_the_id_of_the_work() -> None:
    app = FastAPI()
    install(app, env_file=None)
    watcher = watched(app)
    async with Upstream(json_answer(1.5)) as upstream:
        bank = Bank(upstream.url)
        add_integrations(app, [bank])

        @app.get("/")
        async def index() -> float:
            found = await bank.rate("eur")
            assert isinstance(found, float)
            return found

        async with running(app) as client:
            await client.get("/", headers={"X-Request-ID": "mine-1"})
        assert upstream.last.header("x-request-id") == "mine-1"
    [seen] = watcher.of(Kind.CALL)
    assert (seen.name, seen.outcome, seen.status) == ("Bank.rate", "ok", 200)
    assert seen.correlation_id == "mine-1"
    assert seen.facts["method"] == "GET"
    assert seen.facts["path"] == "/rates/{of}"


@async_test
async def test_the_trace_goes_along_unless_that_is_not_wanted() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    app = FastAPI()
    install(app, env_file=None)
    watched(app, parent)
    async with Upstream(json_answer(1.5)) as upstream:
        traced, silent = Bank(upstream.url), Bank(upstream.url, trace=False)
        add_integrations(app, [traced, silent])

        @app.get("/")
        async def index() -> None:
            await traced.rate("eur")
            await silent.rate("eur")

        async with running(app) as client:
            await client.get("/")
        [first, second] = upstream.requests
    assert first.header("traceparent") == parent
    assert second.header("traceparent") is None
    assert second.header("x-request-id") is None
