"""An intercepted client has everything of the other one, and asks somebody else."""

from typing import Any

import httpx
import httpx2
import pytest

from backstay.errors import BadIntegration
from backstay.testing.integrations.intercepted_client import (
    bytes_stream,
    intercepted,
    module_of,
    noted_stream,
)
from tests.support import async_test

both = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])


@both
@async_test
async def test_requests_are_made_with_the_settings_of_the_other_client(module: Any) -> None:
    seen: list[Any] = []

    class Own(module.AsyncClient):  # type: ignore[misc, name-defined]
        pass

    async def send(request: Any, *, stream: bool, **options: Any) -> Any:
        seen.append((request, stream, sorted(options)))
        return module.Response(200, json={"ok": True}, request=request)

    async with Own(base_url="http://a/b/", headers={"X-Own": "1"}, cookies={"c": "2"}) as client:
        other = intercepted(client, send)
        assert isinstance(other, Own)
        assert (await other.get("x", params={"q": 1})).json() == {"ok": True}
        async with other.stream("POST", "y", json={}) as response:
            assert await response.aread() == b'{"ok":true}'
        await other.send(other.build_request("GET", "z"), follow_redirects=True)
        other.cookies.set("c", "3")
        assert client.cookies["c"] == "3"
    (first, *_), (_, streamed, _), (_, _, options) = seen
    assert str(first.url) == "http://a/b/x?q=1"
    assert (first.headers["x-own"], first.headers["cookie"]) == ("1", "c=2")
    assert streamed
    assert "follow_redirects" in options
    assert module_of(other) is module


def test_another_kind_of_client_is_refused() -> None:
    with pytest.raises(BadIntegration, match="got a object; let patch_integration"):
        intercepted(object(), None)  # type: ignore[arg-type]


@both
@async_test
async def test_a_body_is_noted_while_it_is_read_and_once(module: Any) -> None:
    for read_all in (True, False):
        told: list[tuple[bytes, bool]] = []
        stream = noted_stream(
            module, bytes_stream(module, b"abc"), lambda *each, told=told: told.append(each)
        )
        response = module.Response(200, stream=stream)
        if read_all:
            assert [each async for each in response.aiter_raw()] == [b"abc"]
        await response.aclose()
        await stream.aclose()
        assert told == [(b"abc", True) if read_all else (b"", False)]
