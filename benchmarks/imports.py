"""How long importing takes, in fresh interpreters, less what the bare interpreter takes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

from benchmarks.peers import FASTAPI_TASKS_MISSING, has_fastapi_tasks
from benchmarks.report import interval, print_table, verdict
from benchmarks.sampling import ROOT, estimate
from benchmarks.sizes import Size

__all__ = ["run"]

GOAL_MS = 100.0
BARE = "pass"
OURS = "import backstay"
BESIDE = "import fastapi"
STATEMENTS = (
    BARE,
    OURS,
    "import anyio",
    "import starlette.applications",
    BESIDE,
    "import backstay.tasks",
    "import fastapi_tasks",
)


def _milliseconds(statement: str, seed: int) -> tuple[float, float]:
    """Elapsed time and CPU time of one fresh interpreter."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", statement],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        check=True,
    )
    elapsed, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return elapsed * 1e3, cpu * 1e3


def run(size: Size) -> dict[str, Any]:
    """Measure, print the table, return what to keep."""
    statements = [
        each for each in STATEMENTS if has_fastapi_tasks() or each != "import fastapi_tasks"
    ]
    samples: dict[str, list[tuple[float, float]]] = {statement: [] for statement in statements}
    for statement in statements:
        _milliseconds(statement, 0)  # compiles what has no .pyc yet, and warms the disk's cache
    for seed in range(size.repeats):
        for statement in statements if seed % 2 else reversed(statements):
            samples[statement].append(_milliseconds(statement, seed))
    added = {
        statement: [
            (elapsed - bare[0], cpu - bare[1])
            for (elapsed, cpu), bare in zip(samples[statement], samples[BARE], strict=True)
        ]
        for statement in statements[1:]
    }
    results: dict[str, Any] = {BARE: {"samples_ms": samples[BARE]}}
    rows = []
    for statement, pairs in added.items():
        elapsed = estimate([[one] for one, _ in pairs])
        cpu = estimate([[other] for _, other in pairs])
        beside = zip(pairs, added[BESIDE], strict=True)
        ratio = estimate([[one / its] for (one, _), (its, _) in beside])
        ours = statement == OURS
        rows.append(
            (
                statement,
                interval(ratio),
                interval(elapsed, 1),
                interval(cpu, 1),
                f"< {GOAL_MS:.0f} ms" if ours else "",
                verdict(elapsed, GOAL_MS) if ours else "",
            )
        )
        results[statement] = {
            "ratio": asdict(ratio),
            "elapsed_ms": asdict(elapsed),
            "cpu_ms": asdict(cpu),
            "samples_ms": samples[statement],
        }
    bare = estimate([[elapsed] for elapsed, _ in samples[BARE]])
    print_table(
        f"Importing, less the bare interpreter's {bare.value:.0f} ms "
        f"({size.repeats} fresh interpreters each)",
        ("", "ratio to fastapi [95 %]", "elapsed ms [95 %]", "CPU ms [95 %]", "goal", ""),
        rows,
        () if has_fastapi_tasks() else (FASTAPI_TASKS_MISSING,),
    )
    return results
