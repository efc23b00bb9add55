"""What the viewer of the demo sees: finished orders for good, those under way in motion."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.text import Text

from examples.shop.assistant import Visit
from examples.shop.audit import status_of
from examples.shop.drawing import ASCII, UNICODE, draw, draw_visit, legend, summary
from examples.shop.timeline import WEB, WORKER, Lane, Outage, Row, Timeline

READY = {WEB: "Application startup complete", WORKER: "worker for examples.shop.app:app starts"}
"""What each process writes when it has started."""

NAMES = {
    "PaymentGateway": "the payment gateway",
    "Mail": "the mail provider",
    "ParcelService": "the parcel service",
    "Analytics": "analytics",
}

PATIENCE_S = 20.0
"""How long an accepted order may take before the demo stops waiting for it."""


class Stage:
    """Hears the processes' logs and draws them.

    Args:
        console: where to. Without a terminal nothing moves, and each order is printed once.
        database: the shop's file.

    Attributes:
        timeline: all that is known.
        pids: of the shop's own processes, by name.
        visit: of the assistant that shops by MCP, ``None`` before it comes.
        glyphs: what drawings are made of.
        width: of drawings, in columns.
        encoding: of the console.
    """

    def __init__(self, console: Console, database: Path) -> None:
        self.database = database
        self.timeline = Timeline(self.changed, self.circuit_turned)
        self.pids: dict[str, int] = {}
        self.visit: Visit | None = None
        self._killed_at: dict[str, float] = {}
        self._ready: dict[str, asyncio.Event] = {}
        self._console = console
        self.width = min(console.width, 132)
        self.encoding = console.encoding
        self.glyphs = UNICODE if "utf" in console.encoding.lower() else ASCII
        self._shown: dict[str, asyncio.Event] = {}

    # ------------------------------------------------------------------ hearing

    def reader(self, process: str) -> Callable[[str], None]:
        """What reads the log of a process of the shop's."""

        def read(line: str) -> None:
            if READY[process] in line:
                self._up(process)
            self.timeline.feed(line, process)

        return read

    def started(self, process: str, pid: int) -> None:
        """A process of the shop's exists, and is going to be ready."""
        self.pids[process] = pid
        self._ready_event(process).clear()

    def _up(self, process: str) -> None:
        self._ready_event(process).set()
        if (killed_at := self._killed_at.pop(process, None)) is not None:
            self.say(
                f"[dim]The {process} process is up again, {time.time() - killed_at:.1f} s later, "
                f"as {self.pids[process]}.[/]\n"
            )

    async def until_ready(self, process: str) -> None:
        """Wait until a process of the shop's has started."""
        await self._ready_event(process).wait()

    def killed(self, process: str, at: float) -> None:
        """A process of the shop's was killed, and is about to be started again."""
        self._killed_at[process] = at
        hit = self.timeline.killed(process, at)
        lost = [f"{sum(row.step == step for row in hit)} x {step}" for step in _steps(hit)]
        what = ", ".join(lost) or "nothing"
        self.say(
            f"[bold red]{self.glyphs.killed} killed:[/] [red]{process}, with {what} under way[/]\n"
        )

    def circuit_turned(self, outage: Outage) -> None:
        """A process leaves a third party alone from now on, or asks it again."""
        name = NAMES.get(outage.party, outage.party)
        mark = self.glyphs.open * 2
        if outage.closed_at is None:
            what = (
                "jobs that need it wait in the file, and use up no attempts"
                if outage.process == WORKER
                else "what is for it is kept in the file"
            )
            self.say(
                f"[bold yellow]{mark} circuit open:[/] [yellow]the {outage.process} leaves {name} "
                f"alone: {what}[/]\n"
            )
        else:
            self.say(
                f"[bold green]{mark} circuit closed:[/] [green]one call tried, and was answered. In "
                f"{outage.closed_at - outage.opened_at:.1f} s {name} was spared {outage.spared} "
                "calls; what waited goes on[/]\n"
            )

    def _ready_event(self, process: str) -> asyncio.Event:
        return self._ready.setdefault(process, asyncio.Event())

    def changed(self, lane: Lane) -> None:
        """Something is new in a lane. If it was the last thing, show the lane for good."""
        if lane.finished:
            self.give_up(lane)

    async def until_finished(self, lane: Lane) -> None:
        """Wait until nothing more will happen in a lane, or patience is at an end."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._shown_event(lane).wait()
        except TimeoutError:
            self.give_up(lane)

    def give_up(self, lane: Lane) -> None:
        """Wait no longer: show the lane as it is."""
        shown = self._shown_event(lane)
        if shown.is_set():
            return
        shown.set()
        if lane.status is None and not lane.said:
            lane.said = "no answer"
        if lane.order_id is not None:
            lane.verdict = status_of(self.database, lane.order_id)  # who was killed may not tell
        for line in self._draw(lane):
            self._console.print(line, soft_wrap=True)
        self._console.print()

    def give_up_all(self) -> None:
        """Wait no longer for any lane."""
        for lane in self.under_way:
            self.give_up(lane)

    def visited(self, visit: Visit) -> None:
        """The assistant has gone: show what it did for good."""
        for line in self._draw_visit(visit):
            self._console.print(line, soft_wrap=True)
        self._console.print()

    @property
    def under_way(self) -> list[Lane]:
        """Lanes that have not been shown for good, oldest first."""
        return [
            lane for lane in self.timeline.lanes.values() if not self._shown_event(lane).is_set()
        ]

    def _shown_event(self, lane: Lane) -> asyncio.Event:
        return self._shown.setdefault(lane.request_id, asyncio.Event())

    # ------------------------------------------------------------------ showing

    def say(self, markup: str = "") -> None:
        """Print a line, or a few."""
        self._console.print(markup)

    def show(self, text: Text) -> None:
        """Print what somebody else has laid out."""
        self._console.print(text, soft_wrap=True)

    def mourn(self, name: str, status: int | None) -> None:
        """A service has ended that should not have."""
        self.say(f"[bold red]The {name} service has ended ({status}).[/]\n")

    def introduce(self, url: str, lease_s: float) -> None:
        """Before the first order."""
        for line in legend(self.glyphs, url, lease_s):
            self._console.print(line)

    def sum_up(self) -> None:
        """All lanes again, a line each, and the totals."""
        lanes = sorted(self.timeline.lanes.values(), key=lambda lane: lane.request_id)
        for renderable in summary(lanes, self.width, self.glyphs):
            self._console.print(renderable)

    def stay(self, url: str, hint: str) -> None:
        """After the verdict."""
        self.say()
        self.say(f"The shop stays up: [bold]{url}/docs[/]   Ctrl-C ends it, and everything else.")
        self.say(f"Orders that you place there are drawn here. The file: {self.database}")
        self.say(f"[dim]{hint}[/]")
        self.say()

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Redraw what is under way again and again, if there is a terminal to do so on."""
        if not self._console.file.isatty() or self._console.is_dumb_terminal:
            yield
            return
        with Live(self, console=self._console, auto_refresh=False, transient=True) as live:

            async def redraw() -> None:
                while True:
                    live.refresh()
                    await asyncio.sleep(0.08)

            redrawing = asyncio.create_task(redraw())
            try:
                yield
            finally:
                redrawing.cancel()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What is under way."""
        under_way = self.under_way
        room = console.height - 3
        blocks = [self._draw(lane) for lane in under_way]
        if self.visit is not None and self.visit.over_at is None:
            blocks.append(self._draw_visit(self.visit))
        for block in blocks:
            room -= len(block) + 1
            if room < 0:
                yield Text("and more", "dim")
                break
            yield Group(*block, Text())
        if blocks:
            yield Text(self._tally(len(under_way)), "dim")

    def _draw(self, lane: Lane) -> list[Text]:
        return list(
            draw(
                lane,
                now=time.time(),
                width=self.width,
                glyphs=self.glyphs,
                outages_of=self.timeline.outages_of,
            )
        )

    def _draw_visit(self, visit: Visit) -> list[Text]:
        return list(draw_visit(visit, now=time.time(), width=self.width, glyphs=self.glyphs))

    def _tally(self, under_way: int) -> str:
        lanes = self.timeline.lanes.values()
        rows = [row for lane in lanes for row in lane.rows.values()]
        return (
            f"{len(lanes)} requests sent, {under_way} under way, "
            f"{sum(row.failures for row in rows)} attempts failed, "
            f"{sum(row.kills for row in rows)} killed, "
            f"{sum(row.handled_at is not None for row in rows)} error handlers ran; "
            + ", ".join(
                f"{name} {'up' if self._ready_event(name).is_set() else 'down'}"
                for name in self.pids
            )
        )


def _steps(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.step for row in rows))
