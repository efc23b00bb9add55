"""Which ledger a command means, and opening it without making anything."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer
from dotenv import dotenv_values
from starlette.applications import Starlette

from backstay.cli.reference import import_app, is_reference
from backstay.cli.refusal import Refusal
from backstay.cli.screen import Screen
from backstay.errors import BackstayError, LedgerUnavailable
from backstay.ledger.opening import DEFAULT_URL, new_ledger, without_password
from backstay.ledger.port import Ledger
from backstay.settings import Settings
from backstay.web.installation import installed

if TYPE_CHECKING:
    from backstay.jobs.part import DurablePart

__all__ = [
    "DatabaseOption",
    "PrefixOption",
    "SchemaOption",
    "Target",
    "choose",
    "durable_in",
    "look",
]

T = TypeVar("T")

SETTING = "BACKSTAY_DATABASE"
_PATIENCE_S = 15.0
_LOCK_PATIENCE_S = 5.0

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        "-d",
        metavar="URL|FILE|APP",
        help=f"The database, or an app that has one (shop.app:app). Default: the setting "
        f"{SETTING}, then ./backstay.db.",
        show_default=False,
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        "--prefix", metavar="NAME", help="In front of the tables' names.", show_default="backstay_"
    ),
]
SchemaOption = Annotated[
    str | None,
    typer.Option("--schema", metavar="NAME", help="PostgreSQL's schema of the tables."),
]


@dataclass(frozen=True, slots=True)
class Target:
    """A ledger, not opened yet.

    Attributes:
        ledger: it.
        source: where it was named, for people.
    """

    ledger: Ledger
    source: str

    @property
    def name(self) -> str:
        """Its address without password."""
        return without_password(self.ledger.url)


def choose(
    database: str | None = None,
    *,
    prefix: str | None = None,
    schema: str | None = None,
    settings: Settings | None = None,
) -> Target:
    """The ledger that was named: by the option, the setting, or the default file being there.

    Args:
        database: a URL, the path of a SQLite file, or a reference to an app. ``None``: not said.
        prefix: of its tables; ``None``: the default, or what the app says.
        schema: PostgreSQL's schema; ``None``: the default, or what the app says.
        settings: where the setting is looked up. ``None``: the environment, then ``./.env``.

    Raises:
        Refusal: nothing was named, or what was named cannot be a ledger.
    """
    source = "--database"
    if database is None:
        settings = settings or Settings(fallback=_env_file)
        database = settings.get(SETTING)
        source = f"the setting {SETTING}"
    if not database:
        if not _sqlite_file(DEFAULT_URL).exists():
            raise Refusal(
                f"no database was named, and there is no {_sqlite_file(DEFAULT_URL)} here",
                hint=f"--database sqlite:///shop.db, --database shop.app:app, or set {SETTING}",
            )
        database, source = DEFAULT_URL, "the default file"
    if "://" not in database and is_reference(database):
        if prefix is not None or schema is not None:
            raise Refusal("--prefix and --schema are the app's own where --database names an app")
        return Target(durable_in(import_app(database), database).ledger, f"the app {database}")
    if "://" not in database:
        if not Path(database).is_file():
            raise Refusal(
                f"{database!r}, from {source}, is neither a URL, nor an app, nor a file",
                hint="write sqlite:///shop.db, postgresql://user@host/name, or shop.app:app",
            )
        database = f"sqlite:///{database}"
    prefix = "backstay_" if prefix is None else prefix
    ledger = new_ledger(database, prefix=prefix, schema=schema, patience_s=_LOCK_PATIENCE_S)
    return Target(ledger, source)


def durable_in(app: Starlette, reference: str) -> DurablePart:
    """The part of an app that runs durable tasks.

    Raises:
        Refusal: it has none.
    """
    try:
        return cast("DurablePart", installed(app).part("durable"))
    except (AttributeError, BackstayError):
        raise Refusal(
            f"the app {reference} has no durable tasks",
            hint="call add_tasks(app, database=...) where it is made",
        ) from None


def look(target: Target, screen: Screen, work: Callable[[Ledger], Awaitable[T]]) -> T:
    """Open the ledger, do something with it, and close it again.

    Raises:
        LedgerUnavailable: there is no such database, no ledger in it, or it does not answer.
        LedgerMismatch: what is in it is not the ledger's.
    """
    screen.note(f"database: {target.name} (from {target.source})")
    # What an engine would tell an operator is said by the command, in one line.
    logging.getLogger("backstay").addHandler(logging.NullHandler())
    return asyncio.run(_opened(target, screen, work))


async def _opened(target: Target, screen: Screen, work: Callable[[Ledger], Awaitable[T]]) -> T:
    ledger = target.ledger
    try:
        with screen.waiting(f"opening {target.name}"):
            async with asyncio.timeout(_PATIENCE_S):
                await ledger.open(create=False)
    except TimeoutError:
        raise LedgerUnavailable(
            f"{target.name} has not answered within {_PATIENCE_S:.0f} s"
        ) from None
    try:
        return await work(ledger)
    finally:
        await ledger.close()


def _sqlite_file(url: str) -> Path:
    return Path(url.partition("://")[2].partition("?")[0].removeprefix("/"))


def _env_file() -> dict[str, Any]:
    path = Path(os.curdir) / ".env"
    return dict(dotenv_values(path)) if path.is_file() else {}
