"""Which ledger a command means, and opening it without making anything."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast
from urllib.parse import quote, unquote

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
        prefix: of its tables, ``None`` if the app knows and we do not.
        source: where it was named, for people.
    """

    ledger: Ledger
    prefix: str | None
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
        return Target(
            durable_in(import_app(database), database).ledger, None, f"the app {database}"
        )
    if "://" not in database:
        if not Path(database).is_file():
            raise Refusal(
                f"{database!r}, from {source}, is neither a URL, nor an app, nor a file",
                hint="write sqlite:///shop.db, postgresql://user@host/name, or shop.app:app",
            )
        database = f"sqlite:///{database}"
    prefix = "backstay_" if prefix is None else prefix
    ledger = new_ledger(database, prefix=prefix, schema=schema)
    return Target(ledger, prefix, source)


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
        Refusal: there is no such database, no ledger in it, or it does not answer.
    """
    screen.note(f"database: {target.name} (from {target.source})")
    _require_tables(target)
    # What an engine would tell an operator is said by the command, in one line.
    logging.getLogger("backstay").addHandler(logging.NullHandler())
    return asyncio.run(_opened(target, screen, work))


async def _opened(target: Target, screen: Screen, work: Callable[[Ledger], Awaitable[T]]) -> T:
    ledger = target.ledger
    try:
        with screen.waiting(f"opening {target.name}"):
            async with asyncio.timeout(_PATIENCE_S):
                await ledger.open()
    except TimeoutError:
        raise LedgerUnavailable(
            f"{target.name} has not answered within {_PATIENCE_S:.0f} s"
        ) from None
    try:
        return await work(ledger)
    finally:
        await ledger.close()


def _require_tables(target: Target) -> None:
    """Refuse where opening would make a file or tables: whoever looks changes nothing."""
    url = target.ledger.url
    kind = re.split(r"[+:]", url, maxsplit=1)[0]
    if kind == "memory" or (kind == "sqlite" and not _has_file(url)):
        raise Refusal(
            f"{target.name} lives in the memory of the process that opened it",
            hint="name the file or the server that the app keeps its jobs in",
        )
    if kind != "sqlite":
        return
    path = _sqlite_file(url)
    if not path.exists():
        raise Refusal(
            f"there is no file {path}, named by {target.source}",
            hint="an app makes it when it first starts; is this the right directory?",
        )
    try:
        tables = _tables(path)
    except sqlite3.OperationalError:
        return  # locked, say: the engine knows better what to do about it
    except sqlite3.DatabaseError as error:
        raise Refusal(f"{path} is no SQLite database: {error}") from None
    wanted = target.prefix or ""
    if not any(each.startswith(wanted) for each in tables):
        others = f"; it has {len(tables)} other tables" if tables else "; it is empty"
        raise Refusal(
            f"{path} holds no jobs: no table's name begins with {wanted!r}{others}",
            hint="name the database that the app uses, or its --prefix",
        )


def _tables(path: Path) -> list[str]:
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=1.0)
    try:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return [str(name) for (name,) in found.fetchall()]
    finally:
        connection.close()


def _has_file(url: str) -> bool:
    rest = url.partition("://")[2].partition("?")[0]
    return rest.strip("/") not in {"", ":memory:"}


def _sqlite_file(url: str) -> Path:
    rest = url.partition("://")[2].partition("?")[0].partition("#")[0]
    return Path(unquote(rest.removeprefix("/")))


def _env_file() -> dict[str, Any]:
    path = Path(os.curdir) / ".env"
    return dict(dotenv_values(path)) if path.is_file() else {}
