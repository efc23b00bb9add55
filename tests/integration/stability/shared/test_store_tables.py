"""The tables are made once, whoever comes first, and nobody else's are taken for ours."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from backstay.db.database import Database
from backstay.errors import BadIntegration
from backstay.integration.stability.shared.database_store import DatabaseStore
from backstay.integration.stability.shared.store_tables import StoreTables
from tests.db.places import EVERY_KIND, at
from tests.support import async_test

every_kind = pytest.mark.parametrize("kind", EVERY_KIND)


@every_kind
@async_test
async def test_many_may_make_them_at_once(kind: str, tmp_path: Path) -> None:
    with at(kind, tmp_path) as url:
        stores = [DatabaseStore(Database(url), owned=True) for _ in range(6)]
        await asyncio.gather(*(each.open() for each in stores))
        assert [await each.prune(1) for each in stores] == [0] * 6
        for each in stores:
            await each.close()


@every_kind
@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("CREATE TABLE backstay_circuits (x INTEGER)", "backstay_circuits stands there without"),
        (
            "DROP TABLE backstay_buckets",
            "backstay_circuits and backstay_stability_meta stand there",
        ),
        ("UPDATE backstay_stability_meta SET value = '2' WHERE key = 'schema_version'", "knows 1"),
        ("DELETE FROM backstay_stability_meta WHERE key = 'made_by'", "made_by=None"),
        ("ALTER TABLE backstay_stability_meta RENAME COLUMN key TO other", "is not ours"),
    ],
    ids=["stranger", "half", "newer", "unsigned", "other-columns"],
)
@async_test
async def test_what_is_not_ours_is_left_alone(
    kind: str, statement: str, complaint: str, tmp_path: Path
) -> None:
    with at(kind, tmp_path) as url:
        database = Database(url)
        if not statement.startswith("CREATE"):
            first = DatabaseStore(database)
            await first.open()
            await first.close()
        async with database.async_engine.begin() as connection:
            await connection.execute(text(statement))
        store = DatabaseStore(database)
        with pytest.raises(BadIntegration, match=complaint):
            await store.open()
        with pytest.raises(BadIntegration, match="key_prefix="):
            await store.open()
        await store.close()
        other = DatabaseStore(database, prefix="mine_")
        await other.open()
        await other.close()
        await database.close()


@pytest.mark.parametrize("prefix", ["", "1x_", "X_", "a" * 32, "a b", 'a"'])
def test_names_that_need_quoting_are_refused(prefix: str) -> None:
    with pytest.raises(BadIntegration, match="31 at most"):
        StoreTables(prefix)
