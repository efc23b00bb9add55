"""Jobs that are written in the transaction of somebody's SQLAlchemy session.

Jobs are handed to a session without touching its database, since ``schedule`` is a plain function
that may be called beside an ``AsyncSession``; the session's own commit writes them. What SQLAlchemy
tells about a session is enough to follow each job through savepoints and rollbacks:

- ``before_commit`` comes before the flush of a commit, of the whole transaction or of a savepoint,
  without saying of which.
- ``after_commit`` comes after either; ``after_transaction_end`` after every end, and an end without
  an ``after_commit`` before it was a rollback, whoever ordered it.

SQLAlchemy is imported here, so this module is to be imported where a session has been given.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from backstay.errors import BackstayError, BadJob, JobError, LedgerUnavailable, MissingExtra
from backstay.ledger.opening import without_password
from backstay.ledger.port import Execute, Ledger, Wake
from backstay.ledger.rows import Finish, Inserted, NewJob

try:
    from sqlalchemy import event, text, update
    from sqlalchemy import table as table_named
    from sqlalchemy.exc import (
        DBAPIError,
        InterfaceError,
        InvalidRequestError,
        OperationalError,
        SQLAlchemyError,
        UnboundExecutionError,
    )
    from sqlalchemy.exc import (
        TimeoutError as PoolTimeout,
    )
    from sqlalchemy.orm import Session, scoped_session
except ImportError as missing:
    raise MissingExtra("db", "sqlalchemy") from missing

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import SessionTransaction

__all__ = [
    "SessionJobs",
    "Told",
    "finish_in",
    "finish_in_sync",
    "insert_in",
    "insert_in_sync",
    "jobs_of",
    "pending",
    "sync_session_of",
    "take",
]

logger = logging.getLogger("backstay.jobs")

R = TypeVar("R")

Told = Callable[[Inserted | None], object]
"""Told once what became of a job: ``None`` if its transaction was rolled back, or if whether it
was committed is not known because the connection broke. Must not raise or block; called by
whatever thread ends the transaction."""

_KEY = "backstay.jobs"
"""Where ``Session.info`` holds the session's jobs."""

# Sessions that send writes and reads to different databases look at the statement to decide.
_A_WRITE: Mapping[str, Any] = {"clause": update(table_named("backstay_jobs"))}

# SQLSTATE classes (PostgreSQL, appendix A) that pass by themselves or are the server's own trouble:
# connection, rollback (a deadlock, say), resources, object in use, operator intervention, system.
_PASSING = ("08", "40", "53", "55", "57", "58")


def sync_session_of(session: object) -> Session:
    """The ``Session`` that does the work of any kind of SQLAlchemy session.

    Args:
        session: a ``Session``, ``AsyncSession``, ``scoped_session`` or ``async_scoped_session``,
            or a subclass of one, SQLModel's among them.

    Raises:
        BadJob: it is something else.
    """
    if isinstance(session, Session):
        return session
    found: object = session
    # Nobody can hold an object of a module that was never imported; importing it needs greenlet.
    asynchronous: Any = sys.modules.get("sqlalchemy.ext.asyncio")
    if isinstance(found, scoped_session) or (
        asynchronous is not None and isinstance(found, asynchronous.async_scoped_session)
    ):
        found = found.registry()
    if asynchronous is not None and isinstance(found, asynchronous.AsyncSession):
        found = found.sync_session
    if isinstance(found, Session):
        return found
    kind = type(session)
    hint = ""
    if kind.__name__.endswith("sessionmaker"):
        hint = "; call it to get a session"
    elif kind.__name__ in {"Engine", "AsyncEngine", "Connection", "AsyncConnection"}:
        hint = "; make a session of it"
    elif hasattr(session, "__next__") or hasattr(session, "__anext__"):
        hint = "; this is a generator, whose session is what it yields"
    raise BadJob(
        f"a durable task can join a SQLAlchemy Session or AsyncSession; got {session!r} of type "
        f"{kind.__module__}.{kind.__qualname__}{hint}"
    )


def jobs_of(session: object) -> SessionJobs:
    """The jobs of a session, of any kind that ``sync_session_of`` knows.

    Raises:
        BadJob: it is no session.
    """
    sync_session = sync_session_of(session)
    jobs = sync_session.info.get(_KEY)
    if isinstance(jobs, SessionJobs) and jobs.belongs_to(sync_session):
        return jobs
    jobs = sync_session.info[_KEY] = SessionJobs(sync_session)
    return jobs


def pending(session: object) -> list[NewJob]:
    """Jobs that the session's commit is going to write."""
    return jobs_of(session).pending()


def take(session: object) -> list[tuple[NewJob, Told]]:
    """Take away what the session has not written. See ``SessionJobs.take``."""
    return jobs_of(session).take()


class _Entry:
    """A job on its way.

    Attributes:
        job: ``None`` for a mere wish to tell the ledger after the commit.
        scope: the (savepoint's) transaction with which it is forgotten.
        written_in: the one in which it was written, ``None`` if it was not.
    """

    __slots__ = ("inserted", "job", "ledger", "scope", "told", "written_in")

    def __init__(
        self, ledger: Ledger, job: NewJob | None, told: Told | None, scope: SessionTransaction
    ) -> None:
        self.ledger = ledger
        self.job = job
        self.told = told
        self.scope = scope
        self.written_in: SessionTransaction | None = None
        self.inserted: Inserted | None = None


class SessionJobs:
    """What one session writes into ledgers with its commits. ``jobs_of`` makes and keeps it.

    Args:
        session: whose commits and rollbacks to follow.
    """

    def __init__(self, session: Session) -> None:
        self._session = weakref.ref(session)
        self._entries: list[_Entry] = []
        self._announced: SessionTransaction | None = None
        self._committing = False
        self._committed: SessionTransaction | None = None
        for name, listener in (
            ("before_commit", self._before_commit),
            ("after_flush_postexec", self._after_flush),
            ("after_commit", self._after_commit),
            ("after_transaction_end", self._after_end),
        ):
            event.listen(session, name, listener)

    def belongs_to(self, session: Session) -> bool:
        """Whether these are that session's; ``info`` may have been copied to another."""
        return self._session() is session

    def add(self, ledger: Ledger, job: NewJob, told: Told) -> None:
        """Have the session's commit write ``job``. Nothing is executed now.

        It belongs to the savepoint that is open now, if one is, else to the whole transaction. As
        ``Session.add`` does, this begins the transaction if none has begun.

        Args:
            ledger: whose tables are in the session's database.
            job: what to write.
            told: told what became of it, after the commit or rollback.

        Raises:
            BadJob: the session's database is of another kind than the ledger's, or the session
                wants its transactions begun explicitly and none is.
        """
        session = self._live()
        self._require_dialect(session, ledger)
        self._entries.append(_Entry(ledger, job, told, self._scope(session)))

    def pending(self) -> list[NewJob]:
        """Jobs that are not written yet."""
        return [
            entry.job
            for entry in self._entries
            if entry.job is not None and entry.written_in is None
        ]

    def uncommitted(self) -> list[NewJob]:
        """Jobs that are written, by ``insert`` mostly, and gone if the session does not commit."""
        return [
            entry.job
            for entry in self._entries
            if entry.job is not None and entry.inserted is not None and entry.inserted.created
        ]

    def take(self) -> list[tuple[NewJob, Told]]:
        """Take away what is not written yet, for the caller to see to; nobody is told."""
        taken: list[tuple[NewJob, Told]] = []
        kept: list[_Entry] = []
        for entry in self._entries:
            if entry.job is not None and entry.written_in is None and entry.told is not None:
                taken.append((entry.job, entry.told))
            else:
                kept.append(entry)
        self._entries = kept
        return taken

    @property
    def holds_lock(self) -> bool:
        """Whether its open transaction keeps others from writing: only SQLite lets one do that.

        Whoever waits for another connection to write before this session ends, waits in vain.
        """
        session = self._session()
        root = None if session is None else session.get_transaction()
        if session is None or root is None:
            return False
        for connection in _connections(root):
            if connection.dialect.name == "sqlite" and not connection.invalidated:
                driver = connection.connection.driver_connection
                if getattr(driver, "in_transaction", False):
                    return True
        return False

    def insert(self, ledger: Ledger, jobs: Sequence[NewJob]) -> list[Inserted]:
        """Write jobs now, in the session's transaction; the ledger is told after its commit.

        Blocks; for an ``AsyncSession`` only inside ``run_sync``.
        """
        session = self._live()
        self._require_dialect(session, ledger)
        inserted = self._insert(session, ledger, jobs)
        scope = self._scope(session)
        for job, each in zip(jobs, inserted, strict=True):
            entry = _Entry(ledger, job, None, scope)
            entry.written_in, entry.inserted = scope, each
            self._entries.append(entry)
        return inserted

    def finish(self, ledger: Ledger, finish: Finish) -> bool:
        """End a claim now, in the session's transaction; whether it was current. Blocks."""
        session = self._live()
        self._require_dialect(session, ledger)
        current = self._with_connection(
            session, ledger, lambda execute: ledger.finish_through(execute, finish)
        )
        if current:
            self._entries.append(_Entry(ledger, None, None, self._scope(session)))
        return current

    # ------------------------------------------------------------------ what the session tells

    def _before_commit(self, session: Session) -> None:
        nested = session.get_nested_transaction()
        if nested is not None and self._announced is not nested:
            # A savepoint is released: its jobs wait for the commit of the whole. If it is a
            # transaction around the savepoint that is being committed, the savepoint's own
            # announcement comes second, and is the last chance to write.
            self._announced = nested
            return
        self._committing = True
        self._write(session)

    def _after_flush(self, session: Session, _context: object) -> None:
        # The flush that belongs to a commit comes after before_commit, and listeners to it
        # ("when an order is inserted") may have scheduled something.
        if self._committing:
            self._write(session)

    def _after_commit(self, session: Session) -> None:
        self._committed = session.get_nested_transaction() or session.get_transaction()

    def _after_end(self, _session: Session, ended: SessionTransaction) -> None:
        root = ended.parent is None
        if not root and not ended.nested:
            return  # a flush's
        committed, self._committed = self._committed is ended, None
        if root:
            self._committing = False
            self._announced = None
            if self._entries:
                entries, self._entries = self._entries, []
                self._settle(entries, committed)
        elif committed:
            self._move_out(ended)
        else:
            self._forget(ended)

    def _move_out(self, released: SessionTransaction) -> None:
        """A savepoint is released: what belonged to it belongs to what is around it."""
        around = released.parent
        assert around is not None
        for entry in self._entries:
            if entry.scope is released:
                entry.scope = around
            if entry.written_in is released:
                entry.written_in = around

    def _forget(self, rolled_back: SessionTransaction) -> None:
        """A savepoint is rolled back."""
        forgotten = [entry for entry in self._entries if entry.scope is rolled_back]
        self._entries = [entry for entry in self._entries if entry.scope is not rolled_back]
        for entry in self._entries:
            if entry.written_in is rolled_back:
                entry.written_in = entry.inserted = None
        for entry in forgotten:
            _tell(entry.told, None)

    @staticmethod
    def _settle(entries: list[_Entry], committed: bool) -> None:
        """The transaction is over."""
        lost: list[_Entry] = []
        awakened: list[Ledger] = []
        for entry in entries:
            if not committed:
                _tell(entry.told, None)
                continue
            if entry.job is not None and entry.written_in is None:
                lost.append(entry)
                _tell(entry.told, None)
                continue
            if (entry.inserted is None or entry.inserted.created) and all(
                each is not entry.ledger for each in awakened
            ):
                awakened.append(entry.ledger)
            if entry.inserted is not None:
                _tell(entry.told, entry.inserted)
        for ledger in awakened:
            ledger.tell(Wake(enqueued=True, cancelled=False))
        if lost:
            names = ", ".join(repr(entry.job.task) for entry in lost if entry.job is not None)
            raise JobError(
                f"the session's transaction is committed, but without the durable task(s) {names}: "
                "they were scheduled when the commit had begun (after prepare(), or in a listener "
                "to its events); schedule them before, or with await tasks.durable.enqueue(...)"
            )

    # ------------------------------------------------------------------ writing

    def _write(self, session: Session) -> None:
        """Write what is not written, one ledger after the other."""
        waiting = [
            entry for entry in self._entries if entry.job is not None and entry.written_in is None
        ]
        while waiting:
            ledger = waiting[0].ledger
            group = [entry for entry in waiting if entry.ledger is ledger]
            waiting = [entry for entry in waiting if entry.ledger is not ledger]
            jobs = [entry.job for entry in group if entry.job is not None]
            inserted = self._insert(session, ledger, jobs)
            scope = self._scope(session)
            for entry, each in zip(group, inserted, strict=True):
                entry.written_in = scope
                entry.inserted = each

    def _insert(self, session: Session, ledger: Ledger, jobs: Sequence[NewJob]) -> list[Inserted]:
        return self._with_connection(
            session, ledger, lambda execute: ledger.insert_through(execute, jobs)
        )

    @staticmethod
    def _with_connection(session: Session, ledger: Ledger, write: Callable[[Execute], R]) -> R:
        where = "the session's database"
        try:
            connection = session.connection(bind_arguments=dict(_A_WRITE))
            where = _named(connection)
            if connection.dialect.name != ledger.dialect:
                raise _other_dialect(connection.dialect.name, ledger)
            return write(_execute_on(connection))
        except BackstayError:
            raise
        except UnboundExecutionError as error:
            raise _unbound(ledger) from error
        except (SQLAlchemyError, OSError) as error:
            raise _explained(error, where, ledger) from error

    @staticmethod
    def _require_dialect(session: Session, ledger: Ledger) -> None:
        try:
            bind = session.get_bind(**_A_WRITE)
        except SQLAlchemyError:
            return  # found out, and said, when it is to be written
        if bind.dialect.name != ledger.dialect:
            raise _other_dialect(bind.dialect.name, ledger)

    @staticmethod
    def _scope(session: Session) -> SessionTransaction:
        scope = session.get_nested_transaction() or session.get_transaction()
        if scope is None:
            if not session.autobegin:
                raise BadJob(
                    "the session was made with autobegin=False and no transaction has begun, so "
                    "there is none for the durable task to join; schedule it inside "
                    "`with session.begin():`"
                )
            # Without a transaction, rollback() and close() tell nobody, and the job would go
            # out with whatever is committed next.
            scope = session.begin()
        return scope

    def _live(self) -> Session:
        session = self._session()
        assert session is not None, "whoever calls has found these jobs in the session"
        return session


async def insert_in(session: object, ledger: Ledger, jobs: Sequence[NewJob]) -> list[Inserted]:
    """Write jobs now, in the session's transaction. They are there when that commits.

    Args:
        session: as ``sync_session_of`` says. A sync one blocks for the time of a statement, as
            everything does that async code asks of it.
        ledger: whose tables are in the session's database; told after the commit.
        jobs: all or none are written.

    Raises:
        BadJob: no session, or one of another kind of database.
        LedgerUnavailable: the database cannot be reached or written.
        JobError: it has no ledger.
    """
    if isinstance(session, Session):
        return jobs_of(session).insert(ledger, jobs)
    return await _run_in(session, lambda mine: mine.insert(ledger, jobs))


def insert_in_sync(session: object, ledger: Ledger, jobs: Sequence[NewJob]) -> list[Inserted]:
    """The same for a sync session in sync code."""
    return _sync_jobs_of(session, "await tasks.durable.enqueue(...)").insert(ledger, jobs)


async def finish_in(session: object, ledger: Ledger, finish: Finish) -> bool:
    """End a claim in the session's transaction.

    Returns:
        Whether the claim was current. If it was not, roll back.

    Raises:
        BadJob, LedgerUnavailable, JobError: as ``insert_in`` says.
    """
    if isinstance(session, Session):
        return jobs_of(session).finish(ledger, finish)
    return await _run_in(session, lambda mine: mine.finish(ledger, finish))


def finish_in_sync(session: object, ledger: Ledger, finish: Finish) -> bool:
    """The same for a sync session in sync code."""
    return _sync_jobs_of(session, "an async function").finish(ledger, finish)


async def _run_in(session: object, write: Callable[[SessionJobs], R]) -> R:
    jobs = jobs_of(session)  # also refuses what is no session
    if isinstance(session, scoped_session):
        return write(jobs)
    found: Any = session
    if not hasattr(found, "run_sync"):
        found = found()  # an async_scoped_session's, of this task
    result: R = await found.run_sync(lambda _: write(jobs))
    return result


def _sync_jobs_of(session: object, instead: str) -> SessionJobs:
    jobs = jobs_of(session)
    if not isinstance(session, Session | scoped_session):
        raise BadJob(
            f"sync code cannot wait for a {type(session).__qualname__}; "
            f"use a sync Session here, or {instead}"
        )
    return jobs


def _connections(root: SessionTransaction) -> set[Connection]:
    """What a transaction has connected to. There is a public way to ask since SQLAlchemy 2.1.7."""
    found = getattr(root, "connections", None)
    if found is None:
        found = {entry[0] for entry in getattr(root, "_connections", {}).values()}
    return set(found)


def _execute_on(connection: Connection) -> Execute:
    # The connection, not the session: session.execute() would flush, and calls listeners that
    # add their own conditions to statements.
    def execute(sql: str, params: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        result = connection.execute(text(sql), params)
        return [tuple(row) for row in result] if result.returns_rows else ()

    return execute


def _tell(told: Told | None, inserted: Inserted | None) -> None:
    if told is not None:
        try:
            told(inserted)
        except Exception:
            # The transaction is over, and those who wait for the other jobs have to hear of it.
            logger.exception("telling what became of a durable task failed")


def _named(connection: Connection) -> str:
    return repr(connection.engine.url.render_as_string(hide_password=True))


def _other_dialect(found: str, ledger: Ledger) -> BadJob:
    return BadJob(
        f"the session speaks to {found!r} and the ledger is in {ledger.dialect!r} "
        f"({without_password(ledger.url)}), so they cannot share a transaction; name the "
        "session's database in add_tasks(app, database=...), or enqueue without the session"
    )


def _unbound(ledger: Ledger) -> JobError:
    return JobError(
        "the session does not say which of its databases the durable tasks belong to: it has "
        "binds for mapped classes only. Give it a default one, Session(bind=engine, binds=...), "
        f"to the ledger's database ({without_password(ledger.url)})"
    )


def _explained(error: Exception, where: str, ledger: Ledger) -> Exception:
    """What to raise for an error of SQLAlchemy's or of the operating system."""
    cause: BaseException = getattr(error, "orig", None) or error
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
    said = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    if isinstance(error, InvalidRequestError) and not isinstance(error, DBAPIError):
        return error  # wrong use of the session: SQLAlchemy's message says which
    if code == "42P01" or "no such table" in said:
        return JobError(
            f"the durable task cannot be written with the session: its database {where} has no "
            f"ledger ({said}); the ledger is in {without_password(ledger.url)!r}. Name the "
            "session's database in add_tasks(app, database=...), or enqueue without the session"
        )
    if (
        isinstance(error, OperationalError | InterfaceError | PoolTimeout | OSError)
        or getattr(error, "connection_invalidated", False)
        or str(code)[:2] in _PASSING
    ):
        return LedgerUnavailable(
            f"the durable task cannot be written with the session into {where}: {said}; "
            "the transaction is to be rolled back and tried again"
        )
    if isinstance(error, DBAPIError):
        return JobError(f"the durable task cannot be written with the session into {where}: {said}")
    return error
