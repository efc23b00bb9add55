"""``executor="process"``: results, failures, deaths and timeouts of functions in processes."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.errors import MissingExtra, TaskCrashed
from backstay.jobs.pool import ProcessPool, run_in_process
from backstay.tasks import State, add_tasks
from backstay.testing import running
from backstay.web import install
from tests.jobs.busy import Busy
from tests.support import async_test


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()
    install(app, settings={"BACKSTAY_SECRET_KEY": "a key that is long enough"})
    add_tasks(app, database="memory://", **options)
    return app


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):  # gone, maybe between the two
        return False


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@async_test
async def test_a_process_gives_results_failures_and_decisions() -> None:
    async with running(make_app(concurrency=1)) as client:
        durable = client.durable
        assert await (await durable.enqueue(Busy.square, 7)).result() == 49
        assert await (await durable.enqueue(Busy.where)).result() != os.getpid()
        failed = await (await durable.enqueue(Busy.fail, "größer")).wait()
        assert failed.error is not None
        assert (failed.error["type"], failed.error["message"]) == ("LookupError", "größer")
        assert "busy.py" in failed.error["traceback"]
        cancelled = await (await durable.enqueue(Busy.decide, "raise cancel")).wait()
        assert (cancelled.state, cancelled.attempt) == (State.CANCELLED, 1)
        returned = await (await durable.enqueue(Busy.decide, "return cancel")).wait()
        assert (returned.state, returned.attempt) == (State.CANCELLED, 1)
        for how in ("raise snooze", "return snooze"):
            snoozed = await durable.enqueue(Busy.decide, how)
            await client.drain()
            assert (await snoozed.status()).state is State.SCHEDULED
        # Sealed ones reach it in the open.
        assert await (await durable.enqueue(Busy.login, "open sesame")).result() == 11


@async_test
async def test_a_process_that_dies_is_a_failed_attempt_and_takes_nobody_along() -> None:
    async with running(make_app(concurrency=1)) as client:
        dying = await client.durable.enqueue(Busy.die, 3)
        killed = await client.durable.enqueue(Busy.killed)
        others = [await client.durable.enqueue(Busy.square, each) for each in range(4)]
        status = await dying.wait()
        assert (status.state, status.attempt) == (State.DISCARDED, 2)
        assert status.error is not None
        assert status.error["type"] == "TaskCrashed"
        assert "exit code 3" in status.error["message"]
        killed_status = await killed.wait()
        assert killed_status.error is not None
        assert killed_status.error["type"] == "TaskCrashed"
        assert [await job.result() for job in others] == [0, 1, 4, 9]


@async_test
async def test_a_timeout_and_a_cancellation_kill_the_process(tmp_path: Path) -> None:
    timed, cancelled = tmp_path / "timed", tmp_path / "cancelled"
    async with running(make_app(concurrency=1)) as client:
        # One that is ready first: starting one takes longer than the timeout.
        await (await client.durable.enqueue(Busy.square, 1)).wait()
        job = await client.durable.enqueue(Busy.long, str(cancelled))
        await until(lambda: cancelled.exists() and cancelled.read_text() != "")
        assert await job.cancel()
        assert (await job.wait()).state is State.CANCELLED
        await until(lambda: not alive(int(cancelled.read_text())))
        await (await client.durable.enqueue(Busy.square, 1)).wait()
        status = await (await client.durable.enqueue(Busy.hang, str(timed))).wait()
        assert (status.state, status.error and status.error["type"]) == (
            State.DISCARDED,
            "TaskTimeout",
        )
        if timed.exists() and timed.read_text():
            await until(lambda: not alive(int(timed.read_text())))
        assert await (await client.durable.enqueue(Busy.square, 3)).result() == 9


@async_test
async def test_stopping_kills_what_runs_and_gives_it_back(tmp_path: Path) -> None:
    note = tmp_path / "note"
    file = f"sqlite:///{tmp_path}/shop.db"
    app = FastAPI()
    add_tasks(app, database=file, shutdown_grace_s=0.0, concurrency=1)
    async with running(app) as client:
        job = await client.durable.enqueue(Busy.long, str(note))
        await until(lambda: note.exists() and note.read_text() != "")
    await until(lambda: not alive(int(note.read_text())))
    other = FastAPI()
    add_tasks(other, database=file, worker=False)
    async with running(other) as client:
        status = await client.durable.job(job.id).status()
        assert (status.state, status.attempt) == (State.AVAILABLE, 0)


def test_the_other_side_finds_the_task_and_speaks_json() -> None:
    assert run_in_process("tests.jobs.busy", "Busy.square", (7,), {}) == "49"


@async_test
async def test_without_pebble_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pebble", None)
    with pytest.raises(MissingExtra, match=r"backstay\[process\]"):
        await ProcessPool(1).run(Busy.square, (7,), {})


@async_test
async def test_a_pool_that_never_ran_anything_stops_at_once() -> None:
    await ProcessPool(0).stop()


def test_a_crash_is_an_error_of_a_task() -> None:
    assert issubclass(TaskCrashed, Exception)
