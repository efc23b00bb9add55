"""Servers side by side, and the CPU time each spends on a request.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.sampling import ROOT, Unavailable, estimate
from benchmarks.sizes import Size

__all__ = ["CONNECTIONS", "PLAIN", "Samples", "are_pinned", "compare", "measure", "pairwise"]

CONNECTIONS = 32
START_S = 60.0
PLAIN = ("plain", "plain, a second process")

Samples = dict[str, list[list[float]]]
"""Microseconds of CPU per request: by app, by repetition, by turn."""


class Server:
    """One app in a uvicorn of its own.

    Args:
        app: which of ``APPS``.
        hash_seed: the same for all that are compared.
        core: where to pin it, ``None`` for anywhere.
        factory: makes the app.
        headers: of requests to it.
    """

    def __init__(
        self, app: str, hash_seed: int, core: int | None, factory: str, headers: Sequence[str]
    ) -> None:
        self._app = app
        self.headers = headers
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/x"
        self._process = subprocess.Popen(
            [
                *_pinned(core),
                *(sys.executable, "-m", "uvicorn", factory),
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
            asking = urllib.request.Request(
                self.url, headers=dict(each.split(": ", 1) for each in self.headers)
            )
            with contextlib.suppress(OSError), urllib.request.urlopen(asking, timeout=2) as got:
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


def measure(
    names: Sequence[str],
    size: Size,
    *,
    factory: str,
    headers: Mapping[str, Sequence[str]] | None = None,
) -> Samples:
    """Serve the apps and ask them.

    Args:
        names: of the apps, the two of ``PLAIN`` among them.
        size: how often.
        factory: makes the app that is named in ``BENCH_APP``, as uvicorn takes it.
        headers: by app, what its requests carry, each as ``"Name: value"``.

    Raises:
        Unavailable: this is no Linux, or there is no wrk.
    """
    _require_linux_and_wrk()
    samples: Samples = {name: [] for name in names}
    for repetition in range(size.processes):
        with _servers(names, repetition, factory, headers or {}) as servers:
            for name in names:
                samples[name].append([])
            for name in _turns(names, size.wrk_rounds, repetition):
                samples[name][-1].append(_cpu_us_per_request(servers[name]))
        print(f"  {repetition + 1} of {size.processes} done", file=sys.stderr)
    return samples


def _require_linux_and_wrk() -> None:
    if sys.platform != "linux":
        raise Unavailable("the CPU clock of another process is read the Linux way")
    if shutil.which("wrk"):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        print("installing Debian's wrk", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], check=False)
    if not shutil.which("wrk"):
        raise Unavailable("wrk makes the load and is not installed (Debian: apt-get install wrk)")


def are_pinned() -> bool:
    """Whether servers and wrk have cores of their own."""
    return _cores()[0] is not None


def _cores() -> tuple[int | None, int | None]:
    """Cores for the server and for wrk; ``None`` where there is nothing to pin."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 and shutil.which("taskset") else (None, None)


def _pinned(core: int | None) -> tuple[str, ...]:
    return () if core is None else ("taskset", "-c", str(core))


@contextlib.contextmanager
def _servers(
    names: Sequence[str],
    repetition: int,
    factory: str,
    headers: Mapping[str, Sequence[str]],
) -> Iterator[dict[str, Server]]:
    """All servers, up and warm."""
    servers: dict[str, Server] = {}
    try:
        # The order of starting is shuffled as well, should it have a say in where memory lies.
        for name in random.Random(repetition).sample(names, len(names)):
            servers[name] = Server(name, repetition, _cores()[0], factory, headers.get(name, ()))
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
        [
            *_pinned(_cores()[1]),
            *("wrk", "-t1", f"-c{CONNECTIONS}", "-d1s"),
            *(part for each in server.headers for part in ("-H", each)),
            server.url,
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    used_s = server.cpu_s() - before
    found = re.search(r"(\d+) requests in", done.stdout)
    if found is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk was not content:\n{done.stdout}")
    return used_s / int(found[1]) * 1e6


def compare(samples: Samples) -> dict[str, Any]:
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
            "added_us": asdict(estimate(pairwise(operator.sub, groups, base))),
            "ratio": asdict(estimate(pairwise(operator.truediv, groups, base))),
            "us": asdict(estimate(groups)),
            "samples_us": groups,
        }
    return results


def pairwise(
    operation: Callable[[float, float], float],
    ours: list[list[float]],
    theirs: list[list[float]],
) -> list[list[float]]:
    return [
        [operation(a, b) for a, b in zip(first, second, strict=True)]
        for first, second in zip(ours, theirs, strict=True)
    ]
