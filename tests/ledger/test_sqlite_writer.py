"""The writer: one transaction for all who wait, and a fault is its owner's alone."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backstay.errors import LedgerUnavailable
from backstay.ledger.port import Execute
from backstay.ledger.sqlite_connections import MEMORY, Connection
from backstay.ledger.sqlite_writer import NotQuick, Operation, Writer
from tests.support import async_test

INSERT = "INSERT INTO notes (text) VALUES (?)"


@asynccontextmanager
async def writing() -> AsyncIterator[tuple[Writer, list[int]]]:
    connection = Connection(MEMORY, "backstay_", 1.0)
    connection.ready().execute("CREATE TABLE notes (text TEXT NOT NULL UNIQUE)")
    told: list[int] = []
    writer = Writer(
        connection,
        simple=INSERT,
        loop=asyncio.get_running_loop(),
        told=told.append,
        patience_s=1.0,
    )
    writer.start()
    try:
        yield writer, told
    finally:
        await asyncio.to_thread(writer.stop)
        connection.drop()


def note(text: str, **options: Any) -> Operation:
    def work(execute: Execute) -> str:
        execute("INSERT INTO notes (text) VALUES (:text)", {"text": text})
        return text

    return Operation(work, **options)


def notes(writer: Writer) -> list[str]:
    with writer.lock:
        rows = writer.connection.ready().execute("SELECT text FROM notes ORDER BY text")
        return [text for (text,) in rows.fetchall()]


async def together(writer: Writer, *operations: Operation) -> list[Any]:
    """Submit all while the writer is held up, so that they share a transaction."""
    with writer.lock:
        futures = [writer.submit(each) for each in operations]
        while writer.waiting > max(0, len(operations) - 1):
            await asyncio.sleep(0)
    return await asyncio.gather(*futures, return_exceptions=True)


@async_test
async def test_who_waits_gets_what_the_work_returned() -> None:
    async with writing() as (writer, _):
        assert await writer.submit(note("a")) == "a"
        assert writer.call(note("b")) == "b"
        assert notes(writer) == ["a", "b"]


@async_test
async def test_rows_of_neighbours_are_written_together_and_in_order() -> None:
    async with writing() as (writer, _):
        statements: list[str] = []
        writer.connection.ready().set_trace_callback(statements.append)
        rows = [Operation(_never, rows=[(text,)]) for text in "abc"]
        assert await together(writer, *rows[:2], note("x"), rows[2]) == [None, None, "x", None]
        assert [each.split("'")[-2] for each in statements if "INSERT" in each] == list("abxc")
        assert statements.count("COMMIT") == 1


def _never(execute: Execute) -> None:
    raise AssertionError("the fast way was open")


@async_test
async def test_a_fault_in_a_group_is_its_owners_alone() -> None:
    async with writing() as (writer, told):
        before = writer.commits
        a, again, b = await together(
            writer, note("a", wakes=1), note("a", wakes=2), note("b", wakes=1)
        )
        assert (a, b) == ("a", "b")
        assert isinstance(again, sqlite3.IntegrityError)
        assert notes(writer) == ["a", "b"]
        assert writer.commits == before + 2
        while not told:
            await asyncio.sleep(0)
        assert told == [1], "what failed wakes nobody"


@async_test
async def test_rows_that_cannot_be_written_fast_are_written_with_care() -> None:
    async with writing() as (writer, _):
        await writer.submit(note("a"))
        careful = Operation(lambda execute: "careful", rows=[("a",)])
        assert await writer.submit(careful) == "careful"
        careful = Operation(lambda execute: "careful", rows=[("b",), ("a",)])
        assert writer.call(careful) == "careful"
        assert notes(writer) == ["a"]


@async_test
async def test_a_quick_way_that_does_not_apply_leaves_nothing_behind() -> None:
    def quick(raw: sqlite3.Connection, execute: Execute) -> Any:
        raw.execute(INSERT, ("half",))
        raise NotQuick

    async with writing() as (writer, _):
        assert await together(writer, note("a"), note("b", quick=quick)) == ["a", "b"]
        assert notes(writer) == ["a", "b"]


@async_test
async def test_calls_are_done_in_the_callers_thread_if_nobody_writes() -> None:
    threads = []

    def work(execute: Execute) -> None:
        threads.append(threading.get_ident())

    async with writing() as (writer, _):
        writer.call(Operation(work))
        await writer.submit(Operation(work))
    assert threads[0] == threading.get_ident() != threads[1]


@async_test
async def test_calls_wait_in_line_while_somebody_writes() -> None:
    async with writing() as (writer, _):
        with writer.lock:
            calls = [asyncio.to_thread(writer.call, note(text)) for text in "ab"]
            waiting = [asyncio.ensure_future(each) for each in calls]
            while writer.waiting < 1:
                await asyncio.sleep(0)
        assert await asyncio.gather(*waiting) == ["a", "b"]


@async_test
async def test_a_fault_reaches_the_thread_that_called() -> None:
    async with writing() as (writer, _):
        writer.call(note("a"))
        with pytest.raises(sqlite3.IntegrityError):
            writer.call(note("a"))
        assert not writer.lock.locked()


@async_test
async def test_what_is_in_line_is_done_before_it_stops_and_nothing_after() -> None:
    async with writing() as (writer, _):
        with writer.lock:
            futures = [writer.submit(note(text)) for text in "abc"]
        await asyncio.to_thread(writer.stop)
        assert await asyncio.gather(*futures) == ["a", "b", "c"]
        with pytest.raises(LedgerUnavailable, match="closed; open it again"):
            writer.submit(note("d"))
        with pytest.raises(LedgerUnavailable, match="closed"):
            writer.call(note("d"))


@async_test
async def test_who_gave_up_waiting_harms_nobody() -> None:
    async with writing() as (writer, _):
        with writer.lock:
            given_up, other = writer.submit(note("a")), writer.submit(note("b"))
            given_up.cancel()
        assert await other == "b"
        assert notes(writer) == ["a", "b"]
