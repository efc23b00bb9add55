"""``backstay queues`` and ``backstay workers``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from backstay.cli.jobs import JsonOption, VerboseOption
from backstay.cli.refusal import FAILED, Refusal
from backstay.cli.sampling import QueueSample, alive, queue_samples, worker_json
from backstay.cli.screen import (
    FLEXIBLE,
    NARROW,
    STATE_STYLES,
    Screen,
    fitted,
    new_table,
    plain,
    text,
)
from backstay.cli.target import DatabaseOption, PrefixOption, SchemaOption, choose, look
from backstay.cli.times import ago, span
from backstay.ledger.port import Ledger
from backstay.ledger.rows import QueueRow, State, WorkerRow

__all__ = [
    "COUNTED",
    "SHORT",
    "add_to",
    "limit_text",
    "list_queues",
    "list_workers",
    "pause_queue",
    "queue_table",
    "resume_queue",
    "worker_table",
]

COUNTED = (
    State.WAITING,
    State.SCHEDULED,
    State.AVAILABLE,
    State.RUNNING,
    State.RETRYING,
    State.DISCARDED,
)
"""The states worth a column: what is still to come, and what went wrong."""

SHORT = {
    State.WAITING: "wait",
    State.SCHEDULED: "sched",
    State.AVAILABLE: "avail",
    State.RUNNING: "run",
    State.RETRYING: "retry",
    State.SUCCEEDED: "done",
    State.DISCARDED: "dead",
    State.CANCELLED: "cancel",
}
"""States in a narrow terminal."""

_queues = typer.Typer(no_args_is_help=True, help="Look at queues, pause and resume them.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The queue.")]


def add_to(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(_queues, name="queues")
    program.command("workers")(list_workers)


@_queues.command("list")
def list_queues(
    database: DatabaseOption = None,
    prefix: PrefixOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List queues and how many jobs are in them."""
    screen = Screen(as_json=as_json, verbose=verbose)

    async def work(ledger: Ledger) -> None:
        with screen.waiting("counting"):
            samples = await queue_samples(ledger)
            now = await ledger.now()
        if as_json:
            screen.json([each.as_json() for each in samples])
        elif not samples:
            screen.say("no queues, and no jobs", "dim")
        else:
            table = queue_table(samples, width=screen.out.width, oldest=True)
            screen.show(table)
            for each in samples:
                if each.row.paused_at is not None:
                    screen.say(
                        f"{each.row.name} was paused {ago(each.row.paused_at, now)}", "yellow"
                    )

    look(choose(database, prefix=prefix, schema=schema), screen, work)


@_queues.command("pause")
def pause_queue(
    name: NameArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Also a queue that nobody has used yet.")
    ] = False,
    database: DatabaseOption = None,
    prefix: PrefixOption = None,
    schema: SchemaOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Let no worker start jobs of a queue. Running jobs go on."""
    _set_paused(name, True, force, (database, prefix, schema), Screen(verbose=verbose))


@_queues.command("resume")
def resume_queue(
    name: NameArgument,
    database: DatabaseOption = None,
    prefix: PrefixOption = None,
    schema: SchemaOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Let workers start jobs of a queue again."""
    _set_paused(name, False, False, (database, prefix, schema), Screen(verbose=verbose))


def _set_paused(
    name: str,
    paused: bool,
    force: bool,
    where: tuple[str | None, str | None, str | None],
    screen: Screen,
) -> None:
    database, prefix, schema = where

    async def work(ledger: Ledger) -> None:
        known = await _known_queues(ledger)
        if name not in known and not force:
            raise Refusal(
                f"there is no queue {name!r}",
                hint=f"there are: {', '.join(sorted(known))}" if known else "nobody uses any yet",
                code=FAILED,
            )
        was = {each.name: each for each in await ledger.queues()}.get(name, QueueRow(name=name))
        if (was.paused_at is not None) == paused:
            screen.say(f"{name} is {'paused' if paused else 'not paused'} already", "dim")
            return
        await ledger.pause(name, paused)
        screen.say(
            f"{name} is {'paused' if paused else 'resumed'}", "yellow" if paused else "green"
        )

    look(choose(database, prefix=prefix, schema=schema), screen, work)


async def _known_queues(ledger: Ledger) -> set[str]:
    return {
        *(each.name for each in await ledger.queues()),
        *(each.queue for each in await ledger.counts()),
        *(name for each in await ledger.workers() for name in each.queues),
    }


def list_workers(
    database: DatabaseOption = None,
    prefix: PrefixOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List worker processes, embedded ones too, and when they were last heard of."""
    screen = Screen(as_json=as_json, verbose=verbose)

    async def work(ledger: Ledger) -> None:
        rows = await ledger.workers()
        if as_json:
            screen.json([worker_json(each) for each in rows])
        elif not rows:
            screen.say("no workers", "dim")
        else:
            screen.show(worker_table(rows, await ledger.now(), width=screen.out.width))

    look(choose(database, prefix=prefix, schema=schema), screen, work)


def limit_text(row: QueueRow) -> str:
    """``5 at once, 100 per 1 m``; empty without limits."""
    parts = []
    if row.limit is not None:
        parts.append(f"{row.limit} at once")
    if row.rate is not None:
        parts.append(f"{row.rate} per {span(row.per_s)}")
    return ", ".join(parts)


def _number(count: int, state: State) -> Text:
    if not count:
        return Text("·", style="dim")
    return Text(f"{count:,}", style=STATE_STYLES[state], no_wrap=True)


def queue_table(
    samples: list[QueueSample], *, width: int, oldest: bool, rows: int | None = None
) -> RenderableType:
    """Queues one a line; in a narrow terminal the counts that are not zero, under the name.

    Args:
        samples: them.
        width: columns of the terminal.
        oldest: whether to show how long the oldest job that could be started has waited.
        rows: lines at most; ``None``: all.
    """
    shown, more = fitted(samples, rows)
    rest = [] if more is None else [more]
    if width < NARROW:
        return Group(*(_queue_line(each, cut=rows is not None) for each in shown), *rest)
    wide = width >= 100
    table = new_table(("QUEUE", FLEXIBLE))
    for state in COUNTED:
        heading = state.value if wide else SHORT[state]
        table.add_column(heading.upper(), justify="right", no_wrap=True)
    if oldest:
        table.add_column("OLDEST", justify="right", no_wrap=True)
    limited = any(limit_text(each.row) for each in shown)
    if limited and wide:
        table.add_column("LIMIT", overflow="ellipsis")
    for each in shown:
        name = text(each.row.name, "yellow" if each.row.paused_at else "")
        if each.row.paused_at is not None:
            name.append(" paused", "bold yellow")
        cells: list[Text] = [name]
        cells += [_number(each.jobs.get(state, 0), state) for state in COUNTED]
        if oldest:
            cells.append(_age(each))
        if limited and wide:
            cells.append(text(limit_text(each.row), "dim"))
        table.add_row(*cells)
    return Group(table, *rest)


def _age(sample: QueueSample) -> Text:
    if sample.oldest_s is None:
        return Text("·", style="dim")
    style = "bold red" if sample.oldest_s > 300 else "yellow" if sample.oldest_s > 30 else ""
    return Text(span(sample.oldest_s), style=style, no_wrap=True)


def _queue_line(sample: QueueSample, *, cut: bool) -> Text:
    line = Text(plain(sample.row.name), style="", no_wrap=cut, overflow="ellipsis")
    line.stylize("bold")
    if sample.row.paused_at is not None:
        line.append(" paused", "bold yellow")
    for state in COUNTED:
        if sample.jobs.get(state):
            line.append(f"  {sample.jobs[state]:,}", STATE_STYLES[state])
            line.append(f" {SHORT[state]}", "dim")
    return line


def worker_table(
    workers: list[WorkerRow], now: datetime, *, width: int, rows: int | None = None
) -> RenderableType:
    """Workers one a line, the busiest first and those that are late last.

    Args:
        workers: them.
        now: by the ledger's clock.
        width: columns of the terminal.
        rows: lines at most; ``None``: all.
    """
    ordered = sorted(workers, key=lambda each: (not alive(each), -each.running))
    shown, more = fitted(ordered, rows)
    rest = [] if more is None else [more]
    if width < NARROW:
        return Group(*(_worker_line(each) for each in shown), *rest)
    table = new_table(
        ("WORKER", FLEXIBLE),
        ("PID", {"justify": "right"}),
        ("RUNNING", {"justify": "right"}),
        ("QUEUES", FLEXIBLE),
        "BEAT",
    )
    if width >= 100:
        table.add_column("UP", no_wrap=True)
        table.add_column("VERSION", no_wrap=True)
    for each in shown:
        cells = [
            Text.assemble(_lamp(each), " ", plain(each.host), no_wrap=True, overflow="ellipsis"),
            text(each.pid),
            Text(f"{each.running}/{each.concurrency}", no_wrap=True),
            text(", ".join(each.queues), "dim"),
            _beat(each),
        ]
        if width >= 100:
            up_s = None if each.started_at is None else (now - each.started_at).total_seconds()
            cells.append(text("-" if up_s is None else span(up_s), "dim"))
            cells.append(text(each.version, "dim"))
        table.add_row(*cells)
    return Group(table, *rest)


def _lamp(row: WorkerRow) -> tuple[str, str]:
    return ("●", "green") if alive(row) else ("○", "bold red")


def _beat(row: WorkerRow) -> Text:
    seen = "now" if row.seen_s_ago < 1 else f"{span(row.seen_s_ago)} ago"
    if alive(row):
        return text(seen, "" if row.seen_s_ago < row.lease_s / 2 else "yellow")
    return text(f"dead? {seen}", "bold red")


def _worker_line(row: WorkerRow) -> Text:
    return Text.assemble(
        _lamp(row),
        f" {plain(row.host)} {row.pid}",
        f"  {row.running}/{row.concurrency}  ",
        _beat(row),
        no_wrap=True,
        overflow="ellipsis",
    )
