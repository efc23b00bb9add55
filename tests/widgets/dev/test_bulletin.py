"""News reaches every reader; who comes later is told how things stand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from backstay.widgets.dev.bulletin import Bulletin
from tests.support import async_test


async def heard(stream: AsyncIterator[str]) -> tuple[str, Any]:
    """The next event."""
    async for text in stream:
        if text.startswith("event: "):
            kind, data = text.strip().split("\n")
            return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))
    raise AssertionError("the stream has ended")


@async_test
async def test_every_reader_hears_what_is_posted() -> None:
    bulletin = Bulletin()
    readers = [bulletin.read(), bulletin.read()]
    for each in readers:
        assert (await anext(each)).startswith("retry:")
    bulletin.post("app", status="ready")
    for each in readers:
        assert await heard(each) == ("app", {"status": "ready"})


@async_test
async def test_later_readers_are_told_the_latest_of_each() -> None:
    bulletin = Bulletin()
    bulletin.post("app", status="starting")
    bulletin.post("app", status="ready")
    bulletin.post("face", "map", status="failed")
    bulletin.post("face", "board", status="failed")
    bulletin.forget("face", "map")
    bulletin.post("pages", standing=False, files=["a.html"])
    stream = bulletin.read()
    assert await heard(stream) == ("app", {"status": "ready"})
    assert await heard(stream) == ("face", {"about": "board", "status": "failed"})
    bulletin.post("end")
    assert (await heard(stream))[0] == "end"


@async_test
async def test_closing_ends_every_stream() -> None:
    bulletin = Bulletin()
    stream = bulletin.read()
    await anext(stream)
    bulletin.close()
    assert [each async for each in stream] == []
