"""Events as tables and as pages of a terminal. Everything in them is somebody else's text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from backstay.cli.screen import FLEXIBLE, NARROW, lines, new_table, plain, text
from backstay.cli.times import ago

if TYPE_CHECKING:
    from backstay.events import Event, Minute

__all__ = ["event_table", "took", "totals_table", "trace_page"]

_STYLES = {"ok": "green", "failed": "bold red", "cancelled": "magenta", "retried": "yellow"}
_LONGEST_FACTS = 2_000


def took(milliseconds: float | None) -> str:
    """A duration as people read it: ``0.4 ms``, ``12 ms``, ``3.2 s``, ``4 min``."""
    if milliseconds is None:
        return "-"
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1_000:.1f} s"
    return f"{milliseconds / 60_000:,.0f} min"


def event_table(events: Sequence[Event], now: datetime, *, width: int) -> RenderableType:
    """Events one a line, with as many columns as there is room for."""
    if width < NARROW:
        return Group(*(_card(each, now, width) for each in events))
    table = new_table("WHEN", "KIND", ("NAME", FLEXIBLE), "OUTCOME", "TOOK")
    wide, wider = width >= 110, width >= 140
    if wide:
        table.add_column("WORK", overflow="ellipsis", no_wrap=True, max_width=36)
    if wider:
        table.add_column("ERROR", overflow="ellipsis", no_wrap=True, style="dim")
    for each in events:
        cells = [
            text(ago(each.started_at, now), "dim"),
            text(each.kind),
            text(each.name),
            _outcome(each),
            text(took(each.duration_ms)),
        ]
        if wide:
            cells.append(text(each.correlation_id, "dim"))
        if wider:
            cells.append(text(each.error))
        table.add_row(*cells)
    return table


def _card(event: Event, now: datetime, width: int) -> Group:
    line = Text.assemble(
        _outcome(event),
        f" {plain(event.name)}",
        (f"  {took(event.duration_ms)}, {ago(event.started_at, now)}", "dim"),
    )
    line.truncate(max(width, 10), overflow="ellipsis")
    return Group(Text(f"{plain(event.kind)} {plain(event.correlation_id)}", style="dim"), line)


def _outcome(event: Event) -> Text:
    said = event.outcome if event.status is None else f"{event.status}"
    if event.outcome not in {"ok", "failed"} and event.status is not None:
        said = f"{event.outcome} {event.status}"
    return text(said, "bold red" if event.failed else _STYLES.get(event.outcome, ""))


def trace_page(events: Sequence[Event]) -> RenderableType:
    """What happened in one piece of work, in order."""
    first = events[0]
    at = first.started_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    page: list[RenderableType] = [
        Text.assemble((plain(first.correlation_id), "bold"), (f"  {at} UTC", "dim"))
    ]
    for each in events:
        offset_ms = (each.started_at - first.started_at).total_seconds() * 1_000
        page.append(
            Text.assemble(
                (f"+{took(offset_ms):>8}  ", "dim"),
                f"{plain(each.kind):<8} ",
                (plain(each.name), "bold"),
                "  ",
                _outcome(each),
                (f"  {took(each.duration_ms)}", "dim"),
            )
        )
        parts: list[tuple[str, Text]] = []
        if each.error is not None:
            parts.append(("error", Text(plain(each.error, lines=True), style="red")))
        if each.facts:
            shown = json.dumps(dict(each.facts), ensure_ascii=False)
            if len(shown) > _LONGEST_FACTS:
                shown = f"{shown[:_LONGEST_FACTS]}… ({len(shown):,} characters; all with --json)"
            parts.append(("facts", Text(plain(shown))))
        if parts:
            page.append(Padding(lines(parts), (0, 0, 0, 12), expand=False))
    return Group(*page)


def totals_table(totals: Sequence[Minute], *, width: int) -> RenderableType:
    """What happened most, one a line."""
    right = {"justify": "right"}
    table = new_table("KIND", ("NAME", FLEXIBLE), ("COUNT", right), ("FAILED", right))
    wide = width >= NARROW
    for heading in ("P50", "P95", "P99", "MAX") if wide else ("P95",):
        table.add_column(heading, no_wrap=True, justify="right")
    for each in totals:
        cells = [
            text(each.kind),
            text(each.name),
            text(f"{each.count:,}"),
            text(f"{each.failed:,}", "bold red" if each.failed else "dim"),
        ]
        times = [each.quantile(part) for part in ((0.5, 0.95, 0.99) if wide else (0.95,))]
        cells += [text(took(ms)) for ms in ([*times, each.max_ms] if wide else times)]
        table.add_row(*cells)
    return table
