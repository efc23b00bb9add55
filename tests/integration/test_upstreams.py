"""Whatever another service does, a call of it ends with an error that says so, and the next one works."""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from backstay.errors import (
    BadAnswer,
    CircuitBreakerError,
    MaxRetriesExceededError,
    StabilityTimeoutError,
    UpstreamBusy,
    UpstreamError,
)
from backstay.integration import (
    ApiHTTP,
    EndpointsDeclaration,
    HTTPMethod,
    IntegrationHTTP,
    add_integrations,
    sp,
)
from backstay.integration.http.paging.page_rules import LinkHeader
from backstay.testing import running
from tests.integration.upstream import Upstream, answer, closed_port, json_answer
from tests.integration.upstreams.behaviour import (
    BEFORE_A_WHOLE_ANSWER,
    UNREADABLE,
    busy,
    close_after,
    close_while_idle,
    drip_for_ever,
    drips,
    early_hints_first,
    echo,
    endless_body,
    hang_before_headers,
    hang_in_body,
    hang_in_headers,
    long_headers,
    many_headers,
    packed_wrongly,
    recovers,
    redirect,
)
from tests.integration.upstreams.certificate import client_tls, server_tls
from tests.integration.upstreams.process import upstream_process
from tests.support import async_test

MB = 1024 * 1024
HANGS = {
    "before headers": hang_before_headers,
    "in headers": hang_in_headers,
    "in body": hang_in_body,
}
HELLO = json_answer({"text": "hello"})


class Greeter(EndpointsDeclaration):
    integration = IntegrationHTTP("Greeter", doc="Says hello.")

    class Schema:
        class Text(BaseModel):
            text: str

    class SchemaError:
        class http404(BaseModel):
            reason: str

    @integration.endpoint(HTTPMethod.get, "/hello")
    async def plain(api: ApiHTTP) -> Schema.Text | SchemaError.http404:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/hello")
    async def as_in_the_seed(api: ApiHTTP) -> Schema.Text | SchemaError.http404:
        response = await api.client.get(api.url.geturl())
        return response.json()

    @integration.endpoint(HTTPMethod.get, "/hello")
    async def anything(api: ApiHTTP) -> Any:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/hello")
    @sp.RetryPattern(2, 0)
    @sp.CircuitBreaker()
    @sp.Timeout(15)
    async def patient(api: ApiHTTP) -> Schema.Text | SchemaError.http404:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/hello")
    @sp.CircuitBreaker(fail_threshold=2, reset_timeout=600)
    @sp.Timeout(0.1)
    async def hasty(api: ApiHTTP) -> Schema.Text:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/hello")
    async def pieces(api: ApiHTTP) -> AsyncIterator[bytes]:
        async with api.stream() as response:
            async for piece in response.aiter_bytes():
                yield piece

    @integration.endpoint(HTTPMethod.get, "/hello")
    async def numbers(api: ApiHTTP) -> AsyncIterator[int]:
        async for page in api.pages(LinkHeader()):
            for number in page.json():
                yield number

    @integration.endpoint(HTTPMethod.post, "/photos")
    async def upload(api: ApiHTTP, content: Any = None, files: Any = None) -> Any:
        return await api.send(content=content, files=files)


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def client(request: pytest.FixtureRequest) -> ModuleType:
    found: ModuleType = request.param
    return found


@pytest.fixture(params=["plain", "as_in_the_seed", "patient"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def quick(client: ModuleType, timeout: float = 15) -> Any:
    """A client that spares the reading of certificates, which takes longer than these tests."""
    return lambda: client.AsyncClient(verify=False, timeout=timeout)


# ---------------------------------------------------------------- answers that break off


@pytest.mark.parametrize("case", BEFORE_A_WHOLE_ANSWER)
@async_test
async def test_an_answer_that_breaks_off_is_the_clients_error_and_the_next_call_works(
    client: ModuleType, case: str
) -> None:
    async with Upstream([BEFORE_A_WHOLE_ANSWER[case], HELLO]) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            with pytest.raises(client.TransportError):
                await greeter.plain()
            assert (await greeter.plain()).text == "hello"
            await upstream.until(lambda up: up.open_connections == 1)
            assert greeter.statistics.snapshot("plain")["total"]["failed"] == 1


@pytest.mark.parametrize("case", BEFORE_A_WHOLE_ANSWER)
@async_test
async def test_a_retry_gets_over_one_that_breaks_off(client: ModuleType, case: str) -> None:
    async with Upstream([BEFORE_A_WHOLE_ANSWER[case], HELLO]) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            assert (await greeter.patient()).text == "hello"
            assert len(upstream.requests) == 2


@async_test
async def test_one_that_always_breaks_off_ends_the_retries_with_its_cause(
    client: ModuleType,
) -> None:
    async with Upstream(BEFORE_A_WHOLE_ANSWER["short body"]) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            with pytest.raises(MaxRetriesExceededError, match=r"Greeter\.patient") as raised:
                await greeter.patient()
            assert isinstance(raised.value.__cause__, client.RemoteProtocolError)


@async_test
async def test_a_refused_connection_is_the_clients_error(client: ModuleType) -> None:
    with closed_port() as port:
        async with Greeter(f"http://127.0.0.1:{port}", client=client) as greeter:
            with pytest.raises(client.ConnectError):
                await greeter.plain()


@pytest.mark.parametrize("case", HANGS)
@async_test
async def test_one_that_hangs_is_given_up_by_the_instances_own_time_out(
    client: ModuleType, case: str
) -> None:
    async with Upstream([HANGS[case], HELLO]) as upstream:
        async with Greeter(upstream.url, client=client, timeout=0.1) as greeter:
            with pytest.raises(client.ReadTimeout):
                await greeter.plain()
            await upstream.until(lambda up: up.open_connections == 0)
            assert (await greeter.with_options(timeout=15).plain()).text == "hello"


@pytest.mark.parametrize("case", [*HANGS, "drips"])
@async_test
async def test_a_time_out_around_the_whole_ends_one_that_hangs_or_drips(
    client: ModuleType, case: str
) -> None:
    async with Upstream(HANGS.get(case, drip_for_ever)) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            for expected in (StabilityTimeoutError, StabilityTimeoutError, CircuitBreakerError):
                with pytest.raises(expected, match=r"hasty"):
                    await greeter.hasty()
            await upstream.until(lambda up: up.open_connections == 0)
            assert len(upstream.requests) == 2


# ---------------------------------------------------------------- whole answers that will not do


@pytest.mark.parametrize("case", UNREADABLE)
@async_test
async def test_an_answer_that_cannot_be_read_names_endpoint_and_status(
    client: ModuleType, method: str, case: str
) -> None:
    async with Upstream([UNREADABLE[case], HELLO]) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            with pytest.raises(BadAnswer) as raised:
                await getattr(greeter, method)()
            status = 204 if case == "204" else 200
            assert str(raised.value).startswith(f"Greeter.{method} answered {status} ")
            assert raised.value.endpoint == f"Greeter.{method}"
            assert raised.value.answered == status
            assert (await greeter.plain()).text == "hello"
            assert upstream.connections == 1, "it was a whole answer, so its connection is good"


@pytest.mark.parametrize("case", ["broken JSON", "wrong charset", "deep JSON", "huge integer"])
@async_test
async def test_where_anything_will_do_it_has_to_be_readable_all_the_same(
    client: ModuleType, case: str
) -> None:
    async with Upstream(UNREADABLE[case]) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            with pytest.raises(BadAnswer, match=r"Greeter\.anything answered 200"):
                await greeter.anything()


@async_test
async def test_a_field_that_is_wrong_is_named_without_its_value(client: ModuleType) -> None:
    async with Upstream(json_answer({"text": ["secret"]})) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            with pytest.raises(BadAnswer) as raised:
                await greeter.plain()
    assert raised.value.fields == ("text",)
    assert "secret" not in str(raised.value)


@async_test
async def test_what_is_packed_wrongly_is_a_bad_answer(client: ModuleType, method: str) -> None:
    async with Upstream([packed_wrongly(), packed_wrongly(), HELLO]) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            with pytest.raises((BadAnswer, MaxRetriesExceededError)):
                await getattr(greeter, method)()


@pytest.mark.parametrize("status", [400, 401, 404, 418, 500, 502])
@async_test
async def test_an_error_that_is_html_keeps_its_status(
    client: ModuleType, method: str, status: int
) -> None:
    html = answer(b"<html>oops</html>", status, [("Content-Type", "text/html")])
    async with Upstream(html) as upstream, Greeter(upstream.url, client=quick(client)) as greeter:
        with pytest.raises((UpstreamError, BadAnswer)) as raised:
            await getattr(greeter, method)()
        assert raised.value.answered == status
        assert raised.value.endpoint == f"Greeter.{method}"
        assert raised.value.status == 502


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("retry_after", "seconds"), [("7", 7), ("soon", 5), ("-3", 5), (None, 5)], ids=str
)
@async_test
async def test_a_busy_one_is_ours_to_wait_for(
    client: ModuleType, status: int, retry_after: str | None, seconds: int
) -> None:
    async with Upstream(busy(retry_after, status)) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            with pytest.raises(UpstreamBusy, match=f"answered {status}") as raised:
                await greeter.plain()
            assert raised.value.status == 503
            assert raised.value.retry_after_s == seconds


@async_test
async def test_a_storm_of_errors_ends_and_is_over(client: ModuleType) -> None:
    async with Upstream(recovers(20, answer(b"oops", 500))) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            ends = await asyncio.gather(
                *(greeter.plain() for _ in range(20)), return_exceptions=True
            )
            assert {type(each) for each in ends} == {UpstreamError}
            assert (await greeter.plain()).text == "hello"


# ---------------------------------------------------------------- odd, and all right


@pytest.mark.parametrize("case", ["103 first", "many headers", "a dripping answer"])
@async_test
async def test_what_is_odd_and_allowed_is_read(client: ModuleType, method: str, case: str) -> None:
    script = {
        "103 first": early_hints_first,
        "many headers": many_headers(1000),
        "a dripping answer": drips(HELLO),
    }[case]
    async with Upstream(script) as upstream, Greeter(upstream.url, client=quick(client)) as greeter:
        assert (await getattr(greeter, method)()).text == "hello"


@async_test
async def test_headers_without_end_are_the_clients_error(client: ModuleType) -> None:
    async with Upstream([long_headers(10 * MB), HELLO]) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            with pytest.raises(client.RemoteProtocolError):
                await greeter.plain()
            assert (await greeter.plain()).text == "hello"


@async_test
async def test_tls_is_checked(client: ModuleType) -> None:
    async with Upstream(HELLO, tls=server_tls()) as upstream:
        async with Greeter(upstream.url, client=client) as greeter:
            with pytest.raises(client.ConnectError, match="certificate"):
                await greeter.plain()
        async with client.AsyncClient(verify=client_tls()) as trusting:
            assert (await Greeter(upstream.url, client=trusting).plain()).text == "hello"


# ---------------------------------------------------------------- redirects


@pytest.mark.parametrize("to", ["/other", "http://evil.example/", "file:///etc/passwd"])
@async_test
async def test_a_redirect_is_not_followed_and_no_answer(
    client: ModuleType, method: str, to: str
) -> None:
    async with Upstream(redirect(to)) as upstream:
        async with Greeter(upstream.url, client=client) as greeter:
            with pytest.raises(BadAnswer, match="answered 302"):
                await getattr(greeter, method)()
            assert len(upstream.requests) == 1


@async_test
async def test_a_redirect_is_no_answer_where_anything_will_do(client: ModuleType) -> None:
    async with Upstream(redirect("/other")) as upstream:
        async with Greeter(upstream.url, client=client) as greeter:
            with pytest.raises(BadAnswer, match="302"):
                await greeter.anything()


@async_test
async def test_redirects_on_the_same_origin_are_followed_when_asked(client: ModuleType) -> None:
    script = {"/hello": redirect("/other", 307), "/other": HELLO}
    async with Upstream(script) as upstream:
        async with Greeter(upstream.url, client=client, follow_redirects=True) as greeter:
            assert (await greeter.plain()).text == "hello"
            assert upstream.connections == 1


@async_test
async def test_what_proves_who_is_calling_does_not_go_along_to_another_origin(
    client: ModuleType,
) -> None:
    async with Upstream(echo) as other, Upstream() as upstream:
        upstream.script = redirect(f"{other.url}/steal", 307)
        greeter = Greeter(
            upstream.url,
            client=client,
            follow_redirects=True,
            headers={"X-Api-Key": "secret", "Authorization": "Bearer secret"},
        ).with_options(headers={"X-Tenant-Key": "secret"})
        async with greeter:
            await greeter.anything()
        assert upstream.last.header("x-api-key") == "secret"
        assert [name for name, value in other.last.headers if "secret" in value] == []


@pytest.mark.parametrize("to", ["/hello", "file:///etc/passwd"], ids=["a loop", "a file"])
@async_test
async def test_redirects_that_lead_nowhere_are_the_clients_error(
    client: ModuleType, to: str
) -> None:
    async with Upstream(redirect(to)) as upstream:
        async with Greeter(upstream.url, client=client, follow_redirects=True) as greeter:
            with pytest.raises(client.RequestError):
                await greeter.plain()


# ---------------------------------------------------------------- connections


@async_test
async def test_a_hundred_calls_one_after_the_other_use_one_connection(
    client: ModuleType, method: str
) -> None:
    async with Upstream(HELLO) as upstream, Greeter(upstream.url, client=client) as greeter:
        for _ in range(100):
            await getattr(greeter, method)()
        assert len(upstream.requests) == 100
        assert upstream.connections == 1


@async_test
async def test_instances_have_pools_of_their_own_and_close_them(client: ModuleType) -> None:
    async with Upstream(HELLO) as upstream:
        async with Greeter(upstream.url, client=client) as one:
            async with Greeter(upstream.url, client=client) as two:
                await one.plain()
                await two.plain()
                assert upstream.open_connections == 2
            await upstream.until(lambda up: up.open_connections == 1)
            await one.plain()
        await upstream.until(lambda up: up.open_connections == 0)
        assert upstream.connections == 2


@async_test
async def test_a_connection_that_was_closed_while_idle_is_not_used_again(
    client: ModuleType, method: str
) -> None:
    async with Upstream(close_while_idle) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            for _ in range(10):
                assert (await getattr(greeter, method)()).text == "hello"
                await upstream.until(lambda up: up.open_connections == 0)


@async_test
async def test_a_connection_that_closes_as_it_is_used_costs_one_retry(client: ModuleType) -> None:
    async with Upstream(close_after(1)) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            assert (await greeter.patient()).text == "hello"
            assert (await greeter.patient()).text == "hello"
            assert (len(upstream.requests), upstream.connections) == (3, 2)


@pytest.mark.parametrize("case", HANGS)
@async_test
async def test_calls_that_are_cancelled_leave_no_connection_and_the_next_works(
    client: ModuleType, method: str, case: str
) -> None:
    async with Upstream(HANGS[case]) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            calls = [asyncio.create_task(getattr(greeter, method)()) for _ in range(30)]
            await upstream.until(lambda up: len(up.requests) == 30)
            for each in calls:
                each.cancel()
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(each) for each in ends} == {asyncio.CancelledError}
            await upstream.until(lambda up: up.open_connections == 0)
            upstream.script = HELLO
            assert (await getattr(greeter, method)()).text == "hello"
            assert greeter.statistics.snapshot(method)["total"]["cancelled"] == 30


@async_test
async def test_cancelled_while_connecting_or_waiting_for_a_place_the_pool_is_whole(
    client: ModuleType,
) -> None:
    async with Upstream(hang_before_headers) as upstream:
        limits = client.Limits(max_connections=2)
        async with client.AsyncClient(limits=limits, timeout=15) as small:
            greeter = Greeter(upstream.url, client=small)
            calls = [asyncio.create_task(greeter.plain()) for _ in range(10)]
            await upstream.until(lambda up: len(up.requests) == 2)
            for each in calls:
                each.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            for ticks in range(40):  # at each step that connecting takes
                call = asyncio.create_task(greeter.plain())
                for _ in range(ticks):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
            upstream.script = HELLO
            found = await asyncio.gather(*(greeter.plain() for _ in range(10)))
            assert {each.text for each in found} == {"hello"}


# ---------------------------------------------------------------- streams and uploads


@async_test
async def test_who_stops_a_stream_early_leaves_no_connection(client: ModuleType) -> None:
    async with Upstream(endless_body) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            pieces = greeter.pieces()
            assert await anext(pieces)
            await pieces.aclose()
            await upstream.until(lambda up: up.open_connections == 0)
            upstream.script = HELLO
            assert (await greeter.plain()).text == "hello"


@async_test
async def test_a_stream_that_is_forgotten_leaves_no_connection(client: ModuleType) -> None:
    async with Upstream(endless_body) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            async for _ in greeter.pieces():
                break
            gc.collect()
            await upstream.until(lambda up: up.open_connections == 0)


@async_test
async def test_a_stream_that_breaks_off_is_the_clients_error_after_what_came(
    client: ModuleType,
) -> None:
    async with Upstream(BEFORE_A_WHOLE_ANSWER["short body"]) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            pieces = greeter.pieces()
            assert await anext(pieces) == b'{"text": "hel'
            with pytest.raises(client.RemoteProtocolError):
                await anext(pieces)


@async_test
async def test_a_stream_that_is_cancelled_leaves_no_connection(client: ModuleType) -> None:
    async with Upstream(hang_in_body) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:

            async def read() -> None:
                async for _ in greeter.pieces():
                    pass

            call = asyncio.create_task(read())
            await upstream.until(lambda up: len(up.requests) == 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await upstream.until(lambda up: up.open_connections == 0)


@async_test
async def test_an_endless_error_is_not_read_to_its_end(client: ModuleType) -> None:
    async def endless_error(line: Any, request: Any) -> None:
        await line.send(answer(b"", 500, length=None))
        while not line.writer.is_closing():
            await line.send(b"oops" * 1024)

    async with Upstream(endless_error) as upstream:
        async with Greeter(upstream.url, client=quick(client)) as greeter:
            with pytest.raises(UpstreamError, match="answered 500"):
                await anext(greeter.pieces())
            await upstream.until(lambda up: up.open_connections == 0)


@async_test
async def test_items_of_pages_are_read_one_by_one(client: ModuleType) -> None:
    script = [
        json_answer([1, 2], headers=[("Link", "</hello?page=2>; rel=next")]),
        json_answer([3, "four"]),
    ]
    async with Upstream(script) as upstream, Greeter(upstream.url, client=quick(client)) as greeter:
        numbers = greeter.numbers()
        assert [await anext(numbers), await anext(numbers)] == [1, 2]
        assert len(upstream.requests) == 1
        assert await anext(numbers) == 3
        with pytest.raises(BadAnswer, match=r"Greeter\.numbers"):
            await anext(numbers)
        assert upstream.connections == 1


@pytest.mark.parametrize("way", ["content", "files"])
@async_test
async def test_memory_does_not_grow_with_what_is_uploaded(
    client: ModuleType, tmp_path: Path, way: str
) -> None:
    piece = os.urandom(64 * 1024)
    with (tmp_path / "photo").open("wb") as file:
        for _ in range(50 * MB // len(piece)):
            file.write(piece)

    async def content() -> AsyncIterator[bytes]:
        for _ in range(50 * MB // len(piece)):
            yield piece

    async with Upstream(echo) as upstream, Greeter(upstream.url, client=quick(client)) as greeter:
        with (tmp_path / "photo").open("rb") as photo:
            tracemalloc.start()
            try:
                if way == "content":
                    found = await greeter.upload(content=content())
                else:
                    found = await greeter.upload(files={"photo": ("cat.png", photo, "image/png")})
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert found["body_bytes"] >= 50 * MB
    assert peak < 6 * MB  # 1 MiB of it is what the upstream keeps


@async_test
async def test_an_upload_that_is_answered_early_ends(client: ModuleType) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b"too large", 413, [("Connection", "close")]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with Greeter(url, client=client) as greeter:
            with pytest.raises((UpstreamError, client.TransportError)):
                await greeter.upload(content=endless())


# ---------------------------------------------------------------- a process that is stopped


@async_test
async def test_a_process_that_is_stopped_opens_the_circuit_and_closes_it_when_it_goes_on(
    client: ModuleType,
) -> None:
    class Frozen(EndpointsDeclaration):
        integration = IntegrationHTTP("Frozen")

        @integration.endpoint(HTTPMethod.get, "/hello")
        @sp.CircuitBreaker(fail_threshold=3, reset_timeout=0.2)
        @sp.Timeout(0.5)
        async def hello(api: ApiHTTP) -> dict[str, str]:
            return await api.send()

    async with upstream_process() as process:
        async with Frozen(process.url, client=client) as frozen:
            assert await frozen.hello() == {"text": "hello"}
            process.freeze()
            ends = [
                type((await asyncio.gather(frozen.hello(), return_exceptions=True))[0])
                for _ in range(5)
            ]
            assert ends[:3] == [StabilityTimeoutError] * 3
            assert CircuitBreakerError in ends[3:]
            process.thaw()
            while True:
                try:
                    assert await frozen.hello() == {"text": "hello"}
                    break
                except (CircuitBreakerError, StabilityTimeoutError):
                    await asyncio.sleep(0.05)


# ---------------------------------------------------------------- what whoever asks here hears


def app_of(greeter: Greeter) -> FastAPI:
    app = FastAPI()

    @app.get("/plain")
    async def plain() -> Any:
        return await greeter.plain()

    @app.get("/seed")
    async def seed() -> Any:
        return await greeter.as_in_the_seed()

    @app.get("/patient")
    async def patient() -> Any:
        return await greeter.patient()

    @app.get("/hasty")
    async def hasty() -> Any:
        return await greeter.hasty()

    add_integrations(app, [greeter])
    return app


HEARD = {
    **dict.fromkeys([f"/plain {case}" for case in BEFORE_A_WHOLE_ANSWER], 502),
    **dict.fromkeys([f"/patient {case}" for case in BEFORE_A_WHOLE_ANSWER], 502),
    **dict.fromkeys([f"/plain {case}" for case in UNREADABLE], 502),
    **dict.fromkeys([f"/seed {case}" for case in UNREADABLE], 502),
    "/plain hangs": 504,
    "/hasty hangs": 504,
    "/plain busy": 503,
    "/plain fails": 502,
    "/plain packed wrongly": 502,
    "/plain redirects": 502,
}
OTHERS = {
    "hangs": hang_before_headers,
    "busy": busy("7"),
    "fails": answer(b"secret", 500),
    "packed wrongly": packed_wrongly(),
    "redirects": redirect("/other"),
}


@pytest.mark.parametrize("case", HEARD)
@async_test
async def test_a_client_hears_that_it_was_another_service_and_nothing_else(
    client: ModuleType, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, _, behaviour = case.partition(" ")
    script = {**OTHERS, **BEFORE_A_WHOLE_ANSWER, **UNREADABLE}[behaviour]
    caplog.set_level(logging.WARNING)
    async with Upstream(script) as upstream:
        app = app_of(Greeter(upstream.url, client=quick(client, 0.2)))
        async with running(app) as asked:
            heard = await asked.get(path)
        assert heard.status_code == HEARD[case]
        assert heard.headers["content-type"] == "application/problem+json"
        assert heard.json()["status"] == HEARD[case]
        for inner in ("Traceback", "httpx", "127.0.0.1", "secret", "Greeter", "text"):
            assert inner not in heard.text
        if HEARD[case] == 503:
            assert heard.headers["retry-after"] == "7"
        await upstream.until(lambda up: up.open_connections == 0)


def test_errors_of_a_client_that_nobody_imported_before_are_heard_as_such(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import asyncio, sys
from typing import Any
from fastapi import FastAPI
from backstay.integration import (
    ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP, add_integrations
)

class Greeter(EndpointsDeclaration):
    integration = IntegrationHTTP("Greeter")

    @integration.endpoint(HTTPMethod.get, "/hello")
    async def plain(api: ApiHTTP) -> Any:
        return await api.send()

greeter = Greeter("http://127.0.0.1:9")
app = FastAPI()

@app.get("/")
async def root() -> Any:
    return await greeter.plain()

add_integrations(app, [greeter])

async def main():
    sent, to_app = [], asyncio.Queue()
    started = asyncio.Event()

    async def say(message):
        sent.append(message)
        started.set()

    assert "httpx" not in sys.modules
    to_app.put_nowait({"type": "lifespan.startup"})
    life = asyncio.create_task(app({"type": "lifespan", "state": {}}, to_app.get, say))
    await started.wait()
    scope = {
        "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": [(b"host", b"test")], "http_version": "1.1", "scheme": "http",
        "server": ("test", 80), "client": ("127.0.0.1", 1), "root_path": "", "state": {},
    }
    requests = asyncio.Queue()
    requests.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    heard = []

    async def answer(message):
        heard.append(message)

    await asyncio.gather(app(scope, requests.get, answer), return_exceptions=True)
    print(next(each["status"] for each in heard if each["type"] == "http.response.start"))
    to_app.put_nowait({"type": "lifespan.shutdown"})
    await life

asyncio.run(main())
"""
    )
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "502", done.stderr
