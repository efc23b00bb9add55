"""A worker in a process of its own: it runs the app's lifespan, and stops when it is asked to."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.errors import BadJob, NotInstalled
from backstay.jobs.process import run_worker, worker_part_of
from backstay.jobs.worker_part import WorkerPart
from backstay.tasks import DurableScheduler, State, add_tasks, connect, task
from backstay.web import install
from tests.support import async_test

ROOT = Path(__file__).resolve().parent.parent.parent


async def run_elsewhere(number: int = 0) -> int:
    raise AssertionError


class Tasks:
    """As scripts know them; what they do is said in ``standing``."""

    quick = task(name="standing.quick")(run_elsewhere)
    slow = task(name="standing.slow")(run_elsewhere)
    endless = task(name="standing.endless")(run_elsewhere)


class Standing:
    """A worker's process, and the ledger it works on."""

    def __init__(self, folder: Path, mode: str) -> None:
        self.database = f"sqlite:///{folder}/shop.db"
        self.notes = folder / "notes"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.jobs.standing", folder / "shop.db", self.notes, mode],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lines(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []

    async def until(self, line: str) -> None:
        while line not in self.lines():
            assert self.process.poll() is None
            await asyncio.sleep(0.01)

    async def ended(self) -> tuple[int, str]:
        _, errors = await asyncio.to_thread(self.process.communicate, timeout=15)
        return self.process.returncode, errors


@asynccontextmanager
async def standing(
    folder: Path, mode: str = ""
) -> AsyncIterator[tuple[Standing, DurableScheduler]]:
    worker = Standing(folder, mode)
    try:
        async with connect(worker.database, queues=["default"]) as durable:
            yield worker, durable
    finally:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.communicate()


def test_it_runs_jobs_and_at_sigterm_finishes_what_it_began(tmp_path: Path) -> None:
    @async_test
    async def check() -> None:
        async with standing(tmp_path) as (worker, durable):
            assert await (await durable.enqueue(Tasks.quick, 7)).result() == 7
            begun = await durable.enqueue(Tasks.slow)
            await worker.until("slow")
            worker.process.send_signal(signal.SIGTERM)
            status, errors = await worker.ended()
            assert (status, "Traceback" in errors) == (0, False)
            assert (await begun.status()).result == "slowly"
            assert worker.lines()[0] == "up"
            assert worker.lines()[-1] == "down"
            ledger = await durable._writer.awake()
            assert await ledger.workers() == []

    check()


@pytest.mark.parametrize("how", ["no grace", "twice"])
def test_what_does_not_finish_is_handed_back_without_using_up_an_attempt(
    tmp_path: Path, how: str
) -> None:
    @async_test
    async def check() -> None:
        async with standing(tmp_path, how) as (worker, durable):
            job = await durable.enqueue(Tasks.endless)
            await worker.until("endless")
            worker.process.send_signal(signal.SIGINT)
            if how == "twice":
                ledger = await durable._writer.awake()
                later = await durable.enqueue(Tasks.quick, 1)
                assert (await later.status()).state is State.AVAILABLE
                assert len(await ledger.workers()) == 1
                worker.process.send_signal(signal.SIGTERM)
            assert (await worker.ended())[0] == 0
            status = await job.status()
            assert (status.state, status.attempt) == (State.AVAILABLE, 0)

    check()


def test_an_app_that_fails_to_start_is_an_error_with_its_words(tmp_path: Path) -> None:
    @async_test
    async def check() -> None:
        async with standing(tmp_path, "fails to start") as (worker, _):
            status, errors = await worker.ended()
            assert status != 0
            assert "port taken" in errors

    check()


def test_an_app_without_tasks_is_refused_with_the_line_to_add() -> None:
    app = FastAPI()
    with pytest.raises(NotInstalled):
        worker_part_of(app)
    install(app)
    with pytest.raises(NotInstalled, match="add_tasks"):
        run_worker(app)


def test_the_worker_of_an_app_is_found_and_options_are_checked() -> None:
    app = FastAPI()
    add_tasks(app, database="memory://", worker=False)
    assert isinstance(worker_part_of(app), WorkerPart)
    wrong: Any
    for wrong in ({"concurrency": 0}, {"queues": "mail"}, {"grace_s": -1}):
        with pytest.raises(BadJob, match=next(iter(wrong))):
            run_worker(app, **wrong)
