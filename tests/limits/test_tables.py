"""The table of counts is made once, and nobody else's is taken for it."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from backstay.db.database import Database
from backstay.db.own_tables import OwnTables
from backstay.errors import BadLimit
from backstay.limits.database import DatabaseCounts
from backstay.limits.tables import Tables
from tests.db.places import at
from tests.limits.stores import DATABASES
from tests.support import async_test

both = pytest.mark.parametrize("kind", DATABASES)


@both
@async_test
async def test_many_make_it_at_once(kind: str, tmp_path: Path) -> None:
    with at(kind, tmp_path) as url:
        stores = [DatabaseCounts(Database(url), owned=True) for _ in range(6)]
        await asyncio.gather(*(each.open() for each in stores))
        await stores[0].open()
        await asyncio.gather(*(each.close() for each in stores))


@both
@async_test
async def test_migrations_leave_it_alone(kind: str, tmp_path: Path) -> None:
    with at(kind, tmp_path) as url:
        store = DatabaseCounts(Database(url), prefix="shop_", owned=True)
        await store.open()
        database = Database(url)
        with database.engine.begin() as connection:
            assert OwnTables(connection).names() == {"shop_limits", "shop_limits_meta"}
        await database.close()
        await store.close()


@pytest.mark.parametrize(
    ("statements", "says"),
    [
        (["CREATE TABLE backstay_limits (id integer)"], "stands alone"),
        (
            [
                "CREATE TABLE backstay_limits (id integer)",
                "CREATE TABLE backstay_limits_meta (id integer)",
            ],
            "is not ours",
        ),
        (
            [
                "CREATE TABLE backstay_limits (id integer)",
                "CREATE TABLE backstay_limits_meta (key varchar(9), value varchar(20))",
                "INSERT INTO backstay_limits_meta VALUES ('made_by', 'me')",
            ],
            "says made_by='me'",
        ),
        (
            [
                "CREATE TABLE backstay_limits (id integer)",
                "CREATE TABLE backstay_limits_meta (key varchar(20), value varchar(20))",
                "INSERT INTO backstay_limits_meta VALUES ('made_by', 'backstay limits')",
                "INSERT INTO backstay_limits_meta VALUES ('schema_version', '99')",
            ],
            "schema_version='99'",
        ),
    ],
)
@both
@async_test
async def test_what_is_not_ours_is_refused(
    kind: str, statements: list[str], says: str, tmp_path: Path
) -> None:
    with at(kind, tmp_path) as url:
        database = Database(url)
        for each in statements:
            await database.write(text(each))
        store = DatabaseCounts(database)
        with pytest.raises(BadLimit) as caught:
            await store.open()
        assert says in str(caught.value)
        assert "key_prefix=" in str(caught.value)
        await store.close()
        await database.close()


@pytest.mark.parametrize("prefix", ["Limits_", "a-b_", "x" * 32, "1_", 'a"; DROP TABLE x; --'])
def test_a_prefix_is_a_plain_name(prefix: str) -> None:
    with pytest.raises(BadLimit, match="names of tables"):
        Tables(prefix)
