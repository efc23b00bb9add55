"""The database that tests run in: refused if its name does not say so, made, dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backstay.db.database import Database
from backstay.errors import MissingExtra
from backstay.testing.write_turn import IsolationError

try:
    from sqlalchemy import text
    from sqlalchemy.engine import URL, Connection
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.pool import NullPool
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["ScratchDatabase"]

# Words that have a test in them and say nothing about tests.
_OTHER_WORDS = re.compile(
    r"(?:at|con|de|fas|grea|la|pro|shor)test|test(?:ament|ify|imon)", re.IGNORECASE
)

_ONE_AT_A_TIME = 0x6261636B74657374
"""The key of PostgreSQL's advisory lock under which databases are made: "backtest"."""


@dataclass(frozen=True, slots=True)
class ScratchDatabase:
    """A database that may be dropped.

    Attributes:
        url: where it is, password included.
    """

    url: URL

    def __post_init__(self) -> None:
        if self.url.get_backend_name() not in {"postgresql", "sqlite"}:
            raise IsolationError(
                f"test databases are made for SQLite and PostgreSQL; got {self.shown!r}"
            )
        name = self._name
        if "test" not in _OTHER_WORDS.sub("", name).lower():
            raise IsolationError(
                f'tests empty and drop their database, and the name {name!r} does not have "test" '
                f"in it ({self.shown}): give them one of their own, such as "
                f'"{"test_" + name if name else "test.db"}"'
            )

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    def for_worker(self, worker: str | None) -> ScratchDatabase:
        """The same for one of several processes: ``test.db`` is ``test_gw0.db`` for ``gw0``.

        Args:
            worker: its name, as pytest-xdist has it; ``None``: there is only one.
        """
        if worker is None:
            return self
        whole = self.url.database or ""
        if self._is_sqlite:
            path = Path(whole)
            return ScratchDatabase(
                self.url.set(database=str(path.with_stem(f"{path.stem}_{worker}")))
            )
        return ScratchDatabase(self.url.set(database=f"{whole}_{worker}"))

    def create(self) -> None:
        """Make it, unless it is there. SQLite makes the file when somebody writes."""
        if self._is_sqlite:
            return
        with self._maintenance() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ONE_AT_A_TIME})
            if not self._is_there(connection):
                connection.execute(text(f"CREATE DATABASE {self._quoted(connection)}"))
                # What is lost when the machine fails is only a test's.
                connection.execute(
                    text(f"ALTER DATABASE {self._quoted(connection)} SET synchronous_commit = off")
                )

    def drop(self) -> None:
        """Drop it, whoever is still connected."""
        if self._is_sqlite:
            file = self.url.database or ""
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(file + suffix).unlink(missing_ok=True)
            return
        with self._maintenance() as connection:
            connection.execute(
                text(f"DROP DATABASE IF EXISTS {self._quoted(connection)} WITH (FORCE)")
            )

    @property
    def _is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def _name(self) -> str:
        whole = self.url.database or ""
        return Path(whole).name if self._is_sqlite else whole

    def _is_there(self, connection: Connection) -> bool:
        found = connection.execute(
            text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": self._name}
        )
        return found.first() is not None

    def _quoted(self, connection: Connection) -> str:
        return connection.dialect.identifier_preparer.quote_identifier(self._name)

    @contextmanager
    def _maintenance(self) -> Iterator[Connection]:
        """A connection to the database that every server has, without a transaction."""
        database = Database(self.url.set(database="postgres"), options={"poolclass": NullPool})
        engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                yield connection
        except OperationalError as error:
            raise IsolationError(
                f"the test database {self.shown} cannot be made or dropped: {error.orig}"
            ) from error
