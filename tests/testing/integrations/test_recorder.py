"""Calls go through as ever, and what was asked and answered is noted as it was."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest

from backstay.errors import BadIntegration
from backstay.integration import EndpointsDeclaration
from backstay.integration.http.auth.bearer import BearerAuth
from backstay.integration.http.http_method import HTTPMethod
from backstay.testing.integrations.recorder import Recorder
from backstay.testing.integrations.tape import Tape
from tests.integration.upstream import Line, Received, Script, Upstream, answer, json_answer
from tests.support import async_test
from tests.testing.integrations.bank import Bank

both = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
CHARGE = {"id": 1, "sum": 5}


@asynccontextmanager
async def recording(
    script: Script, kind: type[Bank] = Bank, **options: Any
) -> AsyncIterator[tuple[Any, Tape, Upstream]]:
    tape = Tape(None, "record")
    async with Upstream(script) as upstream, kind(upstream.url, **options) as bank:
        EndpointsDeclaration.stand_in = Recorder(tape)
        try:
            yield bank, tape, upstream
        finally:
            EndpointsDeclaration.stand_in = None


@both
@async_test
async def test_a_call_is_as_ever_and_is_noted(module: Any) -> None:
    script = json_answer(CHARGE, 201, [("X-More", "1"), ("Date", "now")])
    async with recording(script, client=module) as (bank, tape, upstream):
        assert await bank.charge("a b", 5, note="é") == Bank.Schema.Charge(id=1, sum=5)
        sent = upstream.last
    assert sent.json() == {"amount": 5, "note": "é"}
    assert [each.as_json() for each in tape.exchanges] == [
        {
            "endpoint": "Bank.charge",
            "request": {
                "method": "POST",
                "url": "{base_url}/charges/a%20b",
                "body": {"json": {"amount": 5, "note": "é"}},
            },
            "answer": {
                "status": 201,
                "headers": ["content-type: application/json", "x-more: 1"],
                "body": {"json": CHARGE},
            },
        }
    ]


@async_test
async def test_each_attempt_is_noted_and_what_the_method_made_of_the_last() -> None:
    script = [answer(status=500), json_answer({"value": 2})]
    async with recording(script) as (bank, tape, _):
        assert (await bank.rate("EUR")).rate == 2
        assert bank.statistics is not None
    assert [each.answer["status"] for each in tape.exchanges] == [500, 200]
    assert [each.returned for each in tape.exchanges] == [
        {"part": True},
        {"json": {"currency": "EUR", "rate": 2}},
    ]


@async_test
async def test_a_broken_connection_is_noted_and_raised() -> None:
    async def reset(line: Line, request: Received) -> None:
        line.reset()

    async with recording(reset) as (bank, tape, upstream):
        with pytest.raises(httpx.ReadError):
            await bank.charge("a", 5)
        await upstream.stop()
        with pytest.raises(httpx.ConnectError):
            await bank.charge("a", 5)
    assert [each.answer["error"] for each in tape.exchanges] == ["ReadError", "ConnectError"]


@async_test
async def test_what_was_cancelled_is_not_noted() -> None:
    async def hang(line: Line, request: Received) -> None:
        await line.hang()

    async with recording(hang) as (bank, tape, upstream):
        task = asyncio.create_task(bank.charge("a", 5))
        await upstream.until(lambda up: len(up.requests) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert tape.exchanges == []


@both
@async_test
async def test_a_stream_is_noted_as_it_is_read(module: Any) -> None:
    script = answer(gzip.compress(b"1\n2\n3\n"), headers=[("Content-Encoding", "gzip")])
    async with recording(script, client=module) as (bank, tape, _):
        assert [each.number async for each in bank.rows()] == [1, 2, 3]
        stopped = bank.rows()
        assert (await anext(stopped)).number == 1
        await stopped.aclose()
    whole, cut = tape.exchanges
    assert whole.answer == {"status": 200, "headers": [], "body": {"text": "1\n2\n3\n"}}
    assert whole.returned == {"items": [{"number": 1}, {"number": 2}, {"number": 3}]}
    assert cut.returned == {"items": [{"number": 1}]}
    assert "encoding" not in str(tape.exchanges[0].answer)


@both
@async_test
async def test_an_error_instead_of_a_stream_is_noted_whole(module: Any) -> None:
    script = json_answer({"error": "gone"}, 404)
    async with recording(script, client=module) as (bank, tape, _):
        with pytest.raises(Exception, match="answered") as failed:
            [each async for each in bank.rows()]
    assert failed.value.error == Bank.SchemaError.http404(error="gone")  # type: ignore[attr-defined]
    assert tape.exchanges[0].answer["body"] == {"json": {"error": "gone"}}


class Follower(Bank):
    integration = Bank.integration

    @integration.endpoint(HTTPMethod.get, "/old")
    async def old(api: Any) -> Any:
        return await api.send()

    @integration.endpoint(HTTPMethod.post, "/upload")
    async def upload(api: Any) -> Any:
        async def pieces() -> AsyncIterator[bytes]:
            yield b'{"a"'
            yield b": 1}"

        return await api.send(content=pieces(), headers={"Content-Type": "application/json"})


@async_test
async def test_redirects_and_streamed_bodies_are_noted_as_one_exchange() -> None:
    script = {
        "/old": answer(status=302, headers=[("Location", "/new?token=abc")]),
        "/new": json_answer({}),
        "/upload": json_answer({}),
    }
    options = {"follow_redirects": True}
    async with recording(script, Follower, **options) as (bank, tape, upstream):
        await bank.old()
        await bank.upload()
        assert upstream.last.body == b'{"a": 1}'
    old, upload = tape.exchanges
    assert (old.request["url"], old.answer["url"]) == ("{base_url}/old", "{base_url}/new?token=abc")
    assert "abc" not in str(tape.cleaned(old).as_json())
    assert upload.request["body"] == {"json": {"a": 1}}


@async_test
async def test_auth_does_its_part_and_is_not_noted_but_learned() -> None:
    script = json_answer({"echo": "Bearer b-secret-1"})
    async with recording(script, auth=BearerAuth("b-secret-1")) as (bank, tape, upstream):
        assert await bank.anything("x") == {"echo": "Bearer b-secret-1"}
        assert upstream.last.header("authorization") == "Bearer b-secret-1"
    assert "b-secret-1" not in str(tape.cleaned(tape.exchanges[0]).as_json())


@async_test
async def test_copies_at_the_same_time_are_all_noted() -> None:
    async with recording(json_answer(CHARGE)) as (bank, tape, _):
        await asyncio.gather(*(bank.charge(f"a{number}", number) for number in range(50)))
    assert sorted(each.request["body"]["json"]["amount"] for each in tape.exchanges) == [*range(50)]
    assert {each.answer["status"] for each in tape.exchanges} == {200}


@async_test
async def test_a_client_of_another_kind_is_refused() -> None:
    class Own:
        async def request(self, *_: Any, **__: Any) -> None: ...

    tape = Tape(None, "record")
    EndpointsDeclaration.stand_in = Recorder(tape)
    try:
        with pytest.raises(BadIntegration, match="can be recorded; got a .*Own"):
            await Bank("http://a", client=Own()).charge("a", 5)
    finally:
        EndpointsDeclaration.stand_in = None
