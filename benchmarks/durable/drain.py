"""How fast workers get through no-op jobs that stand ready."""

from __future__ import annotations

import time

from benchmarks.durable.sizes import Size
from benchmarks.durable.stand import Stand, cpu_seconds, stop
from benchmarks.durable.stores import await_none

__all__ = ["COLUMNS", "measure"]

COLUMNS = (
    ("drain", "one process, jobs/s", 0),
    ("drain us", "worker CPU us/job", 0),
    ("drain by two", "two processes, jobs/s", 0),
    ("drain by two us", "CPU us/job", 0),
    ("two to one", "two : one", 2),
    ("lag ms", "last recorded after ms", 0),
    ("unfinished", "not done", 0),
    ("twice", "done twice", 0),
    ("unrecorded", "not recorded", 0),
)
PATIENCE_S = 30.0
RECORD_S = 10.0
QUIET_S = 0.25
LEAST = 50


def measure(stand: Stand, size: Size) -> dict[str, float]:
    """One turn of a side: by one worker, then by two."""
    one = by_one(stand, size)
    two = drain(stand, _jobs(stand, size), 2)
    return {
        **one,
        "drain by two": two["rate"],
        "drain by two us": two["us"],
        "two to one": two["rate"] / one["drain"] if one["drain"] else 0.0,
        "unfinished": one["unfinished"] + two["unfinished"],
        "twice": one["twice"] + two["twice"],
        "unrecorded": one["unrecorded"] + two["unrecorded"],
    }


def by_one(stand: Stand, size: Size) -> dict[str, float]:
    """One turn of a side, by one worker only."""
    found = drain(stand, _jobs(stand, size), 1)
    return {
        "drain": found["rate"],
        "drain us": found["us"],
        "lag ms": found["lag ms"],
        **{name: found[name] for name in ("unfinished", "twice", "unrecorded")},
    }


def _jobs(stand: Stand, size: Size) -> int:
    return max(LEAST, int(stand.side.jobs * size.scale))


def drain(stand: Stand, jobs: int, processes: int) -> dict[str, float]:
    """Jobs per second over the middle 96 % of the marks: no start-up and no stragglers.

    The CPU time is that of the workers and all they started, from the first marks on, so that the
    interpreter's start does not count.
    """
    stand.produce("noop", jobs)
    stand.forget_marks()
    workers = [stand.work(number) for number in range(processes)]
    try:
        early = stand.await_marks(1, PATIENCE_S, workers)
        before = cpu_seconds(workers)
        stand.await_marks(jobs, PATIENCE_S, workers)
        unrecorded, lag = _await_records(stand)
        used = cpu_seconds(workers) - before
    finally:
        stop(workers)
    marks = stand.marks()
    times = sorted(mark.at for mark in marks)
    if len(times) < LEAST // 2:
        raise RuntimeError(stand.complaint(f"{len(times)} of {jobs} jobs were done", workers))
    first, last = int(len(times) * 0.02), int(len(times) * 0.98) - 1
    took = times[last] - times[first]
    different = len({mark.argument for mark in marks})
    return {
        "rate": (last - first) / took if took > 0 else 0.0,
        "us": used / max(1, len(times) - early) * 1e6,
        "unfinished": jobs - different,
        "twice": len(marks) - different,
        "unrecorded": unrecorded,
        "lag ms": lag * 1e3,
    }


def _await_records(stand: Stand) -> tuple[int, float]:
    """The last jobs have run; what is written about them belongs to their price.

    Returns:
        How many are never recorded, and the seconds it took from the last mark on.
    """
    if not stand.side.live:
        time.sleep(QUIET_S)
        return 0, 0.0
    unrecorded = await_none(stand.url, stand.side.live, RECORD_S)
    return unrecorded, max(0.0, time.time() - stand.marks()[-1].at)
