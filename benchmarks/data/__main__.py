"""``python -m benchmarks.data [--quick]``: server CPU per request of view sets, and beside whom.

All sides serve the same rows side by side and have their turns in an order that changes, several
requests at a time; CPU time is the server process's own. Ratios are taken turn by turn, and say how
many times the CPU of ours the other one takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.data.calls import CREATE, Call, Callers
from benchmarks.data.peers import peers_python
from benchmarks.data.tables import DATABASE, fill
from benchmarks.report import describe_run, interval, print_run, print_table, save
from benchmarks.sampling import ROOT, Estimate, Unavailable, estimate

START_S = 60.0
CONNECTIONS = 8
POSTGRES = "postgresql://postgres@127.0.0.1:5432"
BEARER = ("Authorization: Bearer a-token-of-somebody",)


@dataclass(frozen=True, slots=True)
class Work:
    """What one side is asked for under one name."""

    call: Call
    share: float = 1.0  # how many requests of a turn; cheap ones need more to be measured


LIST, PAGE, MADE = Work(Call("/list?limit=50")), Work(Call("/page?page=3&size=50")), "/made"
CREATED = Work(Call(MADE, CREATE))
SIDES: dict[str, dict[str, Work]] = {
    "ours": {
        "list": LIST,
        "page": PAGE,
        "create": CREATED,
        "early hit": Work(Call("/early?limit=50"), 8.0),
        "routed hit": Work(Call("/routed?limit=50"), 4.0),
        "private hit": Work(Call("/private?limit=50", headers=BEARER), 4.0),
    },
    "by_hand": {"list": LIST, "page": PAGE, "create": CREATED},
    "by_fastcrud": {"page": Work(Call("/page?page=3&itemsPerPage=50")), "create": CREATED},
    "by_litestar": {"list": LIST, "page": PAGE, "create": CREATED},
}
# What is compared: (the other side, its work, our work, the goal: at least so many times ours).
GOALS: tuple[tuple[str, str, str, float | None], ...] = (
    ("by_hand", "list", "list", 1.3),
    ("by_hand", "page", "page", 1.3),
    ("by_hand", "create", "create", 1.2),
    ("by_fastcrud", "page", "page", 2.0),
    ("by_fastcrud", "create", "create", None),
    ("by_litestar", "list", "list", None),
    ("by_litestar", "page", "page", None),
    ("by_litestar", "create", "create", None),
    ("by_hand", "list", "early hit", 15.0),
    ("by_hand", "list", "routed hit", 5.0),
    ("by_hand", "list", "private hit", 4.0),
    ("ours", "list", "early hit", None),
    ("ours", "list", "routed hit", None),
    ("ours", "list", "private hit", None),
)
# These answer all columns; nothing that the library is told of a schema filters them.
TELL_ALL = {("by_fastcrud", "create")}


class Side:
    """One server in a process of its own, with a database of its own.

    Args:
        name: which of ``SIDES``.
        python: of the environment it lives in.
        database: its URL, without a driver.
        seed: of hashes, the same for all that are compared.
    """

    def __init__(self, name: str, python: str, database: str, seed: int) -> None:
        self.name = name
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process = subprocess.Popen(
            [
                *(python, "-m", "uvicorn", "benchmarks.data.sides:app_from_environment"),
                *("--factory", "--host", "127.0.0.1", "--port", str(self.port)),
                *("--loop", "uvloop", "--http", "httptools", "--no-access-log"),
                *("--log-level", "warning", "--timeout-keep-alive", "600"),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "BENCH_APP": name,
                DATABASE: database,
                "PYTHONHASHSEED": str(seed),
                "BACKSTAY_STATE": "memory://",
            },
        )
        self._clock = (~self._process.pid << 3) | 2  # see benchmarks.side_by_side
        self._callers: Callers | None = None

    def wait_until_up(self) -> None:
        """Return when it listens."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                self._callers = Callers(self.port, CONNECTIONS)
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server {self.name!r} did not come up; see above")

    def ask(self, work: Work) -> Any:
        """Its answer."""
        assert self._callers is not None
        return json.loads(self._callers.rounds(work.call, 1))

    def turn(self, work: Work, rounds: int) -> float:
        """Milliseconds of CPU per request."""
        assert self._callers is not None
        rounds = max(1, round(rounds * work.share))
        before = time.clock_gettime(self._clock)
        self._callers.rounds(work.call, rounds)
        used = time.clock_gettime(self._clock) - before
        return used / (rounds * CONNECTIONS) * 1e3

    def stop(self) -> None:
        """End it."""
        if self._callers is not None:
            self._callers.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def _databases(kind: str, names: list[str]) -> Iterator[dict[str, str]]:
    """A filled database for each side."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            urls = {name: f"sqlite:///{folder}/{name}.db" for name in names}
            for url in urls.values():
                fill(url)
            yield urls
        return
    made = {name: f"backstay_bench_{name}" for name in names}
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as admin:
        for each in made.values():
            admin.execute(f"DROP DATABASE IF EXISTS {each} WITH (FORCE)")
            admin.execute(f"CREATE DATABASE {each}")
        try:
            for each in made.values():
                fill(f"{POSTGRES}/{each}".replace("postgresql:", "postgresql+psycopg:"))
            yield {name: f"{POSTGRES}/{each}" for name, each in made.items()}
        finally:
            for each in made.values():
                admin.execute(f"DROP DATABASE IF EXISTS {each} WITH (FORCE)")


@contextlib.contextmanager
def _servers(pythons: dict[str, str], urls: dict[str, str], seed: int) -> Iterator[list[Side]]:
    sides: list[Side] = []
    try:
        sides.extend(Side(name, pythons[name], urls[name], seed) for name in pythons)
        for side in sides:
            side.wait_until_up()
        yield sides
    finally:
        for side in sides:
            side.stop()


def check(sides: list[Side]) -> None:
    """All sides answer the same, and none of them tells the secret.

    Raises:
        RuntimeError: they do not.
    """
    for work in ("list", "page", "create"):
        answers = {}
        for side in sides:
            if work in SIDES[side.name]:
                answer = side.ask(SIDES[side.name][work])
                if (side.name, work) in TELL_ALL:
                    del answer["secret"]
                if "hush" in str(answer):
                    raise RuntimeError(f"{side.name} tells the secret: {str(answer)[:300]}")
                answers[side.name] = _comparable(answer)
        first = answers["by_hand"]
        for name, answer in answers.items():
            if answer != first:
                raise RuntimeError(
                    f"{work}: {name} answers {str(answer)[:300]}, by hand {str(first)[:300]}"
                )


def _comparable(answer: Any) -> Any:
    """The items of an answer, and the total, whatever they are called."""
    if isinstance(answer, list):
        return [dict(sorted(each.items())) for each in answer]
    if "items" in answer or "data" in answer:
        items = answer.get("items", answer.get("data"))
        return answer.get("count", answer.get("total_count")), _comparable(items)
    return {name: value for name, value in sorted(answer.items()) if name != "id"}


def measure(kind: str, pythons: dict[str, str], processes: int, rounds: int, calls: int) -> Any:
    """Samples by side and work, those of one process together."""
    samples: dict[tuple[str, str], list[list[float]]] = {}
    with _databases(kind, list(pythons)) as urls:
        for seed in range(processes):
            with _servers(pythons, urls, seed) as sides:
                check(sides)
                turns = [(side, name) for side in sides for name in SIDES[side.name]]
                for side, name in turns:
                    side.turn(SIDES[side.name][name], calls)  # warm
                    samples.setdefault((side.name, name), []).append([])
                for number in range(rounds):
                    random.Random(repr((seed, number))).shuffle(turns)
                    for side, name in turns:
                        took = side.turn(SIDES[side.name][name], calls)
                        samples[side.name, name][-1].append(took)
            print(f"  data, {kind}: {seed + 1} of {processes} done", file=sys.stderr)
    return samples


def _ratio(theirs: list[list[float]], ours: list[list[float]]) -> Estimate:
    pairs = zip(theirs, ours, strict=True)
    # Not 0: a process that runs right now may seem to have used nothing in a short turn.
    return estimate([[a / max(b, 1e-9) for a, b in zip(x, y, strict=True)] for x, y in pairs])


def _verdict(ratio: Estimate, goal: float) -> str:
    """Whether a goal "at least" is met, as far as the interval lets one say."""
    if ratio.low >= goal:
        return "met"
    return "missed" if ratio.high < goal else "open"


def main() -> int:
    """Measure and print. Missed goals are results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, wider intervals")
    parser.add_argument("--smoke", action="store_true", help="see that it runs; measures nothing")
    parser.add_argument("--without-peers", action="store_true", help="install nothing")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="only this one")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder for the JSON"
    )
    chosen = parser.parse_args()
    processes, rounds, calls = (
        (1, 2, 2) if chosen.smoke else (2, 6, 15) if chosen.quick else (4, 10, 25)
    )
    run = describe_run()
    print_run(run)
    pythons = dict.fromkeys(("by_hand", "ours"), sys.executable)
    if not chosen.without_peers:
        try:
            python = peers_python()
            pythons |= dict.fromkeys(("by_fastcrud", "by_litestar"), python)
        except Unavailable as reason:
            print(reason)
    kept = {}
    for kind in [chosen.database] if chosen.database else ["sqlite", "postgresql"]:
        samples = measure(kind, pythons, processes, rounds, calls)
        kept[kind] = {f"{side} {work}": groups for (side, work), groups in samples.items()}
        print_table(
            f"{kind}: server CPU per request ({processes} processes x {rounds} turns of "
            f"{calls * CONNECTIONS}, {CONNECTIONS} at a time)",
            ("", "ms [95 %]"),
            [
                [f"{side}, {work}", interval(estimate(groups), 3)]
                for (side, work), groups in samples.items()
            ],
        )
        rows = []
        for side, theirs, ours, goal in GOALS:
            if (side, theirs) in samples:
                ratio = _ratio(samples[side, theirs], samples["ours", ours])
                said = "" if goal is None else f"goal >= {goal}: {_verdict(ratio, goal)}"
                rows.append([f"{side} {theirs} : our {ours}", interval(ratio), said])
                kept[kind][f"{side} {theirs} : {ours}"] = asdict(ratio)
        print_table(f"{kind}: how many times our CPU", ("", "ratio", ""), rows)
    print(f"  -> {save(chosen.results, 'data', run, kept)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
