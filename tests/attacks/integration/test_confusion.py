"""Calls within calls, in tasks, threads and contexts of their own, and given up at any time."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from anyio import from_thread, to_thread

from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP
from backstay.integration.http.watching import current_sending
from backstay.integration.outgoing import current_call
from tests.attacks.integration.victim import Victim
from tests.integration.upstream import Upstream, json_answer
from tests.support import async_test


class Outer(EndpointsDeclaration):
    integration = IntegrationHTTP("Outer")

    @integration.endpoint(HTTPMethod.get, "/outer")
    async def in_order(api: ApiHTTP, inner: Victim) -> Any:
        before = current_call.get(), current_sending.get()
        await inner.any()
        assert (current_call.get(), current_sending.get()) == before
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/outer")
    async def at_once(api: ApiHTTP, inner: Victim) -> Any:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(inner.any())
            own = tasks.create_task(api.send())
        return own.result()

    @integration.endpoint(HTTPMethod.get, "/outer")
    async def items(api: ApiHTTP, inner: Victim) -> AsyncIterator[Any]:
        for number in range(3):
            await api.send()
            await inner.any()
            yield number


@pytest.mark.parametrize("way", ["in_order", "at_once"])
@pytest.mark.parametrize("is_shared", [False, True], ids=["own_clients", "one_client"])
@async_test
async def test_a_call_within_a_call_takes_nothing_of_it_along(way: str, is_shared: bool) -> None:
    async with Upstream() as one, Upstream() as two, httpx.AsyncClient(verify=False) as client:
        options: dict[str, Any] = {"client": client} if is_shared else {}
        inner = Victim(one.url, {"K": "inner-secret"}, headers={"X-Inner": "inner"}, **options)
        outer = Outer(two.url, {"K": "outer-secret"}, headers={"X-Outer": "outer"}, **options)
        async with inner, outer:
            await getattr(outer, way)(inner)
            await client.get(f"{one.url}/nobodys")
    found = [(each.path, each.header("x-inner"), each.header("x-outer")) for each in one.requests]
    assert found == [("/any", "inner", None), ("/nobodys", None, None)]
    found = [(each.path, each.header("x-inner"), each.header("x-outer")) for each in two.requests]
    assert found == [("/outer", None, "outer")]


@async_test
async def test_items_may_be_asked_for_and_closed_by_other_tasks() -> None:
    async with Upstream() as up, Victim(up.url) as inner, Outer(up.url) as outer:
        first = outer.items(inner)
        assert await anext(first) == 0
        assert await asyncio.create_task(first.__anext__()) == 1
        await asyncio.create_task(first.aclose())  # type: ignore[attr-defined, arg-type]  # a generator
        second = outer.items(inner)
        await anext(second)
        del second
        gc.collect()
        await inner.any()
        assert outer.statistics.snapshot("items")["total"]["calls"] == 2
    assert (current_call.get(), current_sending.get()) == (None, None)


@async_test
async def test_a_call_that_is_given_up_at_any_time_is_counted_once_and_leaves_nothing_open() -> (
    None
):
    async with Upstream() as up, Victim(up.url) as inner, Outer(up.url) as outer:
        await outer.in_order(inner)
        begun = ended = 0
        for steps in range(1, 60):
            call = asyncio.create_task(outer.in_order(inner))
            for _ in range(steps):
                await asyncio.sleep(0)
            begun += 1
            call.cancel()
            try:
                await call
                ended += 1
            except asyncio.CancelledError:
                pass
        total = outer.statistics.snapshot("in_order")["total"]
        assert total["cancelled"] == begun - ended
        assert total["calls"] == ended + 1
        assert await outer.in_order(inner) == {}
    await up.until(lambda up: up.open_connections == 0)


@async_test
async def test_threads_call_as_tasks_do() -> None:
    async with Upstream(json_answer({"number": 7})) as up, Victim(up.url) as victim:

        def work() -> Any:
            return from_thread.run(victim.number)

        assert (await to_thread.run_sync(work)).number == 7
        assert (await to_thread.run_sync(lambda: asyncio.run(_once(up.url)))).number == 7


async def _once(url: str) -> Any:
    async with Victim(url) as victim:
        return await victim.number()
