"""Each test in a transaction that is rolled back: nothing a test does is ever committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from backstay.db.database import Database
from backstay.testing.shared_engines import SharedEngines

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["RollbackIsolation"]


class RollbackIsolation:
    """One connection for everything in a test; see ``SharedConnection`` for what that means.

    Args:
        database: the app's, at the test database. Its connection is made with the first test.
        wait_s: seconds that a session waits for another's transaction to end.
    """

    def __init__(self, database: Database, *, wait_s: float = 10.0) -> None:
        self._database = database
        self._wait_s = wait_s
        self._engines: SharedEngines | None = None

    @contextmanager
    def one_test(self) -> Iterator[None]:
        """What happens inside is undone at the end.

        Raises:
            IsolationError: the database is none that this is known for.
        """
        if self._engines is None:
            self._engines = SharedEngines(self._database.engine, wait_s=self._wait_s)
        engines = self._engines
        try:
            engines.shared.begin_test()
            try:
                with self._database.override_engines(
                    engine=engines.engine, async_engine=engines.async_engine
                ):
                    yield
            finally:
                engines.shared.end_test()
        finally:
            if not engines.usable:
                self.close()  # the next test gets another

    def new_session(self, make: Callable[..., Session]) -> Session:
        """A session for the test itself."""
        return make()

    def require_committed(self) -> None:
        """Refuse to go on while a session of this thread has written and not committed.

        Raises:
            IsolationError: one has, and whoever is asked next would wait for it.
        """
        if self._engines is not None:
            self._engines.shared.turn.require_free()

    def close(self) -> None:
        """Close the connection."""
        if self._engines is not None:
            self._engines.close()
            self._engines = None
