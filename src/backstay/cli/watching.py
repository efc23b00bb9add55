"""``backstay jobs watch``: one job, live, until it has finished."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from backstay.cli.job_page import note, progress_line, when
from backstay.cli.picking import pick
from backstay.cli.refusal import FAILED, Refusal
from backstay.cli.screen import STATE_STYLES, Screen, plain
from backstay.cli.target import DatabaseOption, PrefixOption, SchemaOption, choose, look
from backstay.clock import Clock, SystemClock
from backstay.errors import LedgerUnavailable
from backstay.jobs.view import JobView, ProgressView
from backstay.ledger.port import Ledger
from backstay.ledger.rows import JobRow, State

__all__ = ["Watch", "watch_job"]

_QUICK_S = 0.2
_SLOW_S = 1.0


def watch_job(
    job: Annotated[
        str, typer.Argument(metavar="ID", help="A job's id, or 8 digits or more of its beginning.")
    ],
    database: DatabaseOption = None,
    prefix: PrefixOption = None,
    schema: SchemaOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write a line of JSON for each change.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say which database was taken, and more.")
    ] = False,
) -> None:
    """Follow one job until it has finished. Exit code 0 if it succeeded, 1 if it did not."""
    screen = Screen(as_json=as_json, verbose=verbose)

    async def work(ledger: Ledger) -> JobRow:
        return await Watch(ledger, screen, SystemClock()).follow(await pick(ledger, job))

    row = look(choose(database, prefix=prefix, schema=schema), screen, work)
    if row.state is not State.SUCCEEDED:
        raise typer.Exit(FAILED)


class Watch:
    """Follows a job.

    Args:
        ledger: where to look, opened.
        screen: where to show it: one line that lives on a terminal, a line for each change else.
        clock: time between looks.
    """

    def __init__(self, ledger: Ledger, screen: Screen, clock: Clock) -> None:
        self._ledger = ledger
        self._screen = screen
        self._clock = clock
        self._spinner = Spinner("dots")
        self._last = ""

    async def follow(self, row: JobRow) -> JobRow:
        """Show the job until it has finished, and return it as it is then.

        Raises:
            Refusal: it is deleted meanwhile.
        """
        console = self._screen.out
        live = None
        if console.is_terminal and not console.is_dumb_terminal and not self._screen.as_json:
            live = Live(console=console, auto_refresh=False)
        pause_s = _QUICK_S
        try:
            if live is not None:
                live.start()
            while True:
                trouble = ""
                try:
                    found = await self._ledger.get([row.id])
                    now = await self._ledger.now()
                except LedgerUnavailable as error:
                    trouble = str(error)
                else:
                    if row.id not in found:
                        raise Refusal(f"the job {row.id} was deleted meanwhile", code=FAILED)
                    pause_s = _QUICK_S if found[row.id] != row else min(pause_s * 1.2, _SLOW_S)
                    row = found[row.id]
                    if live is None:
                        self._tell(row)
                if live is not None:
                    live.update(self._line(row, when(row, now), trouble), refresh=True)
                if row.finished and not trouble:
                    return row
                await self._clock.sleep(pause_s)
        finally:
            if live is not None:
                live.stop()

    def _line(self, row: JobRow, since: str, trouble: str) -> RenderableType:
        progress = ProgressView.of(row.progress)
        grid = Table.grid(padding=(0, 1))
        state = Text(row.state.value, style=STATE_STYLES[row.state])
        mark: RenderableType = (
            Text("✓" if row.state is State.SUCCEEDED else "✗", style=STATE_STYLES[row.state])
            if row.finished
            else self._spinner
        )
        cells: list[RenderableType] = [mark, Text(plain(row.task), style="bold"), state]
        if progress is not None and progress.fraction is not None:
            cells.append(ProgressBar(total=1.0, completed=progress.fraction, width=24))
        if trouble:
            cells.append(Text(f"waiting for the database: {plain(trouble)}", style="yellow"))
        elif progress is not None and not row.finished:
            cells.append(Text(plain(progress_line(progress))))
        else:
            cells.append(Text(plain(note(row))))
        cells.append(Text(since, style="dim"))
        grid.add_row(*cells)
        return grid

    def _tell(self, row: JobRow) -> None:
        if self._screen.as_json:
            line = JobView.of(row, result=row.finished).model_dump_json()
        else:
            line = f"{row.state} {plain(row.task)} {plain(note(row))}".rstrip()
        if line != self._last:
            self._last = line
            self._screen.out.file.write(line + "\n")
            self._screen.out.file.flush()
