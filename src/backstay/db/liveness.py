"""Whether a connection that waited in the pool is still one, asked as rarely as can be."""

from __future__ import annotations

import select
import time
from typing import Any

from backstay.errors import MissingExtra

try:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.exc import InvalidatePoolError
except ImportError as missing:
    raise MissingExtra("db", "sqlalchemy") from missing

__all__ = ["watch_connections"]

_KEY = "backstay_given_back"


def watch_connections(engine: Engine, *, idle_s: float = 15.0) -> None:
    """Notice connections that died in the pool when they are taken from it, and replace them.

    SQLAlchemy's ``pool_pre_ping`` asks the server each time, with asyncpg by three round trips,
    which a short read feels. A server that goes away closes its sockets, though, and that can be
    seen from here: a connection in the pool has nothing to read. It is asked if it has, or if it
    has been idle for so long that something in between may have dropped it without a word.

    Args:
        engine: the (sync side of the) engine.
        idle_s: seconds in the pool after which the server is asked whatever the socket says.
    """

    def given_back(_: object, record: Any) -> None:
        record.info[_KEY] = time.monotonic()

    def taken(dbapi_connection: Any, record: Any, _: object) -> None:
        since = record.info.get(_KEY)
        if since is None:
            return  # made just now
        if time.monotonic() - since < idle_s and _is_quiet(record.driver_connection):
            return
        dialect = engine.dialect
        try:
            dialect.do_ping(dbapi_connection)
        except dialect.loaded_dbapi.Error as error:
            if not dialect.is_disconnect(error, dbapi_connection, None):
                raise
            # Whatever ended this one has most likely ended those that are as old.
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", given_back)
    event.listen(engine, "checkout", taken)


def _is_quiet(connection: Any) -> bool:
    """Whether the driver's connection is open and its server has said nothing; ``False`` if unknown."""
    try:
        if hasattr(connection, "is_closed"):  # asyncpg
            if connection.is_closed():
                return False
            number = connection._transport.get_extra_info("socket").fileno()
        else:  # psycopg, psycopg2
            number = connection.fileno()
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return not poll.poll(0)
    except Exception:
        # No socket to look at, no poll() in this system, or the driver's own way to say that it
        # is closed: the server is asked.
        return False
