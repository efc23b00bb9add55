"""Every store keeps every promise of the port."""

from tests.cache.stores import OnCashews, OnMemory, OnPostgres, OnRedis, OnRedisClient, OnSqlite


class TestMemory(OnMemory):
    """In memory."""


class TestSqlite(OnSqlite):
    """In a SQLite file."""


class TestPostgres(OnPostgres):
    """In PostgreSQL."""


class TestRedis(OnRedis):
    """In Redis."""


class TestRedisClientOfTexts(OnRedisClient):
    """In Redis, by the app's own client with decode_responses."""


class TestRedisClientOfBytes(OnRedisClient):
    """The same without."""

    decode_responses = False


class TestCashews(OnCashews):
    """Over cashews."""
