"""A small database for tests of test utilities: people and their pets, on SQLite and PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import ForeignKey, String, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from backstay.db.manager import MainDatabaseManager
from tests.db.places import at
from tests.jobs.desks import needs_postgres

__all__ = ["EITHER", "Base", "Person", "Pet", "count", "town"]

EITHER = ["sqlite", pytest.param("postgresql", marks=needs_postgres)]
"""For ``parametrize``: where transactions are shared, the driver is the sync one anyway."""


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    mood: Mapped[str] = mapped_column(String(20), server_default="calm")
    pets: Mapped[list["Pet"]] = relationship(back_populates="owner")


class Pet(Base):
    __tablename__ = "pets"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    owner_id: Mapped[int] = mapped_column(
        ForeignKey("people.id", deferrable=True, initially="DEFERRED")
    )
    owner: Mapped[Person] = relationship(back_populates="pets")


@contextmanager
def town(kind: str, folder: Path) -> Iterator[MainDatabaseManager]:
    """A manager of the database with its tables; connections are closed at the end."""
    with at(kind, folder) as url:
        manager = MainDatabaseManager(url, DEV_STATUS=True, base=Base)
        with manager.database.redirected(url):  # which closes them without an event loop
            manager.create_all()
            yield manager


def count(manager: MainDatabaseManager) -> int:
    with manager.session() as session:
        return session.scalar(select(func.count()).select_from(Person)) or 0
