"""``backstay jobs watch``: one job, live, until it has finished."""

import asyncio
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from backstay.cli.refusal import FAILED, Refusal
from backstay.cli.screen import Screen
from backstay.cli.watching import Watch
from backstay.ledger import JobRow, State
from backstay.testing import FakeClock
from tests.cli.shelf import Shelf, a_job
from tests.cli.terminal import backstay, discard, job, run_all, succeed, write
from tests.support import async_test


class Watching:
    """A watch under way, on a shelf and a clock that the test moves."""

    def __init__(self, shelf: Shelf, row: JobRow, *, terminal: bool = False, as_json: bool = False):
        self.clock = FakeClock()
        self.screen = Screen(as_json=as_json)
        self.written = io.StringIO()
        self.screen.out = Console(
            file=self.written, force_terminal=terminal, width=100, color_system=None
        )
        self.task = asyncio.create_task(Watch(shelf.ledger, self.screen, self.clock).follow(row))

    async def look_again(self) -> None:
        await self.clock.until_waiting()
        await self.clock.advance(2)

    @property
    def lines(self) -> list[str]:
        return self.written.getvalue().splitlines()


@async_test
async def test_where_output_is_piped_every_change_is_a_line() -> None:
    row = a_job(state=State.AVAILABLE)
    shelf = Shelf(row)
    watching = Watching(shelf, row)
    await watching.look_again()
    row = shelf.put(row, state=State.RUNNING, progress={"done": 1, "total": 4})
    await watching.look_again()
    await watching.look_again()
    shelf.put(row, state=State.SUCCEEDED, progress=None)
    await watching.look_again()
    assert (await watching.task).state is State.SUCCEEDED
    assert watching.lines == [
        "available shop.mail.send_receipt",
        "running shop.mail.send_receipt 1 of 4 (25%)",
        "succeeded shop.mail.send_receipt",
    ]


@async_test
async def test_json_is_one_line_for_each_change() -> None:
    row = a_job(state=State.RUNNING)
    shelf = Shelf(row)
    watching = Watching(shelf, row, as_json=True)
    await watching.clock.until_waiting()
    shelf.put(row, state=State.SUCCEEDED, result={"sent": True}, has_result=True)
    await watching.look_again()
    await watching.task
    first, last = map(json.loads, watching.lines)
    assert (first["state"], last["state"], last["result"]) == (
        "running",
        "succeeded",
        {"sent": True},
    )


@async_test
async def test_a_terminal_shows_one_line_that_lives() -> None:
    row = a_job(state=State.RUNNING, progress={"done": 1, "total": 4, "message": "resizing"})
    shelf = Shelf(row)
    watching = Watching(shelf, row, terminal=True)
    await watching.clock.until_waiting()
    assert "1 of 4 (25%) resizing" in watching.written.getvalue()
    shelf.put(row, state=State.DISCARDED, errors=({"type": "E", "message": "no way"},))
    await watching.look_again()
    await watching.task
    assert "E: no way" in watching.lines[-1] or "E: no way" in watching.written.getvalue()


@async_test
async def test_a_database_that_is_away_for_a_while_is_waited_for() -> None:
    row = a_job(state=State.RUNNING)
    shelf = Shelf(row)
    watching = Watching(shelf, row, terminal=True)
    await watching.clock.until_waiting()
    shelf.break_down("connection refused")
    await watching.look_again()
    await watching.clock.until_waiting()
    assert "waiting for the database: connection refused" in watching.written.getvalue()
    shelf.broken = None
    shelf.put(row, state=State.SUCCEEDED)
    await watching.look_again()
    assert (await watching.task).state is State.SUCCEEDED


@async_test
async def test_a_job_that_is_deleted_meanwhile_is_a_failure() -> None:
    row = a_job(state=State.RUNNING)
    shelf = Shelf(row)
    watching = Watching(shelf, row)
    await watching.clock.until_waiting()
    shelf.rows.clear()
    await watching.look_again()
    with pytest.raises(Refusal, match="was deleted meanwhile") as caught:
        await watching.task
    assert caught.value.code == FAILED


def test_the_exit_code_tells_how_the_job_ended(here: Path) -> None:
    good, bad = write(here / "backstay.db", job("good"), job("bad"))
    run_all(
        here / "backstay.db", lambda each: succeed(each) if each.task == "good" else discard(each)
    )
    assert backstay("jobs", "watch", good).code == 0
    outcome = backstay("jobs", "watch", bad)
    assert outcome.code == 1
    assert outcome.out == "discarded bad CardDeclined: insufficient funds\n"


def test_a_job_that_is_not_there_cannot_be_watched(here: Path) -> None:
    write(here / "backstay.db")
    assert backstay("jobs", "watch", "01a20b8b-92bb-7c41-9fee-1787a7829bd6").code == 1
