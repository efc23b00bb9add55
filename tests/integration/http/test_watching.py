"""What belongs to a call goes along with its requests, to the integration's own origin alone."""

from __future__ import annotations

import httpx
import httpx2
import pytest

from backstay.integration.http.credentials import Credentials
from backstay.integration.http.watching import AUXILIARY, Sending, current_sending, watch
from backstay.integration.outgoing import OutgoingCall, current_call
from tests.support import async_test

ORIGIN = ("https", "api.example.com", 443)
clients = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])


def made(module: object, seen: list[object], status: int = 200) -> httpx.AsyncClient:
    def answer(request: object) -> object:
        seen.append(request)
        return module.Response(status)  # type: ignore[attr-defined]  # one of the two

    client: httpx.AsyncClient = module.AsyncClient(  # type: ignore[attr-defined]  # as above
        transport=module.MockTransport(answer)  # type: ignore[attr-defined]  # as above
    )
    return client


def under_way(method: str = "POST", key: str | None = None) -> OutgoingCall:
    call = OutgoingCall("owner", "Names.get", method, idempotency_key=key)
    call.is_watched = True
    current_call.set(call)
    current_sending.set(
        Sending(ORIGIN, {"X-Request-ID": "c1", "traceparent": "00-1"}, timeout_s=3.0)
    )
    return call


@clients
@async_test
async def test_the_correlation_id_goes_along(module: object) -> None:
    seen: list[httpx.Request] = []
    async with made(module, seen) as client:  # type: ignore[arg-type]  # requests of either
        assert watch(client)
        under_way()
        await client.get("https://api.example.com/a", headers={"traceparent": "mine"})
    assert seen[0].headers["X-Request-ID"] == "c1"
    assert seen[0].headers["traceparent"] == "mine"
    assert seen[0].extensions["timeout"]["read"] == 3.0


@clients
@async_test
async def test_nothing_goes_along_to_another_origin(module: object) -> None:
    seen: list[httpx.Request] = []
    async with made(module, seen) as client:  # type: ignore[arg-type]  # requests of either
        watch(client)
        call = under_way(key="k1")
        for url in (
            "https://other.example/",
            "http://api.example.com/",
            "https://api.example.com:8443/",
        ):
            await client.post(url)
    assert not any({"x-request-id", "idempotency-key"} & set(each.headers) for each in seen)
    assert not call.may_repeat


@clients
@async_test
async def test_the_key_goes_along_with_what_may_not_be_repeated_by_itself(module: object) -> None:
    seen: list[httpx.Request] = []
    async with made(module, seen) as client:  # type: ignore[arg-type]  # requests of either
        watch(client)
        call = under_way(key="k1")
        await client.post("https://api.example.com/a")
        await client.get("https://api.example.com/a")
    assert seen[0].headers["Idempotency-Key"] == "k1"
    assert "Idempotency-Key" not in seen[1].headers
    assert call.may_repeat


@clients
@async_test
async def test_the_call_hears_what_was_sent_and_what_came_back(module: object) -> None:
    async with made(module, [], status=418) as client:
        watch(client)
        call = under_way()
        answer = await client.post("https://api.example.com/a")
    assert (call.requests, call.status, call.sent_unsafe) == (1, 418, True)
    assert call.answer is answer


@clients
@async_test
async def test_requests_that_serve_others_are_not_the_calls_own(module: object) -> None:
    seen: list[httpx.Request] = []
    async with made(module, seen) as client:  # type: ignore[arg-type]  # requests of either
        watch(client)
        call = under_way()
        await client.post("https://api.example.com/token", extensions={AUXILIARY: True})
    assert (call.requests, call.status, call.may_repeat) == (0, None, True)
    assert "x-request-id" not in seen[0].headers


@async_test
async def test_outside_of_calls_nothing_is_added_and_a_second_time_changes_nothing() -> None:
    seen: list[object] = []
    async with made(httpx, seen) as client:
        assert watch(client)
        assert watch(client)
        assert len(client.event_hooks["request"]) == 1
        await client.get("https://api.example.com/a")
    assert "x-request-id" not in seen[0].headers  # type: ignore[attr-defined]  # httpx's


def test_what_has_no_hooks_cannot_be_watched() -> None:
    assert not watch(object())


def test_what_goes_along_shows_no_secret() -> None:
    assert "s3cret" not in repr(Sending(ORIGIN, {}, Credentials({"KEY": "s3cret"})))
