"""The tables are made once, whole, by whoever comes first; and nobody else's are touched."""

import asyncio
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from backstay.db import Database
from backstay.db.own_tables import OwnTables
from backstay.errors import BadEvents, DatabaseUnavailable
from backstay.events.store import EventStore
from backstay.events.tables import TABLES, make_tables
from tests.db.places import at
from tests.events.journal import BOTH, a_minute
from tests.support import async_test

EVERY = set(TABLES.tables)


@asynccontextmanager
async def database_of(kind: str, folder: Path, count: int = 1) -> AsyncIterator[list[Database]]:
    """Several, each with connections of its own, to one that is empty."""
    with at(kind, folder) as url:
        several = [Database(url) for _ in range(count)]
        try:
            yield several
        finally:
            for each in several:
                await each.close()


@pytest.mark.parametrize("kind", BOTH)
def test_they_are_known_for_our_own_and_made_once(kind: str, tmp_path: Path) -> None:
    with at(kind, tmp_path) as url:
        engine = Database(url).engine
        for _ in range(2):
            with engine.begin() as connection:
                make_tables(connection)
        with engine.connect() as connection:
            assert OwnTables(connection).names() == EVERY
            rows = connection.execute(sa.text("SELECT key, value FROM backstay_events_meta"))
            assert {row.key: row.value for row in rows} == {
                "made_by": "backstay events",
                "schema_version": "1",
                "pruned_at": "000000000000",
            }
        engine.dispose()


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_many_who_start_at_once_do_not_get_into_each_others_way(
    kind: str, tmp_path: Path
) -> None:
    async with database_of(kind, tmp_path, 6) as several:
        stores = [EventStore(each) for each in several]
        await asyncio.gather(*(each.make_ready() for each in stores))
        await asyncio.gather(*(each.write([], [a_minute()]) for each in stores))
        ((count,),) = await several[0].fetch(sa.text("SELECT count FROM backstay_event_minutes"))
        assert count == 6


def test_processes_that_start_at_once_make_them_once(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import asyncio, sys
        from backstay.db import Database
        from backstay.events import EventStore

        async def main():
            database = Database(sys.argv[1])
            await EventStore(database).make_ready()
            await database.close()

        asyncio.run(main())
        """
    )
    url = f"sqlite:///{tmp_path / 'events.db'}"
    several = [
        subprocess.Popen([sys.executable, "-c", script, url], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for each in several:
        _, said = each.communicate(timeout=60)
        assert each.returncode == 0, said


@pytest.mark.parametrize("kind", BOTH)
@async_test
async def test_they_are_not_made_for_who_only_looks(kind: str, tmp_path: Path) -> None:
    async with database_of(kind, tmp_path) as (database,):
        with pytest.raises(DatabaseUnavailable, match=r"no events are kept in .*add_events\(app\)"):
            await EventStore(database, create=False).make_ready()
        with database.engine.connect() as connection:
            assert not sa.inspect(connection).get_table_names()
        await EventStore(database).make_ready()
        await EventStore(database, create=False).make_ready()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("statements", "complaint"),
    [
        (["DROP TABLE backstay_event_minutes"], "stands alone, so it is not ours"),
        (["UPDATE backstay_events_meta SET value = '2' WHERE key = 'schema_version'"], "knows 1"),
        (["UPDATE backstay_events_meta SET value = 'me' WHERE key = 'made_by'"], "made_by='me'"),
        (["DELETE FROM backstay_events_meta"], "made_by=None"),
        (
            [
                "DROP TABLE backstay_events_meta",
                "CREATE TABLE backstay_events_meta (id INTEGER PRIMARY KEY)",
            ],
            "has other columns",
        ),
    ],
)
@async_test
async def test_tables_that_are_not_ours_or_newer_are_refused_and_left_alone(
    kind: str, statements: list[str], complaint: str, tmp_path: Path
) -> None:
    async with database_of(kind, tmp_path) as (database,):
        await EventStore(database).make_ready()
        with database.engine.begin() as connection:
            for each in statements:
                connection.execute(sa.text(each))
            before = sa.inspect(connection).get_table_names()
        with pytest.raises(BadEvents, match=complaint) as refused:
            await EventStore(database).make_ready()
        assert "postgres@127.0.0.1:5432" in str(refused.value) or "sqlite" in str(refused.value)
        with database.engine.connect() as connection:
            assert sa.inspect(connection).get_table_names() == before


@async_test
async def test_whoever_may_not_make_them_is_told_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "readonly.db"
    file.touch()
    database = Database(f"sqlite:///file:{file}?mode=ro&uri=true")
    with pytest.raises(DatabaseUnavailable, match="readonly"):
        await EventStore(database).make_ready()
    await database.close()
