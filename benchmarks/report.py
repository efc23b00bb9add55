"""What a run prints and keeps."""

from __future__ import annotations

import json
import os
import platform
import sys
import sysconfig
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.sampling import Estimate

__all__ = ["describe_run", "interval", "print_table", "save", "verdict"]

_PACKAGES = (
    "fastapi",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "anyio",
    "httpx",
    "fastapi-tasks",
    "stamina",
    "purgatory",
    "aiolimiter",
)


def describe_run() -> dict[str, Any]:
    """Where this is measured: interpreter, packages, machine."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    packages = {}
    for package in _PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = "missing"
    return {
        "python": sys.version,
        "executable": sys.executable,
        "configured_with_optimizations": optimised,
        "yardstick_ns": round(_yardstick_ns(), 1),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.platform()}",
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "packages": packages,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _yardstick_ns() -> float:
    """CPU time of one call of an empty Python function, the best of several.

    Tells an optimised interpreter from one that is not, where the build options do not: Debian
    builds with profile-guided optimisation without the option that usually asks for it.
    """

    def nothing() -> None:
        pass

    calls = 200_000
    best = float("inf")
    for _ in range(7):
        start = time.process_time_ns()
        for _ in range(calls):
            nothing()
        best = min(best, (time.process_time_ns() - start) / calls)
    return best


def print_run(run: dict[str, Any]) -> None:
    """The heading of everything a run prints."""
    print(f"Python {run['python']}")
    print(f"  {run['executable']}")
    print(
        "  --enable-optimizations: "
        f"{'yes' if run['configured_with_optimizations'] else 'not said by the build'}; "
        f"an empty call takes {run['yardstick_ns']} ns"
    )
    print("  " + ", ".join(f"{name} {number}" for name, number in run["packages"].items()))
    print(f"  {run['machine']}; load {run['load_average']}", flush=True)


def interval(estimate: Estimate, digits: int = 2) -> str:
    """``value [low, high]``."""
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def verdict(estimate: Estimate, goal: float) -> str:
    """Whether a goal "at most" is met, as far as the interval lets one say."""
    if estimate.high <= goal:
        return "met"
    return "missed" if estimate.low > goal else "open"


def print_table(
    title: str, headers: Sequence[str], rows: Iterable[Sequence[str]], notes: Iterable[str] = ()
) -> None:
    """A small table: the first column to the left, the others to the right."""
    lines = [list(headers), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    print(f"\n{title}\n")
    for number, line in enumerate(lines):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))
    for note in notes:
        print(f"  {note}")
    sys.stdout.flush()


def save(folder: Path, name: str, run: dict[str, Any], results: Any) -> Path:
    """Keep a benchmark's results, raw samples included, as ``folder/name.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"run": run, "results": results}, indent=1) + "\n")
    return file
