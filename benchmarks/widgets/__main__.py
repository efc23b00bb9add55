"""``python -m benchmarks.widgets [--quick]``: server CPU per ``tools/call``, import times, state.

All servers live side by side and have their turns in an order that changes; CPU time is the server
process's own. Ratios are taken turn by turn.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.report import describe_run, interval, print_run, print_table, save, verdict
from benchmarks.sampling import ROOT, Estimate, Unavailable, estimate
from benchmarks.widgets.calls import ERAS, Caller
from benchmarks.widgets.peers import fastmcp_python

START_S = 60.0
GOALS = (("sdk", 1.10), ("fastmcp", 0.65))
IMPORT_GOAL = 1.05
IMPORTS = {
    "sdk": "from mcp.server.lowlevel import Server; "
    "from mcp.server.streamable_http_manager import StreamableHTTPSessionManager",
    "backstay.widgets": "import backstay.widgets",
    "WidgetMCPServer": "from backstay.widgets import WidgetMCPServer",
    "WidgetMCPServer, serving": "from backstay.widgets import WidgetMCPServer; "
    "WidgetMCPServer('shop').prepare()",
    "fastmcp": "import fastmcp",
}


class Side:
    """One server in a process of its own.

    Args:
        name: which of ``SIDES``.
        python: of the environment it lives in.
        seed: of hashes, the same for all that are compared.
    """

    def __init__(self, name: str, python: str, seed: int) -> None:
        self.name = name
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [
                *(python, "-m", "uvicorn", "benchmarks.widgets.sides:app_from_environment"),
                *("--factory", "--host", "127.0.0.1", "--port", str(self.port)),
                *("--loop", "uvloop", "--http", "httptools", "--no-access-log"),
                *("--log-level", "warning"),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "BENCH_APP": name,
                "PYTHONHASHSEED": str(seed),
                "BACKSTAY_STATE": "memory://",
            },
        )
        self._clock = (~self._process.pid << 3) | 2  # see benchmarks.side_by_side
        self._callers: dict[str, Caller] = {}

    def wait_until_up(self) -> None:
        """Return when it listens."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server {self.name!r} did not come up; see above")

    def eras(self) -> tuple[str, ...]:
        """The revisions it speaks; the plain route speaks none, and is asked in one way."""
        return ERAS[:1] if self.name == "plain" else ERAS

    def turn(self, era: str, calls: int) -> float:
        """Milliseconds of CPU per call."""
        if era not in self._callers:
            self._callers[era] = Caller(self.port, era)
        caller = self._callers[era]
        before = time.clock_gettime(self._clock)
        for _ in range(calls):
            caller.call()
        return (time.clock_gettime(self._clock) - before) / calls * 1e3

    def stop(self) -> None:
        """End it."""
        for caller in self._callers.values():
            caller.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def _servers(pythons: dict[str, str], seed: int) -> Iterator[list[Side]]:
    sides: list[Side] = []
    try:
        sides.extend(Side(name, python, seed) for name, python in pythons.items())
        for side in sides:
            side.wait_until_up()
        yield sides
    finally:
        for side in sides:
            side.stop()


def measure_calls(pythons: dict[str, str], processes: int, rounds: int, calls: int) -> Any:
    """Samples by side and era, those of one process together."""
    samples: dict[tuple[str, str], list[list[float]]] = {}
    for seed in range(processes):
        with _servers(pythons, seed) as sides:
            turns = [(side, era) for side in sides for era in side.eras()]
            for side, era in turns:
                side.turn(era, calls)  # warm
                samples.setdefault((side.name, era), []).append([])
            for number in range(rounds):
                random.Random(repr((seed, number))).shuffle(turns)
                for side, era in turns:
                    samples[side.name, era][-1].append(side.turn(era, calls))
        print(f"  widgets: {seed + 1} of {processes} done", file=sys.stderr)
    return samples


def measure_imports(pythons: dict[str, str], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of CPU of a fresh interpreter, for each import."""
    samples: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for turn in range(repeats + 1):
        for name, statement in IMPORTS.items():
            if name == "fastmcp" and name not in pythons:
                continue
            python = pythons.get(name, sys.executable)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([python, "-c", statement], cwd=ROOT, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if turn:  # the first one compiles and warms the disk's cache
                used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
                samples[name].append(used * 1e3)
    return samples


_SHORTEST_MS = 1e-6


def _ratio(ours: list[list[float]], theirs: list[list[float]]) -> Estimate:
    pairs = zip(ours, theirs, strict=True)
    # The clock of a process that runs right now may stand for a moment: a turn of a few calls
    # (--smoke) can seem to take no time at all.
    return estimate(
        [[a / max(b, _SHORTEST_MS) for a, b in zip(x, y, strict=True)] for x, y in pairs]
    )


def main() -> int:
    """Measure and print. Missed goals are results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.widgets", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, wider intervals")
    parser.add_argument("--smoke", action="store_true", help="see that it runs; measures nothing")
    parser.add_argument("--without-fastmcp", action="store_true", help="install nothing")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder for the JSON"
    )
    chosen = parser.parse_args()
    processes, rounds, calls, repeats = (
        (1, 2, 5, 1) if chosen.smoke else (3, 10, 200, 7) if chosen.quick else (6, 20, 300, 15)
    )
    run = describe_run()
    print_run(run)
    pythons = dict.fromkeys(("plain", "sdk", "backstay"), sys.executable)
    if not chosen.without_fastmcp:
        try:
            pythons["fastmcp"] = fastmcp_python()
        except Unavailable as reason:
            print(reason)
    samples = measure_calls(pythons, processes, rounds, calls)
    rows, kept = [], {}
    for (name, era), groups in samples.items():
        found = estimate(groups)
        row = [f"{name}, {era}", interval(found, 3)]
        for peer, goal in GOALS:
            theirs = samples.get((peer, era))
            if name == "backstay" and theirs is not None:
                ratio = _ratio(groups, theirs)
                row.append(f"{interval(ratio)} {verdict(ratio, goal)}")
            else:
                row.append("")
        rows.append(row)
        kept[f"{name} {era}"] = {"ms": asdict(found), "samples_ms": groups}
    print_table(
        f"Server CPU per tools/call, JSON ({processes} processes x {rounds} turns of {calls})",
        ("", "ms [95 %]", *(f": {peer}, goal <= {goal}" for peer, goal in GOALS)),
        rows,
    )
    imports = measure_imports(pythons, repeats)
    if "fastmcp" not in pythons:
        del imports["fastmcp"]
    rows = []
    for name, found_ms in imports.items():
        ratio = _ratio([found_ms], [imports["sdk"]])
        goal = verdict(ratio, IMPORT_GOAL) if name not in {"sdk", "fastmcp"} else ""
        rows.append([name, f"{estimate([found_ms]).value:.0f}", f"{interval(ratio)} {goal}"])
    print_table("Import, ms of CPU", ("", "ms", f": sdk, goal <= {IMPORT_GOAL}"), rows)
    print(f"  -> {save(chosen.results, 'widgets', run, {'calls': kept, 'imports': imports})}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
