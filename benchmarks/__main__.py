"""``python -m benchmarks [NAME ...] [--quick]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.report import describe_run, print_run, save
from benchmarks.sampling import ROOT, Unavailable
from benchmarks.sizes import FULL, QUICK, SMOKE, Size

NAMES = ("schedule", "requests", "service", "stability", "memory", "imports")


def main() -> int:
    """Run what was asked for. Missed goals are results; 1 means that something could not run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, wider intervals")
    parser.add_argument("--smoke", action="store_true", help="see that it runs; measures nothing")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder for the JSON"
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.names) - set(NAMES):
        parser.error(f"no benchmark is named {', '.join(sorted(unknown))}; there are {NAMES}")
    size = SMOKE if chosen.smoke else QUICK if chosen.quick else FULL
    run = describe_run()
    print_run(run)
    status = 0
    for name in chosen.names or NAMES:
        benchmark: Callable[[Size], dict[str, Any]] = import_module(f"benchmarks.{name}").run
        try:
            results = benchmark(size)
        except Unavailable as reason:
            print(f"\n{reason}")
            status = 1
        else:
            print(f"  -> {save(chosen.results, name, run, results)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
