"""``backstay db``: an app's migrations, by Alembic."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from backstay.cli.refusal import FAILED, Refusal
from backstay.cli.screen import Screen, new_table, plain, text
from backstay.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from backstay.db.migrations import Migrations, Revision, Step

__all__ = [
    "add_to",
    "begin_migrations",
    "check_models",
    "downgrade_database",
    "show_current",
    "show_history",
    "stamp_database",
    "upgrade_database",
    "write_revision",
]

_ARROWS = {"upgrade": "↑", "downgrade": "↓", "stamp": "·"}

_db = typer.Typer(no_args_is_help=True, help="Migrate the database of an app, by Alembic.")

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config", "-c", metavar="FILE", envvar="ALEMBIC_CONFIG", help="Alembic's configuration."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON.")]
SqlOption = Annotated[
    bool, typer.Option("--sql", help="Write the statements instead, and connect to nothing.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show tracebacks of what fails.")
]
_INI = Path("alembic.ini")
# So that -1 is a revision and no option.
_NUMBERS = {"ignore_unknown_options": True}


def add_to(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(_db, name="db")


@_db.command("init")
def begin_migrations(
    manager: Annotated[
        str,
        typer.Option(
            "--manager",
            "-m",
            metavar="REF",
            help="Where the MainDatabaseManager is: app.core.db:DatabaseManager.",
            show_default=False,
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where the migrations will be.")
    ] = Path("alembic"),
    models: Annotated[
        str | None,
        typer.Option(metavar="MODULE", help="The module of the models, such as app.models."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write files anew that are there. Revisions stay.")
    ] = False,
    config: ConfigOption = _INI,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Begin: write alembic.ini, and in DIR env.py and the template of migrations."""
    from backstay.db.migration_files import write_files

    screen = Screen(as_json=as_json, verbose=verbose)
    try:
        files = write_files(manager, folder, config=config, models=models, replace=force)
    except ValueError as error:
        raise Refusal(str(error)) from None
    except FileExistsError as error:
        raise Refusal(str(error), hint="--force writes them anew", code=FAILED) from None
    except OSError as error:
        raise Refusal(f"{error.filename}: {error.strerror}", code=FAILED) from error
    if as_json:
        screen.json({"files": [str(each) for each in files]})
        return
    for each in files:
        screen.out.print(Text.assemble(("✓ ", "green"), plain(each)), soft_wrap=True)
    if models is None:
        screen.say(f"  import the modules of your models in {folder / 'env.py'}", "yellow")
    screen.say("  then  backstay db revision -m first  and  backstay db upgrade", "dim")


@_db.command("revision")
def write_revision(
    message: Annotated[
        str | None,
        typer.Option("--message", "-m", metavar="TEXT", help="What it is about."),
    ] = None,
    autogenerate: Annotated[
        bool,
        typer.Option(
            "--autogenerate/--empty", help="With what models and database differ by, or empty."
        ),
    ] = True,
    config: ConfigOption = _INI,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write a new revision. None is written if models and database agree."""
    screen = Screen(as_json=as_json, verbose=verbose)
    migrations = _migrations(config)
    with _heard(screen), screen.waiting("comparing"):
        written = migrations.revise(message, autogenerate=autogenerate)
    if as_json:
        screen.json({"path": None if written is None else str(written)})
    elif written is None:
        screen.say("models and database agree; no revision was written", "dim")
    else:
        screen.out.print(Text.assemble(("✓ ", "green"), plain(_near(written))), soft_wrap=True)


@_db.command("upgrade")
def upgrade_database(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="An id, +1, or head: the newest.")
    ] = "head",
    sql: SqlOption = False,
    config: ConfigOption = _INI,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run the migrations that are missing."""
    screen = Screen(as_json=as_json, verbose=verbose)
    migrations = _migrations(config)
    if sql:
        screen.out.file.write(migrations.statements(revision))
        return
    with _heard(screen):
        steps = migrations.upgrade(revision, on_step=_teller(screen))
    _tell_end(screen, migrations, steps)


@_db.command("downgrade", context_settings=_NUMBERS)
def downgrade_database(
    revision: Annotated[
        str,
        typer.Argument(
            metavar="REVISION", help="An id, -1, or base: before the first.", show_default=False
        ),
    ],
    sql: Annotated[
        bool, typer.Option("--sql", help="Write the statements; REVISION is then from:to.")
    ] = False,
    config: ConfigOption = _INI,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Undo migrations that were run."""
    screen = Screen(as_json=as_json, verbose=verbose)
    migrations = _migrations(config)
    if sql:
        screen.out.file.write(migrations.statements(revision, down=True))
        return
    with _heard(screen):
        steps = migrations.downgrade(revision, on_step=_teller(screen))
    _tell_end(screen, migrations, steps)


@_db.command("stamp")
def stamp_database(
    revision: Annotated[
        str, typer.Argument(metavar="REVISION", help="An id, head or base.", show_default=False)
    ],
    purge: Annotated[
        bool, typer.Option("--purge", help="Forget first what the database was said to be at.")
    ] = False,
    config: ConfigOption = _INI,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say that the database is at a revision, without running anything."""
    screen = Screen(as_json=as_json, verbose=verbose)
    migrations = _migrations(config)
    with _heard(screen):
        steps = migrations.stamp(revision, purge=purge, on_step=_teller(screen))
    _tell_end(screen, migrations, steps)


@_db.command("check")
def check_models(
    config: ConfigOption = _INI, as_json: JsonOption = False, verbose: VerboseOption = False
) -> None:
    """Exit with 1 if models and database differ."""
    screen = Screen(as_json=as_json, verbose=verbose)
    migrations = _migrations(config)
    with _heard(screen), screen.waiting("comparing"):
        differences = migrations.differences()
    if as_json:
        screen.json({"agrees": not differences, "differences": differences})
    elif differences:
        for each in differences:
            screen.out.print(Text.assemble(("✗ ", "bold red"), plain(each)), soft_wrap=True)
        screen.say("  run  backstay db revision -m ...", "dim")
    else:
        screen.say("models and database agree", "green")
    if differences:
        raise typer.Exit(FAILED)


@_db.command("current")
def show_current(
    config: ConfigOption = _INI, as_json: JsonOption = False, verbose: VerboseOption = False
) -> None:
    """Show what the database is at."""
    screen = Screen(as_json=as_json, verbose=verbose)
    migrations = _migrations(config)
    with screen.waiting("asking the database"):
        current = migrations.current()
    known = {each.id: each for each in migrations.history()}
    if as_json:
        screen.json([_as_json(known[each], current) for each in current if each in known])
    elif not current:
        screen.say("no migration has been run yet", "dim")
    else:
        screen.show(_table([known[each] for each in current if each in known], current))


@_db.command("history")
def show_history(
    config: ConfigOption = _INI, as_json: JsonOption = False, verbose: VerboseOption = False
) -> None:
    """List all revisions, the newest first, and which one the database is at."""
    screen = Screen(as_json=as_json, verbose=verbose)
    migrations = _migrations(config)
    revisions = migrations.history()
    current: tuple[str, ...] | None
    try:
        with screen.waiting("asking the database"):
            current = migrations.current()
    except DatabaseUnavailable as error:
        screen.say(f"{error}", "yellow")
        current = None
    if as_json:
        screen.json([_as_json(each, current) for each in revisions])
    elif not revisions:
        screen.say("no revisions yet", "dim")
    else:
        screen.show(_table(revisions, current or ()))


def _migrations(config: Path) -> Migrations:
    from backstay.db.migrations import Migrations

    here = os.getcwd()  # first, as for every command that imports an app
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return Migrations(config)
    except FileNotFoundError as error:
        raise Refusal(
            str(error),
            hint="name another one (--config), or begin: "
            "backstay db init --manager app.core.db:DatabaseManager",
        ) from None


@contextmanager
def _heard(screen: Screen) -> Iterator[None]:
    """What our side of the migrations logs is said: that it waits for another process, say."""
    logger = logging.getLogger("backstay.db.migrations")
    handler = _Sayer(screen)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Sayer(logging.Handler):
    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.say(record.getMessage(), "yellow")


def _teller(screen: Screen) -> Any:
    def tell(step: Step) -> None:
        if not screen.as_json:
            arrow = _ARROWS[step.direction]
            line = Text.assemble(
                (f"{arrow} ", "green" if step.direction == "upgrade" else "yellow"),
                (plain(step.revision), "bold"),
                f"  {plain(step.message)}",
            )
            screen.out.print(line, soft_wrap=True)

    return tell


def _tell_end(screen: Screen, migrations: Migrations, steps: list[Step]) -> None:
    current = migrations.current()
    if screen.as_json:
        screen.json({"steps": [asdict(each) for each in steps], "current": list(current)})
        return
    place = f"at {', '.join(current)}" if current else "before the first revision"
    screen.say(place if steps else f"nothing to do: {place}", "dim")


def _table(revisions: list[Revision], current: tuple[str, ...]) -> Any:
    table = new_table("REVISION", "FOLLOWS", "ABOUT", "")
    for each in revisions:
        marks = [*(["head"] if each.is_head else []), *(["here"] if each.id in current else [])]
        table.add_row(
            text(each.id, "bold" if each.id in current else ""),
            text(", ".join(each.follows) or "-", "dim"),
            text(each.message),
            text(" ".join(marks), "green"),
        )
    return table


def _as_json(revision: Revision, current: tuple[str, ...] | None) -> dict[str, Any]:
    """``current`` is null where the database could not be asked."""
    return {
        "id": revision.id,
        "follows": list(revision.follows),
        "message": revision.message,
        "path": str(revision.path),
        "is_head": revision.is_head,
        "is_current": None if current is None else revision.id in current,
    }


def _near(path: Path) -> Path:
    """As seen from here, if it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
