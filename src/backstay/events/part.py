"""Events as a part of an app: collected while it runs, written beside its work."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from backstay.app import Backstay
from backstay.context import Context
from backstay.db.database import Database
from backstay.db.manager import MainDatabaseManager
from backstay.errors import BadEvents, DatabaseUnavailable
from backstay.events.collector import Collector
from backstay.events.events import Events
from backstay.events.masking import Masking
from backstay.events.store import EventStore, Keeping
from backstay.events.writer import Writer

__all__ = ["EventsPart"]

_CONNECTIONS = 2
"""One writes, one reads for whoever asks."""

logger = logging.getLogger("backstay.events")

_START_S = 5.0
"""The app starts without its events if their database takes longer to answer."""

_STOP_S = 5.0


class EventsPart:
    """What ``add_events(app)`` switches on. ``add_events`` documents the options.

    Attributes:
        collector: sees what happens.
        masking: what is left out.
        keeping: how much is kept.
    """

    attribute = "events"

    def __init__(
        self,
        app: Backstay,
        database: Any,
        collector: Collector,
        *,
        masking: Masking,
        keeping: Keeping,
        batch: int,
        every_s: float,
    ) -> None:
        self.app = app
        self.collector = collector
        self.masking = masking
        self.keeping = keeping
        self._on = collector.is_open
        self._batch = batch
        self._every_s = every_s
        self._own: Database | None = None
        self._given: Database | None = None
        if isinstance(database, Database):
            self._given = database
        elif isinstance(database, MainDatabaseManager):
            self._given = database.database
        elif database is not None:
            self._given = self._own = Database(database)
        self._store: EventStore | None = None
        self._writer: Writer | None = None

    @property
    def store(self) -> EventStore:
        """Where events are kept.

        Raises:
            BadEvents: nobody has said where, and the app has no database; or it is of a kind that
                events cannot be kept in.
        """
        if self._store is None:
            self._store = EventStore(self._given or self._database_of_app())
        return self._store

    @property
    def events(self) -> Events:
        """The same as ``ctx.events``, for code outside of any piece of work."""
        return self._events(None)

    def bind(self, ctx: Context) -> Events:
        """``ctx.events``."""
        return self._events(ctx.correlation_id)

    async def open(self) -> None:
        """Make the tables if they are missing, and begin to write.

        Raises:
            BadEvents: there is no database, or tables in it that are not ours.
        """
        if not self._on:
            return
        store = self.store
        if self._own is None:
            # The app's is closed before what its last tasks did is written.
            apart = store.database.apart(connections=_CONNECTIONS, of_sqlite=True)
            if apart is not store.database:
                self._own = apart
                store = self._store = EventStore(apart)
        try:
            async with asyncio.timeout(_START_S):
                await store.make_ready()
        except (DatabaseUnavailable, TimeoutError) as error:
            logger.warning("the app starts without its events, which wait: %s", error)
        except BaseException:
            await self._let_go()
            raise
        self.collector.is_open = True
        self._writer = Writer(
            self.collector,
            store,
            self.masking,
            self.app.clock,
            batch=self._batch,
            every_s=self._every_s,
            keeping=self.keeping,
        )
        self._writer.start()

    async def close(self) -> None:
        """Write what is waiting, for some seconds at most, and see nothing any more."""
        self.collector.is_open = False
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.stop(_STOP_S)
        await self._let_go()

    async def _let_go(self) -> None:
        """Close the connections that are this part's own."""
        if self._own is not None:
            await self._own.close()
            if self._own is not self._given:
                # Where the app's database is the next time is asked then.
                self._own = self._store = None

    def _events(self, correlation_id: str | None) -> Events:
        return Events(
            self.store,
            self.collector,
            self.masking,
            self.app.clock,
            self.keeping,
            writer=self._writer,
            correlation_id=correlation_id,
        )

    def _app_database(self) -> Database | None:
        return getattr(self.app.part("db"), "database", None) if self.app.has("db") else None

    def _database_of_app(self) -> Database:
        # Asked when it is needed: the app may be given its database after its events.
        manager = getattr(self.app.app_state, "DATABASE_MANAGER", None)
        found = getattr(manager, "database", None) or self._app_database()
        if not isinstance(found, Database):
            raise BadEvents(
                "add_events(app) found no database in the app: call backstay.db.add_database(app, "
                'url) where the app is made, or name one: add_events(app, "sqlite:///events.db")'
            )
        return found
