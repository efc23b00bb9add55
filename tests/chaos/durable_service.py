"""A service whose durable jobs write down what they do, for tests that kill its processes.

Told by its environment: DATABASE (a URL), JOURNAL (a file that gets a line for whatever happens),
and LEASE_S, GRACE_S, CONCURRENCY, WORKER, KEEP_S, SPEED where a test needs other values.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fastapi import FastAPI
from sqlalchemy import text

from backstay.clock import SystemClock, Timer
from backstay.context import Context
from backstay.tasks import JobFailure, Retry, Tasks, add_tasks, task
from backstay.web import Ctx, install

JOURNAL = Path(os.environ["JOURNAL"])
PAID = text("INSERT INTO payments (number, attempt) VALUES (:number, :attempt)")
SOON = Retry(attempts=10, backoff="exponential", base_s=0.1, max_s=1.0)
_journal = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def write_down(*words: object) -> None:
    # One write at the end of the file: whole, whoever else writes, and whoever is killed next.
    os.write(_journal, (" ".join(map(str, words)) + "\n").encode())


class FastClock:
    """The machine's time, but so many times as fast. The same in every process."""

    def __init__(self, speed: float, start: float) -> None:
        self._speed = speed
        self._start = start
        self._system = SystemClock()

    def now(self) -> datetime:
        fast_s = (time.time() - self._start) * self._speed
        return datetime.fromtimestamp(self._start, UTC) + timedelta(seconds=fast_s)

    def monotonic(self) -> float:
        return self._system.monotonic() * self._speed

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Timer:
        return self._system.call_later(delay_s / self._speed, call)

    poll_later = call_later

    async def sleep(self, delay_s: float) -> None:
        await self._system.sleep(delay_s / self._speed)

    def random(self) -> float:
        return self._system.random()

    def new_id(self) -> str:
        return self._system.new_id()


async def _release(name: str) -> None:
    """Until the test says so, by a file beside the journal."""
    while not JOURNAL.with_name(name).exists():
        await asyncio.sleep(0.01)


@task(name="note", retry=SOON)
async def note(number: int, ctx: Context, pause_s: float = 0.0) -> None:
    """What may happen more than once."""
    await asyncio.sleep(pause_s)
    write_down("note", number, ctx.job.attempt, os.getpid())


@task(name="pay", transactional=True, retry=SOON)
async def pay(number: int, ctx: Context, pause_s: float = 0.0) -> None:
    """What must happen exactly once."""
    await asyncio.sleep(pause_s)
    await ctx.db.session.execute(PAID, {"number": number, "attempt": ctx.job.attempt})
    write_down("pay", number, ctx.job.attempt, os.getpid())


@task(name="pay_in_thread", transactional=True, retry=SOON)
def pay_in_thread(number: int, ctx: Context) -> None:
    """The same, as a plain function."""
    ctx.db.sync_session.execute(PAID, {"number": number, "attempt": ctx.job.attempt})
    write_down("pay", number, ctx.job.attempt, os.getpid())


@task(name="linger", transactional=True)
async def linger(number: int, ctx: Context) -> str:
    """Its first attempt stays until it is released, and then writes; the others are quick."""
    write_down("linger", number, ctx.job.attempt, os.getpid())
    if ctx.job.attempt == 1:
        await _release("released")
    await ctx.db.session.execute(PAID, {"number": number, "attempt": ctx.job.attempt})
    write_down("lingered", number, ctx.job.attempt, os.getpid())
    return f"attempt {ctx.job.attempt}"


@task(name="linger_first", transactional=True)
async def linger_first(number: int, ctx: Context) -> str:
    """The same, but it has written before it stays."""
    await ctx.db.session.execute(PAID, {"number": number, "attempt": ctx.job.attempt})
    write_down("linger", number, ctx.job.attempt, os.getpid())
    if ctx.job.attempt == 1:
        await _release("released")
    write_down("lingered", number, ctx.job.attempt, os.getpid())
    return f"attempt {ctx.job.attempt}"


@task(name="wait")
async def wait(number: int, ctx: Context) -> None:
    """Stays until it is released."""
    write_down("wait", number, ctx.job.attempt, os.getpid())
    await _release("released")
    write_down("waited", number, ctx.job.attempt, os.getpid())


@task(name="wait_in_thread")
def wait_in_thread(number: int, ctx: Context) -> None:
    """A plain function that stays, and cannot be cancelled."""
    write_down("wait", number, ctx.job.attempt, os.getpid())
    while not JOURNAL.with_name("released").exists():
        time.sleep(0.01)


@task(name="ignore")
async def ignore(number: int, ctx: Context) -> None:
    """Stays, whoever wants to cancel it."""
    write_down("wait", number, ctx.job.attempt, os.getpid())
    while True:
        try:
            await _release("released")
        except asyncio.CancelledError:
            write_down("ignored", number)


@task(name="bury")
async def bury(failure: JobFailure) -> None:
    write_down("bury", failure.args["number"], failure.attempt, failure.error_type)


@task(name="die", retry=Retry(attempts=3), on_discard=bury)
async def die(number: int, ctx: Context) -> None:
    """Takes its worker along."""
    write_down("die", number, ctx.job.attempt, os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


async def tell_the_time(ctx: Context) -> None:
    write_down("tick", ctx.job.id, ctx.job.attempt, os.getpid())


if "SPEED" in os.environ:
    tick = task(name="tick", cron="* * * * *", missed="all")(tell_the_time)

app = FastAPI()
if "SPEED" in os.environ:
    install(app, clock=FastClock(float(os.environ["SPEED"]), float(os.environ["SPEED_FROM"])))
add_tasks(
    app,
    database=os.environ["DATABASE"],
    worker=os.environ.get("WORKER", "1") == "1",
    concurrency=int(os.environ.get("CONCURRENCY", "20")),
    lease_s=float(os.environ.get("LEASE_S", "10")),
    shutdown_grace_s=float(os.environ.get("GRACE_S", "10")),
    keep_s=float(os.environ.get("KEEP_S", "604800")),
)
TASKS = {
    each.name: each
    for each in (
        *(note, pay, pay_in_thread, linger, linger_first),
        *(wait, wait_in_thread, ignore, die),
    )
}


@app.post("/orders/{number}", status_code=202)
async def order(number: int, ctx: Ctx, tasks: Tasks) -> None:
    """An order and the job about it, in one transaction."""
    await ctx.db.session.execute(
        text("INSERT INTO orders (number) VALUES (:number)"), {"number": number}
    )
    tasks.durable.schedule(pay, number)


@app.post("/jobs/{name}/{number}", status_code=202)
async def one(name: str, number: int, tasks: Tasks, pause_s: float = 0.0) -> None:
    """A job, on disk when the answer leaves."""
    options = {"pause_s": pause_s} if pause_s else {}
    tasks.durable.schedule(TASKS[name], number, **options)


@app.post("/bulk/{name}", status_code=202)
async def bulk(name: str, first: int, count: int, tasks: Tasks, pause_s: float = 0.0) -> None:
    """Many jobs, all or none."""
    chosen = TASKS[name]
    options = {"pause_s": pause_s} if pause_s else {}
    await tasks.durable.enqueue_many(
        [chosen.bind(number, **options) for number in range(first, first + count)]
    )


@app.get("/pid")
async def pid() -> int:
    return os.getpid()
