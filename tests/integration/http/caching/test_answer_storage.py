"""What every storage of answers does, in memory and in a file."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import hishel
import pytest

from backstay.integration.http.caching import answer_storage
from backstay.integration.http.caching.answer_file import AnswerFile
from backstay.integration.http.caching.answer_memory import AnswerMemory
from backstay.integration.http.caching.answer_storage import ENTRY_BYTES, AnswerStorage
from tests.support import async_test

URL = "https://a.test/"
ONE = ENTRY_BYTES + len(URL) + 4


class Makes:
    """Makes storages of one kind."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind = kind
        self.path = path

    def __call__(
        self, *, max_bytes: int = 1_000_000, max_answer_bytes: int = 1000
    ) -> AnswerStorage:
        if self.kind == "memory":
            return AnswerMemory(max_bytes=max_bytes, max_answer_bytes=max_answer_bytes)
        return AnswerFile(self.path, max_bytes=max_bytes, max_answer_bytes=max_answer_bytes)

    def count(self, storage: AnswerStorage) -> int:
        """How many are kept, by looking."""
        if isinstance(storage, AnswerMemory):
            assert storage.size_bytes == sum(each.size_bytes for each in storage._kept.values())
            assert len(storage._kept) == sum(map(len, storage._by_key.values()))
            return len(storage._kept)
        file = sqlite3.connect(self.path)
        try:
            return int(file.execute("SELECT count(*) FROM answers").fetchone()[0])
        finally:
            file.close()


@pytest.fixture(params=["memory", "file"])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Makes:
    return Makes(request.param, tmp_path / "answers.db")


async def pieces(*given: bytes) -> AsyncIterator[bytes]:
    for each in given:
        yield each


async def keep(
    storage: AnswerStorage, key: str, body: bytes = b"body", *, ttl: float | None = None
) -> hishel.Entry:
    request = hishel.Request("GET", URL, hishel.Headers({"accept": ["a", "b"]}))
    response = hishel.Response(200, hishel.Headers({"etag": '"1"'}), pieces(body[:2], body[2:]))
    entry = await storage.create_entry(request, response, key, ttl=ttl)
    assert await read(entry) == body
    return entry


async def read(entry: hishel.Entry) -> bytes:
    assert isinstance(entry.response.stream, AsyncIterator)
    return b"".join([each async for each in entry.response.stream])


def test_what_was_read_to_its_end_is_there_as_often_as_it_is_wanted(new: Makes) -> None:
    @async_test
    async def check() -> None:
        storage = new()
        kept = await keep(storage, "a")
        for _ in range(2):
            (found,) = await storage.get_entries("a")
            assert await read(found) == b"body"
            assert (found.id, found.request) == (kept.id, kept.request)
            assert found.response.headers == kept.response.headers
        assert await storage.get_entries("b") == []
        await storage.close()

    check()


def test_what_was_not_read_to_its_end_is_not_there(new: Makes) -> None:
    @async_test
    async def check() -> None:
        storage = new()
        await keep(storage, "other")
        response = hishel.Response(200, stream=pieces(b"a", b"b"))
        entry = await storage.create_entry(hishel.Request("GET", URL), response, "a")
        stream = entry.response.stream
        assert isinstance(stream, AsyncIterator)
        assert await anext(stream) == b"a"
        await stream.aclose()  # type: ignore[attr-defined]
        assert await storage.get_entries("a") == []
        assert new.count(storage) == 1
        await storage.close()

    check()


def test_what_is_too_large_is_passed_on_only(new: Makes) -> None:
    @async_test
    async def check() -> None:
        for sizes in ({"max_answer_bytes": 3}, {"max_bytes": ONE - 1}):
            storage = new(**sizes)
            await keep(storage, "a")
            assert await storage.get_entries("a") == []
            await storage.close()

    check()


def test_what_was_used_longest_ago_goes_first(new: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_900_000_000.0]
    monkeypatch.setattr(answer_storage.time, "time", lambda: now[0])

    @async_test
    async def check() -> None:
        storage = new(max_bytes=2 * ONE)
        await keep(storage, "a")
        await keep(storage, "b")
        now[0] += 100
        await storage.get_entries("a")
        await keep(storage, "c")
        assert [bool(await storage.get_entries(key)) for key in "abc"] == [True, False, True]
        assert new.count(storage) == 2
        await storage.close()

    check()


def test_a_key_has_a_bounded_number_of_answers_the_latest_first(new: Makes) -> None:
    @async_test
    async def check() -> None:
        storage = new()
        for number in range(40):
            await keep(storage, "a", b"%02d" % number)
        await keep(storage, "b")
        found = [await read(each) for each in await storage.get_entries("a")]
        assert 8 <= len(found) <= 32
        assert found == [b"%02d" % number for number in range(39, 39 - len(found), -1)]
        assert new.count(storage) == len(found) + 1
        await storage.close()

    check()


def test_headers_are_replaced_and_entries_removed_where_they_are_still_there(new: Makes) -> None:
    @async_test
    async def check() -> None:
        storage = new()
        entry = await keep(storage, "a")
        await storage.update_headers(entry.id, hishel.Headers({"etag": '"2"'}))
        (found,) = await storage.get_entries("a")
        assert found.response.headers["etag"] == '"2"'
        assert await read(found) == b"body"
        await storage.remove_entry(entry.id)
        await storage.remove_entry(entry.id)
        await storage.update_headers(entry.id, hishel.Headers({}))
        assert await storage.get_entries("a") == []
        assert new.count(storage) == 0
        await storage.close()

    check()


def test_a_time_to_live_ends(new: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_900_000_000.0]
    monkeypatch.setattr(answer_storage.time, "time", lambda: now[0])

    @async_test
    async def check() -> None:
        storage = new()
        await keep(storage, "a", ttl=10)
        assert len(await storage.get_entries("a")) == 1
        now[0] += 11
        assert await storage.get_entries("a") == []
        await keep(storage, "b")
        assert new.count(storage) == 1, "what is over makes room"
        await storage.close()

    check()


def test_what_is_closed_has_nothing(new: Makes) -> None:
    @async_test
    async def check() -> None:
        storage = new()
        await keep(storage, "a")
        await storage.close()
        await storage.close()
        assert await storage.get_entries("a") == []

    check()
