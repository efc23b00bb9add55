"""Commands run as in a terminal, and files with jobs in them to run them on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from typer.testing import CliRunner

from backstay.cli.program import program
from backstay.ledger import (
    Claimed,
    Finish,
    Ledger,
    NewJob,
    State,
    WorkerRow,
    new_job_id,
    new_ledger,
)

T = TypeVar("T")

WORKER = WorkerRow(
    id="w1", host="web-1", pid=4121, lease_s=3600, concurrency=50, queues=("default", "mail")
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def backstay(*args: object, columns: int = 120, typed: str | None = None, **env: str) -> Outcome:
    """Run a command. Colours are off, as where output is piped."""
    result = CliRunner().invoke(
        program,
        [str(each) for each in args],
        input=typed,
        env={"COLUMNS": str(columns), "TERM": "dumb", "NO_COLOR": "1", **env},
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def with_ledger(ledger: Ledger, work: Callable[[Ledger], Awaitable[T]]) -> T:
    """Do something with a ledger, opened for it."""

    async def opened() -> T:
        await ledger.open()
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    return asyncio.run(opened())


def within(path: Path, work: Callable[[Ledger], Awaitable[T]]) -> T:
    """Do something with the ledger in a SQLite file."""
    return with_ledger(new_ledger(f"sqlite:///{path}"), work)


def write(path: Path, *jobs: NewJob) -> list[UUID]:
    """Put jobs into a file, making it if there is none."""
    within(path, lambda ledger: ledger.insert(jobs))
    return [each.id for each in jobs]


def job(task: str = "shop.mail.send", args: str = "{}", **more: Any) -> NewJob:
    """A job of today."""
    return NewJob(new_job_id(), task, args, **more)


def run_all(path: Path, finish: Callable[[Claimed], Finish | None]) -> list[Claimed]:
    """Claim every job that can be, and end those for which ``finish`` says how."""

    async def work(ledger: Ledger) -> list[Claimed]:
        await ledger.register(WORKER)
        claimed: list[Claimed] = []
        while jobs := (await ledger.claim(WORKER.id, {"default": 500, "mail": 500})).jobs:
            claimed += jobs
            ends: Iterable[Finish | None] = map(finish, jobs)
            await ledger.finish([each for each in ends if each is not None])
        return claimed

    return within(path, work)


def succeed(claimed: Claimed) -> Finish:
    return Finish(claimed.id, claimed.fence, State.SUCCEEDED, result='{"sent": true}')


def discard(claimed: Claimed) -> Finish:
    error = {
        "type": "CardDeclined",
        "message": "insufficient funds",
        "attempt": claimed.attempt,
        "at": "2026-11-24T03:00:00+00:00",
        "traceback": 'Traceback (most recent call last):\n  File "pay.py", line 3, in charge\nCardDeclined',
    }
    return Finish(claimed.id, claimed.fence, State.DISCARDED, error=json.dumps(error))


def states(path: Path, *ids: UUID) -> list[State]:
    """What became of jobs."""
    rows = within(path, lambda ledger: ledger.get(ids))
    return [rows[each].state for each in ids]
