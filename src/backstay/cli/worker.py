"""``backstay worker``: an app's jobs without its HTTP."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.logging import RichHandler
from rich.text import Text

from backstay.cli.reference import import_app
from backstay.cli.refusal import FAILED, Refusal
from backstay.cli.screen import Screen, lines, plain
from backstay.cli.target import durable_in
from backstay.cli.times import parse_duration, span
from backstay.ledger.opening import without_password
from backstay.log import CorrelationFilter, configure_logging

if TYPE_CHECKING:
    from backstay.jobs.part import DurablePart

__all__ = ["add_to", "run_app_worker"]

_TASKS_SHOWN = 12


def add_to(program: typer.Typer) -> None:
    """Add the command to the program."""
    program.command("worker")(run_app_worker)


def run_app_worker(
    app: Annotated[
        str,
        typer.Argument(metavar="APP", help="The app, such as shop.app:app.", show_default=False),
    ],
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", "-c", min=1, help="Jobs at a time.", show_default="as the app says"
        ),
    ] = None,
    queues: Annotated[
        str | None,
        typer.Option("--queues", "-q", metavar="A,B", help="Queues to serve.", show_default="all"),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How long running jobs have to finish once it is asked to stop: 30, 90s, 5m.",
            show_default="as the app says",
        ),
    ] = None,
    json_logs: Annotated[
        bool, typer.Option("--json-logs", help="Write log lines as JSON.")
    ] = False,
    log_level: Annotated[
        str, typer.Option(metavar="LEVEL", help="The least important lines to write.")
    ] = "info",
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks of what cannot be started.")
    ] = False,
) -> None:
    """Run an app's durable jobs, without serving HTTP, until SIGTERM or Ctrl-C.

    The first signal lets running jobs finish and hands the others back; a second one hurries.
    """
    screen = Screen(verbose=verbose)
    grace_s = _seconds(grace)
    _set_up_logging(screen.err, json_logs, log_level)
    served = None if queues is None else tuple(_names(queues))
    found = import_app(app)
    if json_logs:
        _set_up_logging(screen.err, True, log_level)  # importing the app may have undone it
    durable = durable_in(found, app)
    durable.registry.scan()
    if unknown := sorted(set(served or ()) - durable.queues):
        raise Refusal(
            f"the app {app} has no queue {unknown[0]!r}",
            hint=f"it has: {', '.join(sorted(durable.queues))}",
        )
    from backstay.jobs.process import run_worker

    if json_logs:
        _log_start(app, durable, served, concurrency)
    else:
        screen.err.print(_banner(app, durable, served, concurrency, grace_s))
    began_s = time.monotonic()
    try:
        code = run_worker(found, concurrency=concurrency, queues=served, grace_s=grace_s)
    except RuntimeError as error:  # its lifespan failed; the message may be a whole traceback
        screen.note(str(error))
        first, *rest = str(error).strip().splitlines() or [""]
        raise Refusal(
            f"{first.partition(': ')[0]}: {rest[-1].strip()}" if rest else first,
            hint=None if verbose else "--verbose shows the whole traceback",
            code=FAILED,
        ) from None
    ran = span(time.monotonic() - began_s)
    message = f"worker stopped after {ran}" + (f", with exit code {code}" if code else "")
    if json_logs:
        logging.getLogger("backstay.cli").info(message)
    else:
        screen.say(message, "bold" if not code else "bold red")
    if code:
        raise typer.Exit(code if 0 < code < 256 else FAILED)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration(f"{text}s" if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise Refusal(f"--grace: {error}") from None


def _names(text: str) -> list[str]:
    names = [each.strip() for each in text.split(",") if each.strip()]
    if not names:
        raise Refusal(f"--queues {text!r} names no queue", hint="write --queues mail,default")
    return list(dict.fromkeys(names))


def _set_up_logging(console: Console, as_json: bool, level: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise Refusal(f"--log-level {level!r} is none of debug, info, warning, error, critical")
    handler = configure_logging(as_json=as_json, level=number)
    if as_json or not console.is_terminal:
        return
    pretty = RichHandler(
        console=console,
        show_path=False,
        markup=False,
        omit_repeated_times=False,
        log_time_format="%H:%M:%S",
    )
    pretty.addFilter(CorrelationFilter())
    pretty.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [pretty if each is handler else each for each in root.handlers]


def _banner(
    app: str,
    durable: DurablePart,
    queues: tuple[str, ...] | None,
    concurrency: int | None,
    grace_s: float | None,
) -> Any:
    tasks = sorted(each.name for each in durable.registry)
    shown = ", ".join(tasks[:_TASKS_SHOWN]) + (
        f" and {len(tasks) - _TASKS_SHOWN} more" if len(tasks) > _TASKS_SHOWN else ""
    )
    all_queues = ", ".join(sorted(durable.queues))
    parts: list[tuple[str, Any]] = [
        ("database", Text(plain(without_password(durable.ledger.url)))),
        ("queues", Text(plain(", ".join(queues) if queues else f"{all_queues} (all)"))),
        ("tasks", Text(f"{len(tasks)}: {plain(shown)}") if tasks else Text("none yet", "yellow")),
        ("concurrency", Text("as the app says" if concurrency is None else f"{concurrency}")),
    ]
    if grace_s is not None:
        parts.append(("grace", Text(span(grace_s))))
    parts.append(("pid", Text(f"{os.getpid()}")))
    headline = Text.assemble((" backstay worker ", "bold reverse"), f" {plain(app)}")
    return Group(headline, lines(parts))


def _log_start(
    app: str, durable: DurablePart, queues: tuple[str, ...] | None, concurrency: int | None
) -> None:
    logging.getLogger("backstay.cli").info(
        "worker for %s starts",
        app,
        extra={
            "database": without_password(durable.ledger.url),
            "queues": sorted(queues or durable.queues),
            "tasks": len(durable.registry),
            "concurrency": concurrency,
            "pid": os.getpid(),
        },
    )
