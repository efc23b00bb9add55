"""Sync sessions that end while a thread may still be using them.

A request that is cancelled (by a timeout, say) leaves its sync endpoint running in its thread,
which nothing can stop. Its connection must not go back to the pool in the middle of a statement:
that statement would then be executed outside of any transaction, or in somebody else's.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import Any

from backstay.errors import MissingExtra

try:
    from sqlalchemy import event
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.exc import IllegalStateChangeError, ResourceClosedError
    from sqlalchemy.orm import Session
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["close_for_good", "take_turns"]

logger = logging.getLogger("backstay.db")

_KEY = "backstay_turn"
_PAUSE_S = 0.005
_PATIENCE_S = 60.0


def take_turns(engine: Engine) -> None:
    """Have each connection execute nothing while it is being closed, and nothing afterwards."""

    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        with _turn(context):
            cursor.execute(statement, parameters)
        return True

    def execute_many(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        with _turn(context):
            cursor.executemany(statement, parameters)
        return True

    def execute_bare(cursor: Any, statement: str, context: Any) -> bool:
        with _turn(context):
            cursor.execute(statement)
        return True

    event.listen(engine, "do_execute", execute)
    event.listen(engine, "do_executemany", execute_many)
    event.listen(engine, "do_execute_no_params", execute_bare)


class _Turn:
    """A driver's connection has one, which stays with it in the pool.

    Attributes:
        lock: held by whoever executes with the connection, or closes it.
        leaving: the ``Connection`` that is being closed, for which nothing more is executed.
    """

    __slots__ = ("leaving", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.leaving: Connection | None = None

    @classmethod
    def of(cls, connection: Connection) -> _Turn:
        try:
            turn: _Turn = connection.info.setdefault(_KEY, cls())
        except NotImplementedError:
            # SQLAlchemy is just getting to know the database, and nobody else has this one.
            return cls()
        return turn


class _turn:  # noqa: N801  # a context manager in the place of a function, for it runs every time
    __slots__ = ("_connection", "_turn")

    def __init__(self, context: Any) -> None:
        self._connection: Connection = context.root_connection
        self._turn = _Turn.of(self._connection)

    def __enter__(self) -> None:
        self._turn.lock.acquire()
        if self._turn.leaving is self._connection or self._connection.closed:
            self._turn.lock.release()
            raise ResourceClosedError(
                "the request or task that this connection was opened for is over"
            )

    def __exit__(self, *_: object) -> None:
        self._turn.lock.release()


def close_for_good(session: Session) -> None:
    """Roll back what was not committed, close, and have the session begin nothing any more.

    Blocks, for as long as a statement that is running in another thread runs.
    """
    session.autobegin = False
    until = time.monotonic() + _PATIENCE_S
    while True:
        # SQLAlchemy refuses while that thread is just connecting, committing or closing.
        with suppress(IllegalStateChangeError):
            if _closed(session, max(0.0, until - time.monotonic())):
                return
        if time.monotonic() >= until:
            logger.warning(
                "a statement of a request or task that was given up is still running after "
                "%.0f s; its connection is in use until it ends",
                _PATIENCE_S,
            )
            return
        time.sleep(_PAUSE_S)


def _closed(session: Session, patience_s: float) -> bool:
    turns = _turns_of(session)
    held: list[_Turn] = []
    try:
        for connection, turn in turns:
            turn.leaving = connection
            if not turn.lock.acquire(timeout=patience_s):
                return False
            held.append(turn)
        session.close()
        for turn in held:
            turn.leaving = None  # whoever gets it next may execute
    finally:
        for turn in held:
            turn.lock.release()
    return True


def _turns_of(session: Session) -> list[tuple[Connection, _Turn]]:
    """Of its connections; none if it has none.

    ``session.connection()`` would refuse while another thread is using the session, which is just
    when this matters, so they are looked for where the transaction keeps them.
    """
    kept = getattr(session.get_transaction(), "_connections", ())
    turns: dict[int, tuple[Connection, _Turn]] = {}
    for each in list(kept):
        if isinstance(each, Connection):
            with suppress(ResourceClosedError):  # by that thread, just now
                turn = _Turn.of(each)
                turns[id(turn)] = each, turn
    return [turns[key] for key in sorted(turns)]  # in one order, whoever else does the same
