"""One pool for each instance and event loop; whichever client is named."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import httpx
import httpx2
import pytest

from backstay.errors import BadIntegration
from backstay.integration.http.clients import Clients
from tests.support import async_test


def clients(choice: Any = None, **options: Any) -> Clients:
    given = {
        "auth": None,
        "timeout_s": 3.0,
        "follow_redirects": False,
        "cache": None,
        "public_only": False,
        **options,
    }
    return Clients(choice, **given)


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        (None, httpx.AsyncClient),
        (httpx2, httpx2.AsyncClient),
        ("httpx2", httpx2.AsyncClient),
        (httpx2.AsyncClient, httpx2.AsyncClient),
        (httpx.AsyncClient, httpx.AsyncClient),
    ],
    ids=["usual", "module", "name", "class", "httpx"],
)
@async_test
async def test_the_client_is_that_of_the_library_that_is_named(choice: Any, kind: type) -> None:
    found = clients(choice)
    client = found.current()
    assert type(client) is kind
    assert client.timeout.read == 3.0
    assert found.current() is client
    await found.close()
    assert client.is_closed


@async_test
async def test_a_closed_one_is_followed_by_another() -> None:
    found = clients()
    first = found.current()
    await first.aclose()
    assert found.current() is not first
    await found.close()
    await found.close()


@async_test
async def test_a_function_makes_one_and_it_is_closed() -> None:
    made: list[httpx.AsyncClient] = []

    def make() -> httpx.AsyncClient:
        made.append(httpx.AsyncClient())
        return made[-1]

    found = clients(make)
    assert found.current() is found.current() is made[0]
    await found.close()
    assert made[0].is_closed
    assert len(made) == 1


@async_test
async def test_one_that_is_open_is_used_and_left_open() -> None:
    async with httpx.AsyncClient() as given:
        found = clients(given)
        assert found.current() is given
        await found.close()
        assert not given.is_closed


def test_each_event_loop_has_its_own() -> None:
    found = clients()
    seen = []

    async def use() -> None:
        seen.append(found.current())
        await found.close()

    asyncio.run(use())
    asyncio.run(use())
    assert seen[0] is not seen[1]


def test_the_client_of_an_event_loop_that_is_over_is_let_go_of() -> None:
    found = clients()
    loops, left = [], []

    async def use() -> None:
        loops.append(asyncio.get_running_loop())  # as open connections would hold on to it
        left.append(weakref.ref(found.current()))

    asyncio.run(use())
    asyncio.run(use())
    gc.collect()
    assert [each() is None for each in left] == [True, False]


@async_test
async def test_proxies_of_the_environment_are_used_unless_addresses_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    usual, careful = clients(), clients(public_only=True)
    assert usual.current()._mounts
    assert not careful.current()._mounts
    await usual.close()
    await careful.close()


@pytest.mark.parametrize(
    "choice", [3, "no_such_module", asyncio, object()], ids=["int", "missing", "other", "object"]
)
def test_what_is_no_client_is_refused(choice: Any) -> None:
    with pytest.raises(BadIntegration, match="client="):
        clients(choice)


def test_options_that_would_do_nothing_are_refused() -> None:
    with pytest.raises(BadIntegration, match="auth= would do nothing"):
        clients(lambda: httpx.AsyncClient(), auth=("a", "b"))
