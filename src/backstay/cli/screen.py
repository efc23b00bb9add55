"""Where commands write: tables and messages for people, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from backstay.ledger.rows import State

__all__ = [
    "FLEXIBLE",
    "NARROW",
    "STATE_STYLES",
    "Screen",
    "fitted",
    "lines",
    "new_table",
    "plain",
    "state_text",
    "text",
]

NARROW = 76
"""Below this many columns, records are written one under the other."""

_UNBOUNDED = 500
_MOMENT_S = 0.4

STATE_STYLES: dict[State, str] = {
    State.WAITING: "bright_black",
    State.SCHEDULED: "blue",
    State.AVAILABLE: "cyan",
    State.RUNNING: "bold green",
    State.RETRYING: "yellow",
    State.SUCCEEDED: "green",
    State.DISCARDED: "bold red",
    State.CANCELLED: "magenta",
}

_LAYOUT = {"\n", "\t"}


def plain(value: object, *, lines: bool = False) -> str:
    """Text from a row, unable to move the cursor, change colours or reverse the line.

    Control and bidirectional characters and half surrogates are written as escapes.

    Args:
        value: anything; ``None`` is the empty text.
        lines: whether line breaks and tabs stay; otherwise they become spaces.
    """
    raw = "" if value is None else str(value)
    if raw.isascii() and raw.isprintable():
        return raw
    if not lines:
        raw = " ".join(raw.split("\n")).replace("\t", " ").replace("\r", " ")
    return "".join(
        each
        if (lines and each in _LAYOUT)
        or unicodedata.category(each) not in {"Cc", "Cf", "Cs"}
        or each == "\u200d"  # joins emoji, and Indic letters
        else each.encode("unicode_escape").decode("ascii")
        for each in raw
    )


def text(value: object, style: str = "") -> Text:
    """One line of a table's cell; what does not fit ends in an ellipsis."""
    return Text(plain(value), style=style, no_wrap=True, overflow="ellipsis")


def state_text(state: State) -> Text:
    """A state in its colour."""
    return text(state.value, STATE_STYLES[state])


FLEXIBLE: dict[str, Any] = {"no_wrap": False}
"""Options of a column that gives way, its text cut, where there is not room for all."""

T = TypeVar("T")


def fitted(items: Sequence[T], rows: int | None) -> tuple[Sequence[T], Text | None]:
    """What fits into some lines, and a line about what does not.

    Args:
        items: one a line.
        rows: lines; ``None`` for any number.
    """
    if rows is None or len(items) <= rows:
        return items, None
    if rows < 2:
        return items[:1], None
    return items[: rows - 1], Text(f"… and {len(items) - rows + 1} more", style="dim")


def new_table(*columns: str | tuple[str, dict[str, Any]]) -> Table:
    """A table without lines. A column is a heading, or a heading and rich's options for it:
    ``FLEXIBLE``, or a fixed width by default.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold dim")
    for each in columns:
        heading, options = (each, {}) if isinstance(each, str) else each
        table.add_column(
            Text(heading, no_wrap=True), **{"no_wrap": True, "overflow": "ellipsis", **options}
        )
    return table


class Screen:
    """Standard output for what was asked for, standard error for what is said about it.

    Where output is no terminal there are no colours, no cut lines and no bars. ``NO_COLOR``,
    ``FORCE_COLOR`` and ``COLUMNS`` are respected.

    Args:
        as_json: whether what was asked for is written as JSON.
        verbose: whether to say more on standard error.
    """

    def __init__(self, *, as_json: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.verbose = verbose
        self.out = _console(stderr=False)
        self.err = _console(stderr=True)

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return sys.stdin.isatty() and self.err.is_terminal

    def show(self, renderable: Any) -> None:
        """Write to standard output."""
        self.out.print(renderable)

    def json(self, value: Any) -> None:
        """Write a JSON value to standard output."""
        encoding = (getattr(self.out.file, "encoding", None) or "utf-8").lower()
        ascii_only = encoding.replace("-", "") != "utf8"
        self.out.file.write(
            json.dumps(value, indent=2, ensure_ascii=ascii_only, default=str) + "\n"
        )

    def say(self, message: str, style: str = "") -> None:
        """Write a line to standard error."""
        self.err.print(Text(plain(message, lines=True), style=style), soft_wrap=True)

    def note(self, message: str) -> None:
        """The same if ``--verbose`` was given."""
        if self.verbose:
            self.say(message, "dim")

    @contextmanager
    def waiting(self, message: str) -> Iterator[None]:
        """A spinner, if something takes longer than a moment; nothing where there is no terminal."""
        if not self.err.is_terminal or self.err.is_dumb_terminal:
            yield
            return
        spinner = self.err.status(Text(plain(message), style="dim"))
        patience = threading.Timer(_MOMENT_S, spinner.start)
        patience.daemon = True
        patience.start()
        try:
            yield
        finally:
            patience.cancel()
            patience.join()
            spinner.stop()

    def counting(self, what: str, total: int | None) -> _Count:
        """A bar that counts up to ``total``, ``None`` if that is not known."""
        return _Count(self.err, what, total)

    def confirm(self, question: str, remedy: str) -> bool | None:
        """Ask for a yes. ``None``: nobody is there to be asked, and they were told ``remedy``."""
        if not self.interactive:
            self.say(f"{question} Nobody is there to answer; {remedy}", "yellow")
            return None
        self.err.print(Text(f"{plain(question)} [y/N] ", style="bold"), end="")
        return (sys.stdin.readline().strip().lower() or "n") in {"y", "yes"}


class _Count:
    """A live count on a terminal, nothing elsewhere."""

    def __init__(self, console: Console, what: str, total: int | None) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal or console.is_dumb_terminal,
        )
        self._task = self._bar.add_task(what, total=total)
        self.done = 0

    def __enter__(self) -> Callable[[int], None]:
        self._bar.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _advance(self, count: int) -> None:
        self.done += count
        self._bar.advance(self._task, count)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        # Rich would take the width of whatever terminal stands behind the other streams.
        console = Console(
            stderr=stderr, highlight=False, markup=False, emoji=False, width=_UNBOUNDED
        )
    return console


def lines(parts: Sequence[tuple[str, Any]]) -> Table:
    """Names and values, one under the other."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in parts:
        table.add_row(name, value)
    return table
