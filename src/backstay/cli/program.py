"""The program: its commands, and how it ends."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

import backstay
from backstay.cli import db, events, jobs, py2dantic, queues, top, widgets, worker
from backstay.cli.refusal import FAILED, INTERRUPTED, MISUSED, OK, Refusal
from backstay.cli.screen import plain
from backstay.errors import (
    BackstayError,
    BadJob,
    DatabaseUnavailable,
    LedgerMismatch,
    LedgerUnavailable,
    MissingExtra,
)

__all__ = ["Program", "program", "run"]

EPILOG = (
    "Exit codes: 0 done; 1 what was asked for failed; 2 wrong usage, or the database cannot be "
    "reached; 130 interrupted."
)


class Program(TyperGroup):
    """Ends with one line and an exit code where users or databases went wrong."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Refusal as refusal:
            _complain(str(refusal), refusal.hint)
            self._reveal(refusal.__cause__)
            raise typer.Exit(refusal.code) from None
        except (
            DatabaseUnavailable,
            LedgerUnavailable,
            LedgerMismatch,
            BadJob,
            MissingExtra,
        ) as error:
            _complain(str(error), None)
            self._reveal(error)
            raise typer.Exit(MISUSED) from None
        except BackstayError as error:
            _complain(str(error), None)
            self._reveal(error)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None

    @staticmethod
    def _reveal(error: BaseException | None) -> None:
        if error is not None and {"--verbose", "-v"} & set(sys.argv[1:]):
            sys.stderr.write("".join(traceback.format_exception(error)))


def _complain(message: str, hint: str | None) -> None:
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    first, _, rest = plain(message, lines=True).partition("\n")
    line = Text.assemble(("backstay: ", "bold red"), first)
    console.print(line, soft_wrap=True)
    if rest:
        console.print(Text(rest), soft_wrap=True)
    if hint:
        console.print(Text(f"  {plain(hint)}", style="dim"), soft_wrap=True)


program = typer.Typer(
    name="backstay",
    cls=Program,
    no_args_is_help=True,
    epilog=EPILOG,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"backstay {backstay.__version__}\n")
        raise typer.Exit(OK)


@program.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """What stands behind a FastAPI service: workers, jobs, queues, widgets, migrations, events."""


worker.add_to(program)
top.add_to(program)
jobs.add_to(program)
queues.add_to(program)
widgets.add_to(program)
db.add_to(program)
events.add_to(program)
py2dantic.add_to(program)


def run() -> int:
    """Run the command in ``sys.argv`` and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A task's name that the terminal cannot write must not end the command.
            reconfigure(errors="backslashreplace")
    try:
        program(prog_name="backstay")
    except BrokenPipeError:
        # `backstay jobs list | head`: whoever read has had enough. Python flushes once more at
        # exit, which must go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return OK
