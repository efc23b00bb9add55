"""The database as a part of an app, and ``ctx.db``: the sessions of one piece of work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from backstay.context import Context, Moment, Origin, current_work
from backstay.db.database import Database
from backstay.db.manager import MainDatabaseManager
from backstay.db.turns import close_for_good
from backstay.errors import ContextClosed
from backstay.web.exchange import Exchange

if TYPE_CHECKING:
    from sqlalchemy import Executable
    from sqlalchemy.engine import Row
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.orm import Session

__all__ = ["ContextDatabase", "DatabasePart"]

logger = logging.getLogger("backstay.db")


class DatabasePart:
    """What ``add_database(app, database)`` switches on.

    Args:
        database: the engines; anything else in the app may use them too.
        manager: the manager they are of; ``None`` makes one when it is asked for.
    """

    attribute = "db"

    def __init__(self, database: Database, manager: MainDatabaseManager | None = None) -> None:
        self.database = database
        self._manager = manager
        self._endings: set[asyncio.Task[None]] = set()

    @property
    def manager(self) -> MainDatabaseManager:
        """The database's manager; one that was made here is not in development."""
        if self._manager is None:
            self._manager = MainDatabaseManager(self.database)
        return self._manager

    def bind(self, ctx: Context) -> ContextDatabase:
        """``ctx.db``."""
        return ContextDatabase(self, ctx)

    async def open(self) -> None:
        """Nothing: connections are made when they are first needed."""

    async def close(self) -> None:
        """Close what pieces of work left to be closed, and the engines."""
        while self._endings:
            await asyncio.wait(self._endings)
        await self.database.close()

    def start(self, ending: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin to commit, roll back or close; ``close`` waits for it. In the event loop's thread."""
        task = asyncio.get_running_loop().create_task(ending)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        return task


class ContextDatabase:
    """``ctx.db``: one session for async code and one for sync code, opened on first use.

    Both are committed when the work has succeeded, before its answer leaves, and rolled back if
    it fails; both are closed at its end. Each is a transaction of its own: use one kind in one
    piece of work (with SQLite, the second would wait for the first).

    What is written when the work has returned already (while the answer is streamed, or after it)
    is committed by whoever writes it; after the work is over, so is the closing:
    ``await ctx.db.close()``.
    """

    def __init__(self, part: DatabasePart, ctx: Context) -> None:
        self._part = part
        self._ctx = ctx
        self._session: AsyncSession | None = None
        self._sync_session: Session | None = None
        self._reads = False
        self._in_care = False
        self._end_is_known = False
        self._turn: asyncio.Lock | None = None

    @property
    def database(self) -> Database:
        """The app's database."""
        return self._part.database

    @property
    def manager(self) -> MainDatabaseManager:
        """The app's database manager."""
        return self._part.manager

    @property
    def session(self) -> AsyncSession:
        """The session for async code."""
        if self._session is None:
            self._session = self.database.session(reading=self._reads)
        if not self._in_care:
            self._put_in_care()
        return self._session

    @property
    def sync_session(self) -> Session:
        """The session for sync functions, which run in threads; one thread at a time."""
        if self._sync_session is None:
            if getattr(current_work.get(), "left_behind", False):
                raise ContextClosed(
                    "the work was given up (its time was over, or it was cancelled), so what it "
                    "writes now would be nobody's: ctx.db opens no session for it"
                )
            self._sync_session = self.database.sync_session(reading=self._reads)
        if not self._in_care:
            self._put_in_care()
        return self._sync_session

    @property
    def opened(self) -> bool:
        """Whether a session has been opened and not closed."""
        return self._session is not None or self._sync_session is not None

    @property
    def opened_session(self) -> AsyncSession | None:
        """The session for async code, if it has been opened."""
        return self._session

    @property
    def opened_sync_session(self) -> Session | None:
        """The session for sync code, if it has been opened."""
        return self._sync_session

    def expect_reads(self) -> None:
        """Begin transactions without SQLite's write lock, for work that should only read.

        Sessions that are in one already go on in it, and so does all this context's work then.
        See ``Database.async_engine_to_read`` for what becomes of writing all the same.
        """
        sessions = (self._session, self._sync_session)
        if any(session is not None and session.in_transaction() for session in sessions):
            return
        self._reads = True
        if self._session is not None:
            self._session.sync_session.bind = self.database.async_engine_to_read.sync_engine
        if self._sync_session is not None:
            self._sync_session.bind = self.database.engine_to_read

    async def fetch(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> Sequence[Row[Any]]:
        """The rows of one statement that reads; what this context has written is seen by it.

        Through the session that is in a transaction, if there is one, and else by the cheapest
        way: see ``Database.fetch``.
        """
        session, sync_session = self._session, self._sync_session
        if session is not None and session.in_transaction():
            return (await session.execute(statement, parameters)).all()
        if sync_session is not None and sync_session.in_transaction():
            found = await asyncio.to_thread(sync_session.execute, statement, parameters)
            return found.all()
        return await self.database.fetch(statement, parameters)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for several statements that read.

        It is that of ``session`` if that is in a transaction, else one of its own, which sees
        what is committed: see ``Database.reading``.
        """
        if self._session is not None and self._session.in_transaction():
            yield await self._session.connection()
            return
        async with self.database.reading() as connection:
            yield connection

    async def commit(self) -> None:
        """Commit what was opened. The sessions go on with new transactions."""
        await self._in_turn(self._commit)

    async def rollback(self) -> None:
        """Roll back what was opened."""
        await self._in_turn(self._rollback)
        # A task that is tried again has let go of what its last attempt asked to be committed.
        self._in_care = False

    async def close(self) -> None:
        """Roll back what was not committed and close. Using ``db`` again opens new sessions."""
        await self._in_turn(self._close)

    def leave_behind(self) -> Callable[[], None]:
        """The sync session stays in a thread whose work is over, and must begin nothing more.

        Else its next statement would begin a transaction that nobody ever ends, and with SQLite
        the whole file would be locked by it.

        Returns:
            What closes it, to be called in that thread when it is done.
        """
        session = self._sync_session
        if session is None:
            return lambda: None
        # SQLAlchemy's own switch; from now on the session refuses instead of beginning.
        session.autobegin = False
        return session.close

    # ------------------------------------------------------------------ the work they belong to

    def _put_in_care(self) -> None:
        """Have the work commit at its success and close at its end."""
        ctx = self._ctx
        if ctx.moment is Moment.CLOSED:
            return
        self._in_care = True
        work = ctx.work
        # Jobs are not asked: they commit by themselves, together with their completion.
        if work is not None and ctx.moment is Moment.OPENED and ctx.origin is not Origin.JOB:
            with suppress(ContextClosed):  # its answer has begun; see the class
                work.hold_answer(self.commit, first=True)
        if self._end_is_known:
            return
        self._end_is_known = True
        if isinstance(work, Exchange):
            if work.before_close is None:
                work.before_close = []
            work.before_close.append(self.close)
        else:
            ctx.at(Moment.CLOSED, lambda _: self._part.start(self.close()) if self.opened else None)

    async def _in_turn(self, do: Callable[[], Awaitable[None]]) -> None:
        """Do it to the end even if the caller is cancelled, and nothing else meanwhile.

        A commit that is broken off leaves nobody knowing what became of it, and a thread cannot
        be stopped in it anyway.
        """
        if not self.opened:
            return
        if self._turn is None:
            self._turn = asyncio.Lock()
        turn = self._turn

        async def done_whole() -> None:
            async with turn:
                await do()

        await asyncio.shield(self._part.start(done_whole()))

    async def _commit(self) -> None:
        if self._session is not None and self._session.in_transaction():
            await self._session.commit()
        if self._sync_session is not None and self._sync_session.in_transaction():
            await asyncio.to_thread(self._sync_session.commit)

    async def _rollback(self) -> None:
        if self._session is not None:
            await self._session.rollback()
        if self._sync_session is not None:
            await asyncio.to_thread(self._sync_session.rollback)

    async def _close(self) -> None:
        session, self._session = self._session, None
        sync_session, self._sync_session = self._sync_session, None
        if session is not None:
            await _logged(session.close())
        if sync_session is not None:
            await _logged(asyncio.to_thread(close_for_good, sync_session))


async def _logged(closing: Awaitable[Any]) -> None:
    try:
        await closing
    except Exception:
        # The connection is broken, and the pool forgets it; the work had its answer already.
        logger.exception("closing a database session failed")
