"""What is particular to databases: they fail, are killed, and are used by many."""

import asyncio
import gc
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from backstay.auth.database_store import DatabaseAuthStore
from backstay.auth.port import Revocation, Turn
from backstay.db.database import Database
from backstay.errors import BadAuth, TokensUncheckable
from tests.auth.auth_stores import a_database
from tests.auth.test_rotation import RECORD, START
from tests.db.places import at
from tests.jobs.desks import POSTGRES, needs_postgres
from tests.support import PATIENCE_S, async_test

KINDS = ["sqlite", pytest.param("postgresql+asyncpg", marks=needs_postgres)]
REVOCATION = Revocation("token", "jti", at=START, expires_at=START)


async def everything(store: DatabaseAuthStore) -> list[object]:
    """What each method raises, or its answer."""
    new = replace(RECORD, digest=b"2")
    return await asyncio.gather(
        store.add_refresh(RECORD),
        store.rotate_refresh(RECORD.digest, new, now=START),
        store.find_refresh(RECORD.digest),
        store.end_session("s", now=START),
        store.end_sessions("ann", now=START),
        store.sessions("ann", now=START),
        store.revoke(REVOCATION, now=START),
        store.revocations(now=START),
        store.find_api_key("k"),
        store.api_keys(),
        store.revoke_api_key("k", now=START),
        store.touch_api_key("k", now=START),
        store.prune(now=START),
        return_exceptions=True,
    )


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////no/such/directory/shop.db",
        "postgresql+asyncpg://postgres:hunter2@127.0.0.1:1/test",
        "postgresql+psycopg://postgres:hunter2@127.0.0.1:1/test",
        pytest.param(f"{POSTGRES}_that_is_not_there", marks=needs_postgres, id="no such database"),
    ],
)
@async_test
async def test_a_database_out_of_reach_makes_tokens_uncheckable(url: str) -> None:
    database = Database(url)
    store = DatabaseAuthStore(database)
    opened = await asyncio.gather(store.open(), return_exceptions=True)
    for answer in [*opened, *await everything(store)]:
        assert isinstance(answer, TokensUncheckable)
        assert answer.__cause__ is not None
        assert "hunter2" not in str(answer)
        assert answer.status == 503
    await database.close()


@async_test
async def test_without_its_tables_it_says_that_it_cannot_be_read(tmp_path: Path) -> None:
    async with a_database("sqlite", tmp_path) as database:
        for answer in await everything(DatabaseAuthStore(database)):
            assert isinstance(answer, TokensUncheckable)


@async_test
async def test_errors_say_nothing_of_what_was_to_be_written(tmp_path: Path) -> None:
    async with a_database("sqlite", tmp_path) as database:
        with pytest.raises(TokensUncheckable) as caught:
            await DatabaseAuthStore(database).add_refresh(replace(RECORD, subject="ann canary"))
        assert "canary" not in str(caught.value)
        assert "canary" not in caught.value.public_detail


def test_other_databases_are_refused() -> None:
    class Other(Database):
        dialect = "mysql"

    with pytest.raises(BadAuth, match="SQLite or PostgreSQL"):
        DatabaseAuthStore(Other("sqlite:///x.db"))


@needs_postgres
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_an_engine_of_any_isolation_lets_one_of_many_succeed(level: str, tmp_path: Path) -> None:
    with at("postgresql+asyncpg", tmp_path) as url:

        @async_test
        async def race() -> None:
            database = Database(url, options={"isolation_level": level, "pool_size": 10})
            store = DatabaseAuthStore(database)
            await store.open()
            await store.add_refresh(RECORD)
            done = await asyncio.gather(
                *(
                    store.rotate_refresh(
                        RECORD.digest, replace(RECORD, digest=b"%d" % each), now=START
                    )
                    for each in range(20)
                )
            )
            assert sorted(each.turn for each in done) == [Turn.DONE, *[Turn.REUSED] * 19]
            await store.close()
            await database.close()

        race()


@async_test
async def test_an_engine_of_the_apps_own_lets_one_of_many_succeed(tmp_path: Path) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/own.db")
    store = DatabaseAuthStore(Database(engine))
    await store.open()
    await store.add_refresh(RECORD)
    done = await asyncio.gather(
        *(
            store.rotate_refresh(RECORD.digest, replace(RECORD, digest=b"%d" % each), now=START)
            for each in range(20)
        ),
        return_exceptions=True,
    )
    # SQLite begins without its lock there, and refuses who comes too late for it.
    turns = [each.turn for each in done if not isinstance(each, BaseException)]
    assert turns.count(Turn.DONE) == 1
    assert set(turns) <= {Turn.DONE, Turn.REUSED}
    assert all(isinstance(each, TokensUncheckable) for each in done if not hasattr(each, "turn"))
    await store.close()
    await engine.dispose()


@pytest.mark.parametrize("kind", KINDS)
@async_test
async def test_a_request_that_is_given_up_leaves_one_token_that_counts(
    kind: str, tmp_path: Path
) -> None:
    async with a_database(kind, tmp_path) as database:
        store = DatabaseAuthStore(database)
        await store.open()
        for number in range(20):
            first = replace(RECORD, digest=b"a%d" % number, session=f"s{number}")
            await store.add_refresh(first)
            second = replace(RECORD, digest=b"b%d" % number)
            task = asyncio.create_task(store.rotate_refresh(first.digest, second, now=START))
            for _ in range(number * 2):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            turns = [
                (
                    await store.rotate_refresh(
                        each.digest, replace(RECORD, digest=b"c" + each.digest), now=START
                    )
                ).turn
                for each in (first, second)
            ]
            assert turns in ([Turn.DONE, Turn.UNKNOWN], [Turn.REUSED, Turn.DONE])
        await store.close()


ROTATE = """
import asyncio, dataclasses, itertools, sys
from backstay.auth.database_store import DatabaseAuthStore
from backstay.db.database import Database
from tests.auth.test_rotation import RECORD, START

async def main():
    store = DatabaseAuthStore(Database(sys.argv[1]))
    await store.open()
    await store.add_refresh(dataclasses.replace(RECORD, digest=b"0"))
    print("ready", flush=True)
    for number in itertools.count():
        new = dataclasses.replace(RECORD, digest=b"%d" % (number + 1))
        await store.rotate_refresh(b"%d" % number, new, now=START)
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("exchanges", [1, 7])
def test_a_process_that_is_killed_leaves_one_token_that_counts(
    exchanges: int, tmp_path: Path
) -> None:
    file = tmp_path / "shop.db"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ROTATE), f"sqlite:///{file}"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        for _ in range(exchanges + 1):
            assert process.stdout.readline(), "it has begun"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
    with closing(sqlite3.connect(file)) as outside:
        [(latest,)] = outside.execute("SELECT latest FROM backstay_auth_sessions").fetchall()
        unused = outside.execute(
            "SELECT digest FROM backstay_auth_refresh WHERE used_at IS NULL"
        ).fetchall()
    assert unused == [(latest,)]
    assert int(latest) >= exchanges


@needs_postgres
@async_test
async def test_a_role_without_rights_is_told_so(tmp_path: Path) -> None:
    with at("postgresql+asyncpg", tmp_path) as url:
        database = Database(url)
        async with database.async_engine.begin() as connection:
            schema = await connection.scalar(sa.text("SELECT current_schema()"))
            role = f"{schema}_reader"
            await connection.execute(sa.text(f"CREATE ROLE {role} LOGIN"))
            await connection.execute(sa.text(f"GRANT USAGE ON SCHEMA {schema} TO {role}"))
        try:
            poor = Database(url.replace("//postgres@", f"//{role}@"))
            with pytest.raises(TokensUncheckable, match=r"may not make.*print\(ddl"):
                await DatabaseAuthStore(poor).open()
            await poor.close()
        finally:
            async with database.async_engine.begin() as connection:
                await connection.execute(sa.text(f"DROP OWNED BY {role}"))
                await connection.execute(sa.text(f"DROP ROLE {role}"))
            await database.close()


@async_test
async def test_looking_up_what_guesses_ask_for_takes_no_lock(tmp_path: Path) -> None:
    async with a_database("sqlite", tmp_path) as database:
        store = DatabaseAuthStore(database)
        await store.open()
        await store.add_refresh(RECORD)
        await store.rotate_refresh(RECORD.digest, replace(RECORD, digest=b"2"), now=START)
        with closing(sqlite3.connect(tmp_path / "place.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            new = replace(RECORD, digest=b"3")
            unknown = await store.rotate_refresh(b"?", new, now=START)
            reused = await store.rotate_refresh(RECORD.digest, new, now=START)
            other.execute("ROLLBACK")
    assert [unknown.turn, reused.turn] == [Turn.UNKNOWN, Turn.REUSED]


@needs_postgres
@async_test
async def test_an_exhausted_pool_of_the_apps_refuses_no_token(tmp_path: Path) -> None:
    with at("postgresql+asyncpg", tmp_path) as url:
        options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.01}
        database = Database(url, options=options)
        store = DatabaseAuthStore(database)
        await store.open()
        await store.add_refresh(RECORD)
        async with database.async_engine.connect():
            with pytest.raises(sa.exc.TimeoutError):
                await database.fetch(sa.text("SELECT 1"))
            assert await store.find_refresh(RECORD.digest) == RECORD
        await store.close()
        assert await database.fetch(sa.text("SELECT 1")), "the app's own stays open"
        await database.close()


@needs_postgres
@async_test
async def test_a_store_that_cannot_be_opened_leaves_no_connection_behind(tmp_path: Path) -> None:
    with at("postgresql+asyncpg", tmp_path) as url:
        database = Database(url)
        async with database.async_engine.begin() as connection:
            await connection.execute(sa.text("CREATE TABLE backstay_auth_meta (x int)"))
        with pytest.raises(BadAuth):
            await DatabaseAuthStore(database).open()
        await database.close()
    gc.collect()  # what was left open would say so
