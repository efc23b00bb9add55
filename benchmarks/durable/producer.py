"""The process that enqueues: ``python -m benchmarks.durable.producer MODULE COMMAND [NUMBER ...]``.

Runs in the side's environment and prints one line of JSON. Its CPU time is the whole process's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.durable.side import Adapter, Kind, load

try:
    import uvloop
except ImportError:  # huey has no use for it
    run_loop = asyncio.run
else:
    run_loop = uvloop.run

__all__ = ["main"]

CONCURRENT = 64
BULK = 5_000
WARM_S = 0.2
HELD_UP_S = 0.5
TICK_S = 0.001

Figures = dict[str, float]


class Meter:
    """Jobs per second and CPU microseconds per job, from its making to ``read``."""

    def __init__(self) -> None:
        self._start, self._cpu = time.perf_counter(), time.process_time()

    def read(self, name: str, jobs: int) -> Figures:
        elapsed, cpu = time.perf_counter() - self._start, time.process_time() - self._cpu
        return {name: jobs / elapsed, f"{name} us": cpu / max(1, jobs) * 1e6}


def _while(seconds: float) -> Iterator[int]:
    end = time.perf_counter() + seconds
    number = 0
    while time.perf_counter() < end:
        yield number
        number += 1


async def _awaited(side: Adapter, seconds: float) -> int:
    count = 0
    for number in _while(seconds):
        await side.enqueue("noop", number)
        count += 1
    return count


def _blocking(side: Adapter, seconds: float) -> int:
    count = 0
    for number in _while(seconds):
        side.enqueue_now("noop", number)
        count += 1
    return count


async def _concurrent(side: Adapter, seconds: float) -> int:
    if side.awaits:
        return sum(await asyncio.gather(*(_awaited(side, seconds) for _ in range(CONCURRENT))))
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(CONCURRENT) as threads:
        return sum(
            await asyncio.gather(
                *(
                    loop.run_in_executor(threads, _blocking, side, seconds)
                    for _ in range(CONCURRENT)
                )
            )
        )


async def _bulk(side: Adapter, seconds: float) -> int:
    count = 0
    for number in _while(seconds):
        await side.enqueue_many("noop", range(number * BULK, (number + 1) * BULK))
        count += BULK
    return count


async def enqueue(side: Adapter, seconds: float) -> Figures:
    """Every way to enqueue that the side has, each for so many seconds, each on an empty table."""

    async def blocking(side: Adapter, seconds: float) -> int:
        return await asyncio.to_thread(_blocking, side, seconds)

    ways: dict[str, Callable[[Adapter, float], Awaitable[int]]] = {}
    if side.awaits:
        ways["awaited"] = _awaited
    if side.blocks:
        ways["blocking"] = blocking
    ways["concurrent"] = _concurrent
    if side.bulk:
        ways["bulk"] = _bulk
    figures: Figures = {}
    for name, way in ways.items():
        await side.clear()
        await way(side, min(WARM_S, seconds))
        meter = Meter()
        figures |= meter.read(name, await way(side, seconds))
    if side.awaits:
        figures["held up ms"] = await held_up(side, min(HELD_UP_S, seconds))
    await side.clear()
    return figures


async def held_up(side: Adapter, seconds: float) -> float:
    """How late the event loop calls back, 99th percentile, while jobs are enqueued one by one."""
    late: list[float] = []

    async def watch() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(TICK_S)
            late.append(time.perf_counter() - start - TICK_S)

    watching = asyncio.create_task(watch())
    await _awaited(side, seconds)
    watching.cancel()
    late.sort()
    return late[int(len(late) * 0.99)] * 1e3 if late else seconds * 1e3


async def fill(side: Adapter, kind: str, jobs: float) -> Figures:
    """So many jobs, numbered, as fast as the side can."""
    chosen: Kind = "slow" if kind == "slow" else "noop"
    numbers = range(int(jobs))
    await side.clear()
    meter = Meter()
    if side.bulk:
        await side.enqueue_many(chosen, numbers)
    elif side.awaits:
        left = iter(numbers)

        async def some() -> None:
            for number in left:
                await side.enqueue(chosen, number)

        await asyncio.gather(*(some() for _ in range(CONCURRENT // 2)))
    else:
        for number in numbers:
            side.enqueue_now(chosen, number)
    return meter.read("fill", len(numbers))


async def pace(side: Adapter, rate: float, seconds: float) -> Figures:
    """So many jobs a second, each with the time just before it was enqueued as its argument."""
    loop = asyncio.get_running_loop()
    start, calls = time.perf_counter(), []
    with ThreadPoolExecutor(CONCURRENT) as threads:
        for number in range(int(rate * seconds)):
            if (pause := start + number / rate - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            now = time.time()
            calls.append(
                asyncio.ensure_future(side.enqueue("noop", now))
                if side.awaits
                else loop.run_in_executor(threads, side.enqueue_now, "noop", now)
            )
        await asyncio.gather(*calls)
    return {"jobs": len(calls)}


async def main(module: str, command: str, *arguments: str) -> Figures:
    """Open the side, do as told, close it."""
    side = load(module)
    numbers = [float(argument) for argument in arguments]
    await side.open()
    try:
        if command == "clear":
            await side.clear()
        elif command == "enqueue":
            return await enqueue(side, *numbers)
        elif command in {"noop", "slow"}:
            return await fill(side, command, *numbers)
        elif command == "pace":
            return await pace(side, *numbers)
        else:
            raise ValueError(f"no command {command!r}")
    finally:
        await side.close()
    return {}


if __name__ == "__main__":
    if sys.argv[2] == "create":
        load(sys.argv[1]).create()
        print("{}")
    else:
        print(json.dumps(run_loop(main(*sys.argv[1:]))))
