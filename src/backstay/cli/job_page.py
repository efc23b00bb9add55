"""Jobs as tables and as pages of a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from backstay.cli.screen import (
    FLEXIBLE,
    NARROW,
    STATE_STYLES,
    lines,
    new_table,
    plain,
    state_text,
    text,
)
from backstay.cli.times import ago, span
from backstay.jobs.view import FailureView, JobView, ProgressView
from backstay.ledger.rows import JobRow, State

__all__ = ["counted", "job_page", "job_table", "note", "progress_line", "when"]

_LONGEST_VALUE = 2_000
_FAILED = frozenset({State.RETRYING, State.DISCARDED, State.CANCELLED})


def when(row: JobRow, now: datetime) -> str:
    """The time that matters most about a job in its state."""
    match row.state:
        case State.SCHEDULED | State.RETRYING:
            return ago(row.run_at, now) if row.run_at > now else "due"
        case State.RUNNING:
            return f"for {span((now - (row.started_at or row.run_at)).total_seconds())}"
        case State.WAITING | State.AVAILABLE:
            return ago(row.created_at, now)
        case _:
            return ago(row.finished_at, now)


def counted(count: int, noun: str = "job") -> str:
    """``1 job``, ``2,000 jobs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def note(row: JobRow) -> str:
    """What there is to say about a job: how far it is, or what went wrong."""
    if row.state is State.RUNNING and (progress := ProgressView.of(row.progress)) is not None:
        return progress_line(progress)
    if row.corrupt:
        return "unreadable"
    if row.state is State.WAITING:
        return f"for {counted(row.waiting_for, 'other')}"
    if row.error is not None and row.state in _FAILED:
        failure = FailureView.of(row.error)
        return f"{failure.type}: {failure.message}" if failure.message else failure.type
    return ""


def progress_line(progress: ProgressView) -> str:
    """``30 of 120 (25 %) resizing``."""
    parts = []
    if progress.done is not None:
        parts.append(f"{progress.done:,.10g}")
        if progress.total is not None:
            parts.append(f"of {progress.total:,.10g}")
        if progress.fraction is not None:
            parts.append(f"({progress.fraction:.0%})")
    if progress.message:
        parts.append(progress.message)
    return " ".join(parts)


def job_table(rows: Sequence[JobRow], now: datetime, *, width: int) -> RenderableType:
    """Jobs one a line, with as many columns as there is room for."""
    if width < NARROW:
        return Group(*(_card(each, now, width) for each in rows))
    table = new_table("ID", "STATE", ("TASK", FLEXIBLE))
    wide, wider = width >= 100, width >= 120
    if wide:
        table.add_column("QUEUE", overflow="ellipsis")
        table.add_column("TRY", no_wrap=True, justify="right")
    table.add_column("WHEN", no_wrap=True)
    if wider:
        table.add_column("NOTE", overflow="ellipsis", style="dim")
    for row in rows:
        cells = [Text(str(row.id)), state_text(row.state), text(row.task)]
        if wide:
            cells += [text(row.queue), text(f"{row.attempt}/{row.max_attempts}")]
        cells.append(text(when(row, now), "dim"))
        if wider:
            cells.append(text(note(row)))
        table.add_row(*cells)
    return table


def _card(row: JobRow, now: datetime, width: int) -> Group:
    line = Text.assemble(
        (row.state.value, STATE_STYLES[row.state]),
        " ",
        plain(row.task),
        (f"  {when(row, now)}", "dim"),
    )
    line.truncate(max(width, 10), overflow="ellipsis")
    return Group(Text(str(row.id)), line)


def job_page(
    row: JobRow,
    now: datetime,
    *,
    parents: Sequence[JobRow] = (),
    children: Sequence[JobRow] = (),
    more_children: int = 0,
    history: bool = False,
) -> RenderableType:
    """Everything about one job.

    Args:
        row: the job.
        now: by the ledger's clock.
        parents: the jobs it waits or waited for.
        children: the jobs that wait or waited for it.
        more_children: how many there are besides.
        history: whether to show where every attempt failed, not the last alone.
    """
    view = JobView.of(row, args=True, result=True, traceback=True, history=True)
    head = Text.assemble(
        (plain(row.task), "bold"), "  ", (row.state.value, STATE_STYLES[row.state])
    )
    if row.cancel_requested and not row.finished:
        head.append("  asked to stop", "yellow")
    parts: list[tuple[str, Any]] = [
        ("id", Text(str(row.id))),
        ("queue", Text(plain(row.queue))),
        ("attempt", Text(f"{row.attempt} of {row.max_attempts}")),
    ]
    if row.priority:
        parts.append(("priority", Text(str(row.priority))))
    current = row.finished or row.state is State.RUNNING
    for name, then in (
        ("created", row.created_at),
        ("to run", row.run_at if row.run_at != row.created_at else None),
        ("started" if current else "last started", row.started_at),
        ("finished", row.finished_at),
        ("kept until", row.expires_at),
    ):
        if then is not None:
            parts.append((name, _moment(then, now)))
    if row.started_at is not None and current:
        took = ((row.finished_at or now) - row.started_at).total_seconds()
        parts.append(("took" if row.finished else "running for", Text(span(took))))
    for name, value in (
        ("worker", row.worker),
        ("unique key", row.unique_key),
        ("gate", row.gate),
        ("correlation id", view.correlation_id),
        ("waits for", f"{row.waiting_for} of its parents" if row.waiting_for else None),
    ):
        if value is not None:
            parts.append((name, Text(plain(value))))
    for name, relatives in (("parents", parents), ("children", children)):
        parts += [
            (name if index == 0 else "", _relative(each)) for index, each in enumerate(relatives)
        ]
    if more_children:
        parts.append(("", Text(f"… and {more_children:,} more; all with --json", style="dim")))
    if view.progress is not None:
        parts.append(("progress", _progress(view.progress)))
    parts.append(("arguments", _value(view.args)))
    if row.has_result:
        parts.append(("result", _value(view.result)))
    page: list[RenderableType] = [head, lines(parts)]
    if row.corrupt:
        page.append(Text("the row holds something unreadable", style="bold red"))
    failures = view.errors or []
    if failures:
        page += [Text(), Text("failures", style="bold")]
        page += [
            _failure(each, now, traceback=history or each is failures[-1]) for each in failures
        ]
    return Group(*page)


def _relative(row: JobRow) -> Text:
    return Text.assemble(
        str(row.id), " ", plain(row.task), " ", (row.state.value, STATE_STYLES[row.state])
    )


def _moment(then: datetime, now: datetime) -> Text:
    absolute = then.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Text.assemble(ago(then, now), (f"  {absolute}", "dim"))


def _progress(progress: ProgressView) -> RenderableType:
    line = Text(plain(progress_line(progress)))
    if progress.fraction is None:
        return line
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=1.0, completed=progress.fraction, width=20), line)
    return grid


def _value(value: Any) -> Text:
    shown = json.dumps(value, ensure_ascii=False, indent=None)
    if len(shown) > 60 and isinstance(value, dict | list):
        shown = json.dumps(value, ensure_ascii=False, indent=2)
    if len(shown) > _LONGEST_VALUE:
        shown = f"{shown[:_LONGEST_VALUE]}… ({len(shown):,} characters; all with --json)"
    return Text(plain(shown, lines=True))


def _failure(failure: FailureView, now: datetime, *, traceback: bool) -> RenderableType:
    attempt = f"attempt {failure.attempt}" if failure.attempt is not None else "attempt ?"
    line = Text.assemble(
        (attempt, "dim"),
        "  ",
        (plain(failure.type), "red"),
        f": {plain(failure.message)}" if failure.message else "",
        (f"  {ago(failure.at, now)}" if failure.at is not None else "", "dim"),
    )
    if not traceback or not failure.traceback:
        return line
    body = Text(plain(failure.traceback.rstrip(), lines=True), style="dim")
    return Group(line, Padding(body, (0, 0, 1, 2), expand=False))
