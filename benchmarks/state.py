"""CPU time of this process per ``ctx.state.get``, ``set``, ``incr`` and ``update``, one at a time.

The value is a dict of 120 bytes, in one of a hundred keys. Beside each operation of ``State``
stands the store's own, without JSON and checks. ``python -m benchmarks.state`` measures and prints;
``python -m benchmarks.state KIND ROUNDS`` is one fresh process of it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from backstay.errors import MissingExtra, StateUnavailable
from backstay.state import State, StateStore, open_store
from benchmarks.report import describe_run, interval, print_run, print_table, verdict
from benchmarks.sampling import estimate, run_fresh
from benchmarks.sizes import FULL, QUICK, SMOKE, Size

GOAL_US = 150.0
CALLS = 500  # in one turn
KINDS = ("memory", "sqlite", "postgres", "redis")
VALUE = {
    "status": "completed",
    "items": [1, 2, 3],
    "name": "a value as people have them",
    "total": 12.5,
    "nested": {"ok": True, "none": None},
}


def value(number: int) -> dict[str, Any]:
    """Another one each time: SQLite would notice that nothing changed, and write nothing."""
    return {**VALUE, "number": number}


Operation = Callable[[State, StateStore, int], Awaitable[object]]
OPERATIONS: dict[str, Operation] = {
    "get": lambda state, _, number: state.get(f"key {number % 100}"),
    "set": lambda state, _, number: state.set(f"key {number % 100}", value(number)),
    "set, ttl=3600": lambda state, _, number: state.set(
        f"key {number % 100}", value(number), ttl=3600
    ),
    "incr": lambda state, _, number: state.incr(f"counter {number % 100}"),
    "update": lambda state, _, number: state.update(f"key {number % 100}", lambda _: value(number)),
    "store.read": lambda _, store, number: store.read(b"named:app", b"key %d" % (number % 100)),
    "store.write": lambda _, store, number: store.write(
        b"named:app", b"key %d" % (number % 100), f'{{"a":{number}}}', None
    ),
}
TOGETHER = "set, 50 at once"


@asynccontextmanager
async def opened(kind: str) -> AsyncIterator[StateStore]:
    """A store in which nothing is, tidied up at the end."""
    prefix = f"bench_{uuid.uuid4().hex[:12]}_"
    with tempfile.TemporaryDirectory() as directory:
        url = {
            "memory": "memory://",
            "sqlite": f"sqlite:///{directory}/state.db",
            "postgres": os.environ.get(
                "BACKSTAY_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test"
            ),
            "redis": os.environ.get("BACKSTAY_TEST_REDIS", "redis://127.0.0.1:6379/0"),
        }[kind]
        store = await open_store(url, prefix=prefix)
        try:
            yield store
        finally:
            await State.named(store, "app").clear()
            await store.close()
            if kind == "postgres":
                await _drop(url, prefix)


async def _drop(url: str, prefix: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    await connection.execute(f"DROP TABLE {prefix}state, {prefix}state_meta")
    await connection.close()


async def measure(kind: str, rounds: int) -> dict[str, list[list[float]]]:
    """Microseconds per call of every operation in every round: (CPU, wall)."""
    samples: dict[str, list[list[float]]] = {name: [] for name in (*OPERATIONS, TOGETHER)}
    async with opened(kind) as store:
        state = State.named(store, "app")
        for number in range(100):
            await state.set(f"key {number}", VALUE)
            assert await state.get(f"key {number}") == VALUE
        gc.collect()
        gc.freeze()
        for _ in range(rounds):
            for name, operation in OPERATIONS.items():
                if name == "get":  # store.write has left something shorter
                    for number in range(100):
                        await state.set(f"key {number}", VALUE)
                gc.collect()
                cpu, wall = time.process_time(), time.perf_counter()
                for number in range(CALLS):
                    await operation(state, store, number)
                samples[name].append(_per_call(cpu, wall))
            cpu, wall = time.process_time(), time.perf_counter()
            for start in range(0, CALLS, 50):
                await asyncio.gather(
                    *(
                        state.set(f"key {number}", value(number))
                        for number in range(start, start + 50)
                    )
                )
            samples[TOGETHER].append(_per_call(cpu, wall))
    return samples


def _per_call(cpu: float, wall: float) -> list[float]:
    return [
        1e6 * (time.process_time() - cpu) / CALLS,
        1e6 * (time.perf_counter() - wall) / CALLS,
    ]


def run(size: Size) -> dict[str, Any]:
    """Measure in fresh processes, print a table for each store, return what to keep."""
    results: dict[str, Any] = {}
    for kind in KINDS:
        groups = [
            run_fresh("benchmarks.state", kind, size.rounds, hash_seed=process)
            for process in range(size.processes)
        ]
        if any(group is None for group in groups):
            print(f"\n{kind}: not measured, nothing answers there")
            continue
        rows = []
        results[kind] = {}
        for name in groups[0]:
            cpu = estimate([[sample[0] for sample in group[name]] for group in groups])
            wall = estimate([[sample[1] for sample in group[name]] for group in groups])
            is_goal = kind == "sqlite" and name in {"get", "set"}
            rows.append(
                (
                    name,
                    interval(cpu, 1),
                    f"{wall.value:.1f}",
                    f"<= {GOAL_US:g}" if is_goal else "",
                    verdict(cpu, GOAL_US) if is_goal else "",
                )
            )
            results[kind][name] = {"cpu_us": asdict(cpu), "wall_us": asdict(wall)}
        print_table(
            f"ctx.state, {kind} ({size.processes} processes x {size.rounds} rounds)",
            ("", "CPU us [95 %]", "wall us", "goal", ""),
            rows,
        )
    return results


async def _sample(kind: str, rounds: int) -> dict[str, list[list[float]]] | None:
    try:
        return await measure(kind, rounds)
    except (StateUnavailable, MissingExtra):
        return None


def main(arguments: list[str]) -> None:
    """Everything, or one process of it: samples as JSON on standard output."""
    if arguments and arguments[0] in KINDS:
        print(json.dumps(asyncio.run(_sample(arguments[0], int(arguments[1])))))
        return
    print_run(describe_run())
    run(SMOKE if "--smoke" in arguments else FULL if "--full" in arguments else QUICK)


if __name__ == "__main__":
    main(sys.argv[1:])
