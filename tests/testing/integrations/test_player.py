"""Answers come from the tape as they came from the other side, and nobody is called."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import httpx2
import pytest

from backstay.errors import BadIntegration, UnmockedCall
from backstay.integration import EndpointsDeclaration
from backstay.testing.integrations.exchange import Exchange
from backstay.testing.integrations.player import Player
from backstay.testing.integrations.tape import Tape
from tests.support import async_test
from tests.testing.integrations.bank import Bank

both = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
JSON = [["content-type", "application/json"]]


def charge(answer: dict[str, Any], amount: int = 5) -> Exchange:
    request = {
        "method": "POST",
        "url": "{base_url}/charges/a",
        "body": {"json": {"amount": amount, "note": ""}},
    }
    return Exchange("Bank.charge", request, answer)


def get(endpoint: str, path: str, answer: dict[str, Any]) -> Exchange:
    return Exchange(endpoint, {"method": "GET", "url": f"{{base_url}}{path}"}, answer)


@contextmanager
def playing(*exchanges: Exchange) -> Iterator[Tape]:
    tape = Tape(None, "replay", exchanges=exchanges)
    EndpointsDeclaration.stand_in = Player(tape)
    try:
        yield tape
    finally:
        EndpointsDeclaration.stand_in = None


class Unreachable(httpx.AsyncBaseTransport, httpx2.AsyncBaseTransport):
    async def handle_async_request(self, request: Any) -> Any:
        raise AssertionError("somebody was called")


def unreachable(module: Any, base_url: str = "http://bank.invalid", **options: Any) -> Bank:
    return Bank(base_url, client=module.AsyncClient(transport=Unreachable(), **options))


@both
@async_test
async def test_an_answer_is_read_as_the_real_one_was(module: Any) -> None:
    ok = {"status": 200, "headers": JSON, "body": {"json": {"id": 1, "sum": 5}}}
    gone = {"status": 404, "headers": JSON, "body": {"json": {"error": "no"}}}
    bank = unreachable(module)
    with playing(charge(ok), charge(gone)) as tape:
        assert await bank.charge("a", 5) == Bank.Schema.Charge(id=1, sum=5)
        assert await bank.charge("a", 5) == Bank.SchemaError.http404(error="no")
    tape.assert_all_used()


@both
@async_test
async def test_patterns_run_around_recorded_failures(module: Any) -> None:
    bank = unreachable(module)
    failed = get("Bank.rate", "/rates/EUR", {"error": "ConnectError", "message": "refused"})
    busy = get("Bank.rate", "/rates/EUR", {"status": 503, "headers": []})
    ok = get("Bank.rate", "/rates/EUR", {"status": 200, "body": {"json": {"value": 2}}})
    with playing(failed, busy, ok) as tape:
        assert (await bank.rate("EUR")).rate == 2
    tape.assert_all_used()
    lost = {"error": "WriteTimeout", "message": "m"}
    with playing(charge(lost)), pytest.raises(module.WriteTimeout, match="m") as raised:
        await bank.charge("a", 5)
    assert str(raised.value.request.url) == "http://bank.invalid/charges/a"


@async_test
async def test_what_is_not_on_the_tape_is_no_failure_for_patterns_and_fallbacks() -> None:
    bank = unreachable(httpx)
    with playing() as tape:
        with pytest.raises(UnmockedCall, match="which is empty"):
            await bank.rate("EUR")
        with pytest.raises(UnmockedCall):
            [each async for each in bank.rows()]
    assert len(tape.misses) == 2


@both
@async_test
async def test_a_stream_is_played(module: Any) -> None:
    bank = unreachable(module)
    with playing(get("Bank.rows", "/rows", {"status": 200, "body": {"text": "1\n2\n"}})):
        assert [each.number async for each in bank.rows()] == [1, 2]


@async_test
async def test_the_instances_address_is_put_where_the_recorded_one_was() -> None:
    bank = unreachable(httpx, "http://here/v9")
    answer = {
        "status": 200,
        "url": "{base_url}/elsewhere",
        "headers": [["location", "{base_url}/next"], *JSON],
        "body": {"json": {"next": "{base_url}/next"}},
    }
    with playing(
        Exchange("Bank.anything", {"method": "POST", "url": "{base_url}/anything/x"}, answer)
    ):
        assert await bank.anything("x") == {"next": "http://here/v9/next"}


@async_test
async def test_an_instance_without_an_address_is_played_too() -> None:
    with playing(charge({"status": 200, "headers": JSON, "body": {"json": {"id": 1, "sum": 5}}})):
        assert (await Bank().charge("a", 5)).id == 1


@both
@async_test
async def test_hooks_of_the_client_hear_of_it(module: Any) -> None:
    heard: list[str] = []

    async def request_hook(request: Any) -> None:
        heard.append(request.method)

    async def response_hook(response: Any) -> None:
        heard.append(response.status_code)
        assert response.elapsed.total_seconds() == 0

    hooks = {"request": [request_hook], "response": [response_hook]}
    bank = unreachable(module, event_hooks=hooks)
    with playing(charge({"status": 200, "headers": JSON, "body": {"json": {"id": 1, "sum": 5}}})):
        await bank.charge("a", 5)
    assert heard == ["POST", 200]


@async_test
async def test_calls_at_the_same_time_get_each_their_own() -> None:
    exchanges = [
        charge({"status": 200, "headers": JSON, "body": {"json": {"id": n, "sum": n}}}, n)
        for n in range(50)
    ]
    bank = unreachable(httpx)
    with playing(*exchanges) as tape:
        found = await asyncio.gather(*(bank.charge("a", n) for n in range(50)))
    assert [each.id for each in found] == [*range(50)]
    tape.assert_all_used()


@async_test
async def test_an_error_that_the_client_does_not_know_is_refused() -> None:
    with playing(charge({"error": "Strange"})), pytest.raises(BadIntegration, match="'Strange'"):
        await unreachable(httpx).charge("a", 5)
