"""Every store keeps every promise of the port."""

from tests.auth.auth_stores import OnMemory, OnPostgres, OnSqlite


class TestMemory(OnMemory):
    """In memory."""


class TestSqlite(OnSqlite):
    """In a SQLite file."""


class TestPostgres(OnPostgres):
    """In PostgreSQL, by asyncpg."""


class TestPostgresByPsycopg(OnPostgres):
    """The same by psycopg."""

    kind = "postgresql+psycopg"
