"""``python -m benchmarks.durable [setup] [--only NAME,...] [--sides NAME,...] [--quick]``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.durable.goals import HEADERS, LIMITS, NOTE, judged
from benchmarks.durable.home import Home
from benchmarks.durable.samples import Samples
from benchmarks.durable.scenarios import COLUMNS, NAMES, NOTES, TITLES, Bench
from benchmarks.durable.sides import SIDES
from benchmarks.durable.sizes import FULL, QUICK, SMOKE
from benchmarks.durable.stores import Stores
from benchmarks.report import print_run, print_table
from benchmarks.sampling import Unavailable


def main() -> int:
    """Run what was asked for. Missed goals are results; 1 means that one of ours could not run."""
    chosen = _arguments()
    # Databases and workers are removed on the way out, so that must be one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        home = Home(chosen.python)
        if chosen.command == "setup":
            home.set_up()
            return 0
        return _measure(chosen, home)
    except Unavailable as reason:
        print(reason, file=sys.stderr)
        return 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.durable", description=__doc__)
    parser.add_argument(
        "command", nargs="?", choices=("run", "setup"), default="run", help="run, if not given"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--smoke", action="store_true", help="see that it runs; measures nothing")
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(NAMES)}; all")
    parser.add_argument("--sides", metavar="NAME,...", help=f"of {', '.join(SIDES)}; all")
    parser.add_argument(
        "--python", metavar="FILE", help="the interpreter of every side; the one that runs this"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of every side")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keeps every sample there")
    chosen = parser.parse_args()
    chosen.only = _names(parser, chosen.only, NAMES, "scenario")
    chosen.sides = _names(parser, chosen.sides, tuple(SIDES), "side")
    return chosen


def _names(
    parser: argparse.ArgumentParser, given: str | None, known: Sequence[str], what: str
) -> Sequence[str]:
    if given is None:
        return known
    names = [name for name in given.split(",") if name]
    if unknown := set(names) - set(known):
        parser.error(f"no {what} is named {', '.join(sorted(unknown))}; there are {known}")
    return names


def _measure(chosen: argparse.Namespace, home: Home) -> int:
    size = SMOKE if chosen.smoke else QUICK if chosen.quick else FULL
    if chosen.rounds:
        size = size.of(chosen.rounds)
    run = home.describe()
    print_run(run)
    print("  " + ", ".join(run["peers"]))
    measured: dict[str, Samples] = {}
    told: set[str] = set()
    folder = home.folder / f"run-{os.getpid()}"
    start = time.monotonic()
    with Stores(folder) as stores:
        run["stores"] = stores.describe()
        print("  " + ", ".join(f"{name} {value}" for name, value in run["stores"].items()))
        bench = Bench(
            size=size,
            home=home,
            stores=stores,
            folder=folder,
            sides=[SIDES[name] for name in chosen.sides],
            say=_say,
        )
        for name in chosen.only:
            measured[name] = bench.run(name)
            _print(name, measured[name], chosen.sides, told)
    if goals := list(judged(measured)):
        print_table("Goals (met: in every round; open: in some)", HEADERS, goals, (NOTE,))
    print(f"\n{time.monotonic() - start:.0f} s")
    if chosen.json:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        kept = {name: samples.kept() for name, samples in measured.items()}
        chosen.json.write_text(json.dumps({"run": run, "results": kept}, indent=1) + "\n")
        print(f"-> {chosen.json}")
    failed = {
        label
        for samples in measured.values()
        for label in samples.missing
        if label.startswith("ours")
    }
    return 1 if failed else 0


def _say(what: str) -> None:
    """Progress, for whoever waits; not part of the result."""
    print(f"\r\x1b[K{what}" if sys.stderr.isatty() else what, file=sys.stderr, flush=True)


def _print(name: str, samples: Samples, sides: Sequence[str], told: set[str]) -> None:
    """A row for each side; figures that were not measured are a dash, with the reason below.

    A reason of many lines is printed once.
    """
    rows = [LIMITS] if name == "limits" else list(sides)
    if name == "history":
        rows = [row for side in sides for row in (side, f"{side}, history")]
    present = samples.sides()
    columns = COLUMNS[name]
    lines, notes = [], []
    for row in rows:
        if row not in present:
            continue
        cells = [samples.spread(row, metric) for metric, _, _ in columns]
        lines.append(
            (
                row,
                *(
                    cell.short(digits) if cell else "-"
                    for cell, (_, _, digits) in zip(cells, columns, strict=True)
                ),
            )
        )
        if reason := samples.missing.get(row):
            notes.append(f"{row}: {reason.splitlines()[-1] if reason in told else reason}")
            told.add(reason)
    limits = [
        f"{header} {spread.short(digits)}"
        for metric, header, digits in COLUMNS["limits"]
        if name in {"store", "enqueue", "drain"} and (spread := samples.spread(LIMITS, metric))
    ]
    if limits:
        notes.append("Physical limits in the same rounds: " + ", ".join(limits))
    count = samples.rounds()
    rounds = f"median of {count} rounds, ± the farthest" if count > 1 else "one round"
    headers = ("", *(header for _, header, _ in columns))
    print_table(f"{TITLES[name]} ({rounds})", headers, lines, (*NOTES.get(name, ()), *notes))


if __name__ == "__main__":
    sys.exit(main())
