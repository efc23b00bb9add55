"""The table in a SQLite file: made once, beside whatever is there, and checked."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backstay.errors import StateMismatch
from backstay.ledger import NewJob, new_job_id, new_ledger
from backstay.state import State, open_store
from backstay.state.sqlite_file import SCHEMA_VERSION, make_tables
from tests.support import async_test


def tables(file: Path) -> set[str]:
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return {name for (name,) in rows}


@async_test
async def test_a_file_of_its_own_has_its_own_tables_and_no_others(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/x.db")
    await store.close()
    assert tables(tmp_path / "x.db") == {"backstay_state", "backstay_state_meta"}


@pytest.mark.parametrize("ledger_first", [True, False])
@async_test
async def test_it_lives_with_the_ledger_in_one_file(tmp_path: Path, ledger_first: bool) -> None:
    url = f"sqlite:///{tmp_path}/x.db"
    ledger = new_ledger(url)
    if ledger_first:
        await ledger.open()
    store = await open_store(url)
    if not ledger_first:
        await ledger.open()
    state = State(store, "s")
    for number in range(20):
        job = NewJob(new_job_id(), "t")
        await asyncio.gather(state.incr("k"), ledger.insert([job]))
        assert job.id in await ledger.get([job.id])
        assert await state.get("k") == number + 1
    await store.close()
    await ledger.close()


@async_test
async def test_many_at_once_make_them_once(tmp_path: Path) -> None:
    stores = await asyncio.gather(*(open_store(f"sqlite:///{tmp_path}/x.db") for _ in range(8)))
    await asyncio.gather(*(State(store, "s").incr("k") for store in stores))
    assert await State(stores[0], "s").get("k") == 8
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        ("CREATE TABLE backstay_state (a)", "has backstay_state alone, so it is not ours"),
        ("CREATE TABLE backstay_state_meta (a)", "has backstay_state_meta alone"),
        (
            "CREATE TABLE backstay_state (a); CREATE TABLE backstay_state_meta (a)",
            "backstay_state_meta in .* is not ours",
        ),
        (
            "CREATE TABLE backstay_state (a); CREATE TABLE backstay_state_meta (key, value)",
            "says made_by=None",
        ),
        (
            (
                "CREATE TABLE backstay_state (a); CREATE TABLE backstay_state_meta (key, value);"
                "INSERT INTO backstay_state_meta VALUES ('made_by', 'backstay state'),"
                "('schema_version', '99')"
            ),
            f"schema_version='99', and this backstay knows {SCHEMA_VERSION}",
        ),
    ],
)
@async_test
async def test_what_is_not_ours_is_left_alone(tmp_path: Path, statements: str, says: str) -> None:
    file = tmp_path / "x.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(statements)
    before = file.read_bytes()
    with pytest.raises(StateMismatch, match=says) as caught:
        await open_store(f"sqlite:///{file}")
    assert "table_prefix=" in str(caught.value)
    assert file.read_bytes() == before
    other = await open_store(f"sqlite:///{file}", prefix="mine_")
    await other.close()


def test_making_them_is_whole_or_not_at_all() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE other (a)")
        connection.execute("CREATE INDEX p_state_expiring ON other (a)")
        with pytest.raises(sqlite3.OperationalError):
            make_tables(connection, "p_", "here")
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        assert rows == [("other",)]
        assert not connection.in_transaction
