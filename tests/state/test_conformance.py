"""Every store keeps every promise of the port."""

from tests.state.stores import OnMemory, OnPostgres, OnRedis, OnSqlite


class TestMemory(OnMemory):
    """In memory."""


class TestSqlite(OnSqlite):
    """In a SQLite file."""


class TestPostgres(OnPostgres):
    """In PostgreSQL."""


class TestRedis(OnRedis):
    """In Redis."""
