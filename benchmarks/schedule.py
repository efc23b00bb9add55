"""CPU time to schedule one no-op async task and see it finished, no HTTP.

Bursts of 100 in a running event loop. The last function of a burst tells that its turn has come;
one more turn of the loop lets callbacks run, and the burst is over. Every side is waited for in
this same way. ``python -m benchmarks.schedule LOOP ROUNDS SEED`` is one fresh process of it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from typing import Any

import anyio
import uvloop
from fastapi import FastAPI
from starlette.background import BackgroundTasks

from backstay import Moment, Origin
from backstay.tasks import add_tasks
from backstay.testing import running
from backstay.web import installed
from benchmarks.peers import FASTAPI_TASKS_MISSING, has_fastapi_tasks
from benchmarks.report import interval, print_table, verdict
from benchmarks.sampling import estimate, run_fresh
from benchmarks.sizes import Size

BURST = 100
BURSTS = 10  # in one turn: short turns, so that both sides of a ratio see the same machine
GOAL = 2.5
LOOPS = ("uvloop", "asyncio")

Function = Callable[[], Coroutine[Any, Any, None]]
Spawn = Callable[[Function], object]
Side = Callable[[Function, Function], Awaitable[float]]
"""Schedules BURST - 1 times the first function, once the second; the clock when that was done."""

OURS = "backstay tasks.schedule"
REFERENCE = "create_task + set + done callback"


async def no_op() -> None:
    pass


@asynccontextmanager
async def sides() -> AsyncIterator[dict[str, Side]]:
    """Everything that is compared, ready to schedule in the running loop."""
    async with AsyncExitStack() as stack:
        app = FastAPI()
        add_tasks(app)
        client = await stack.enter_async_context(running(app))
        group = await stack.enter_async_context(anyio.create_task_group())
        backstay, tasks = installed(app), client.tasks
        kept: set[asyncio.Task[None]] = set()

        def create_and_keep(func: Function) -> None:
            task = asyncio.create_task(func())
            kept.add(task)
            task.add_done_callback(kept.discard)

        async def after_response(func: Function, last: Function) -> float:
            ctx = backstay.open(Origin.SCRIPT)
            for _ in range(BURST - 1):
                ctx.tasks.after_response.schedule(func)
            ctx.tasks.after_response.schedule(last)
            ctx.reach(Moment.ANSWERED, True)
            return time.process_time()

        async def background_tasks(func: Function, last: Function) -> float:
            background = BackgroundTasks()
            for _ in range(BURST - 1):
                background.add_task(func)
            background.add_task(last)
            scheduled = time.process_time()
            await background()
            return scheduled

        found: dict[str, Side] = {
            "asyncio.create_task": _create_tasks,
            REFERENCE: _one_by_one(create_and_keep),
            OURS: _one_by_one(tasks.schedule),
            "backstay tasks.task(name=...).schedule": _one_by_one(
                lambda func: tasks.task(name="job").schedule(func)
            ),
            "backstay after_response.schedule": after_response,
            "Starlette BackgroundTasks": background_tasks,
            "anyio start_soon": _one_by_one(group.start_soon),
        }
        if has_fastapi_tasks():
            from fastapi_tasks.tasks import TasksScheduler

            peer = TasksScheduler(group)
            found["fastapi-tasks schedule"] = _one_by_one(peer.schedule)
            found["fastapi-tasks task(name=...).schedule"] = _one_by_one(
                lambda func: peer.task(name="job").schedule(func)
            )
        yield found


def _one_by_one(spawn: Spawn) -> Side:
    async def side(func: Function, last: Function) -> float:
        for _ in range(BURST - 1):
            spawn(func)
        spawn(last)
        return time.process_time()

    return side


async def _create_tasks(func: Function, last: Function) -> float:
    create = asyncio.create_task
    tasks = [create(func()) for _ in range(BURST - 1)]
    tasks.append(create(last()))
    return time.process_time()


async def burst(side: Side, func: Function = no_op) -> tuple[float, float]:
    """Seconds of CPU until one burst is scheduled, and until it is over."""
    over = asyncio.get_running_loop().create_future()

    async def last() -> None:
        over.set_result(None)

    start = time.process_time()
    scheduled = await side(func, last)
    await over
    await asyncio.sleep(0)
    return scheduled - start, time.process_time() - start


async def check(name: str, side: Side) -> None:
    """A burst that is called over must have run every function in it."""
    ran = 0

    async def count() -> None:
        nonlocal ran
        ran += 1

    await burst(side, count)
    if ran != BURST - 1:
        raise RuntimeError(f"{name}: {ran} of {BURST - 1} functions had run when the last had")


async def measure(rounds: int, seed: int) -> dict[str, list[tuple[float, float]]]:
    """Microseconds per task of every side in every round: (until scheduled, until over)."""
    samples: dict[str, list[tuple[float, float]]] = {}
    order_by = random.Random(seed)
    async with sides() as compared:
        for name, side in compared.items():
            await check(name, side)
            samples[name] = []
        order = list(compared)
        gc.collect()
        gc.freeze()  # or each of the many collections below would look at every module
        for number in range(rounds):
            if number % 2:
                order.reverse()
            else:
                order_by.shuffle(order)
            for name in order:
                gc.collect()
                scheduled = over = 0.0
                for _ in range(BURSTS):
                    a, b = await burst(compared[name])
                    scheduled, over = scheduled + a, over + b
                per_task = 1e6 / (BURSTS * BURST)
                samples[name].append((scheduled * per_task, over * per_task))
    return samples


def run(size: Size) -> dict[str, Any]:
    """Measure in fresh processes, print the tables, return what to keep."""
    results: dict[str, Any] = {}
    samples: dict[str, list[dict[str, list[list[float]]]]] = {loop: [] for loop in LOOPS}
    for process in range(size.processes):
        for loop in LOOPS:
            samples[loop].append(
                run_fresh("benchmarks.schedule", loop, size.rounds, process, hash_seed=process)
            )
    for loop in LOOPS:
        rows = []
        results[loop] = {}
        for name in samples[loop][0]:
            over = [[sample[1] for sample in each[name]] for each in samples[loop]]
            scheduled = [[sample[0] for sample in each[name]] for each in samples[loop]]
            base = [[sample[1] for sample in each[REFERENCE]] for each in samples[loop]]
            ratio = estimate(
                [
                    [ours / theirs for ours, theirs in zip(group, other, strict=True)]
                    for group, other in zip(over, base, strict=True)
                ]
            )
            is_goal = name == OURS and loop == "uvloop"
            rows.append(
                (
                    name,
                    interval(ratio),
                    f"{estimate(over).value:.2f}",
                    f"{estimate(scheduled).value:.2f}",
                    f"<= {GOAL}" if is_goal else "",
                    verdict(ratio, GOAL) if is_goal else "",
                )
            )
            results[loop][name] = {"ratio": asdict(ratio), "us": over, "scheduled_us": scheduled}
        print_table(
            f"One no-op async task, {loop}, bursts of {BURST} "
            f"({size.processes} processes x {size.rounds} rounds)",
            ("", f"ratio to {REFERENCE} [95 %]", "CPU us", "of it schedule()", "goal", ""),
            rows,
            () if has_fastapi_tasks() else (FASTAPI_TASKS_MISSING,),
        )
    return results


def main(loop: str, rounds: int, seed: int) -> None:
    """One process of it: samples as JSON on standard output."""
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        print(json.dumps(runner.run(measure(rounds, seed))))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]))
