"""The tables that events are kept in, and how they come to be."""

from __future__ import annotations

import zlib

from backstay.db.own_tables import fault_of
from backstay.errors import BadEvents, DatabaseUnavailable, MissingExtra
from backstay.events.tally import BUCKETS

try:
    from sqlalchemy import (
        BigInteger,
        Column,
        Connection,
        Index,
        Integer,
        MetaData,
        SmallInteger,
        String,
        Table,
        Text,
        Uuid,
        func,
        insert,
        inspect,
        select,
    )
    from sqlalchemy.exc import DBAPIError
except ImportError as missing:
    raise MissingExtra("db", missing.name or "sqlalchemy") from missing

__all__ = ["SCHEMA_VERSION", "TABLES", "events", "facts", "make_tables", "minutes"]

SCHEMA_VERSION = 1
_MADE_BY = "backstay events"

_LOCK_CLASS = 7236
"""PostgreSQL's advisory locks are two numbers; all of backstay's that make tables begin so."""

TABLES = MetaData()

events = Table(
    "backstay_events",
    TABLES,
    # A UUIDv7 of when it began: the key is the order, and there is no index on time.
    Column("id", Uuid(), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("name", String(200), nullable=False),
    Column("correlation_id", String(128)),
    Column("started_us", BigInteger(), nullable=False),
    Column("duration_us", BigInteger(), nullable=False),
    Column("outcome", String(32), nullable=False),
    Column("status", SmallInteger()),
    Column("error", Text()),
    Column("facts", Text(), nullable=False),
)
Index("backstay_events_correlation", events.c.correlation_id, events.c.id)

minutes = Table(
    "backstay_event_minutes",
    TABLES,
    Column("minute", Integer(), primary_key=True, autoincrement=False),
    Column("kind", String(32), primary_key=True),
    Column("name", String(200), primary_key=True),
    *(
        Column(name, Integer(), nullable=False)
        for name in ("count", "failed", "status_2xx", "status_3xx", "status_4xx", "status_5xx")
    ),
    Column("total_us", BigInteger(), nullable=False),
    Column("max_us", BigInteger(), nullable=False),
    *(Column(name, Integer(), nullable=False) for name in BUCKETS),
    sqlite_with_rowid=False,
)

facts = Table(
    "backstay_events_meta",
    TABLES,
    Column("key", String(100), primary_key=True),
    Column("value", Text(), nullable=False),
)


def make_tables(connection: Connection, *, create: bool = True) -> None:
    """See that the tables are there, or make them: whole or not at all, whoever else does.

    Args:
        connection: in a transaction; with SQLite one that has the write lock if they may be made.
        create: ``False`` complains if they are not there.

    Raises:
        BadEvents: there are tables of these names that are not ours, or of another version.
        DatabaseUnavailable: they are not there, and are not to be made or may not be.
    """
    if _are_there(connection):
        return
    where = connection.engine.url.render_as_string(hide_password=True)
    if not create:
        raise DatabaseUnavailable(
            f"no events are kept in {where}: the table {events.name} is not there; "
            "backstay.events.add_events(app) makes it when the app starts"
        )
    if connection.dialect.name == "postgresql":
        key = zlib.crc32(_MADE_BY.encode()) - 2**31
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK_CLASS, key)))
        if _are_there(connection):  # another process was faster
            return
    try:
        TABLES.create_all(connection, checkfirst=False)
    except DBAPIError as error:
        raise DatabaseUnavailable(
            f"the table {events.name} is missing in {where} and could not be made "
            f"({error.orig}); let a role that may make tables start the app once, then GRANT "
            f"SELECT, INSERT, UPDATE, DELETE on {', '.join(TABLES.tables)} to this one"
        ) from error
    connection.execute(
        insert(facts),
        [
            {"key": "made_by", "value": _MADE_BY},
            {"key": "schema_version", "value": str(SCHEMA_VERSION)},
            {"key": "pruned_at", "value": f"{0:012d}"},
        ],
    )


def _are_there(connection: Connection) -> bool:
    inspector = inspect(connection)
    # One question, for another process may be making them: then all or none are there.
    there = sorted(TABLES.tables.keys() & set(inspector.get_table_names()))
    if not there:
        return False
    where = connection.engine.url.render_as_string(hide_password=True)
    remedy = "give add_events(app, database=...) another database"
    if len(there) < len(TABLES.tables):
        raise BadEvents(
            f"{', '.join(there)} in {where} stands alone, so it is not ours; {remedy}, or drop it"
        )
    columns = {each["name"] for each in inspector.get_columns(facts.name)}
    if not columns >= set(facts.c.keys()):
        raise BadEvents(f"{facts.name} in {where} has other columns, so it is not ours; {remedy}")
    found = {row.key: row.value for row in connection.execute(select(facts.c.key, facts.c.value))}
    fault = fault_of(
        found,
        made_by=_MADE_BY,
        version=SCHEMA_VERSION,
        meta=f"{facts.name} in {where}",
        table=f"{events.name} in {where}",
        remedy=remedy,
    )
    if fault is not None:
        raise BadEvents(fault)
    return True
