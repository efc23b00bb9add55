"""The stores that guarding's tests run on, and how each is made and shared."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

from backstay.auth.database_store import DatabaseAuthStore
from backstay.auth.memory_store import MemoryAuthStore
from backstay.auth.port import AuthStore
from backstay.db.database import Database
from backstay.testing.auth_conformance import AuthStoreConformance
from tests.db.places import at
from tests.jobs.desks import needs_postgres
from tests.ledger.databases import quick_directory

__all__ = ["EVERY_STORE", "OnMemory", "OnPostgres", "OnSqlite", "a_database", "a_store"]

EVERY_STORE = [
    "memory",
    "sqlite",
    pytest.param("postgresql+asyncpg", marks=needs_postgres),
]


class OnMemory(AuthStoreConformance):
    """This process's memory."""

    def new_store(self) -> AuthStore:
        return MemoryAuthStore()


class OnDatabase(AuthStoreConformance):
    """A database of its own for every test."""

    kind: str
    url: str

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=quick_directory()))
            self.url = stack.enter_context(at(self.kind, Path(folder)))
            yield

    def new_store(self) -> AuthStore:
        return DatabaseAuthStore(Database(self.url), owned=True)

    def same_store(self, store: AuthStore) -> AuthStore:
        return self.new_store()


class OnSqlite(OnDatabase):
    """A SQLite file."""

    kind = "sqlite"


@needs_postgres
class OnPostgres(OnDatabase):
    """A schema of PostgreSQL's, by asyncpg."""

    kind = "postgresql+asyncpg"


@asynccontextmanager
async def a_database(kind: str, folder: Path) -> AsyncIterator[Database]:
    """A database with nothing in it."""
    with at(kind, folder) as url:
        database = Database(url)
        try:
            yield database
        finally:
            await database.close()


@asynccontextmanager
async def a_store(kind: str, folder: Path) -> AsyncIterator[AuthStore]:
    """A store of that kind, open, with nothing in it."""
    if kind == "memory":
        yield MemoryAuthStore()
        return
    async with a_database(kind, folder) as database:
        store = DatabaseAuthStore(database)
        await store.open()
        try:
            yield store
        finally:
            await store.close()
