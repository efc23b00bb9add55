"""A body that is larger than it may be is an error as soon as that shows, packed or not."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import httpx
import httpx2
import pytest

from backstay.errors import BadAnswer
from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP
from tests.integration.upstream import Line, Received, Upstream, answer
from tests.support import async_test

clients = pytest.mark.parametrize("client", [httpx, httpx2], ids=["httpx", "httpx2"])
TEXT = b"text" * 1000


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "raw": raw_deflate(TEXT),
    "identity": TEXT,
}


class Files(EndpointsDeclaration):
    integration = IntegrationHTTP("Files")

    @integration.endpoint(HTTPMethod.get, "/")
    async def read(api: ApiHTTP) -> bytes:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/")
    async def stream(api: ApiHTTP) -> int:
        async with api.stream() as response:
            return sum([len(piece) async for piece in response.aiter_bytes()])


def packed(coding: str, body: bytes | None = None) -> bytes:
    name = "deflate" if coding == "raw" else coding
    return answer(PACKED[coding] if body is None else body, 200, [("Content-Encoding", name)])


@clients
@pytest.mark.parametrize("coding", list(PACKED))
@async_test
async def test_a_packed_body_is_unpacked_as_ever(coding: str, client: Any) -> None:
    async with Upstream(packed(coding)) as upstream:
        async with Files(upstream.url, client=client) as files:
            assert await files.read() == TEXT


@clients
@pytest.mark.parametrize("coding", list(PACKED))
@async_test
async def test_one_that_is_too_large_is_an_error_that_says_so(coding: str, client: Any) -> None:
    async with Upstream(packed(coding)) as upstream:
        async with Files(upstream.url, client=client, max_answer_bytes=3999) as files:
            with pytest.raises(
                BadAnswer, match=r"Files\.read answered 200 with more than 3999 bytes"
            ):
                await files.read()
            if coding != "x-gzip":  # a name of old that clients do not know
                assert await files.stream() == 4000
        await upstream.until(lambda up: up.open_connections == 0)


@clients
@async_test
async def test_one_that_never_ends_is_left(client: Any) -> None:
    async def endless(line: Line, request: Received) -> None:
        await line.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await line.send(b"x" * 65536)

    async with Upstream(endless) as upstream:
        async with Files(upstream.url, client=client, max_answer_bytes=10**6) as files:
            with pytest.raises(BadAnswer, match="more than 1000000 bytes"):
                await files.read()
            await upstream.until(lambda up: up.open_connections == 0)


@clients
@pytest.mark.parametrize("body", [b"not packed", gzip.compress(TEXT)[:-9]], ids=["wrong", "short"])
@async_test
async def test_one_that_is_packed_wrongly_is_an_error(body: bytes, client: Any) -> None:
    async with Upstream(packed("gzip", body)) as upstream:
        async with Files(upstream.url, client=client) as files:
            with pytest.raises(BadAnswer, match="a packed body, and it is"):
                await files.read()


@async_test
async def test_any_size_may_be_allowed() -> None:
    async with Upstream(packed("identity")) as upstream:
        async with Files(upstream.url, max_answer_bytes=None) as files:
            assert await files.read() == TEXT
