"""A connection that died in the pool is replaced, and the server is hardly ever asked."""

import asyncio
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import create_engine
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from backstay.db.liveness import watch_connections
from tests.jobs.desks import POSTGRES, needs_postgres
from tests.support import PATIENCE_S, async_test

pytestmark = needs_postgres

PID = text("SELECT pg_backend_pid()")


@asynccontextmanager
async def engine_of(driver: str, idle_s: float = 60.0) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(POSTGRES.replace("postgresql", f"postgresql+{driver}"))
    watch_connections(engine.sync_engine, idle_s=idle_s)
    try:
        yield engine
    finally:
        await engine.dispose()


async def pid_of(engine: AsyncEngine) -> Any:
    async with engine.connect() as connection:
        return (await connection.execute(PID)).scalar_one()


def end(pid: int) -> None:
    with psycopg.connect(POSTGRES, autocommit=True) as other:
        ended = other.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        assert ended.fetchone() == (True,)


def count_pings(engine: Any, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    asked: list[object] = []
    ping = engine.dialect.do_ping

    def do_ping(connection: Any) -> Any:
        asked.append(connection)
        return ping(connection)

    monkeypatch.setattr(engine.dialect, "do_ping", do_ping)
    return asked


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@pytest.mark.parametrize("noticed", [False, True], ids=["unnoticed", "noticed"])
@async_test
async def test_a_connection_whose_server_has_gone_is_replaced(driver: str, noticed: bool) -> None:
    async with engine_of(driver) as engine:
        pid = await pid_of(engine)
        end(pid)
        if noticed:
            # The event loop may read the end of the connection before anybody takes it.
            for _ in range(20):
                await asyncio.sleep(0)
        assert await pid_of(engine) != pid


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@async_test
async def test_a_quiet_connection_is_taken_without_asking(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine_of(driver) as engine:
        asked = count_pings(engine.sync_engine, monkeypatch)
        pids = {await pid_of(engine) for _ in range(5)}
        assert len(pids) == 1
        assert asked == []


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@async_test
async def test_one_that_was_idle_for_long_is_asked(
    driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine_of(driver, idle_s=0.0) as engine:
        asked = count_pings(engine.sync_engine, monkeypatch)
        pids = {await pid_of(engine) for _ in range(3)}
        assert len(pids) == 1
        assert len(asked) == 2, "not the first time, when it was made"


def test_sync_engines_are_watched_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = create_engine(POSTGRES.replace("postgresql", "postgresql+psycopg"))
    watch_connections(engine)
    asked = count_pings(engine, monkeypatch)

    def pid() -> int:
        with engine.connect() as connection:
            return int(connection.execute(PID).scalar_one())

    first = pid()
    assert pid() == first
    assert asked == []
    end(first)
    assert pid() != first
    engine.dispose()


@async_test
async def test_a_connection_that_has_been_told_something_is_asked_and_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A notification makes the socket readable, and is no reason to throw the connection away."""
    async with engine_of("psycopg") as engine:
        async with engine.connect() as connection:
            pid = (await connection.execute(PID)).scalar_one()
            await connection.execute(text("LISTEN liveness"))
            await connection.commit()
            number = (await connection.get_raw_connection()).driver_connection.fileno()  # type: ignore[union-attr]  # of psycopg
        with psycopg.connect(POSTGRES, autocommit=True) as other:
            other.execute("NOTIFY liveness")
        assert select.select([number], [], [], PATIENCE_S)[0], "it has arrived"
        asked = count_pings(engine.sync_engine, monkeypatch)
        assert await pid_of(engine) == pid
        assert len(asked) == 1


@async_test
async def test_a_fault_that_is_no_lost_connection_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with engine_of("psycopg", idle_s=0.0) as engine:
        await pid_of(engine)

        def refuse(_: object) -> bool:
            raise psycopg.ProgrammingError("something else")

        monkeypatch.setattr(engine.sync_engine.dialect, "do_ping", refuse)
        with pytest.raises(ProgrammingError, match="something else"):
            await pid_of(engine)
        monkeypatch.undo()
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool


@async_test
async def test_connections_that_are_as_old_are_replaced_without_asking_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with engine_of("asyncpg") as engine:
        first = [await engine.connect() for _ in range(3)]
        pids = [(await connection.execute(PID)).scalar_one() for connection in first]
        for connection in first:
            await connection.close()
        for pid in pids:
            end(pid)
        asked = count_pings(engine.sync_engine, monkeypatch)
        made: list[object] = []
        event.listen(engine.sync_engine, "connect", lambda connection, _: made.append(connection))
        again = [await engine.connect() for _ in range(3)]
        for connection in again:
            assert (await connection.execute(PID)).scalar_one() not in pids
            await connection.close()
        assert len(made) == 3
        assert len(asked) == 1
