"""CPU time a server spends on a request, under uvicorn, uvloop, httptools and wrk.

All servers of a repetition live side by side and have their turns of one second each, in an order
that changes; then all are started anew. Two of them are the same plain app: what lies between
those is no difference at all, and nothing smaller means anything.

CPU time is the server process's own, so what wrk and the neighbours use does not count (what
they do to caches and clock rates does).
"""

from __future__ import annotations

import contextlib
import operator
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.peers import FASTAPI_TASKS_MISSING, has_fastapi_tasks
from benchmarks.report import interval, print_table, verdict
from benchmarks.sampling import ROOT, Estimate, Unavailable, estimate
from benchmarks.served import APPS
from benchmarks.sizes import Size

__all__ = ["run"]

CONNECTIONS = 32
START_S = 60.0
PLAIN = ("plain", "plain, a second process")
GOALS_US = {
    "backstay: nothing used": 8.0,
    "backstay: Tasks unused": 15.0,
    "backstay: 1 after_response": 25.0,
    "backstay: 5 after_response": 60.0,
}
SYNC = ("backstay: 1 sync", "BackgroundTasks: 1 sync")

Samples = dict[str, list[list[float]]]
"""Microseconds of CPU per request: by app, by repetition, by turn."""


class Server:
    """One app in a uvicorn of its own.

    Args:
        app: which of ``APPS``.
        hash_seed: the same for all that are compared.
        core: where to pin it, ``None`` for anywhere.
    """

    def __init__(self, app: str, hash_seed: int, core: int | None) -> None:
        self._app = app
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/x"
        self._process = subprocess.Popen(
            [
                *_pinned(core),
                *(sys.executable, "-m", "uvicorn", "benchmarks.served:app_from_environment"),
                *("--factory", "--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop"),
                *("--http", "httptools", "--no-access-log", "--log-level", "warning"),
            ],
            cwd=ROOT,
            env={**os.environ, "BENCH_APP": app, "PYTHONHASHSEED": str(hash_seed)},
        )
        # Linux's clock of another process (see clock_getcpuclockid(3)). Unlike /proc/PID/task/*
        # it keeps the time of threads that have ended, and unlike /proc/PID/stat it has no ticks.
        self._clock = (~self._process.pid << 3) | 2

    def wait_until_up(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=2) as got:
                got.read()
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server of {self._app!r} did not come up; see above")

    def cpu_s(self) -> float:
        """Seconds of CPU it has used so far, all threads together."""
        return time.clock_gettime(self._clock)

    def stop(self) -> None:
        """Ask it to stop; insist if it does not."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def run(size: Size) -> dict[str, Any]:
    """Measure, print the table, return what to keep."""
    _require_linux_and_wrk()
    names = [name for name in APPS if has_fastapi_tasks() or not name.startswith("fastapi-tasks")]
    samples: Samples = {name: [] for name in names}
    for repetition in range(size.processes):
        with _servers(names, repetition) as servers:
            for name in names:
                samples[name].append([])
            for name in _turns(names, size.wrk_rounds, repetition):
                samples[name][-1].append(_cpu_us_per_request(servers[name]))
        print(f"  requests: {repetition + 1} of {size.processes} done", file=sys.stderr)
    results = _compare(samples)
    _print(samples, results, size)
    return results


def _require_linux_and_wrk() -> None:
    if sys.platform != "linux":
        raise Unavailable("requests: the CPU clock of another process is read the Linux way")
    if shutil.which("wrk"):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        print("requests: installing Debian's wrk", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], check=False)
    if not shutil.which("wrk"):
        raise Unavailable(
            "requests: wrk makes the load and is not installed (Debian: apt-get install wrk)"
        )


def _cores() -> tuple[int | None, int | None]:
    """Cores for the server and for wrk; ``None`` where there is nothing to pin."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 and shutil.which("taskset") else (None, None)


def _pinned(core: int | None) -> tuple[str, ...]:
    return () if core is None else ("taskset", "-c", str(core))


@contextlib.contextmanager
def _servers(names: Sequence[str], repetition: int) -> Iterator[dict[str, Server]]:
    """All servers, up and warm."""
    servers: dict[str, Server] = {}
    try:
        # The order of starting is shuffled as well, should it have a say in where memory lies.
        for name in random.Random(repetition).sample(names, len(names)):
            servers[name] = Server(name, repetition, _cores()[0])
        for server in servers.values():
            server.wait_until_up()
        for server in servers.values():
            _cpu_us_per_request(server)
        yield servers
    finally:
        for server in servers.values():
            server.stop()


def _turns(names: Sequence[str], rounds: int, seed: int) -> Iterator[str]:
    """Rounds of all names, each second one the reverse of the one before."""
    order = list(names)
    chance = random.Random(seed)
    for number in range(rounds):
        if number % 2:
            order.reverse()
        else:
            chance.shuffle(order)
        yield from order


def _cpu_us_per_request(server: Server) -> float:
    before = server.cpu_s()
    done = subprocess.run(
        [*_pinned(_cores()[1]), "wrk", "-t1", f"-c{CONNECTIONS}", "-d1s", server.url],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    used_s = server.cpu_s() - before
    found = re.search(r"(\d+) requests in", done.stdout)
    if found is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk was not content:\n{done.stdout}")
    return used_s / int(found[1]) * 1e6


def _compare(samples: Samples) -> dict[str, Any]:
    """Every app beside the plain one: what it adds and how many times as much it is."""
    plain = [
        [(a + b) / 2 for a, b in zip(first, second, strict=True)]
        for first, second in zip(samples[PLAIN[0]], samples[PLAIN[1]], strict=True)
    ]
    results: dict[str, Any] = {}
    for name, groups in samples.items():
        # The second plain process is held against the first alone: against a mean that it is
        # part of, it would seem to differ by half of what it does.
        base = samples[PLAIN[0]] if name == PLAIN[1] else plain
        results[name] = {
            "added_us": asdict(estimate(_pairwise(operator.sub, groups, base))),
            "ratio": asdict(estimate(_pairwise(operator.truediv, groups, base))),
            "us": asdict(estimate(groups)),
            "samples_us": groups,
        }
    return results


def _pairwise(
    operation: Callable[[float, float], float],
    ours: list[list[float]],
    theirs: list[list[float]],
) -> list[list[float]]:
    return [
        [operation(a, b) for a, b in zip(first, second, strict=True)]
        for first, second in zip(ours, theirs, strict=True)
    ]


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
    less = estimate(_pairwise(operator.sub, samples[SYNC[0]], samples[SYNC[1]]))
    notes = [
        f"plain: {results[PLAIN[0]]['us']['value']:.0f} us. Its second process is the noise floor.",
        f"{SYNC[0]} less {SYNC[1]}: {interval(less, 1)} us; goal <= 0: {verdict(less, 0.0)}",
    ]
    if _cores()[0] is None:
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
