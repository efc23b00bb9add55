"""From just before the enqueue until the job's first line, at a hundred jobs a second.

The worker is another process, up and warm. Before the jobs come it is watched idle.
"""

from __future__ import annotations

import time

from benchmarks.durable.sizes import Size
from benchmarks.durable.stand import Stand, cpu_seconds, stop

__all__ = ["COLUMNS", "measure"]

COLUMNS = (
    ("p50 ms", "p50 ms", 1),
    ("p99 ms", "p99 ms", 1),
    ("idle %", "idle worker CPU %", 2),
    ("embedded p50 ms", "embedded p50 ms", 1),
    ("embedded p99 ms", "embedded p99 ms", 1),
    ("missing", "not started", 0),
)
RATE = 100.0
WARM = 20
PATIENCE_S = 20.0
SETTLE_S = 0.5


def measure(stand: Stand, size: Size) -> dict[str, float]:
    """One turn of a side."""
    stand.produce("noop", WARM)
    stand.forget_marks()
    worker = stand.work()
    try:
        if stand.await_marks(WARM, PATIENCE_S, [worker]) < WARM:
            raise RuntimeError(stand.complaint("its worker does not start jobs", [worker]))
        time.sleep(SETTLE_S)
        before, start = cpu_seconds([worker]), time.perf_counter()
        time.sleep(size.idle_s)
        idle = (cpu_seconds([worker]) - before) / (time.perf_counter() - start)
        jobs = int(stand.produce("pace", RATE, size.latency_s)["jobs"])
        stand.await_marks(WARM + jobs, PATIENCE_S, [worker])
    finally:
        stop([worker])
    figures = {"idle %": idle * 100, **_percentiles(stand, WARM, jobs)}
    if stand.side.peer is None:
        figures |= _embedded(stand, size)
    return figures


def _embedded(stand: Stand, size: Size) -> dict[str, float]:
    """The worker in the process that enqueues."""
    stand.forget_marks()
    jobs = int(stand.run("benchmarks.durable.embedded", RATE, size.latency_s, WARM)["jobs"])
    found = _percentiles(stand, WARM, jobs)
    return {f"embedded {name}": value for name, value in found.items()}


def _percentiles(stand: Stand, warm: int, jobs: int) -> dict[str, float]:
    marks = stand.marks()[warm:]
    took = sorted((mark.at - mark.argument) * 1e3 for mark in marks)
    if not took:
        raise RuntimeError(f"{stand.label}: none of {jobs} jobs was started")
    return {
        "p50 ms": took[len(took) // 2],
        "p99 ms": took[int(len(took) * 0.99)],
        "missing": jobs - len(took),
    }
