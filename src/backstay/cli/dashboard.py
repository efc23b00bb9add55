"""``top``'s page: a sample as it fits into a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from backstay.cli.picking import short_id
from backstay.cli.queues import COUNTED, SHORT, queue_table, worker_table
from backstay.cli.sampling import FailingTask, QueueSample, Sample, Throughput, alive
from backstay.cli.screen import FLEXIBLE, NARROW, STATE_STYLES, new_table, plain, text
from backstay.cli.times import span
from backstay.jobs.view import FailureView, ProgressView
from backstay.ledger.rows import JobRow, State

__all__ = ["allot", "dashboard", "sparkline"]

_BARS = "▁▂▃▄▅▆▇█"
_WIDE = 120
_TALL = 34
_FRAME = 2


def dashboard(
    sample: Sample, *, name: str, width: int, height: int | None, trouble: str = ""
) -> RenderableType:
    """The page.

    Args:
        sample: what to show.
        name: of the database.
        width: columns.
        height: lines, all of which are used; ``None``: as many as there is to show.
        trouble: why the sample is an old one, empty if it is not.
    """
    framed = width >= NARROW + _FRAME and (height is None or height >= _TALL)
    page = _Page(framed=framed, width=width - 4 if framed else width)
    side_by_side = framed and width >= _WIDE
    half = width // 2 - 4 if side_by_side else page.width
    beating = sum(alive(each) for each in sample.workers)
    late = len(sample.workers) - beating
    heading = 0 if page.width < NARROW else 1
    sections = [
        _Section(
            "queues",
            len(sample.queues) + heading,
            lambda rows: (
                queue_table(
                    _busiest_first(sample), width=page.width, oldest=True, rows=rows - heading
                )
                if sample.queues
                else _nothing("no queues yet")
            ),
        ),
        _Section(
            f"workers  {beating} alive" + (f", {late} late" if late else ""),
            len(sample.workers) + heading,
            lambda rows: (
                worker_table(sample.workers, sample.at, width=page.width, rows=rows - heading)
                if sample.workers
                else _nothing("no workers: backstay worker shop.app:app")
            ),
            alarm=not beating and bool(sample.totals.get(State.AVAILABLE)),
        ),
    ]
    below = [
        _Section(
            "slowest running",
            len(sample.slowest) + 1,
            lambda rows: (
                _slowest(sample.slowest, sample.at, half, rows - 1)
                if sample.slowest
                else _nothing("nothing runs")
            ),
        ),
        _Section(
            "failing tasks",
            len(sample.failing) + 1,
            lambda rows: (
                _failing(sample.failing, rows - 1) if sample.failing else _nothing("nothing fails")
            ),
        ),
    ]
    wants = [each.want for each in sections]
    wants += [max(each.want for each in below)] if side_by_side else [each.want for each in below]
    rooms = wants
    if height is not None:
        used = 1 + page.cost(2) + sum(page.cost(0) for _ in wants)
        rooms = allot(height - used, wants)
    parts: list[RenderableType] = [_title(sample.at, name, width, trouble)]
    parts.append(page.section("jobs", _work(sample, page.width), 2))
    parts += [
        page.section(each.title, each.draw(room), room, alarm=each.alarm)
        for each, room in zip(sections, rooms, strict=False)
        if room > 0
    ]
    if side_by_side:
        if rooms[2] > 0:
            grid = Table.grid(expand=True)
            grid.add_column(ratio=1)
            grid.add_column(ratio=1)
            grid.add_row(
                *(page.section(each.title, each.draw(rooms[2]), rooms[2]) for each in below)
            )
            parts.append(grid)
    else:
        parts += [
            page.section(each.title, each.draw(room), room)
            for each, room in zip(below, rooms[2:], strict=True)
            if room > 0
        ]
    return Group(*parts)


@dataclass(frozen=True, slots=True)
class _Section:
    """A part of the page.

    Attributes:
        title: over it.
        lines: how many it would fill.
        draw: it, in so many lines.
        alarm: whether it says that something is wrong.
    """

    title: str
    lines: int
    draw: Callable[[int], RenderableType]
    alarm: bool = False

    @property
    def want(self) -> int:
        return max(self.lines, 2)


@dataclass(frozen=True, slots=True)
class _Page:
    """How sections are set off: with frames, or where lines are dear with titles alone."""

    framed: bool
    width: int

    def cost(self, content: int) -> int:
        """Lines a section takes up besides, or with, its content."""
        return content + (_FRAME if self.framed else 1)

    def section(
        self, title: str, body: RenderableType, room: int, *, alarm: bool = False
    ) -> RenderableType:
        style = "bold red" if alarm else "bold"
        if not self.framed:
            rule = Text(f"── {title} ", style=style if alarm else "bold bright_black")
            rule.append("─" * max(self.width - rule.cell_len, 0))
            padded = Constrain(body, self.width)
            return Group(rule, _Tall(padded, room))
        return Panel(
            body,
            title=Text(title, style=style),
            title_align="left",
            box=box.ROUNDED,
            border_style="red" if alarm else "bright_black",
            padding=(0, 1),
            height=room + _FRAME,
        )


class _Tall:
    """Something in exactly so many lines."""

    def __init__(self, body: RenderableType, lines: int) -> None:
        self._body = body
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        drawn = console.render_lines(self._body, options.update(height=None), pad=False)
        for line in Segment.set_shape(drawn[: self._lines], options.max_width, self._lines):
            yield from line
            yield Segment.line()


def allot(room: int, wants: Sequence[int]) -> list[int]:
    """Share lines among sections: nobody gets more than wanted, what is left goes to the last.

    Args:
        room: lines in all.
        wants: how many each would fill; 0 for a section that is not there.
    """
    given = [0] * len(wants)
    left = room
    while left > 0:
        hungry = [index for index, want in enumerate(wants) if given[index] < want]
        if not hungry:
            break
        for index in hungry:
            if left > 0:
                given[index] += 1
                left -= 1
    there = [index for index, want in enumerate(wants) if want]
    if left > 0 and there:
        given[there[-1]] += left
    return given


def sparkline(values: Sequence[float], width: int) -> str:
    """The last ``width`` values as bars, the highest one full."""
    shown = list(values)[-width:] if width > 0 else []
    most = max(shown, default=0.0)
    if most <= 0:
        return _BARS[0] * len(shown)
    return "".join(_BARS[min(7, int(each / most * 7.999))] for each in shown)


def _busiest_first(sample: Sample) -> list[QueueSample]:
    return sorted(sample.queues, key=lambda each: (-_live(each.jobs), each.row.name))


def _live(jobs: dict[State, int]) -> int:
    return sum(jobs.get(state, 0) for state in (State.AVAILABLE, State.RUNNING, State.RETRYING))


def _title(at: datetime, name: str, width: int, trouble: str) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(" backstay ", "bold reverse")
    line.append(f" {plain(name)}", "dim")
    if trouble:
        line.append(f"  waiting for the database: {plain(trouble)}", "bold yellow")
    clock = f"{at:%H:%M:%S} UTC"
    line.truncate(max(width - len(clock) - 2, 10), overflow="ellipsis", pad=True)
    line.append(f"  {clock}", "dim")
    return line


def _work(sample: Sample, width: int) -> RenderableType:
    line = Text(no_wrap=True, overflow="ellipsis")
    rates = _rates(sample.throughput)
    line.append_text(rates)
    room = width - rates.cell_len - 2
    if sample.throughput.history and room >= 8:
        line.append("  ")
        line.append(sparkline(sample.throughput.history, min(room, 60)), "green")
    totals = _totals(sample, "   ", {state: state.value for state in State})
    if totals.cell_len > width:
        totals = _totals(sample, "  ", SHORT)
    return Group(line, totals)


def _totals(sample: Sample, gap: str, names: Mapping[State, str]) -> Text:
    totals = Text(no_wrap=True, overflow="ellipsis")
    for state in (*COUNTED, State.SUCCEEDED, State.CANCELLED):
        count = sample.totals.get(state, 0)
        if count:
            totals.append(f"{count:,} ", STATE_STYLES[state])
            totals.append(f"{names[state]}{gap}", "dim")
    totals.rstrip()
    return totals or Text("no jobs", style="dim")


def _rates(throughput: Throughput) -> Text:
    if throughput.now is None:
        return Text("measuring …", style="dim")
    line = Text()
    line.append(f"{_rate(throughput.now)}/s", "bold green" if throughput.now else "bold")
    line.append(" finished", "dim")
    if throughput.minute is not None:
        line.append(f"  {_rate(throughput.minute)}/s", "bold")
        line.append(" last minute", "dim")
    return line


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.1f}"


def _slowest(rows: Sequence[JobRow], now: datetime, width: int, room: int) -> RenderableType:
    table = new_table(("FOR", {"justify": "right"}), ("TASK", FLEXIBLE))
    with_id = width >= 50
    if with_id:
        table.add_column("ID", no_wrap=True, style="dim")
    table.add_column("PROGRESS", no_wrap=True, overflow="ellipsis", max_width=24)
    for row in rows[: max(room, 1)]:
        progress = ProgressView.of(row.progress)
        shown = Text("·", style="dim")
        if progress is not None and progress.fraction is not None:
            full = round(progress.fraction * 8)
            shown = Text.assemble(
                ("━" * full, "green"), ("─" * (8 - full), "dim"), f" {progress.fraction:.0%}"
            )
        elif progress is not None:
            shown = text(progress.message or progress.done)
        seconds = (now - (row.started_at or row.run_at)).total_seconds()
        cells = [text(span(seconds), "yellow" if seconds > 60 else ""), text(row.task)]
        if with_id:
            cells.append(Text(short_id(row.id), no_wrap=True))
        table.add_row(*cells, shown)
    return table


def _failing(tasks: Sequence[FailingTask], room: int) -> RenderableType:
    table = new_table(
        ("TASK", FLEXIBLE),
        ("RETRY", {"justify": "right"}),
        ("DEAD", {"justify": "right"}),
        ("LAST", FLEXIBLE),
    )
    for each in tasks[: max(room, 1)]:
        error = "" if each.last is None or each.last.error is None else _said(each.last)
        table.add_row(
            text(each.task),
            Text(
                f"{each.retrying:,}", style=STATE_STYLES[State.RETRYING] if each.retrying else "dim"
            ),
            Text(f"{each.discarded:,}", style="bold red" if each.discarded else "dim"),
            text(error, "dim"),
        )
    return table


def _said(row: JobRow) -> str:
    assert row.error is not None
    failure = FailureView.of(row.error)
    return f"{failure.type}: {failure.message}" if failure.message else failure.type


def _nothing(message: str) -> Text:
    return Text(message, style="dim")
