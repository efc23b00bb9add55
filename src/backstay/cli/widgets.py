"""``backstay widgets``: React faces built, and an inspector to look at widgets in."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from backstay.cli.reference import is_reference
from backstay.cli.refusal import FAILED, Refusal
from backstay.cli.screen import Screen, lines, plain

if TYPE_CHECKING:
    from backstay.widgets.build import Outcome

__all__ = ["add_to", "build_faces", "inspect_app"]

_widgets = typer.Typer(help="Build React faces; look at widgets in an inspector.")


def add_to(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(_widgets, name="widgets", no_args_is_help=True)


@_widgets.command("build")
def build_faces(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="Where <identifier>/index.jsx or index.tsx are."),
    ] = Path("widgets"),
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="ID",
            help="Build this one; may be repeated.",
            show_default="all",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; exit code 1 if a page is not what would be built."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks of what fails.")
    ] = False,
) -> None:
    """Build each React face to one page that loads nothing, <FOLDER>/<identifier>/dist/index.html.

    Vite and React are installed once, in locked versions, into BACKSTAY_CACHE or ~/.cache/backstay.
    """
    from backstay.widgets.build import Builder, find_components

    screen = Screen(as_json=as_json, verbose=verbose)
    components = find_components(folder, only or ())
    if not components:
        raise Refusal(
            f"{folder} has no React faces",
            hint=f"one would be {folder / 'my-widget' / 'index.jsx'}, with the component as its "
            "default export",
        )
    builder = Builder()
    with screen.waiting("getting Vite and React ready"):
        builder.prepare()
    told: list[dict[str, Any]] = []
    failed = False
    with screen.waiting("building"):
        outcomes = list(builder.build(components))
    for outcome in outcomes:
        status = _settle(outcome, check)
        failed = failed or status in {"failed", "outdated"}
        told.append(_as_json(outcome, status))
        if not as_json:
            _tell(screen, outcome, status)
    if as_json:
        screen.json(told)
    if failed:
        if check and not as_json and any(each["status"] == "outdated" for each in told):
            screen.say(f"  run  backstay widgets build {folder}", "dim")
        raise typer.Exit(FAILED)


@_widgets.command("dev")
def inspect_app(
    app: Annotated[
        str,
        typer.Argument(metavar="APP", help="The app, such as shop.app:app.", show_default=False),
    ],
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="The inspector's port on 127.0.0.1.")
    ] = 8765,
    app_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="The app's port.", show_default="the inspector's and one"
        ),
    ] = None,
    mcp_path: Annotated[
        str, typer.Option(metavar="PATH", help="Where the app has mounted its MCP server.")
    ] = "/mcp",
    folder: Annotated[
        Path, typer.Option("--widgets", metavar="FOLDER", help="Where React faces are, if any.")
    ] = Path("widgets"),
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show tracebacks of what fails.")
    ] = False,
) -> None:
    """Run an app for development, with an inspector for its widgets at http://127.0.0.1:8765/.

    Restarts the app when Python files change, builds React faces anew when theirs do, and shows
    changed pages at once. Serves this machine only; it needs uvicorn.
    """
    screen = Screen(verbose=verbose)
    if not is_reference(app):
        raise Refusal(
            f"{app!r} is no reference to an app",
            hint='write "package.module:app", such as shop.app:app',
        )
    if not mcp_path.startswith("/"):
        raise Refusal(f"--mcp-path {mcp_path!r} is no path", hint="write it as in mount(): /mcp")
    if importlib.util.find_spec("uvicorn") is None:
        raise Refusal("running an app needs the package uvicorn", hint="pip install uvicorn")
    from backstay.widgets.dev import Session, run_session

    second = (port + 1 if port < 65535 else port - 1) if app_port is None else app_port
    if second == port:
        raise Refusal(f"--app-port {second} is the inspector's port too; choose another")
    session = Session(app, port=port, app_port=second, mcp_path=mcp_path, faces=folder)

    def ready() -> None:
        parts = [
            ("inspector", Text(session.inspector_url, style="bold")),
            ("MCP server", Text(session.mcp_url)),
            ("stop", Text("Ctrl-C", style="dim")),
        ]
        headline = Text.assemble((" backstay widgets dev ", "bold reverse"), f" {plain(app)}")
        screen.err.print(Group(headline, lines(parts)))

    try:
        run_session(session, ready=ready, say=lambda said, style: screen.say(said, style))
    except OSError as error:
        raise Refusal(
            f"port {port} or {second} cannot be had: {error.strerror or error}",
            hint="--port and --app-port name others",
        ) from None


def _settle(outcome: Outcome, check: bool) -> str:
    """Write a page, unless it is only to be looked at; what became of it, in a word."""
    if outcome.problems:
        return "failed"
    if outcome.is_current:
        return "current"
    if check:
        return "outdated"
    outcome.write()
    return "built"


def _as_json(outcome: Outcome, status: str) -> dict[str, Any]:
    return {
        "identifier": outcome.component.identifier,
        "status": status,
        "page": str(outcome.component.page),
        "bytes": None if outcome.page is None else len(outcome.page.encode()),
        "problems": [
            {
                "message": each.message,
                "file": None if each.file is None else str(each.file),
                "line": each.line,
                "column": each.column,
                "frame": each.frame,
            }
            for each in outcome.problems
        ],
    }


def _tell(screen: Screen, outcome: Outcome, status: str) -> None:
    name = plain(outcome.component.identifier)
    if status == "failed":
        screen.err.print(Text.assemble(("✗ ", "bold red"), (name, "bold")), soft_wrap=True)
        for problem in outcome.problems:
            where = f"{problem.place}: " if problem.place else ""
            screen.say(f"  {where}{problem.message}")
            if problem.frame:
                screen.say("\n".join(f"    {line}" for line in problem.frame.splitlines()), "dim")
        return
    size = f"{len((outcome.page or '').encode()) / 1024:,.0f} kB"
    mark, words = {
        "built": (("✓ ", "green"), f"{outcome.component.page}  {size}"),
        "current": (("· ", "dim"), f"{outcome.component.page}  {size}, up to date"),
        "outdated": (("✗ ", "bold red"), f"{outcome.component.page} is not what would be built"),
    }[status]
    line = Text.assemble(mark, (name, "bold"), "  ", (plain(words), "dim"))
    (screen.err if status == "outdated" else screen.out).print(line, soft_wrap=True)
