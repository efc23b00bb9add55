"""Our worker in the process that enqueues: ``python -m benchmarks.durable.embedded RATE S WARM``.

The app of ``app.py`` with its lifespan, as under a server; jobs leave their marks as everywhere.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from backstay import Origin
from backstay.testing import running
from backstay.web import installed
from benchmarks.durable.app import app, noop

__all__ = ["main"]

PATIENCE_S = 20.0


async def main(rate: float, seconds: float, warm: int) -> dict[str, float]:
    """Enqueue at a pace, wait until all are done."""
    async with running(app):
        durable = installed(app).open(Origin.SCRIPT).tasks.durable
        jobs = [await durable.enqueue(noop, time.time()) for _ in range(warm)]
        start = time.perf_counter()
        calls = []
        for number in range(int(rate * seconds)):
            if (pause := start + number / rate - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            calls.append(asyncio.create_task(durable.enqueue(noop, time.time())))
        jobs += await asyncio.gather(*calls)
        async with asyncio.timeout(PATIENCE_S):
            for job in jobs:
                await job.wait()
    return {"jobs": len(calls)}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(main(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))))
