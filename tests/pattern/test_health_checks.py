"""What is asked of an app's parts, against databases that answer, fall silent and are gone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from backstay.app import Backstay
from backstay.cache import add_cache
from backstay.db import add_database
from backstay.pattern.health import Health, Report, Standing
from backstay.pattern.health_checks import checks_of
from backstay.state import add_state
from backstay.tasks import add_tasks
from backstay.testing import running
from backstay.web import install
from tests.jobs.desks import POSTGRES, needs_postgres
from tests.support import async_test


@asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """A server that takes connections and never says a word."""
    held: list[asyncio.StreamWriter] = []

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for each in held:
            each.transport.abort()


class Wire:
    """A wire to PostgreSQL that can be cut without either side hearing of it."""

    def __init__(self) -> None:
        self.whole = asyncio.Event()
        self.whole.set()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for each in self._tasks:
                each.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, near: asyncio.StreamReader, nearer: asyncio.StreamWriter) -> None:
        far, farther = await asyncio.open_connection("127.0.0.1", 5432)
        for source, sink in ((near, farther), (far, nearer)):
            self._tasks.add(asyncio.create_task(self._carry(source, sink)))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self.whole.wait()
                sink.write(data)
        finally:
            sink.close()


@asynccontextmanager
async def gone() -> AsyncIterator[int]:
    """A port that nobody listens at."""
    async with black_hole() as port:
        pass
    yield port


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.chdir(tmp_path)
    app = FastAPI()
    install(app, env_file=None)
    return app


async def look(backstay: Backstay) -> Report:
    health = Health(checks_of(backstay), backstay.clock)
    try:
        return await health.report()
    finally:
        await health.close()


@async_test
async def test_an_app_without_parts_stands_on_nothing(app: FastAPI) -> None:
    async with running(app):
        report = await look(app.state.backstay)
    assert (report.standing, report.findings) == (Standing.OK, {})


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgres)])
@async_test
async def test_a_database_that_answers_is_well(kind: str, app: FastAPI, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db" if kind == "sqlite" else POSTGRES
    database = add_database(app, url)
    async with running(app):
        await database.fetch(text("SELECT 1"))  # else there is no file yet
        report = await look(app.state.backstay)
    assert list(report.findings) == ["database"]
    assert report.standing is Standing.OK


@pytest.mark.parametrize("fault", [black_hole, gone])
@async_test
async def test_without_its_database_a_service_is_down_and_says_so_in_time(
    fault: Any, app: FastAPI
) -> None:
    async with fault() as port:
        add_database(app, f"postgresql://postgres:hush@127.0.0.1:{port}/x")
        async with running(app):
            report = await look(app.state.backstay)  # the test's own patience would be over
    assert report.standing is Standing.DOWN
    assert "hush" not in str(report.findings["database"].detail)


@needs_postgres
@async_test
async def test_a_database_that_falls_silent_is_down_until_it_speaks_again(app: FastAPI) -> None:
    wire = Wire()
    async with wire.laid() as port:
        add_database(app, POSTGRES.replace("5432", str(port)))
        async with running(app):
            assert (await look(app.state.backstay)).standing is Standing.OK
            wire.whole.clear()
            for _ in range(2):
                report = await look(app.state.backstay)
                assert report.findings["database"].detail == "no answer within 1 s"
            wire.whole.set()
            assert (await look(app.state.backstay)).standing is Standing.OK


@async_test
async def test_where_durable_tasks_are_written_is_asked_once_it_is_in_use(
    app: FastAPI, tmp_path: Path
) -> None:
    add_tasks(app)
    async with running(app):
        assert not {"jobs", "worker"} & (await look(app.state.backstay)).findings.keys()
        assert not (tmp_path / "backstay.db").exists()


@async_test
async def test_a_worker_has_a_heartbeat(app: FastAPI, tmp_path: Path) -> None:
    add_tasks(app, database=f"sqlite:///{tmp_path}/jobs.db")
    async with running(app):
        backstay = app.state.backstay
        report = await look(backstay)
        assert report.standing is Standing.OK
        assert {"jobs", "worker"} <= report.findings.keys()
        worker: Any = backstay.part("job")
        ledger: Any = backstay.part("durable")
        await ledger.ledger.unregister(worker.worker.id)
        report = await look(backstay)
    assert report.standing is Standing.DEGRADED
    assert "not registered" in str(report.findings["worker"].detail)


@async_test
async def test_a_process_without_a_worker_has_none_to_look_for(
    app: FastAPI, tmp_path: Path
) -> None:
    add_tasks(app, database=f"sqlite:///{tmp_path}/jobs.db", worker=False)
    async with running(app):
        report = await look(app.state.backstay)
    assert "jobs" in report.findings
    assert "worker" not in report.findings


@async_test
async def test_the_state_is_asked_when_it_is_in_use(app: FastAPI, tmp_path: Path) -> None:
    part = add_state(app)
    async with running(app):
        assert (await look(app.state.backstay)).findings == {}
        await part.awake()
        assert (await look(app.state.backstay)).findings["state"].standing is Standing.OK
        await part.store.close()
        report = await look(app.state.backstay)
    assert report.standing is Standing.DEGRADED


@pytest.mark.parametrize("fault", [None, black_hole, gone])
@async_test
async def test_without_its_caches_store_a_service_is_degraded(
    fault: Any, app: FastAPI, tmp_path: Path
) -> None:
    async with (fault or gone)() as port:
        add_cache(app, f"redis://127.0.0.1:{port}" if fault else f"sqlite:///{tmp_path}/c.db")
        async with running(app):
            report = await look(app.state.backstay)
    assert report.standing is (Standing.DEGRADED if fault else Standing.OK)
    assert list(report.findings) == ["cache"]


@async_test
async def test_a_cache_in_memory_cannot_be_out_of_reach(app: FastAPI) -> None:
    add_cache(app)
    async with running(app):
        assert (await look(app.state.backstay)).findings == {}
