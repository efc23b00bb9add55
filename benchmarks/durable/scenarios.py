"""What is measured: each scenario lets its sides take turns, round after round."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from benchmarks.durable import drain, enqueue, latency, rescue
from benchmarks.durable.goals import LIMITS
from benchmarks.durable.home import Home
from benchmarks.durable.samples import Samples
from benchmarks.durable.sides import Side
from benchmarks.durable.sizes import Size
from benchmarks.durable.stand import Stand, run_json
from benchmarks.durable.stores import Stores
from benchmarks.sampling import Unavailable

__all__ = ["NAMES", "Bench", "COLUMNS", "NOTES", "TITLES"]

Columns = Sequence[tuple[str, str, int]]

_LIMITS: Columns = (
    ("fdatasync us", "fdatasync us", 0),
    ("sqlite3 single", "sqlite3 1 row/commit", 0),
    ("sqlite3 bulk", "sqlite3 1000 rows/commit", 0),
    ("sqlite3 take", "sqlite3 take 100", 0),
    ("asyncpg single", "asyncpg 1 row", 0),
    ("asyncpg bulk", "asyncpg COPY of 1000", 0),
    ("asyncpg take", "asyncpg take 100", 0),
    ("asyncpg round trip", "asyncpg SELECT 1", 0),
)
_STORE: Columns = (
    ("insert", "insert /s", 0),
    ("insert_now", "insert_now /s", 0),
    ("concurrent", "64 inserts at a time /s", 0),
    ("bulk", "inserts of 1000 /s", 0),
    ("bulk us", "CPU us", 1),
    ("claim", "claim 100 jobs/s", 0),
    ("claim us", "CPU us", 1),
    ("finish", "finish 100 jobs/s", 0),
    ("finish us", "CPU us", 1),
    ("take", "claim + finish jobs/s", 0),
)
_HISTORY: Columns = (
    *(column for column in enqueue.COLUMNS if not column[0].endswith("us")),
    *drain.COLUMNS[:2],
)
COLUMNS: Mapping[str, Columns] = {
    "limits": _LIMITS,
    "store": _STORE,
    "enqueue": enqueue.COLUMNS,
    "drain": drain.COLUMNS,
    "latency": latency.COLUMNS,
    "rescue": rescue.COLUMNS,
    "history": _HISTORY,
}
TITLES = {
    "limits": "Physical limits, per second (rows of 100 bytes, synced)",
    "store": "The ledger itself, without tasks",
    "enqueue": "Enqueue, jobs per second and the producer's CPU per job",
    "drain": "Drain of no-op jobs, a hundred in flight",
    "latency": "Enqueue to start at 100 jobs a second, the worker in another process",
    "rescue": "kill -9 of the only worker, started again at once",
    "history": "The same with finished and scheduled rows in the table",
}
NOTES = {
    "enqueue": (
        (
            "huey: threads, 64 of them for 64 at a time. dbos: bulk is enqueues in one transaction, "
            "for want of a statement for many."
        ),
        (
            "taskiq-nats: NATS syncs on a timer, so what it has taken may be lost with the power; "
            "all others have it on disk."
        ),
    ),
    "drain": (
        "Over the middle 96 % of the jobs. CPU: the worker and all it started, not the server.",
        (
            "Jobs count when they run; that they have ended is recorded a little later (the column "
            "says how much after the last one)."
        ),
        "huey: four threads and sync jobs; it forgets jobs before they run.",
    ),
    "latency": ("Under 'embedded' the worker runs in the process that enqueues.",),
    "rescue": (
        "Half-second jobs, ten at a time. lost: not done when patience ended.",
        (
            "procrastinate: with its documented task that retries stalled jobs, without which they "
            "stay. saq: retries=3, its default of 1 gives them up."
        ),
    ),
}
NAMES = tuple(COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One run.

    Attributes:
        size: how much of everything.
        home: the environments.
        stores: where databases come from.
        folder: for files.
        sides: who takes part.
        say: told what is going on.
    """

    size: Size
    home: Home
    stores: Stores
    folder: Path
    sides: Sequence[Side]
    say: Callable[[str], None]
    _urls: dict[str, str] = field(default_factory=dict)
    _made: dict[str, Stand] = field(default_factory=dict)
    _failed: dict[str, str] = field(default_factory=dict)
    _filled: set[str] = field(default_factory=set)

    def run(self, name: str) -> Samples:
        """Measure one scenario."""
        samples = Samples()
        if name == "limits":
            for number in range(self.size.rounds):
                self._limits(samples, number)
        elif name == "store":
            self._take_turns(name, samples, self._ours(samples), self._store, self.size.rounds)
        elif name == "rescue":
            self._side_by_side(samples, list(self._stands(samples)))
        elif name == "history":
            stands = [*self._ours(samples), *self._ours(samples, history=True)]
            self._take_turns(name, samples, stands, self._history, self.size.rounds)
        else:
            measure = {"enqueue": enqueue, "drain": drain, "latency": latency}[name].measure
            rounds = self.size.long_rounds if name == "latency" else self.size.rounds
            self._take_turns(name, samples, list(self._stands(samples)), measure, rounds)
        return samples

    def _take_turns(
        self,
        name: str,
        samples: Samples,
        stands: Sequence[Stand],
        measure: Callable[[Stand, Size], Mapping[str, float]],
        rounds: int,
    ) -> None:
        order = list(stands)
        chance = random.Random(0)
        for number in range(rounds):
            if name in {"store", "enqueue", "drain"}:
                self._limits(samples, number)
            chance.shuffle(order)
            for stand in order:
                if stand.label not in samples.missing:
                    self.say(f"{name}, round {number + 1} of {rounds}: {stand.label}")
                    self._turn(samples, number, stand, measure)

    def _turn(
        self,
        samples: Samples,
        number: int,
        stand: Stand,
        measure: Callable[[Stand, Size], Mapping[str, float]],
    ) -> None:
        try:
            samples.add(stand.label, number, measure(stand, self.size))
        except (RuntimeError, OSError, sqlite3.Error, asyncpg.PostgresError) as failure:
            samples.missing[stand.label] = f"failed: {failure}"

    def _side_by_side(self, samples: Samples, stands: Sequence[Stand]) -> None:
        """All at once: their jobs sleep, they do not compute."""
        for number in range(self.size.long_rounds):
            self.say(f"rescue, round {number + 1} of {self.size.long_rounds}: all sides at once")

            def turn(stand: Stand, number: int = number) -> None:
                self._turn(samples, number, stand, rescue.measure)

            left = [stand for stand in stands if stand.label not in samples.missing]
            with ThreadPoolExecutor(max(1, len(left))) as threads:
                list(threads.map(turn, left))  # raises what a turn has raised

    def _limits(self, samples: Samples, number: int) -> None:
        self.say(f"limits, round {number + 1}")
        command = [self.home.ours, "-m", "benchmarks.durable.limits"]
        try:
            figures = run_json(command, [self.size.seconds / 2, self.folder, self._limit_url()])
        except RuntimeError as failure:
            samples.missing[LIMITS] = f"failed: {failure}"
        else:
            samples.add(LIMITS, number, figures)

    def _limit_url(self) -> str:
        if "limits" not in self._urls:
            try:
                self._urls["limits"] = self.stores.make("postgresql", "limits")
            except Unavailable:
                self._urls["limits"] = ""
        return self._urls["limits"]

    def _stands(self, samples: Samples) -> Iterator[Stand]:
        """All sides that are set up; the others are noted, not left out."""
        for side in self.sides:
            if stand := self._stand(samples, side, side.name):
                yield stand

    def _ours(self, samples: Samples, *, history: bool = False) -> list[Stand]:
        found = []
        for side in self.sides:
            label = f"{side.name}, history" if history else side.name
            if side.peer is None and (stand := self._stand(samples, side, label)):
                try:
                    self._fill(stand, history)
                except RuntimeError as failure:
                    samples.missing[label] = f"failed: {failure}"
                else:
                    found.append(stand)
        return found

    def _fill(self, stand: Stand, history: bool) -> None:
        if history and stand.label not in self._filled:
            self.say(f"filling the table of {stand.label}")
            stand.run("benchmarks.durable.history", self.size.finished, self.size.scheduled)
            self._filled.add(stand.label)

    def _stand(self, samples: Samples, side: Side, label: str) -> Stand | None:
        if label in self._failed:
            samples.missing[label] = self._failed[label]
            return None
        if label not in self._made:
            python = self.home.interpreter(side)
            if python is None:
                samples.missing[label] = "not set up: python -m benchmarks.durable setup"
                return None
            try:
                url = self.stores.make(side.store, label.replace(", ", "-"))
                folder = self.folder / label.replace(", ", "-")
                self._made[label] = Stand(side, label, python, url, folder)
            except (Unavailable, RuntimeError) as failure:
                samples.missing[label] = self._failed[label] = f"not available: {failure}"
                return None
        return self._made[label]

    def _store(self, stand: Stand, size: Size) -> Mapping[str, float]:
        figures: dict[str, float] = stand.run("benchmarks.durable.store", size.seconds)
        return figures

    def _history(self, stand: Stand, size: Size) -> Mapping[str, float]:
        return {**enqueue.measure(stand, size), **drain.by_one(stand, size)}
