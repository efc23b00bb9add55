"""A small database in one SQLite file, as the recipes' services use it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Store"]


class Store:
    """Opens a connection for each piece of work, so any thread may use it.

    Args:
        path: of the database file.
        schema: statements that make the tables.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(schema)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside is kept, or nothing if it raises."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            yield connection

    def run(self, statement: str, *values: object) -> int:
        """Run one statement in a transaction of its own; the new row's id, if it made one."""
        with self.transaction() as connection:
            return connection.execute(statement, values).lastrowid or 0

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query, values).fetchall()
