"""``backstay top``: live in a terminal, once elsewhere."""

import asyncio
import contextlib
import io
import os
import select
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from backstay.cli.screen import Screen
from backstay.cli.top import Top
from backstay.errors import LedgerUnavailable
from backstay.testing import FakeClock
from tests.cli.shelf import Shelf, a_job
from tests.cli.terminal import WORKER, backstay, discard, job, run_all, within, write
from tests.support import async_test


@pytest.fixture
def file(here: Path) -> Path:
    write(here / "backstay.db", job("shop.mail.send", queue="mail"), job("shop.pay.charge"))
    run_all(here / "backstay.db", lambda each: discard(each) if "pay" in each.task else None)
    return here / "backstay.db"


@pytest.mark.parametrize("columns", [40, 80, 140])
def test_once_shows_it_one_time(file: Path, columns: int) -> None:
    outcome = backstay("top", "--once", "--interval", "0.1", columns=columns)
    assert outcome.code == 0
    for each in ("0.0/s finished", "queues", "workers  1 alive", "slowest", "failing tasks"):
        assert each in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= columns


def test_once_as_json_is_one_sample(file: Path) -> None:
    shown = backstay("top", "--once", "--json", "--interval", "0.1").json
    assert shown["jobs"]["running"] == 1
    assert [each["task"] for each in shown["failing"]] == ["shop.pay.charge"]
    assert shown["finished_per_s"] == 0
    assert shown["workers"][0]["id"] == WORKER.id


def test_without_a_terminal_it_must_be_once(file: Path) -> None:
    for arguments in ((), ("--json",)):
        outcome = backstay("top", *arguments)
        assert outcome.code == 2
        assert "--once" in outcome.err


def test_an_empty_database_can_be_watched(here: Path) -> None:
    write(here / "backstay.db")
    assert "no workers" in backstay("top", "--once", "--interval", "0.1").out


@pytest.mark.parametrize("interval", ["0", "-1", "x"])
def test_intervals_make_sense(file: Path, interval: str) -> None:
    assert backstay("top", "--once", "--interval", interval).code == 2


def a_top(shelf: Shelf, clock: FakeClock) -> tuple[Top, io.StringIO]:
    screen = Screen()
    written = io.StringIO()
    screen.out = Console(
        file=written,
        force_terminal=True,
        width=100,
        height=40,
        color_system=None,
        legacy_windows=False,
    )
    return Top(shelf.ledger, "sqlite:///shop.db", screen, clock, interval_s=1.0), written


@async_test
async def test_a_database_that_goes_away_leaves_the_last_sample_and_says_so() -> None:
    shelf, clock = Shelf(a_job()), FakeClock()
    top, written = a_top(shelf, clock)
    live = asyncio.create_task(top.live())
    await clock.until_waiting()
    assert "waiting for the database" not in written.getvalue()
    shelf.break_down("connection refused")
    await clock.advance(1)
    await clock.until_waiting()
    assert "waiting for the database: connection refused" in written.getvalue()
    live.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await live
    assert "\x1b[?25h\x1b[?1049l" in written.getvalue(), "the terminal is put right"


@async_test
async def test_a_database_that_never_was_there_is_an_error() -> None:
    shelf = Shelf()
    shelf.break_down()
    top, _ = a_top(shelf, FakeClock())
    with pytest.raises(LedgerUnavailable):
        await top.live()


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, here: Path, *arguments: str, columns: int = 100, lines: int = 30) -> None:
        import fcntl
        import pty
        import termios

        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.seen = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "backstay", *arguments],
            cwd=here,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color"},
            start_new_session=True,
        )
        os.close(theirs)

    def read_until(self, wanted: bytes) -> bytes:
        while wanted not in self.seen:
            ready, _, _ = select.select([self.ours], [], [], 30)
            assert ready, self.seen[-2000:]
            self.seen += os.read(self.ours, 65536)
        return self.seen

    def read_to_the_end(self) -> bytes:
        with contextlib.suppress(OSError):  # how Linux says that nobody has the other side
            while chunk := os.read(self.ours, 65536):
                self.seen += chunk
        self.process.wait(30)
        os.close(self.ours)
        return self.seen


pty_only = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX's")


@pty_only
@pytest.mark.parametrize("leaving", ["ctrl-c", "q", "sigterm"])
def test_it_is_left_without_a_trace(file: Path, leaving: str) -> None:
    within(file, lambda ledger: ledger.register(WORKER))
    terminal = Terminal(file.parent, "top", "--interval", "0.2")
    terminal.read_until(b"failing tasks")
    if leaving == "q":
        os.write(terminal.ours, b"q")
    else:
        number = signal.SIGINT if leaving == "ctrl-c" else signal.SIGTERM
        terminal.process.send_signal(number)
    seen = terminal.read_to_the_end()
    assert terminal.process.returncode == 0
    assert b"Traceback" not in seen
    assert seen.endswith(b"\x1b[?25h\x1b[?1049l")
