"""Every engine keeps every promise of the port."""

from tests.ledger.databases import OnMemory, OnPostgres, OnSqlite


class TestMemory(OnMemory):
    """In memory."""


class TestSqlite(OnSqlite):
    """In a SQLite file."""


class TestPostgres(OnPostgres):
    """In PostgreSQL."""
