"""``add_events(app)``: what has happened, as ``ctx.events``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from backstay.db.database import Database
from backstay.db.manager import MainDatabaseManager
from backstay.errors import BadEvents
from backstay.events.collector import Collector
from backstay.events.masking import Masking
from backstay.events.part import EventsPart
from backstay.events.sampling import SETTING, Sampling
from backstay.events.store import Keeping
from backstay.observation import Kind
from backstay.web.installation import install

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["add_events"]


def add_events(
    app: Starlette,
    database: str | URL | Engine | AsyncEngine | Database | MainDatabaseManager | None = None,
    *,
    sample: float | Mapping[Kind | str, float] = 1.0,
    keep_events: int = 100_000,
    keep_for_s: float = 7 * 86_400,
    keep_minutes_for_s: float = 8 * 86_400,
    batch: int = 200,
    every_s: float = 1.0,
    queue: int = 10_000,
    mask: Masking | None = None,
    record_requests: bool = True,
    on: bool = True,
) -> EventsPart:
    """Keep what happens in an app: one line, once, where the app is made.

    Requests, tasks, durable jobs, widget calls and outgoing calls are kept one by one, and counted
    minute by minute, in tables that are made in the app's own database.

    The setting ``BACKSTAY_EVENTS`` has the last word: ``"off"``, ``"on"``, or the part of all that
    is kept, such as ``"0.1"``.

    Args:
        app: the FastAPI app you serve.
        database: a URL, an engine, a ``Database`` or a manager, of SQLite or PostgreSQL. ``None``:
            the app's own (``app.state.DATABASE_MANAGER``, or what ``add_database`` was given).
        sample: the part that is kept one by one, between 0 and 1, for every kind or by kind
            (``{"request": 0.1}``; kinds that are not in it are kept whole). What has failed is
            always kept, and minutes count everything.
        keep_events: so many events at most.
        keep_for_s: seconds that an event is kept at most.
        keep_minutes_for_s: the same for minutes; the default has room for charts of a week.
        batch: events written in one transaction.
        every_s: seconds between two of them: what ``kill -9`` loses at most.
        queue: events that wait to be written at most. Beyond that the oldest go, those that did
            not fail first, and are counted (``ctx.events.dropped``).
        mask: what counts as a secret. ``None``: ``Masking()``.
        record_requests: ``False`` sees no requests at all, not even to count them.
        on: ``False`` keeps nothing, and ``ctx.events`` reads what was kept before.

    Returns:
        The part: its ``events`` are for code outside of any piece of work.

    Raises:
        AlreadyInstalled: the app has events.
        BadEvents: an option makes no sense.
        TypeError, ValueError: ``database`` is none.
    """
    backstay = install(app)
    sampling = Sampling.of(sample, on=on, setting=backstay.settings.get(SETTING))
    for what, count in (("keep_events", keep_events), ("batch", batch), ("queue", queue)):
        _check(what, count, int, "a number of events, 1 or more")
    for what, seconds in (
        ("keep_for_s", keep_for_s),
        ("keep_minutes_for_s", keep_minutes_for_s),
        ("every_s", every_s),
    ):
        _check(what, seconds, (int, float), "a number of seconds, more than 0")
    if queue < batch:
        raise BadEvents(f"queue={queue} has to have room for a batch, and batch={batch}")
    if mask is not None and not isinstance(mask, Masking):
        raise BadEvents(f"mask= is a Masking; got {mask!r}")
    collector = Collector(
        backstay.clock, sampling, queue=queue, batch=batch, record_requests=record_requests
    )
    part = EventsPart(
        backstay,
        database,
        collector,
        masking=Masking() if mask is None else mask,
        keeping=Keeping(keep_events, keep_for_s, keep_minutes_for_s),
        batch=batch,
        every_s=every_s,
    )
    # First: what other parts end when they close has happened, too.
    backstay.add(part, first=True)
    if sampling.on:
        backstay.add_observer(collector)
    return part


def _check(what: str, value: Any, kinds: Any, meaning: str) -> None:
    if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < _FOREVER_S:
        raise BadEvents(f"{what}= is {meaning}; got {value!r}")


_FOREVER_S = 100 * 365 * 86_400
