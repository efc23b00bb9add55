"""``backstay top``: queues, workers and throughput, live."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.live import Live

from backstay.cli.dashboard import dashboard
from backstay.cli.jobs import JsonOption, VerboseOption
from backstay.cli.refusal import Refusal
from backstay.cli.sampling import Sample, Sampler
from backstay.cli.screen import Screen
from backstay.cli.target import DatabaseOption, PrefixOption, SchemaOption, choose, look
from backstay.clock import Clock, SystemClock
from backstay.errors import LedgerUnavailable
from backstay.ledger.port import Ledger

__all__ = ["Top", "add_to", "show_top"]

_WIDTH_WHEN_PIPED = 120


def add_to(program: typer.Typer) -> None:
    """Add the command to the program."""
    program.command("top")(show_top)


def show_top(
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            "-i",
            min=0.1,
            max=3600.0,
            help="Seconds between looks, more where they take long.",
        ),
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Show one look, and leave.")] = False,
    database: DatabaseOption = None,
    prefix: PrefixOption = None,
    schema: SchemaOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Watch queues, workers, throughput, the slowest and the failing tasks. Leave with q or Ctrl-C.

    With --once throughput is measured over one --interval.
    """
    screen = Screen(as_json=as_json, verbose=verbose)
    console = screen.out
    if not once and (as_json or not console.is_terminal or console.is_dumb_terminal):
        raise Refusal("top needs a terminal to live in", hint="--once shows it one time")
    target = choose(database, prefix=prefix, schema=schema)

    async def work(ledger: Ledger) -> None:
        top = Top(ledger, target.name, screen, SystemClock(), interval_s=interval)
        await (top.once() if once else top.live())

    if once:
        look(target, screen, work)
        return
    with contextlib.suppress(KeyboardInterrupt):  # the way to leave
        look(target, screen, work)


class Top:
    """Samples a ledger and shows it.

    Args:
        ledger: it, opened.
        name: of its database.
        screen: where to show it.
        clock: time between samples.
        interval_s: seconds between them.
    """

    def __init__(
        self, ledger: Ledger, name: str, screen: Screen, clock: Clock, *, interval_s: float
    ) -> None:
        self._sampler = Sampler(ledger, clock)
        self._name = name
        self._screen = screen
        self._clock = clock
        self._interval_s = interval_s

    async def once(self) -> None:
        """Take two samples, for the difference, and show the second."""
        await self._sampler.take()
        with self._screen.waiting("measuring"):
            await self._clock.sleep(self._interval_s)
        sample = await self._sampler.take(thoroughly=True)
        if self._screen.as_json:
            self._screen.json(sample.as_json())
            return
        console = self._screen.out
        width = console.width if console.width < 500 else _WIDTH_WHEN_PIPED
        console.print(dashboard(sample, name=self._name, width=width, height=None), width=width)

    async def live(self) -> None:
        """Show samples until somebody has seen enough."""
        console = self._screen.out
        sample: Sample | None = None
        enough = asyncio.Event()
        with (
            _asked_to_leave(enough.set),
            Live(console=console, screen=True, auto_refresh=False, transient=True) as live,
        ):
            while not enough.is_set():
                trouble = ""
                began_s = self._clock.monotonic()
                try:
                    sample = await self._sampler.take()
                except LedgerUnavailable as error:
                    if sample is None:
                        raise
                    trouble = str(error)
                width, height = console.size
                live.update(
                    dashboard(sample, name=self._name, width=width, height=height, trouble=trouble),
                    refresh=True,
                )
                # Looking must not become the database's main occupation.
                took_s = self._clock.monotonic() - began_s
                await self._pause(enough, max(self._interval_s, 3 * took_s))

    async def _pause(self, enough: asyncio.Event, pause_s: float) -> None:
        waits = {
            asyncio.ensure_future(self._clock.sleep(pause_s)),
            asyncio.ensure_future(enough.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()


@contextmanager
def _asked_to_leave(leave: Callable[[], object]) -> Iterator[None]:
    """Call ``leave`` for the key q, Ctrl-C and SIGTERM, so that the terminal is put right."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, leave)
    try:
        with _keys(loop, lambda key: leave() if key in "qQ\x1b" else None):
            yield
    finally:
        for number in signals:
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(number)


@contextmanager
def _keys(loop: asyncio.AbstractEventLoop, on_key: Callable[[str], object]) -> Iterator[None]:
    """Hear single keys, where the terminal can."""
    try:
        import termios
        import tty

        stream = sys.stdin.fileno()
        before = termios.tcgetattr(stream)
    except (ImportError, OSError, ValueError):  # Windows; or standard input is no terminal
        yield
        return
    except termios.error:
        yield
        return

    def read() -> None:
        key = sys.stdin.read(1)
        if not key:
            loop.remove_reader(stream)
        elif key:
            on_key(key)

    tty.setcbreak(stream)
    loop.add_reader(stream, read)
    try:
        yield
    finally:
        loop.remove_reader(stream)
        termios.tcsetattr(stream, termios.TCSADRAIN, before)
