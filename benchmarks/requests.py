"""CPU time a server spends on a request, under uvicorn, uvloop, httptools and wrk.

How that is measured: ``benchmarks.side_by_side``.
"""

from __future__ import annotations

import operator
from typing import Any

from benchmarks.peers import FASTAPI_TASKS_MISSING, has_fastapi_tasks
from benchmarks.report import interval, print_table, verdict
from benchmarks.sampling import Estimate, estimate
from benchmarks.served import APPS
from benchmarks.side_by_side import (
    CONNECTIONS,
    PLAIN,
    Samples,
    are_pinned,
    compare,
    measure,
    pairwise,
)
from benchmarks.sizes import Size

__all__ = ["run"]

GOALS_US = {
    "backstay: nothing used": 8.0,
    "backstay: Tasks unused": 15.0,
    "backstay: 1 after_response": 25.0,
    "backstay: 5 after_response": 60.0,
}
SYNC = ("backstay: 1 sync", "BackgroundTasks: 1 sync")


def run(size: Size) -> dict[str, Any]:
    """Measure, print the table, return what to keep."""
    names = [name for name in APPS if has_fastapi_tasks() or not name.startswith("fastapi-tasks")]
    samples = measure(names, size, factory="benchmarks.served:app_from_environment")
    results = compare(samples)
    _print(samples, results, size)
    return results


def _print(samples: Samples, results: dict[str, Any], size: Size) -> None:
    rows = []
    for name, result in results.items():
        if name == PLAIN[0]:
            continue
        added, ratio = Estimate(**result["added_us"]), Estimate(**result["ratio"])
        goal = GOALS_US.get(name)
        rows.append(
            (
                name,
                interval(ratio),
                interval(added, 1),
                f"{result['us']['value']:.0f}",
                "" if goal is None else f"<= {goal:.0f} us",
                "" if goal is None else verdict(added, goal),
            )
        )
    less = estimate(pairwise(operator.sub, samples[SYNC[0]], samples[SYNC[1]]))
    notes = [
        f"plain: {results[PLAIN[0]]['us']['value']:.0f} us. Its second process is the noise floor.",
        f"{SYNC[0]} less {SYNC[1]}: {interval(less, 1)} us; goal <= 0: {verdict(less, 0.0)}",
    ]
    if not are_pinned():
        notes.append("Nothing was pinned to a core: there is one core only, or no taskset.")
    if not has_fastapi_tasks():
        notes.append(FASTAPI_TASKS_MISSING)
    print_table(
        f"Server CPU per request, {CONNECTIONS} connections "
        f"({size.processes} processes x {size.wrk_rounds} rounds of 1 s)",
        ("", "ratio to plain [95 %]", "added us [95 %]", "CPU us", "goal", ""),
        rows,
        notes,
    )
