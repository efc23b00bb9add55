"""A database keeps circuits for all processes, by one clock, and says when it cannot."""

import asyncio
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from backstay.db.database import Database
from backstay.errors import BadIntegration
from backstay.integration.stability.shared import open_shared_states
from backstay.integration.stability.shared.database_store import DatabaseStore
from backstay.integration.stability.shared.port import ANY_EPOCH, Ending, Pace, StoreUnavailable
from backstay.testing import FakeClock
from tests.chaos.private_postgres import private_postgres
from tests.db.places import EVERY_KIND, at
from tests.integration.stability.shared.wire import a_wire
from tests.jobs.desks import needs_postgres
from tests.support import async_test

NAME = b"a name of ours.."

every_kind = pytest.mark.parametrize("kind", EVERY_KIND)


@needs_postgres
@async_test
async def test_postgres_goes_by_its_own_clock(tmp_path: Path) -> None:
    with at("postgresql", tmp_path) as url:
        database = Database(url)
        store = DatabaseStore(database)
        opened = await store.trip(NAME, epoch=ANY_EPOCH, reset_s=60)
        [row] = await database.fetch(text("SELECT extract(epoch FROM now()) AS at"))
        assert 0 <= float(row.at) * 1_000_000 - opened.epoch < 20_000_000
        assert opened.opens_in_s == 60
        await store.close()
        await database.close()


@needs_postgres
@async_test
async def test_whoever_keeps_all_connections_of_the_app_busy_is_no_hindrance(
    tmp_path: Path,
) -> None:
    with at("postgresql", tmp_path) as url:
        database = Database(url, options={"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.1})
        store = DatabaseStore(database)
        for _ in range(2):  # and again once it was closed
            async with database.session() as session:
                await session.execute(text("SELECT 1"))
                assert (await store.trip(NAME, epoch=ANY_EPOCH, reset_s=60)).is_open
            await store.close()
        assert await database.fetch(text("SELECT 1"))  # which is not the store's to close
        await database.close()


@needs_postgres
@async_test
async def test_sessions_that_are_serializable_elsewhere_do_not_disturb_it(tmp_path: Path) -> None:
    with at("postgresql", tmp_path) as url:
        database = Database(url, options={"isolation_level": "SERIALIZABLE"})
        store = DatabaseStore(database)
        takes = [store.take(NAME, Pace(0.001, 20), count=1, max_wait_s=0) for _ in range(60)]
        assert sum(each.count for each in await asyncio.gather(*takes)) == 20
        leases = await asyncio.gather(*(store.lease(NAME, lease_s=60) for _ in range(20)))
        assert sum(each.granted for each in leases) == 1
        await store.close()
        await database.close()


@every_kind
@async_test
async def test_errors_of_the_database_are_told_as_ours(kind: str, tmp_path: Path) -> None:
    with at(kind, tmp_path) as url:
        database = Database(url)
        store = DatabaseStore(database)
        await store.open()
        for table in ("circuits", "buckets"):
            await database.write(text(f"DROP TABLE backstay_{table}"))
        with pytest.raises(StoreUnavailable, match="out of reach") as caught:
            await store.look([NAME])
        assert caught.value.__cause__ is not None
        with pytest.raises(StoreUnavailable):
            await store.take(NAME, Pace(1, 1), count=1, max_wait_s=0)
        await store.close()
        await database.close()


@async_test
async def test_a_closed_port_is_out_of_reach() -> None:
    store = DatabaseStore(Database("postgresql://postgres@127.0.0.1:1/test"), owned=True)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.open()
    with pytest.raises(StoreUnavailable):
        await store.look([NAME])
    await store.close()


@async_test
async def test_a_machine_whose_clock_is_behind_gives_no_right_too_early(tmp_path: Path) -> None:
    ahead, behind = FakeClock(), FakeClock()
    await ahead.advance(61)
    with at("sqlite", tmp_path) as url:
        first = DatabaseStore(Database(url), clock=ahead, owned=True)
        second = DatabaseStore(Database(url), clock=behind, owned=True)
        assert (await first.take(NAME, Pace(1, 5), count=9, max_wait_s=0)).count == 5
        assert (await second.take(NAME, Pace(1, 5), count=9, max_wait_s=0)).count == 0
        opened = await first.trip(NAME, epoch=ANY_EPOCH, reset_s=1)
        assert not (await second.lease(NAME, lease_s=5)).granted
        await ahead.advance(1)
        lease = await first.lease(NAME, lease_s=5)
        assert lease.granted
        assert lease.circuit.epoch > opened.epoch
        assert not (await second.lease(NAME, lease_s=5)).granted
        # And an epoch is never lower than one before, whatever the clock says.
        said = await second.settle(
            NAME, epoch=lease.circuit.epoch, ending=Ending.NOTHING, reset_s=1
        )
        assert said.epoch == lease.circuit.epoch + 1
        await first.close()
        await second.close()


@async_test
async def test_who_holds_sqlites_lock_makes_nobody_wait_for_long(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    states = open_shared_states(f"sqlite:///{file}", timeout_s=0.05)
    assert states.is_here
    await states.store.open()
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=r"not answered within 0\.05 s"):
            await states.lease(NAME)
        assert not (await states.store.look([NAME]))[0].is_open  # who reads waits for nobody
        writer.execute("ROLLBACK")
    while not states.is_alone:
        try:
            await states.lease(NAME)
            break
        except StoreUnavailable:
            await asyncio.sleep(0.01)  # what was given up still stands in line for the lock
    await states.close()


@needs_postgres
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
@async_test
async def test_connections_that_are_cut_are_made_again_unseen(driver: str, tmp_path: Path) -> None:
    with at(f"postgresql+{driver}", tmp_path) as url:
        parts = urlsplit(url)
        async with a_wire(parts.hostname or "", parts.port or 5432) as wire:
            through = url.replace(f":{parts.port}", f":{wire.port}")
            store = DatabaseStore(Database(through), owned=True)
            await asyncio.gather(
                *(store.take(NAME, Pace(0.001, 50), count=1, max_wait_s=0) for _ in range(8))
            )
            for _ in range(3):
                wire.cut()
                assert (await store.take(NAME, Pace(0.001, 50), count=1, max_wait_s=0)).count == 1
            assert not (await store.look([NAME]))[0].is_open
            await store.close()


@needs_postgres
@async_test
async def test_a_line_that_goes_dead_costs_the_time_out_and_comes_back(tmp_path: Path) -> None:
    with at("postgresql+asyncpg", tmp_path) as url:
        parts = urlsplit(url)
        async with a_wire(parts.hostname or "", parts.port or 5432) as wire:
            through = url.replace(f":{parts.port}", f":{wire.port}")
            states = open_shared_states(through, timeout_s=5)
            await states.open()
            assert (await states.lease(NAME)).granted
            states._patience._timeout_s = 0.05
            wire.is_dead = True
            for _ in range(4):
                with pytest.raises(StoreUnavailable):
                    await states.lease(NAME)
            assert states.is_alone
            wire.is_dead = False
            states._patience._timeout_s = 5
            while states.is_alone:
                try:
                    assert not (await states.lease(NAME)).granted
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
            await states.close()


def test_a_postgres_that_is_killed_and_started_again_is_joined_again() -> None:
    with private_postgres() as server:

        @async_test
        async def run() -> None:
            states = open_shared_states(server.database.url, timeout_s=5)
            await states.open()
            opened = await states.trip(NAME, epoch=ANY_EPOCH, reset_s=60)
            await asyncio.to_thread(server.kill, signal.SIGQUIT)
            while not states.is_alone:
                with pytest.raises(StoreUnavailable):
                    await states.lease(NAME)
            await asyncio.to_thread(server.start)
            found = None
            while found is None:
                try:
                    [found] = await states.ask(lambda: states.store.look([NAME]))
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
            assert found.epoch == 0, "UNLOGGED tables are empty after a crash"
            again = await states.trip(NAME, epoch=opened.epoch, reset_s=60)
            assert again.epoch > opened.epoch
            await states.close()

        run()


def test_other_databases_are_refused() -> None:
    class Other:
        dialect = "mysql"
        url = "mysql://host/x"

    with pytest.raises(BadIntegration, match="mysql"):
        DatabaseStore(Other())  # type: ignore[arg-type]  # as much of a database as is looked at
