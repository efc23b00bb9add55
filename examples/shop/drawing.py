"""The timeline on a terminal: one block an order, one row a task, time from left to right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from examples.shop.assistant import Call, Visit
from examples.shop.models import STEPS
from examples.shop.timeline import Lane, Outage, Row

_MOMENT = {"durable": "durable", "after_response": "response"}
_COLOUR = {"durable": "cyan", "response": "blue"}
_MCP = "yellow"
_OPEN = "yellow"
_SPAN_S = 1.2
_LABEL = 32
_NOTE = 36
_BARS = 32  # at least; notes are cut first


@dataclass(frozen=True)
class Glyphs:
    """What bars are made of."""

    bar: str = "━"
    pause: str = "╌"
    answer: str = "│"
    done: str = "✓"
    failed: str = "✗"
    killed: str = "☠"
    handled: str = "◆"
    tick: str = "╵"
    arrow: str = "→"
    report: str = "●"
    spared: str = "○"
    open: str = "▒"


UNICODE = Glyphs()
ASCII = Glyphs("=", ".", "|", "o", "x", "K", "#", "'", "->", "*", "-", "~")


def _none(row: Row) -> list[Outage]:
    return []


def draw(
    lane: Lane,
    *,
    now: float,
    width: int,
    glyphs: Glyphs,
    outages_of: Callable[[Row], Sequence[Outage]] = _none,
) -> Iterable[Text]:
    """A lane as lines of ``width`` columns.

    Args:
        now: what is still running is drawn up to here.
        outages_of: those that a step came into; they have a line below it.
    """
    yield _header(lane, now, width, glyphs)
    if not lane.rows:
        return
    note = max(0, min(_NOTE, width - _LABEL - _BARS))
    columns = width - _LABEL - note
    reach_s = (lane.ended_at if lane.finished else max(now, lane.ended_at)) - lane.sent_at
    span_s = _SPAN_S
    while span_s < reach_s * 1.05:
        span_s *= 2
    pen = _Pen(lane.sent_at, span_s / columns, columns, note, glyphs)
    yield _request_row(lane, now, pen, span_s)
    before = ""
    for row in _in_order(lane):
        moment = "" if _moment(row) == before else _moment(row)
        before = _moment(row)
        yield _step_row(lane, row, moment, now, pen)
        if outages := outages_of(row):
            yield _circuit_row(outages, now, pen)


def draw_visit(visit: Visit, *, now: float, width: int, glyphs: Glyphs) -> Iterable[Text]:
    """An assistant's visit as lines of ``width`` columns, one call a row."""
    end = now if visit.over_at is None else visit.over_at
    took = f"{end - visit.began_at:.2f} s" if visit.over_at else f"{end - visit.began_at:.1f} s"
    if visit.said:
        ending, style = f"went home: {visit.said}"[: width // 2], "bold red"
    elif visit.over_at is not None:
        ending, style = f"served in {took}", "bold green"
    else:
        ending, style = took, "dim"
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("assistant ", "bold")
    text.append("/mcp   ", "dim")
    text.append(f"the official Python client, MCP {visit.revision}".rstrip())
    text.truncate(max(10, width - len(ending) - 2), overflow="ellipsis", pad=True)
    text.append("  ")
    text.append(ending, style)
    yield text
    note = max(0, min(_NOTE, width - _LABEL - _BARS))
    columns = width - _LABEL - note
    span_s = _SPAN_S
    while span_s < (end - visit.began_at) * 1.05:
        span_s *= 2
    pen = _Pen(visit.began_at, span_s / columns, columns, note, glyphs)
    for number, call in enumerate(visit.calls):
        yield _call_row(call, visit, now, pen, span_s if number == 0 else None)


def _call_row(call: Call, visit: Visit, now: float, pen: _Pen, span_s: float | None) -> Text:
    cells = pen.line()
    if span_s is not None:
        _rule(cells, visit.began_at, pen, span_s)
    first, last = pen.column(call.began_at), pen.column(call.ended_at or now)
    _put(cells, first, pen.glyphs.bar * (last - first + 1), _MCP)
    for at in call.reports:
        _put(cells, pen.column(at), pen.glyphs.report, f"bold {_MCP}")
    if call.ended_at is not None:
        mark = pen.glyphs.done if call.good else pen.glyphs.failed
        _put(cells, last, mark, "green" if call.good else "bold red")
    label = Text("  ", no_wrap=True)
    label.append(f"{call.kind:<7}", f"dim {_MCP}")
    label.append(f"{call.name:<13}", _MCP)
    label.append(f"{(call.began_at - visit.began_at) * 1e3:>5.0f} ms  ", "dim")
    count = len(call.reports)
    counted = f"{count} report{'s' * (count != 1)}, " if count and call.ended_at else ""
    return _assemble(label, cells, Text(f"{counted}{call.note}", "" if counted else "dim"), pen)


def legend(glyphs: Glyphs, url: str, lease_s: float) -> Iterable[Text]:
    """How to read it."""
    yield Text.assemble(
        ("backstay: a tea shop", "bold"),
        f" at {url}, a worker, one SQLite file, and four third parties that are slow and fail at "
        "times. Payment, receipt and warehouse notice are ",
        ("durable", "cyan"),
        ": rows in the file, run by the worker. Analytics runs in the web process, after the ",
        ("response", "blue"),
        ". Both processes will be killed with ",
        ("kill -9", "bold red"),
        " and started again at once. What a dead worker held is run again when its lease has run "
        f"out: {lease_s:g} s here, 10 s unless an app says otherwise. Then the payment gateway will "
        "hang, and the worker opens its ",
        ("circuit", "bold yellow"),
        ": orders are taken, and wait. The last customer is an AI assistant's client, which shops "
        "by ",
        ("MCP", _MCP),
        ".",
    )
    yield Text.assemble(
        f"{glyphs.bar * 2} running  ",
        (glyphs.failed, "bold red"),
        " failed  ",
        (glyphs.killed, "bold red"),
        " killed  ",
        (glyphs.pause * 2, "dim"),
        " until the next attempt  ",
        (glyphs.done, "green"),
        " done  ",
        (glyphs.handled, "bold magenta"),
        " error handler ran  ",
        (glyphs.answer, "dim"),
        " the answer was out  ",
        (glyphs.report, f"bold {_MCP}"),
        " progress  ",
        (glyphs.open * 2, _OPEN),
        " circuit open  ",
        (glyphs.spared, f"bold {_OPEN}"),
        " no call made",
    )
    yield Text()


def summary(lanes: Sequence[Lane], width: int, glyphs: Glyphs) -> Iterable[RenderableType]:
    """A line a request, then the totals."""
    narrow = width < 112
    table = Table(
        box=None if narrow else box.SIMPLE_HEAD,
        padding=(0, 1 if narrow else 2, 0, 0),
        show_edge=False,
    )
    for name in (*(() if narrow else ("request",)), "order", "answer", *STEPS, "result"):
        colour = _COLOUR[_MOMENT[STEPS[name]]] if name in STEPS else ""
        table.add_column(name, header_style=colour, no_wrap=True)
    for lane in lanes:
        ms = "" if lane.answered_at is None else f"{(lane.answered_at - lane.sent_at) * 1e3:.0f} ms"
        result, style = _result(lane)
        table.add_row(
            *(() if narrow else (lane.request_id[:8],)),
            "" if lane.order_id is None else str(lane.order_id),
            str(lane.status or "-") if narrow else f"{lane.status or '-'} {ms:>6}",
            *(_cell(lane.rows.get(name), glyphs, narrow=narrow) for name in STEPS),
            Text(result, style),
        )
    yield table
    yield Text()
    accepted = [lane for lane in lanes if lane.accepted]
    verdicts = Counter((lane.verdict or "unknown").replace("_", " ") for lane in accepted)
    refused = Counter(_result(lane)[0] for lane in lanes if not lane.accepted)
    rows = [row for lane in lanes for row in lane.rows.values()]
    attempts = sum(row.tries for row in rows)
    spared = sum(row.spared for row in rows)
    failures = sum(row.failures for row in rows)
    handlers = sum(row.handled_at is not None for row in rows)
    yield _total(len(lanes), "requests", {"accepted": len(accepted), **refused})
    yield _total(len(accepted), "accepted", verdicts)
    yield _total(
        len(rows),
        "tasks",
        {
            "attempts": attempts,
            "of these failed": failures,
            "killed": sum(row.kills for row in rows),
            "error handlers": handlers,
            **({"calls not made": spared} if spared else {}),
        },
    )
    yield Text()


def _result(lane: Lane) -> tuple[str, str]:
    if lane.status is None:
        return "no answer", "bold red"
    if not lane.accepted:
        return {409: "sold out", 422: "invalid"}.get(lane.status, "refused"), "yellow"
    verdict = lane.verdict or "unknown"
    style = {"processed": "green", "payment_failed": "magenta"}.get(verdict, "bold red")
    return verdict.replace("_", " "), style


def _cell(row: Row | None, glyphs: Glyphs, *, narrow: bool) -> Text:
    if row is None:
        return Text("")
    mark, style, word = {
        "done": (glyphs.done, "green", ""),
        "handled": (glyphs.handled, "magenta", "handled"),
        "gone": (glyphs.killed, "yellow", "gone"),
    }.get(row.state, (glyphs.failed, "bold red", row.state.replace("_", " ")))
    if row.state == "done" and len(row.attempts) > 1:
        word = str(row.tries) if narrow else f"{row.tries} tries"
        if row.tries == 1:
            word = ""
        kinds = [(glyphs.killed, "bold red")] if row.kills else []
        kinds += [(glyphs.spared, f"bold {_OPEN}")] if row.spared else []
        parts = [(mark, style), *([(word, "")] if word else []), *kinds]
        return Text(" ").join(Text(*each) for each in parts)
    if narrow:
        word = ""
    return Text.assemble((mark, style), " ", (word, "" if row.state == "done" else style))


def _total(number: int, what: str, parts: Mapping[str, int]) -> Text:
    listed = "; ".join(f"{name} {count}" for name, count in parts.items())
    return Text.assemble((f"{number:>4} {what:<10}", "bold"), listed)


def _in_order(lane: Lane) -> Iterable[Row]:
    expected = list(STEPS) if lane.status is None or lane.accepted else []
    names = list(dict.fromkeys([*expected, *lane.rows]))
    rows = [lane.rows.get(name) or Row(name) for name in names]
    return sorted(rows, key=lambda row: not row.durable)  # a refund goes with the payment


def _moment(row: Row) -> str:
    return _MOMENT[STEPS.get(row.step, "durable")]


class _Pen:
    """Turns times into columns."""

    def __init__(
        self, origin: float, column_s: float, columns: int, note: int, glyphs: Glyphs
    ) -> None:
        self._origin = origin
        self._column_s = column_s
        self.columns = columns
        self.note = note
        self.glyphs = glyphs

    def column(self, at: float) -> int:
        """Where ``at`` is."""
        return min(self.columns - 1, max(0, int((at - self._origin) / self._column_s)))

    def since(self, at: float) -> float:
        """Seconds from the beginning of the line, 0 for what was before."""
        return max(0.0, at - self._origin)

    def line(self) -> list[tuple[str, str]]:
        """An empty row of cells: a character and its style."""
        return [(" ", "")] * self.columns


def _header(lane: Lane, now: float, width: int, glyphs: Glyphs) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    number = "no order" if lane.status else "order"
    if lane.order_id is not None:
        number = f"order {lane.order_id}"
    text.append(f"{number:<9}", "bold")
    text.append(f"{lane.request_id[:8]}  ", "dim")
    text.append(lane.title)
    end, style = _ending(lane, now)
    end = end.replace("→", glyphs.arrow)
    text.truncate(max(10, width - len(end) - 2), overflow="ellipsis", pad=True)
    text.append("  ")
    text.append(end, style)
    return text


def _ending(lane: Lane, now: float) -> tuple[str, str]:
    if lane.status is None:
        return lane.said or "waiting for the answer", "red" if lane.said else "dim"
    if not lane.accepted:
        return f"{lane.status}: {lane.said}", "yellow"
    took = f"{lane.ended_at - lane.sent_at:.2f} s"
    if lane.verdict is None and not lane.finished:
        return f"{max(now, lane.ended_at) - lane.sent_at:.1f} s", "dim"
    if lane.verdict == "processed":
        return f"processed in {took}", "bold green"
    if lane.verdict == "payment_failed":
        return f"payment failed and handled in {took}", "bold magenta"
    return f"{lane.verdict or 'all tasks ended'} after {took}", "bold red" if lane.verdict else ""


def _label(moment: str, what: str, since_s: float | None, colour: str) -> Text:
    text = Text("  ", no_wrap=True)
    text.append(f"{moment:<10}", f"dim {colour}")
    text.append(f"{what:<10}", colour)
    text.append(f"{'' if since_s is None else f'{since_s * 1e3:.0f} ms':>8}  ", "dim")
    return text


def _request_row(lane: Lane, now: float, pen: _Pen, span_s: float) -> Text:
    cells = pen.line()
    _rule(cells, lane.sent_at, pen, span_s)
    end = lane.answered_at or now
    last = pen.column(end)
    _put(cells, 0, pen.glyphs.bar * (last + 1), "white")
    note = Text()
    if lane.answered_at is not None and lane.status is not None:
        good = lane.status < 400
        _put(cells, last + 1, f" {lane.status} ", "bold white" if good else "bold yellow")
        note.append(f"answered in {(lane.answered_at - lane.sent_at) * 1000:.0f} ms")
    return _assemble(_label("", "request", 0, "white"), cells, note, pen)


def _rule(cells: list[tuple[str, str]], origin: float, pen: _Pen, span_s: float) -> None:
    """Mark the seconds."""
    step_s = 0.5 if span_s < 3 else 1 if span_s < 6 else 5
    for number in range(1, int(span_s / step_s) + 1):
        mark = f"{pen.glyphs.tick}{number * step_s:g} s"
        at = pen.column(origin + number * step_s)
        if at + len(mark) <= pen.columns:
            _put(cells, at, mark, "dim")


def _step_row(lane: Lane, row: Row, moment: str, now: float, pen: _Pen) -> Text:
    glyphs, colour = pen.glyphs, _COLOUR[_moment(row)]
    cells = pen.line()
    if lane.answered_at is not None:
        cells[pen.column(lane.answered_at)] = (glyphs.answer, "dim")
    since_s = row.attempts[0].began_at - lane.sent_at if row.attempts else None
    pause_from: int | None = None
    for attempt in row.attempts:
        first = pen.column(attempt.began_at)
        last = pen.column(attempt.ended_at or now)
        if pause_from is not None:
            _put(cells, pause_from + 1, glyphs.pause * (first - pause_from - 1), "dim")
        _put(cells, first, glyphs.bar * (last - first + 1), colour)
        if attempt.spared:
            _put(cells, last, glyphs.spared, f"bold {_OPEN}")
        elif attempt.ended_at is not None:
            mark = glyphs.killed if attempt.killed else glyphs.failed
            good = attempt.succeeded
            _put(cells, last, glyphs.done if good else mark, "green" if good else "bold red")
        pause_from = last
    if row.state in ("retrying", "orphaned", "spared") and pause_from is not None:
        _put(cells, pause_from + 1, glyphs.pause * (pen.column(now) - pause_from), "dim")
    if row.handled_at is not None:
        at = max(pen.column(row.handled_at), (pause_from if pause_from is not None else -1) + 1)
        _put(cells, at, glyphs.handled, "bold magenta")
    return _assemble(_label(moment, row.step, since_s, colour), cells, _note(row, glyphs), pen)


def _circuit_row(outages: Sequence[Outage], now: float, pen: _Pen) -> Text:
    cells = pen.line()
    for each in outages:
        first, last = pen.column(each.opened_at), pen.column(each.closed_at or now)
        _put(cells, first, pen.glyphs.open * (last - first + 1), _OPEN)
    since_s = pen.since(outages[0].opened_at)
    open_s = sum((each.closed_at or now) - each.opened_at for each in outages)
    ended = all(each.closed_at is not None for each in outages)
    note = Text(f"open for {open_s:.1f} s" if ended else "open: nobody is asked", _OPEN)
    return _assemble(_label("", "circuit", since_s, _OPEN), cells, note, pen)


def _note(row: Row, glyphs: Glyphs) -> Text:
    counts = [f"{row.kills} killed"] if row.kills else []
    counts += [f"{row.failures} failed"] if row.failures else []
    if row.spared and not counts:
        counts = [f"{row.spared} spared"]
    count = ", ".join([*counts, ""]) if row.state == "done" else ""
    detail = row.detail.replace("→", glyphs.arrow)
    match row.state:
        case "done":
            return Text(f"{count}{detail}", "" if count else "dim")
        case "handled":
            return Text(detail, "magenta")
        case "orphaned":
            return Text(f"killed: {detail}", "bold red")
        case "gone":
            return Text(f"killed: {detail}", "yellow")
        case "retrying":
            return Text(f"attempt {row.tries}: {detail}", "red")
        case "spared":
            return Text(f"waits: {detail}", _OPEN)
        case "failed":
            return Text(detail, "red")
        case "running" if row.tries > 1:
            return Text(f"attempt {row.tries}", "dim")
    return Text(detail, "dim")


def _put(cells: list[tuple[str, str]], at: int, text: str, style: str) -> None:
    for offset, character in enumerate(text):
        if 0 <= at + offset < len(cells):
            cells[at + offset] = (character, style)


def _assemble(label: Text, cells: list[tuple[str, str]], note: Text, pen: _Pen) -> Text:
    for character, style in cells:
        label.append(character, style)
    label.append(" ")
    note.truncate(max(0, pen.note - 1), overflow="ellipsis")
    label.append_text(note)
    return label
