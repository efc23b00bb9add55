"""Commits of sessions against readers, and connections that break in the middle."""

import asyncio
import threading
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, event, text

from backstay.errors import LedgerUnavailable
from tests.jobs.desks import (
    POSTGRES,
    Order,
    closing_session,
    desk_of,
    needs_postgres,
    now,
    postgres_desk,
)
from tests.support import async_test


@needs_postgres
@pytest.mark.parametrize("kind", ["psycopg sync", "psycopg async", "asyncpg"])
@pytest.mark.parametrize("moment", ["before the write", "before the commit"])
@async_test
async def test_a_connection_killed_at_commit_leaves_neither_order_nor_job(
    kind: str, moment: str
) -> None:
    async with postgres_desk(kind) as desk, closing_session(desk) as session:
        session.add(Order(id=1))
        await now(session.flush())
        backend = (await now(session.execute(text("SELECT pg_backend_pid()")))).scalar_one()

        def kill(*_: object) -> None:
            with psycopg.connect(POSTGRES, autocommit=True) as other:
                # Returns when it has ended: true after at most that many milliseconds.
                ended = other.execute("SELECT pg_terminate_backend(%s, 10000)", [backend])
                assert ended.fetchone() == (True,)

        desk.add(session)
        engine = session.bind if isinstance(session.bind, Engine) else session.bind.sync_engine
        if moment == "before the write":
            kill()
            with pytest.raises(LedgerUnavailable):
                await now(session.commit())
        else:
            event.listen(engine, "commit", kill, once=True)
            with pytest.raises(Exception, match="(?i)connection|terminat|closed"):
                await now(session.commit())
        await now(session.rollback())
        assert (desk.orders(), desk.jobs(), desk.told) == ([], [], [None])
        assert desk.ledger.wakes == []
        # The session goes on with another connection.
        session.add(Order(id=2))
        desk.add(session)
        await now(session.commit())
        assert (desk.orders(), desk.jobs()) == (["2"], ["send"])


@pytest.mark.parametrize("kind", ["pysqlite", pytest.param("psycopg sync", marks=needs_postgres)])
@async_test
async def test_nobody_ever_sees_an_order_without_its_job_or_a_job_without_its_order(
    kind: str, tmp_path: Path
) -> None:
    async with desk_of(kind, tmp_path) as desk:
        done = threading.Event()
        odd: list[str] = []

        def write() -> None:
            with desk.session() as session:
                for number in range(60):
                    session.add(Order(id=number))
                    session.flush()
                    desk.add(session, str(number))
                    if number % 3:
                        session.commit()
                    else:
                        session.rollback()

        writer = asyncio.get_running_loop().run_in_executor(None, write)
        writer.add_done_callback(lambda _: done.set())
        compare = (
            "SELECT id FROM (SELECT id FROM orders UNION ALL SELECT CAST(task AS INTEGER) FROM work)"
            " AS both_of_them GROUP BY id HAVING count(*) <> 2"
        )
        while not done.is_set():
            odd += desk.look(compare)
            await asyncio.sleep(0)
        await writer
        assert odd == []
        assert sorted(map(int, desk.jobs())) == [each for each in range(60) if each % 3]
        assert len(desk.told) == 60
        assert sum(each is not None for each in desk.told) == 40
