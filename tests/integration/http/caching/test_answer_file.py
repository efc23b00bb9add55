"""Answers in a file, shared by several, and files that are none."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest

from backstay.errors import BadIntegration
from backstay.integration.http.caching.answer_file import AnswerFile
from tests.integration.http.caching.test_answer_storage import ONE, keep, read
from tests.support import async_test


def open_file(path: Path, max_bytes: int = 1_000_000) -> AnswerFile:
    return AnswerFile(path, max_bytes=max_bytes, max_answer_bytes=100_000)


@async_test
async def test_several_that_read_and_write_at_once_lose_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [open_file(tmp_path / "answers.db") for _ in range(4)]
    await asyncio.gather(
        *(keep(file, f"{number}-{at}") for number in range(50) for at, file in enumerate(files))
    )
    for file in files:
        for number in range(50):
            for at in range(4):
                (found,) = await file.get_entries(f"{number}-{at}")
                assert await read(found) == b"body"
    for file in files:
        await file.close()
    assert caplog.messages == []


def test_one_file_serves_several_event_loops(tmp_path: Path) -> None:
    file = open_file(tmp_path / "answers.db")
    asyncio.run(keep(file, "a"))
    assert len(asyncio.run(file.get_entries("a"))) == 1
    asyncio.run(file.close())


@async_test
async def test_the_file_stays_within_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "answers.db"
    file = open_file(path, max_bytes=20 * (ONE + 10_000))
    for number in range(200):
        await keep(file, str(number), b"x" * 10_004)
    await file.close()
    assert path.stat().st_size < 2 * 20 * (ONE + 10_000)


@async_test
async def test_a_file_that_is_locked_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("backstay.integration.http.caching.answer_file._BUSY_S", 0.01)
    path = tmp_path / "answers.db"
    file = open_file(path)
    await keep(file, "a")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    await keep(file, "b")
    assert "are not used for now: database is locked" in caplog.text
    other.execute("COMMIT")
    other.close()
    await keep(file, "b")
    assert len(await file.get_entries("b")) == 1
    await file.close()


@pytest.mark.parametrize("kind", ["another database", "no database"])
@async_test
async def test_a_file_that_is_something_else_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "app.db"
    if kind == "no database":
        path.write_bytes(b"important text " * 100)
    else:
        other = sqlite3.connect(path)
        other.execute("CREATE TABLE answers (text)")
        other.close()
    before = path.read_bytes()
    file = open_file(path)
    with pytest.raises(RuntimeError, match=r"something else than answers|no file of SQLite's"):
        await file.get_entries("a")
    await file.close()
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadIntegration, match="the file cannot be made"):
        open_file(tmp_path)


def test_a_file_is_for_nobody_else_to_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    path = tmp_path / "new" / "answers.db"

    @async_test
    async def check() -> None:
        file = open_file(path)
        await keep(file, "a")
        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
        assert modes == dict.fromkeys(("answers.db", "answers.db-wal", "answers.db-shm"), 0o600)
        await file.close()

    check()
