"""``track_queries``: the SQL statements that a piece of code causes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from backstay.db.database import Database
from backstay.errors import MissingExtra
from backstay.testing.statement_kind import StatementKind

try:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine
except ImportError as missing:
    raise MissingExtra("db", missing.name or "greenlet") from missing

__all__ = ["Query", "QueryTracker", "track_queries"]

_SHOWN_STATEMENT = 500
_SHOWN_PARAMS = 200
_CONTROL = {"SAVEPOINT", "RELEASE", "ROLLBACK"}


class _Manager(Protocol):
    @property
    def database(self) -> Database: ...


@dataclass(frozen=True, slots=True)
class Query:
    """One statement as it went to the driver.

    Attributes:
        statement: its text.
        params: its parameters, or a list of them.
        executemany: whether it was executed once for each of several parameters.
    """

    statement: str
    params: Any
    executemany: bool

    def __str__(self) -> str:
        return (
            f"{_shortened(' '.join(self.statement.split()), _SHOWN_STATEMENT)}"
            f"  -- {_shortened(repr(self.params), _SHOWN_PARAMS)}"
        )


@dataclass(slots=True)
class QueryTracker:
    """What ``track_queries`` has seen.

    Attributes:
        queries: the statements, in order. What begins and ends transactions and savepoints is not
            among them: how much of that a database needs is its own affair.
    """

    queries: list[Query] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many there were."""
        return len(self.queries)

    @property
    def repeated(self) -> dict[str, int]:
        """The texts that were executed more than once, and how often, the most frequent first.

        One that comes once for each row of a list is a query that should have been a join, or
        loaded with ``selectinload``.
        """
        counted = Counter(query.statement for query in self.queries)
        return {statement: count for statement, count in counted.most_common() if count > 1}

    def __str__(self) -> str:
        lines = [f"{number}. {query}" for number, query in enumerate(self.queries, 1)]
        for statement, count in self.repeated.items():
            text = _shortened(" ".join(statement.split()), _SHOWN_STATEMENT)
            lines.append(f"{count} times the same: {text}")
        return "\n".join(lines) or "no query"


@contextmanager
def track_queries(
    db_manager: _Manager | Database | Engine | AsyncEngine,
    expected_count: int | None = None,
    *,
    max_repeats: int | None = None,
) -> Iterator[QueryTracker]:
    """Note every statement that is executed meanwhile, by sync and async code, in any thread.

    Args:
        db_manager: whose statements: a ``MainDatabaseManager``, a ``Database`` or one engine.
        expected_count: how many there have to be, ``0`` included. ``None`` takes any number.
        max_repeats: how often one text may be executed, so that no query is made for each row
            of another. ``None`` takes any number.

    Raises:
        AssertionError: there were more or fewer, or one too often; the message shows them. Not
            raised if the block itself has raised.
    """
    tracker = QueryTracker()

    def note(_: Any, __: Any, statement: str, params: Any, ___: Any, executemany: bool) -> None:
        kind = StatementKind.of(statement)
        control = kind in {StatementKind.BEGIN, StatementKind.COMMIT, StatementKind.ROLLBACK}
        if not control and statement.lstrip().partition(" ")[0].upper() not in _CONTROL:
            tracker.queries.append(Query(statement, params, executemany))

    with ExitStack() as stack:
        for engine in _engines(db_manager):
            event.listen(engine, "before_cursor_execute", note)
            stack.callback(event.remove, engine, "before_cursor_execute", note)
        yield tracker
    if expected_count is not None and tracker.count != expected_count:
        raise AssertionError(
            f"{tracker.count} queries were executed, {expected_count} expected:\n{tracker}"
        )
    for statement, count in tracker.repeated.items():
        if max_repeats is not None and count > max_repeats:
            raise AssertionError(
                f"{statement!r} was executed {count} times, {max_repeats} at most expected; all "
                f"queries:\n{tracker}"
            )


def _engines(source: Any) -> list[Engine]:
    if isinstance(source, Engine):
        return [source]
    if isinstance(source, AsyncEngine):
        return [source.sync_engine]
    database = source if isinstance(source, Database) else getattr(source, "database", None)
    if not isinstance(database, Database):
        raise TypeError(
            f"track_queries() takes a MainDatabaseManager, a Database or an engine; got {source!r} "
            f"of type {type(source).__qualname__}"
        )
    engines = []
    # A driver that is not installed executes nothing.
    with suppress(MissingExtra, ValueError):
        engines.append(database.engine)
    with suppress(MissingExtra, ValueError):
        engines.append(database.async_engine.sync_engine)
    return engines


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
