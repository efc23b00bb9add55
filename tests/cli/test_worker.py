"""``backstay worker``: an app's jobs without its HTTP."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.ledger import JobFilter, Ledger, State
from tests.cli.terminal import backstay, job, within, write

SHOP = """
import asyncio
from contextlib import asynccontextmanager
from fastapi import FastAPI
from backstay.tasks import add_tasks, task

@task(name="send", queue="mail")
async def send(order: int) -> int:
    return order + 1

@task(name="reserve")
def reserve() -> None: ...

@task(name="forever")
async def forever() -> None:
    print("it runs", flush=True)
    await asyncio.sleep(3600)

@asynccontextmanager
async def lifespan(app):
    print("opened", flush=True)
    yield
    print("closed", flush=True)

app = FastAPI(lifespan=lifespan)
add_tasks(app, database="sqlite:///shop.db")
bare = FastAPI()

@asynccontextmanager
async def broken_lifespan(app):
    raise ValueError("no connection to the stock")
    yield

broken = FastAPI(lifespan=broken_lifespan)
add_tasks(broken, database="sqlite:///shop.db")
"""


@pytest.fixture(autouse=True)
def shop(here: Path) -> Iterator[Path]:
    (here / "worker_shop.py").write_text(SHOP)
    modules, path = set(sys.modules), list(sys.path)
    yield here
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("worker_shop"):
            del sys.modules[name]


class Running:
    """A worker in a process of its own."""

    def __init__(self, here: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "backstay", "worker", *arguments],
            cwd=here,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "100"},
        )

    def says(self, wanted: str) -> None:
        """Wait for a line of its output."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if wanted in line:
                return
        raise AssertionError(self.process.communicate()[1])

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def until_finished(path: Path, count: int) -> None:
    async def wait(ledger: Ledger) -> None:
        import asyncio

        async with asyncio.timeout(30):
            done = JobFilter(states=frozenset({State.SUCCEEDED}))
            while len(await ledger.find(done)) < count:
                await asyncio.sleep(0.02)

    within(path, wait)


def test_jobs_run_within_the_apps_lifespan_until_it_is_told_to_stop(here: Path) -> None:
    write(here / "shop.db", job("send", '{"order": 17}', queue="mail"), job("reserve"))
    worker = Running(here, "worker_shop:app", "--concurrency", "5")
    worker.says("opened")
    until_finished(here / "shop.db", 2)
    code, out, err = worker.stop()
    assert code == 0, err
    assert out == "closed\n"
    assert "Traceback" not in err
    for each in (
        "backstay worker",
        "database     sqlite:///shop.db",
        "queues       default, mail (all)",
        "tasks        3: forever, reserve, send",
        "concurrency  5",
        f"pid          {worker.process.pid}",
        "worker stopped after",
    ):
        assert each in err, err


def test_ctrl_c_stops_it_as_well_and_what_ran_is_handed_back(here: Path) -> None:
    (job_id,) = write(here / "shop.db", job("forever", max_attempts=3))
    worker = Running(here, "worker_shop:app", "--grace", "0")
    worker.says("it runs")
    code, _, err = worker.stop(signal.SIGINT)
    assert code == 0, err
    assert "Traceback" not in err
    row = within(here / "shop.db", lambda ledger: ledger.get([job_id]))[job_id]
    assert (row.state, row.attempt) == (State.AVAILABLE, 0)


def test_only_the_named_queues_are_served(here: Path) -> None:
    _, waiting = write(here / "shop.db", job("send", '{"order": 1}', queue="mail"), job("reserve"))
    worker = Running(here, "worker_shop:app", "--queues", "mail")
    until_finished(here / "shop.db", 1)
    _, _, err = worker.stop()
    assert "queues       mail\n" in err.replace(" \n", "\n").replace(" \n", "\n") or "mail" in err
    row = within(here / "shop.db", lambda ledger: ledger.get([waiting]))[waiting]
    assert row.state is State.AVAILABLE


def test_logs_are_json_where_that_is_asked_for(here: Path) -> None:
    worker = Running(here, "worker_shop:app", "--json-logs")
    worker.says("opened")
    code, _, err = worker.stop()
    assert code == 0
    lines = [json.loads(line) for line in err.splitlines()]
    assert lines[0]["message"] == "worker for worker_shop:app starts"
    assert (lines[0]["database"], lines[0]["tasks"]) == ("sqlite:///shop.db", 3)
    assert lines[-1]["message"].startswith("worker stopped after")


def test_an_app_that_cannot_start_is_one_line(here: Path) -> None:
    worker = Running(here, "worker_shop:broken")
    _, err = worker.process.communicate(timeout=60)
    assert worker.process.returncode == 1
    assert "no connection to the stock" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.app:app",), "there is no module 'nowhere'"),
        (("worker_shop:ap",), "the apps in it: app, bare, broken"),
        (("worker_shop:bare",), "has no durable tasks"),
        (("worker_shop:app", "--queues", "mial"), "has no queue 'mial'"),
        (("worker_shop:app", "--queues", ","), "names no queue"),
        (("worker_shop:app", "--grace", "soon"), "--grace: 'soon' is no duration"),
        (("worker_shop:app", "--log-level", "loud"), "none of debug, info"),
        (("worker_shop:app", "--concurrency", "0"), "--concurrency"),
        (("shop.db",), "no reference to an app"),
        ((), "Missing argument"),
    ],
)
def test_wrong_usage_is_said_before_anything_runs(arguments: tuple[str, ...], said: str) -> None:
    outcome = backstay("worker", *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert not Path("shop.db").exists()
