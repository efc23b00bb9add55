"""kill -9 of the only worker while jobs are in flight; it is started again at once.

Half-second jobs, ten at a time. What counts: when the first job that was in flight starts again,
how many are never done, how many are done twice (their end was not written yet).
"""

from __future__ import annotations

import time

from benchmarks.durable.marks import read_marks
from benchmarks.durable.sizes import Size
from benchmarks.durable.stand import Stand, Worker, stop

__all__ = ["COLUMNS", "measure"]

COLUMNS = (
    ("in flight", "in flight at the kill", 0),
    ("rescued s", "first rescued job after s", 1),
    ("all done s", "all done after s", 1),
    ("lost", "lost", 0),
    ("twice", "done twice", 0),
)
CONCURRENCY = "10"
IN_FLIGHT = 5
START_S = 60.0
WELL_UNDER_WAY_S = 0.1
"""From a group's start until the kill: the end of the group before it has been written by then."""


def measure(stand: Stand, size: Size) -> dict[str, float]:
    """One turn of a side. Without a rescue within ``patience_s``, there is no time of it."""
    environ = {"BENCH_CONCURRENCY": CONCURRENCY, **stand.side.rescue}
    if size.lease_s is not None:
        environ["BENCH_LEASE_S"] = str(size.lease_s)
    stand.produce("slow", size.slow_jobs, **environ)
    stand.forget_marks()
    worker = stand.work(0, **environ)
    try:
        _await_jobs_in_flight(stand, size.slow_jobs // 4, [worker])
        time.sleep(WELL_UNDER_WAY_S)
    finally:
        worker.kill()
    killed = time.time()
    in_flight = _numbers(stand, started=True) - _numbers(stand)
    worker = stand.work(0, **environ)
    try:
        end = time.monotonic() + size.patience_s
        while len(_numbers(stand)) < size.slow_jobs and time.monotonic() < end:
            if worker.gone:
                raise RuntimeError(stand.complaint("its second worker has ended", [worker]))
            time.sleep(0.1)
        all_done = time.time() - killed
        time.sleep(1.0)  # for those that are done twice
    finally:
        stop([worker])
    done, done_once = stand.marks(), _numbers(stand)
    if len(done_once) < size.slow_jobs:
        stand.produce("clear", **environ)
    figures: dict[str, float] = {
        "in flight": len(in_flight),
        "lost": size.slow_jobs - len(done_once),
        "twice": len(done) - len(done_once),
    }
    again = [
        mark.at
        for mark in read_marks(stand.started)
        if mark.at > killed and mark.argument in in_flight
    ]
    if again:
        figures["rescued s"] = min(again) - killed
    if len(done_once) >= size.slow_jobs:
        figures["all done s"] = all_done
    return figures


def _await_jobs_in_flight(stand: Stand, done: int, workers: list[Worker]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        finished = len(_numbers(stand))
        if finished >= done and len(_numbers(stand, started=True)) - finished >= IN_FLIGHT:
            return
        time.sleep(0.02)
    raise RuntimeError(stand.complaint(f"no {IN_FLIGHT} jobs in flight to kill", workers))


def _numbers(stand: Stand, *, started: bool = False) -> set[float]:
    file = stand.started if started else stand.finished
    return {mark.argument for mark in read_marks(file)}
