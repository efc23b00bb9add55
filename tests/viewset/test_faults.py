"""Errors of databases, as every driver has them: whose fault they are, and which fields they are about."""

from __future__ import annotations

import asyncio
import enum
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from backstay.db.database import Database
from backstay.errors import DatabaseUnavailable, ItemConflict, ItemInvalid, VersionMismatch
from backstay.viewset.faults import Fault, Kind, fault_of
from tests.db.places import EVERY_KIND, at
from tests.support import async_test

every_kind = pytest.mark.parametrize("kind", EVERY_KIND)


class Base(DeclarativeBase):
    pass


class Colour(enum.Enum):
    RED = 1


class Taste(enum.Enum):
    SWEET = 1


class Maker(Base):
    __tablename__ = "makers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]


class Cup(Base):
    __tablename__ = "cups"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column("cup_name", sa.String(10))
    room: Mapped[str | None]
    place: Mapped[int | None]
    price: Mapped[int] = mapped_column(default=0)
    colour: Mapped[Colour | None]
    maker_id: Mapped[int | None] = mapped_column(sa.ForeignKey("makers.id"))
    __table_args__ = (
        sa.UniqueConstraint("cup_name"),
        sa.UniqueConstraint("room", "place"),
        sa.CheckConstraint("price >= 0"),
    )


def new(**values: Any) -> sa.Insert:
    """A cup, by its columns."""
    return sa.insert(Cup).values(
        {"cup_name" if key == "name" else key: values[key] for key in values}
    )


class Room(Base):
    __tablename__ = "rooms"
    id: Mapped[int] = mapped_column(primary_key=True)
    room: Mapped[str]


@asynccontextmanager
async def filled(kind: str, folder: Path) -> AsyncIterator[Database]:
    with at(kind, folder) as url:
        database = Database(url)
        try:
            Base.metadata.create_all(database.engine)
            await database.write(sa.insert(Maker), {"name": "first"})
            await database.write(new(name="taken", room="hall", place=3, maker_id=1))
            yield database
        finally:
            await database.close()


async def fault_in(database: Database, statement: Any, **options: Any) -> Fault | None:
    try:
        await database.write(statement)
    except Exception as error:
        return fault_of(error, db_model=Cup, **options)
    raise AssertionError("it has been written")


@every_kind
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"name": "taken"}, Fault("taken", ("name",))),
        ({"id": 1, "name": "a"}, Fault("taken", ("id",))),
        ({"name": "a", "room": "hall", "place": 3}, Fault("taken", ("room", "place"))),
        ({"name": None}, Fault("empty", ("name",))),
        ({"name": "a", "price": -1}, Fault("refused")),
        ({"name": "a", "price": 2**70}, Fault("value")),
        ({"name": "a", "price": -(2**70)}, Fault("value")),
        ({"name": "\ud800"}, Fault("value")),
        ({"name": "a", "colour": Taste.SWEET}, Fault("value")),
    ],
    ids=[
        *("unique", "key", "unique_pair", "null", "check", "great", "small", "surrogate", "enum"),
    ],
)
@async_test
async def test_a_value_that_will_not_do_is_the_clients_fault(
    kind: str, tmp_path: Path, values: dict[str, Any], expected: Fault
) -> None:
    async with filled(kind, tmp_path) as database:
        assert await fault_in(database, new(**values)) == expected


@every_kind
@pytest.mark.parametrize(
    "values",
    [
        {"name": "a" * 11},
        {"name": "\x00"},
        {"name": "a", "price": 2**40},
        {"name": "a", "colour": "green"},
    ],
    ids=["long", "nul", "great", "enum"],
)
@async_test
async def test_a_value_that_only_postgresql_refuses_is_the_clients_fault(
    kind: str, tmp_path: Path, values: dict[str, Any]
) -> None:
    async with filled(kind, tmp_path) as database:
        if kind == "sqlite":
            await database.write(new(**values))
        else:
            assert await fault_in(database, new(**values)) == Fault("value")


@every_kind
@async_test
async def test_a_reference_that_leads_nowhere_is_missing(kind: str, tmp_path: Path) -> None:
    async with filled(kind, tmp_path) as database:
        lost = new(name="a", maker_id=99)
        names = () if kind == "sqlite" else ("maker_id",)  # SQLite does not say which
        assert await fault_in(database, lost) == Fault("missing", names)


@every_kind
@async_test
async def test_what_is_referred_to_is_used(kind: str, tmp_path: Path) -> None:
    async with filled(kind, tmp_path) as database:
        found = await fault_in(database, sa.delete(Maker), method="DELETE")
        assert found is not None
        assert found.kind == "used"


@every_kind
@async_test
async def test_a_fault_of_another_table_names_nothing_of_this_one(
    kind: str, tmp_path: Path
) -> None:
    async with filled(kind, tmp_path) as database:
        found = await fault_in(database, sa.insert(Room).values(room=None))
        assert found == Fault("empty")


@every_kind
@pytest.mark.parametrize(
    "statement", ["SELECT * FROM nothing", "SELECT FROM WHERE", "SELECT nothing FROM cups"]
)
@async_test
async def test_what_we_have_written_wrong_is_nobody_elses_fault(
    kind: str, tmp_path: Path, statement: str
) -> None:
    async with filled(kind, tmp_path) as database:
        assert await fault_in(database, sa.text(statement)) is None


@every_kind
@async_test
async def test_a_database_that_is_not_there_is_out_of_reach(kind: str, tmp_path: Path) -> None:
    url = f"{kind}://postgres@127.0.0.1:1/test"
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'nowhere' / 'x.db'}"
    database = Database(url)
    found = await fault_in(database, sa.text("SELECT 1"))
    await database.close()
    assert found == Fault("busy")


def test_a_locked_sqlite_is_busy(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'locked.db'}", connect_args={"timeout": 0.01})
    Base.metadata.create_all(engine)
    with engine.connect() as one, engine.connect() as two:
        one.execute(sa.insert(Maker))
        with pytest.raises(DBAPIError) as caught:
            two.execute(sa.insert(Maker))
    engine.dispose()
    assert fault_of(caught.value) == Fault("busy")


@pytest.mark.parametrize("kind", EVERY_KIND[1:])
@async_test
async def test_a_deadlock_a_timeout_and_a_lock_are_busy(kind: str, tmp_path: Path) -> None:
    async with filled(kind, tmp_path) as database:
        await database.write(sa.insert(Maker), {"name": "second"})
        faults: list[Fault | None] = []

        async def cross(first: int, second: int, met: asyncio.Barrier) -> None:
            async with database.async_engine.connect() as connection:
                try:
                    for key in (first, second):
                        change = sa.update(Maker).where(Maker.id == key).values(name="x")
                        await connection.execute(change)
                        if key == first:
                            await met.wait()
                except DBAPIError as error:
                    faults.append(fault_of(error))

        met = asyncio.Barrier(2)
        await asyncio.gather(cross(1, 2, met), cross(2, 1, met))
        async with database.async_engine.connect() as one:
            await one.execute(sa.select(Maker).where(Maker.id == 1).with_for_update())
            for prepare, statement in (
                (
                    "SET LOCAL statement_timeout = 20",
                    sa.update(Maker).where(Maker.id == 1).values(name="x"),
                ),
                ("SELECT 1", sa.select(Maker).with_for_update(nowait=True)),
            ):
                async with database.async_engine.connect() as two:
                    await two.execute(sa.text(prepare))
                    with pytest.raises(DBAPIError) as caught:
                        await two.execute(statement)
                    faults.append(fault_of(caught.value))
        assert faults == [Fault("busy")] * 3


@pytest.mark.parametrize("kind", EVERY_KIND[1:])
@async_test
async def test_a_connection_that_the_server_ends_is_busy(kind: str, tmp_path: Path) -> None:
    async with filled(kind, tmp_path) as database, database.async_engine.connect() as connection:
        pid = await connection.scalar(sa.text("SELECT pg_backend_pid()"))
        async with database.async_engine.connect() as other:
            await other.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        with pytest.raises(DBAPIError) as caught:
            await connection.execute(sa.text("SELECT 1"))
        assert fault_of(caught.value) == Fault("busy")


@pytest.mark.parametrize("kind", EVERY_KIND[1:])
@async_test
async def test_text_that_no_index_can_hold_is_the_clients_fault(kind: str, tmp_path: Path) -> None:
    async with filled(kind, tmp_path) as database:
        noise = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=30000))
        assert await fault_in(database, new(name="a", room=noise)) == Fault("value")


def raised_here(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StaleDataError(), "stale"),
        (PoolTimeout(), "busy"),
        (OverflowError(), None),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "x"), None),
        (ConnectionRefusedError(), None),
        (FileNotFoundError(), None),
        (KeyError("x"), None),
        (ProgrammingError("x", {}, Exception("x")), None),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else str(each),
)
def test_an_error_that_did_not_come_from_a_driver_is_ours(
    error: BaseException, kind: Kind | None
) -> None:
    found = fault_of(raised_here(error))
    assert (None if found is None else found.kind) == kind


# ------------------------------------------------------------------ what is told

FIELDS = {"name": "theName", "maker_id": "maker_id"}


@pytest.mark.parametrize(
    ("fault", "answer", "detail", "fields"),
    [
        (
            Fault("taken", ("name",)),
            ItemConflict,
            "theName: there is one with this value already.",
            ["theName"],
        ),
        (Fault("taken", ("secret",)), ItemConflict, "It has a value that another item has.", []),
        (
            Fault("missing", ("maker_id",)),
            ItemInvalid,
            "maker_id: there is nothing like that.",
            ["maker_id"],
        ),
        (Fault("missing"), ItemInvalid, "It refers to something that is not there.", []),
        (
            Fault("used", ("name",)),
            ItemConflict,
            "Something else refers to it, so it stays.",
            [],
        ),
        (Fault("empty", ("name",)), ItemInvalid, "theName: a value is needed.", ["theName"]),
        (Fault("refused"), ItemInvalid, "It has a value that is not allowed.", []),
        (Fault("value"), ItemInvalid, "It has a value that cannot be stored.", []),
        (Fault("stale"), VersionMismatch, "It was changed at the same moment.", []),
    ],
    ids=lambda each: str(each) if isinstance(each, Fault) else "",
)
def test_clients_hear_what_it_is_and_only_names_that_they_know(
    fault: Fault, answer: type[Exception], detail: str, fields: list[str]
) -> None:
    found = fault.as_answer(FIELDS)
    assert type(found) is answer
    assert found.public_detail.startswith(detail)
    errors = found.public_members.get("errors", [])
    assert [each["loc"] for each in errors] == [["body", name] for name in fields]


def test_a_busy_database_says_when_to_come_again() -> None:
    found = Fault("busy").as_answer(FIELDS)
    assert isinstance(found, DatabaseUnavailable)
    assert (found.status, found.retry_after_s) == (503, 2)
