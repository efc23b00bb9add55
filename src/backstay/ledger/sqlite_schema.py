"""The tables of the SQLite engine: what they are, and how they come to be.

Times are integers, microseconds since the epoch. Ids are the sixteen bytes of a UUID. What grows
with history is never searched: each question a worker asks has a partial index that holds live
rows only.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import NoReturn

from backstay.errors import LedgerMismatch, LedgerUnavailable

__all__ = ["MADE_BY", "SCHEMA_VERSION", "found_version", "migrate"]

SCHEMA_VERSION = 1
MADE_BY = "backstay"

_TABLES = ("jobs", "edges", "queues", "gates", "workers", "ticks", "meta")

# One list of statements per version, applied in order. A version that was released is never
# edited: the next one says what changed.
#
# jobs.rank: the time a job became (or becomes) available less ten minutes per point of priority.
# jobs.unique_held: whether the job holds unique_key now. The key itself stays, because a job that
#   is requeued must take it again.
# The large columns come last: SQLite reads a row from its start, and only as far as it needs.
_VERSIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE {p}jobs (
            seq INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE,
            state TEXT NOT NULL DEFAULT 'available',
            queue TEXT NOT NULL,
            rank INTEGER NOT NULL,
            run_at INTEGER NOT NULL,
            priority INTEGER NOT NULL DEFAULT 0,
            attempt INTEGER NOT NULL DEFAULT 0,
            max_attempts INTEGER NOT NULL DEFAULT 1,
            fence INTEGER NOT NULL DEFAULT 0,
            task TEXT NOT NULL,
            worker TEXT,
            created_at INTEGER NOT NULL,
            started_at INTEGER,
            finished_at INTEGER,
            expires_at INTEGER,
            keep_s REAL,
            gate TEXT,
            gate_limit INTEGER,
            gate_rate INTEGER,
            gate_per_s REAL,
            unique_key TEXT,
            unique_held INTEGER NOT NULL DEFAULT 0,
            unique_states INTEGER NOT NULL DEFAULT 0,
            unique_until INTEGER,
            waiting_for INTEGER NOT NULL DEFAULT 0,
            on_parent_failure TEXT NOT NULL DEFAULT 'cancel',
            cancel_requested INTEGER NOT NULL DEFAULT 0,
            cancel_reason TEXT,
            meta TEXT NOT NULL DEFAULT '{}',
            args TEXT NOT NULL DEFAULT '{}',
            progress TEXT,
            result TEXT,
            errors TEXT
        )
        """,
        """
        CREATE INDEX {p}jobs_available ON {p}jobs (queue, rank)
        WHERE state = 'available' AND gate IS NULL
        """,
        """
        CREATE INDEX {p}jobs_gated ON {p}jobs (queue, gate, rank)
        WHERE state = 'available' AND gate IS NOT NULL
        """,
        """
        CREATE INDEX {p}jobs_due ON {p}jobs (queue, run_at)
        WHERE state IN ('scheduled', 'retrying')
        """,
        """
        CREATE INDEX {p}jobs_running ON {p}jobs (queue, worker) WHERE state = 'running'
        """,
        """
        CREATE INDEX {p}jobs_running_gate ON {p}jobs (gate)
        WHERE state = 'running' AND gate IS NOT NULL
        """,
        """
        CREATE UNIQUE INDEX {p}jobs_unique ON {p}jobs (unique_key) WHERE unique_held = 1
        """,
        # The jobs whose place in line does not tell since when they wait; the others need no index
        # more for that.
        """
        CREATE INDEX {p}jobs_unlike ON {p}jobs (queue, rank + priority * 600000000)
        WHERE state = 'available' AND (priority <> 0 OR gate IS NOT NULL)
        """,
        # For counting in order without reading the rows, and for pruning. The condition is not a list of
        # states, because SQLite looks up lists of three or more in a temporary table: every
        # statement that writes would be a third slower.
        """
        CREATE INDEX {p}jobs_finished ON {p}jobs (state, queue, task, expires_at, finished_at)
        WHERE finished_at IS NOT NULL
        """,
        # For people who list what is few beside the succeeded ones.
        """
        CREATE INDEX {p}jobs_given_up ON {p}jobs (state, id)
        WHERE state IN ('discarded', 'cancelled')
        """,
        "CREATE INDEX {p}jobs_waiting ON {p}jobs (id) WHERE state = 'waiting'",
        """
        CREATE TABLE {p}edges (
            child BLOB NOT NULL,
            position INTEGER NOT NULL,
            parent BLOB NOT NULL,
            settled INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (child, position)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX {p}edges_open ON {p}edges (parent) WHERE settled = 0",
        "CREATE INDEX {p}edges_parent ON {p}edges (parent)",
        """
        CREATE TABLE {p}queues (
            name TEXT PRIMARY KEY,
            declared INTEGER NOT NULL DEFAULT 0,
            paused_at INTEGER,
            max_running INTEGER,
            rate INTEGER,
            per_s REAL NOT NULL DEFAULT 1.0
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE {p}gates (
            name TEXT PRIMARY KEY,
            starts TEXT NOT NULL,
            stale_at INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE INDEX {p}gates_stale ON {p}gates (stale_at)",
        """
        CREATE TABLE {p}workers (
            id TEXT PRIMARY KEY,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            started_at INTEGER NOT NULL,
            beat_at INTEGER NOT NULL,
            lease_s REAL NOT NULL,
            concurrency INTEGER NOT NULL,
            queues TEXT NOT NULL,
            version TEXT NOT NULL
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE {p}ticks (
            name TEXT PRIMARY KEY,
            last_tick INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE TABLE {p}meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "INSERT INTO {p}meta (key, value) VALUES ('made_by', 'backstay'), ('schema_version', '0')",
    ),
)


def found_version(connection: sqlite3.Connection, prefix: str, where: str) -> int:
    """The version of the tables, 0 if there are none.

    Args:
        connection: reads only.
        prefix: of the tables' names.
        where: the database, as errors name it.

    Raises:
        LedgerMismatch: there are tables of these names that are not ours, or newer ones.
    """
    wanted = [prefix + each for each in _TABLES]
    marks = ", ".join("?" * len(wanted))
    found = connection.execute(
        f"SELECT name FROM sqlite_master WHERE name IN ({marks}) ORDER BY name",  # noqa: S608  # names of tables and placeholders, never values
        wanted,
    ).fetchall()
    if not found:
        return 0
    names = [name for (name,) in found]
    meta = prefix + "meta"
    rest = 'name another prefix (backstay_ is the default), or another database (database="...")'
    if meta not in names:
        raise LedgerMismatch(
            f"{where} has {', '.join(names)} but no {meta}: these tables are not ours; {rest}"
        )
    try:
        facts = dict(
            connection.execute(f"SELECT key, value FROM {meta}").fetchall()  # noqa: S608  # names of tables and placeholders, never values
        )
    except sqlite3.OperationalError as error:
        raise LedgerMismatch(
            f"the table {meta} in {where} is not ours ({error}); {rest}"
        ) from error
    if facts.get("made_by") != MADE_BY:
        raise LedgerMismatch(
            f"the table {meta} in {where} says made_by={facts.get('made_by')!r}, "
            f"not {MADE_BY!r}: these tables are not ours; {rest}"
        )
    try:
        version = int(facts["schema_version"])
    except (KeyError, ValueError, TypeError) as error:
        raise LedgerMismatch(
            f"the table {meta} in {where} says schema_version="
            f"{facts.get('schema_version')!r}, which is no number; restore it from a backup"
        ) from error
    if version > SCHEMA_VERSION:
        raise LedgerMismatch(
            f"the tables {prefix}* in {where} are of version {version}, and this backstay knows "
            f"versions up to {SCHEMA_VERSION}: a newer one has been here; update this one"
        )
    return version


def migrate(
    connection: sqlite3.Connection, prefix: str, where: str, *, create: bool = True
) -> None:
    """Bring the tables to this version, if they are not: whole or not at all.

    Args:
        connection: in autocommit mode.
        prefix: of the tables' names.
        where: the database, as errors name it.
        create: ``False``: change nothing.

    Raises:
        LedgerUnavailable: there are none, and nothing was to be changed.
        LedgerMismatch: as ``found_version``; or they are older, and nothing was to be changed.
        sqlite3.OperationalError: another process is writing; nothing has happened.
    """
    version = found_version(connection, prefix, where)
    if version == SCHEMA_VERSION:
        return
    if not create:
        _refuse(connection, prefix, where, version)
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Again, under the lock: another process may have been faster.
        for number in range(found_version(connection, prefix, where), SCHEMA_VERSION):
            for statement in _VERSIONS[number]:
                connection.execute(statement.replace("{p}", prefix))
            connection.execute(
                f"UPDATE {prefix}meta SET value = ? WHERE key = 'schema_version'",  # noqa: S608  # names of tables and placeholders, never values
                (str(number + 1),),
            )
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def _refuse(connection: sqlite3.Connection, prefix: str, where: str, version: int) -> NoReturn:
    if version:
        raise LedgerMismatch(
            f"the tables {prefix}* in {where} are of version {version}, and this backstay knows "
            f"version {SCHEMA_VERSION}; start an app with this one, which brings them up to it"
        )
    (others,) = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
    ).fetchone()
    found = "it is empty" if not others else f"it has {others} other table{'s' * (others != 1)}"
    raise LedgerUnavailable(
        f"{where} holds no jobs: no table's name begins with {prefix!r}; {found}. Name the "
        "database that the app uses, or its prefix; an app makes the tables when it first starts"
    )
