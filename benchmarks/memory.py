"""Memory of a task that waits, 100,000 of them waiting.

Each case has fresh interpreters: one that asks the system (resident memory, what one pays), one
that asks Python (tracemalloc, exact, but heavier itself). Every task has one argument, an id.
``python -m benchmarks.memory CASE COUNT HOW`` is one of these interpreters.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from backstay import Origin
from benchmarks.peers import FASTAPI_TASKS_MISSING, has_fastapi_tasks
from benchmarks.report import print_table
from benchmarks.sampling import Unavailable, run_fresh
from benchmarks.sizes import Size

__all__ = ["run"]

Fill = Callable[[int], object]
"""Makes so many tasks wait."""


@asynccontextmanager
async def _backstay(**options: Any) -> AsyncIterator[Any]:
    from fastapi import FastAPI

    from backstay.tasks import add_tasks
    from backstay.testing import running
    from backstay.web import installed

    app = FastAPI()
    add_tasks(app, max_pending=None, **options)
    async with running(app):
        yield installed(app).open(Origin.SCRIPT)


@asynccontextmanager
async def ours_after_response() -> AsyncIterator[Fill]:
    async with _backstay(shutdown_grace_s=0) as ctx:

        def fill(count: int) -> None:
            for number in range(count):
                ctx.tasks.after_response.schedule(_job, number)

        yield fill
        ctx.reach(3, False)  # the end of the work: they are skipped, not run


@asynccontextmanager
async def ours_waiting_for_a_place() -> AsyncIterator[Fill]:
    go = asyncio.Event()
    async with _backstay(max_running=1) as ctx:
        ctx.tasks.schedule(go.wait)
        await asyncio.sleep(0)

        def fill(count: int) -> None:
            for number in range(count):
                ctx.tasks.schedule(_job, number)

        yield fill
        go.set()


@asynccontextmanager
async def ours_running() -> AsyncIterator[Fill]:
    go = asyncio.Event()
    async with _backstay(max_running=None) as ctx:

        def fill(count: int) -> None:
            for number in range(count):
                ctx.tasks.schedule(_wait_for, go, number)

        yield fill
        go.set()


@asynccontextmanager
async def asyncio_running() -> AsyncIterator[Fill]:
    go = asyncio.Event()
    kept: set[asyncio.Task[None]] = set()

    def fill(count: int) -> None:
        for number in range(count):
            task = asyncio.create_task(_wait_for(go, number))
            kept.add(task)
            task.add_done_callback(kept.discard)

    yield fill
    go.set()
    await asyncio.gather(*kept)


@asynccontextmanager
async def peer_after_response() -> AsyncIterator[Fill]:
    import anyio
    from fastapi_tasks.tasks import TasksScheduler

    async with anyio.create_task_group() as group:
        tasks = TasksScheduler(group)

        def fill(count: int) -> None:
            for number in range(count):
                tasks.after_response.schedule(_job, number)

        yield fill


@asynccontextmanager
async def peer_running() -> AsyncIterator[Fill]:
    import anyio
    from fastapi_tasks.tasks import TasksScheduler

    go = asyncio.Event()
    async with anyio.create_task_group() as group:
        tasks = TasksScheduler(group)

        def fill(count: int) -> None:
            for number in range(count):
                tasks.schedule(_wait_for, go, number)

        yield fill
        go.set()


CASES = {
    "after_response, backstay": ours_after_response,
    "after_response, fastapi-tasks": peer_after_response,
    "for a place (max_running), backstay": ours_waiting_for_a_place,
    "started and waiting, backstay": ours_running,
    "started and waiting, fastapi-tasks": peer_running,
    "started and waiting, create_task + set": asyncio_running,
}
AGAINST = {
    "after_response, backstay": "after_response, fastapi-tasks",
    # fastapi-tasks has no limits: what would wait here has started there.
    "for a place (max_running), backstay": "started and waiting, fastapi-tasks",
    "started and waiting, backstay": "started and waiting, fastapi-tasks",
}


async def _job(number: int) -> None:
    pass


async def _wait_for(event: asyncio.Event, number: int) -> None:
    await event.wait()


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmRSS line")


async def measure(case: str, count: int, how: str) -> float:
    """Bytes per waiting task."""
    async with CASES[case]() as fill:
        fill(10)  # what is made once for all
        await asyncio.sleep(0)
        gc.collect()
        if how == "traced":
            tracemalloc.start()
        read = _resident_bytes if how == "resident" else lambda: tracemalloc.get_traced_memory()[0]
        before = read()
        fill(count)
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()
        used = read() - before
        tracemalloc.stop()
    return used / count


def run(size: Size) -> dict[str, Any]:
    """Measure in fresh processes, print the table, return what to keep."""
    if not Path("/proc/self/status").exists():
        raise Unavailable("memory: resident memory is read from /proc/self/status, the Linux way")
    cases = [case for case in CASES if has_fastapi_tasks() or "fastapi-tasks" not in case]
    repeats = max(1, size.repeats // 5)  # memory hardly varies
    results: dict[str, Any] = {
        case: {
            how: [
                run_fresh("benchmarks.memory", case, size.pending, how, hash_seed=seed)
                for seed in range(repeats)
            ]
            for how in ("resident", "traced")
        }
        for case in cases
    }
    rows = []
    for case in cases:
        resident, traced = (median(results[case][how]) for how in ("resident", "traced"))
        other = AGAINST.get(case)
        ratio, goal, met = "", "", ""
        if other in results:
            ratio = f"{resident / median(results[other]['resident']):.2f}"
            goal = "< 1" if case == "after_response, backstay" else ""
            met = ("met" if float(ratio) < 1 else "missed") if goal else ""
        rows.append((case, ratio, f"{resident:.0f}", f"{traced:.0f}", goal, met))
    print_table(
        f"Bytes per task, {size.pending:,} of them pending (median of {repeats})",
        ("pending", "ratio to fastapi-tasks", "resident", "traced", "goal", ""),
        rows,
        () if has_fastapi_tasks() else (FASTAPI_TASKS_MISSING,),
    )
    return results


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], int(sys.argv[2]), sys.argv[3]))))
