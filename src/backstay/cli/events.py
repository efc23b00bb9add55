"""``backstay events``: list, show, top, prune."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer
from rich.text import Text

from backstay.cli.event_page import event_table, totals_table, trace_page
from backstay.cli.job_page import counted
from backstay.cli.jobs import JsonOption, VerboseOption
from backstay.cli.reference import import_app, is_reference
from backstay.cli.refusal import FAILED, Refusal
from backstay.cli.screen import Screen
from backstay.cli.target import DatabaseOption, choose
from backstay.cli.times import parse_duration
from backstay.clock import SystemClock
from backstay.errors import BackstayError, DatabaseUnavailable
from backstay.web.installation import installed

if TYPE_CHECKING:
    from backstay.events import Event, EventsPart, Minute
    from backstay.events.events import Events
    from backstay.events.store import EventStore, Keeping

__all__ = ["add_to", "list_events", "prune_events", "show_events", "show_top_events"]

T = TypeVar("T")

_PATIENCE_S = 60.0
_FROM_APP = "the app "

_group = typer.Typer(no_args_is_help=True, help="Look at what has happened.")

KindOption = Annotated[
    str | None,
    typer.Option(
        "--kind", "-k", metavar="KIND", help="request, task, job, widget, call, audit or another."
    ),
]
SinceOption = Annotated[
    str | None, typer.Option(metavar="DURATION", help="In the last 15m, 2h or 7d.")
]


def add_to(program: typer.Typer) -> None:
    """Add the commands to the program."""
    program.add_typer(_group, name="events")


@_group.command("list")
def list_events(
    kind: KindOption = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help='Of exactly this name: "GET /items".')
    ] = None,
    work: Annotated[
        str | None, typer.Option("--work", "-w", metavar="ID", help="With this correlation id.")
    ] = None,
    outcome: Annotated[
        str | None, typer.Option(metavar="WORD", help="ok, failed, cancelled, retried ...")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", "-f", help="Failed, or answered with 500 or more.")
    ] = False,
    since: SinceOption = None,
    search: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Found in name, error, facts or correlation id."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1_000, help="At most so many.")
    ] = 50,
    before: Annotated[
        str | None, typer.Option(metavar="ID", help="Older than this one: the next page.")
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """List events, the newest first."""
    screen = Screen(as_json=as_json, verbose=verbose)
    span = _span(since, "--since")

    async def look(events: Events) -> None:
        now = SystemClock().now()
        with screen.waiting("looking"):
            page = await events.find(
                kind=kind,
                name=name,
                correlation_id=work,
                outcome=outcome,
                failed=True if failed else None,
                since=None if span is None else now - span,
                search=search,
                limit=limit,
                before=before,
            )
        if as_json:
            screen.json([_event_as_json(each) for each in page.events])
            return
        if not page.events:
            screen.say("no events", "dim")
            return
        screen.show(event_table(page.events, now, width=screen.out.width))
        if page.next is not None:
            screen.say(f"there are more: --limit, or --before {page.next}", "dim")

    _run(database, screen, look)


@_group.command("show")
def show_events(
    work: Annotated[
        str,
        typer.Argument(
            metavar="CORRELATION_ID", help="As logs and answers (X-Request-ID) have it."
        ),
    ],
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show what happened in one piece of work, and in what it caused, in order."""
    screen = Screen(as_json=as_json, verbose=verbose)

    async def look(events: Events) -> None:
        with screen.waiting("looking"):
            found = await events.trace(work)
        if as_json:
            screen.json([_event_as_json(each) for each in found])
        if not found:
            raise Refusal(
                f"nothing was kept of {work!r}",
                hint="it may have been left out by sampling, be too old, or not be written yet",
                code=FAILED,
            )
        if not as_json:
            screen.show(trace_page(found))

    _run(database, screen, look)


@_group.command("top")
def show_top_events(
    kind: KindOption = None,
    since: Annotated[
        str, typer.Option(metavar="DURATION", help="In the last 15m, 2h or 7d.")
    ] = "1h",
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1_000, help="At most so many.")
    ] = 30,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show what happened most: how often, how often it failed, how long it took."""
    screen = Screen(as_json=as_json, verbose=verbose)
    span = _span(since, "--since")
    assert span is not None

    async def look(events: Events) -> None:
        with screen.waiting("counting"):
            found = await events.totals(kind, since=SystemClock().now() - span, limit=limit)
        if as_json:
            screen.json([_minute_as_json(each) for each in found])
        elif not found:
            screen.say("nothing happened", "dim")
        else:
            screen.show(totals_table(found, width=screen.out.width))

    _run(database, screen, look)


@_group.command("prune")
def prune_events(
    keep_events: Annotated[
        int | None,
        typer.Option(min=0, metavar="COUNT", help="Keep so many events at most."),
    ] = None,
    keep_for: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Keep events so long: 7d.")
    ] = None,
    keep_minutes_for: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Keep minutes so long: 8d.")
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Delete what is too old or too much; running apps do it once a minute.

    What is not said is as the app says, where --database names one, and by default 100,000 events,
    7d and 8d.
    """
    screen = Screen(as_json=as_json, verbose=verbose)
    spans = {
        "events_s": _span(keep_for, "--keep-for"),
        "minutes_s": _span(keep_minutes_for, "--keep-minutes-for"),
    }

    def change(keeping: Keeping) -> Keeping:
        said = {name: span.total_seconds() for name, span in spans.items() if span is not None}
        if keep_events is not None:
            said["events"] = keep_events
        return type(keeping)(**{**asdict(keeping), **said})

    async def work(events: Events) -> None:
        with screen.waiting("deleting"):
            gone, minutes = await events.prune()
        if as_json:
            screen.json({"events": gone, "minutes": minutes})
        else:
            screen.out.print(
                Text(f"{counted(gone, 'event')}, {counted(minutes, 'minute')} deleted")
            )

    _run(database, screen, work, change)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where events are."""

    store: EventStore
    keeping: Keeping
    source: str


def _place(database: str | None) -> _Place:
    """The events of the database, or the app, that was named, as for the other commands."""
    from backstay.db.database import Database
    from backstay.events.store import EventStore, Keeping

    if database is None or not is_reference(database) or "://" in database:
        target = choose(database)
        if not target.source.startswith(_FROM_APP):
            return _Place(
                EventStore(_existing(Database, target.ledger.url), create=False),
                Keeping(),
                target.source,
            )
        database = target.source.removeprefix(_FROM_APP)
    try:
        part = cast("EventsPart", installed(import_app(database)).part("events"))
        store = part.store
    except (AttributeError, BackstayError) as error:
        raise Refusal(
            f"the app {database} keeps no events: {error}",
            hint="call backstay.events.add_events(app) where it is made",
        ) from None
    return _Place(EventStore(store.database, create=False), part.keeping, f"{_FROM_APP}{database}")


def _existing(make: Callable[[str], Any], url: str) -> Any:
    """A database that is there: SQLite would make a file for whoever looks."""
    try:
        database = make(url)
    except ValueError as error:
        raise Refusal(str(error)) from None
    path = database.address.database
    if database.dialect == "sqlite" and not Path(path).is_file():
        raise DatabaseUnavailable(f"there is no file {path}, so no events are kept in it")
    return database


def _run(
    database: str | None,
    screen: Screen,
    work: Callable[[Events], Awaitable[T]],
    change: Callable[[Keeping], Keeping] | None = None,
) -> T:
    from backstay.events.collector import Collector
    from backstay.events.events import Events
    from backstay.events.masking import Masking
    from backstay.events.sampling import Sampling

    place = _place(database)
    screen.note(f"database: {place.store.database.url} (from {place.source})")
    # What an engine would tell an operator is said by the command, in one line.
    logging.getLogger("backstay").addHandler(logging.NullHandler())
    clock = SystemClock()
    events = Events(
        place.store,
        Collector(clock, Sampling.of(0.0, on=False), queue=1, batch=1),
        Masking(),
        clock,
        place.keeping if change is None else change(place.keeping),
    )

    async def bounded() -> T:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await work(events)
        except TimeoutError:
            raise DatabaseUnavailable(
                f"{place.store.database.url} has not answered within {_PATIENCE_S:.0f} s"
            ) from None
        finally:
            await place.store.database.close()

    return asyncio.run(bounded())


def _span(said: str | None, option: str) -> timedelta | None:
    if said is None:
        return None
    try:
        return timedelta(seconds=min(parse_duration(said), 100 * 365 * 86_400))
    except ValueError as error:
        raise Refusal(f"{option}: {error}") from None


def _event_as_json(event: Event) -> dict[str, Any]:
    return {**asdict(event), "started_at": event.started_at.isoformat()}


def _minute_as_json(minute: Minute) -> dict[str, Any]:
    return {
        **asdict(minute),
        "at": minute.at.isoformat(),
        "mean_ms": minute.mean_ms,
        **{f"p{each}_ms": minute.quantile(each / 100) for each in (50, 95, 99)},
    }
