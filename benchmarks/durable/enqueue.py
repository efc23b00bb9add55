"""How fast jobs are written, and what the producer pays."""

from __future__ import annotations

from benchmarks.durable.sizes import Size
from benchmarks.durable.stand import Stand

__all__ = ["COLUMNS", "measure"]

COLUMNS = (
    ("awaited", "one by one /s", 0),
    ("awaited us", "CPU us", 0),
    ("held up ms", "loop late, p99 ms", 1),
    ("raw", "raw inserts /s", 0),
    ("blocking", "from sync /s", 0),
    ("blocking us", "CPU us", 0),
    ("concurrent", "64 at a time /s", 0),
    ("concurrent us", "CPU us", 0),
    ("bulk", "bulk /s", 0),
    ("bulk us", "CPU us", 1),
)


def measure(stand: Stand, size: Size) -> dict[str, float]:
    """One turn of a side. Raw inserts are measured just before ours and just after.

    A disk that is shared changes from one second to the next; a ratio to what it allowed a minute
    ago would say nothing.
    """
    if stand.side.peer:
        return stand.produce("enqueue", size.seconds)
    before = _raw(stand, size)
    figures = stand.produce("enqueue", size.seconds)
    return {**figures, "raw": (before + _raw(stand, size)) / 2}


def _raw(stand: Stand, size: Size) -> float:
    server = "" if stand.side.store == "sqlite" else stand.url
    limits = stand.run(
        "benchmarks.durable.limits", size.seconds / 3, stand.folder, server, "single"
    )
    return float(limits["raw"])
