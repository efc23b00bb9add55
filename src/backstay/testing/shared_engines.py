"""An engine for sync and one for async code over one shared connection."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from backstay.errors import MissingExtra
from backstay.testing.shared_connection import SharedConnection
from backstay.testing.write_turn import IsolationError

try:
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import NullPool
except ImportError as missing:
    raise MissingExtra("db", missing.name or "greenlet") from missing

__all__ = ["SharedEngines"]

_DIALECTS = {"postgresql", "sqlite"}


class SharedEngines:
    """The engines, and the connection behind both.

    Both speak the sync driver: async code waits for its turn without blocking the event loop, and
    then blocks it for the statement.

    Args:
        original: the sync engine that they stand for, whose dialect, with its options, they have.
            The connection comes from it, set up by its listeners.
        wait_s: seconds that a session waits for another's transaction to end.

    Raises:
        IsolationError: it is an engine for another database than SQLite and PostgreSQL.
    """

    def __init__(self, original: Engine, *, wait_s: float = 10.0) -> None:
        if original.dialect.name not in _DIALECTS:
            raise IsolationError(
                f"tests in a transaction are known for SQLite and PostgreSQL; this is "
                f'{original.dialect.name!r}: use isolation="truncate"'
            )
        # Out of its pool for good; a detached connection is closed when it is given back.
        self._held = original.raw_connection()
        raw: Any = self._held.driver_connection
        self._held.detach()
        raw.commit()  # what listeners to its making have set, as SET search_path
        if original.dialect.name == "sqlite":
            raw.isolation_level = None
        else:
            raw.autocommit = True
        self.shared = SharedConnection(raw, original.dialect.name, wait_s=wait_s)
        self.engine = self._engine(original, asynchronous=False)
        self.async_engine = AsyncEngine(self._engine(original, asynchronous=True))
        if original.dialect.name == "postgresql":
            # Rather an error than an event loop that hangs, where another connection has a lock.
            self.shared.control(f"SET lock_timeout = '{wait_s:g}s'")

    @property
    def usable(self) -> bool:
        """Whether the connection is still there, with no transaction in it."""
        try:
            self.shared.control("BEGIN")
            self.shared.control("ROLLBACK")
        except Exception:
            return False  # whatever the driver says when it is not
        return True

    def close(self) -> None:
        """Close the connection. The engines are of no more use."""
        self._held.close()

    def _engine(self, original: Engine, *, asynchronous: bool) -> Engine:
        dialect: Any = copy.copy(original.dialect)
        if asynchronous:
            dialect.is_async = True
            dialect.has_terminate = True  # sessions that were forgotten are rolled back
            if not dialect.supports_server_side_cursors:
                dialect.supports_server_side_cursors = True  # as aiosqlite does
                dialect.execution_ctx_cls = _streaming(dialect.execution_ctx_cls)
        connect: Callable[[], Any] = lambda: self.shared.lease(asynchronous=asynchronous)  # noqa: E731
        pool = NullPool(connect, dialect=dialect)
        return Engine(
            pool, dialect, original.url, execution_options=original.get_execution_options()
        )


def _streaming(context: type[Any]) -> type[Any]:
    """What runs statements, able to ``stream()`` though the sync driver streams whatever it reads."""

    class Streaming(context):  # type: ignore[misc]  # whichever the dialect has
        def create_server_side_cursor(self) -> Any:
            return self._dbapi_connection.cursor()

    return Streaming
