"""Answers that are small on the wire and large, or slow, in memory."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from backstay.errors import BadAnswer
from tests.attacks.integration.victim import Victim
from tests.integration.upstream import Upstream, answer
from tests.support import async_test

_SIZE = 64 * 2**20


@pytest.mark.parametrize(
    "coding", ["gzip, gzip", "gzip,identity,gzip", "GZIP, x-gzip"], ids=["two", "three", "names"]
)
@pytest.mark.parametrize("status", [200, 404, 500], ids=["good", "declared", "bad"])
@async_test
async def test_a_body_that_is_packed_twice_does_not_fill_the_memory(
    coding: str, status: int
) -> None:
    bomb = gzip.compress(gzip.compress(bytes(_SIZE)))
    async with (
        Upstream(answer(bomb, status, [("Content-Encoding", coding)])) as up,
        Victim(up.url, max_answer_bytes=2**20) as victim,
    ):
        tracemalloc.start()
        try:
            with pytest.raises(BadAnswer, match="packed as"):
                await victim.number()
            assert tracemalloc.get_traced_memory()[1] < _SIZE // 8
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "charset", ["zlib", "bz2", "rot13", "hex", "base64", "punycode", "idna", "undefined"]
)
@pytest.mark.parametrize("status", [200, 500], ids=["good", "bad"])
@async_test
async def test_a_charset_that_is_none_is_read_as_utf_8(charset: str, status: int) -> None:
    # Punycode would take minutes: its time grows with the square of its size.
    body = b"a" * 500_000 + b"-" + b"b" * 500_000
    headers = [("Content-Type", f"text/plain; charset={charset}")]
    async with Upstream(answer(body, status, headers)) as up, Victim(up.url) as victim:
        if status == 200:
            assert await victim.text() == body.decode()
        else:
            with pytest.raises(Exception, match="answered 500"):
                await victim.text()


@async_test
async def test_of_a_million_faults_the_number_is_told() -> None:
    body = b"[" + b",".join([b"1"] * 200_000) + b"]"
    async with Upstream(answer(body)) as up, Victim(up.url) as victim:
        with pytest.raises(BadAnswer, match="in 200000 places") as caught:
            await victim.numbers()
    assert caught.value.fields == ()
