"""A mixed load for a long time, with kills, and an eye on memory: ``make soak``.

One web process with its embedded worker and one worker process live all the time, and their
memory has to stay flat; another worker is killed, stopped and restarted at random. New jobs
arrive over HTTP, one by one, in bulk and with orders in one transaction. History is pruned after
a minute, so that what grows is seen to be a leak.

    python tools/soak.py [SECONDS] [--database sqlite|postgres] [--seed N]

Says every ten seconds how it is, and at the end whether every promise was kept. Flat means: the
median of resident memory in the last fifth of the time is at most 10 % and 4 MiB above that in
the second fifth.
"""

import argparse
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx

from tests.chaos.databases import Database, SqliteDatabase, fresh_postgres
from tests.chaos.processes import Fleet, Program, wait_until

REPORT_EVERY_S = 10.0
ALLOWED_SHARE = 1.10
ALLOWED_BYTES = 4 * 2**20
PATIENCE_S = 120.0


class Load:
    """Posts jobs at a steady pace until it is told to leave.

    Attributes:
        accepted: numbers that must be paid, by the kind of request.
        notes: how many notes were accepted.
        refusals: statuses of answers that were not 202.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.orders: list[int] = []
        self.payments: list[int] = []
        self.notes = 0
        self.refusals: Counter[int] = Counter()
        self._fleet = fleet
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._post_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._leaving.set()
        self._thread.join(PATIENCE_S)

    def _post_forever(self) -> None:
        number = 0
        with httpx.Client(base_url=self._fleet.url, timeout=PATIENCE_S) as client:
            while not self._leaving.is_set():
                number += 1
                if self._posted(client, f"/orders/{number}"):
                    self.orders.append(number)
                if number % 2 == 0 and self._posted(client, f"/jobs/pay/{10**7 + number}"):
                    self.payments.append(10**7 + number)
                if number % 10 == 0:
                    first = 10**8 + 100 * number
                    if self._posted(client, f"/bulk/note?first={first}&count=100"):
                        self.notes += 100
                    first = 10**9 + 100 * number
                    if self._posted(client, f"/bulk/pay_in_thread?first={first}&count=5"):
                        self.payments.extend(range(first, first + 5))
                self._leaving.wait(0.02)

    def _posted(self, client: httpx.Client, path: str) -> bool:
        status = client.post(path).status_code
        if status != 202:
            self.refusals[status] += 1
        return status == 202


class Memory:
    """Resident bytes of processes, over time."""

    def __init__(self, watched: dict[str, Program]) -> None:
        self._watched = watched
        self._samples: dict[str, list[int]] = {name: [] for name in watched}

    def look(self) -> None:
        for name, program in self._watched.items():
            self._samples[name].append(resident_bytes(program.pid))

    def shown(self) -> str:
        latest = {name: samples[-1] for name, samples in self._samples.items()}
        return ", ".join(f"{name} {each / 2**20:.1f} MiB" for name, each in latest.items())

    def growth(self) -> dict[str, tuple[float, float]]:
        """Of each: the medians of the second fifth and of the last one, in bytes."""
        found = {}
        for name, samples in self._samples.items():
            fifth = max(1, len(samples) // 5)
            early = statistics.median(samples[fifth : 2 * fifth] or samples)
            found[name] = early, statistics.median(samples[-fifth:])
        return found


def resident_bytes(pid: int) -> int:
    """What of a process is in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def disturb(fleet: Fleet, victim: Program, dice: random.Random, done: Counter[str]) -> Program:
    """Do something to a worker; the one that works in its place."""
    what = dice.choice(["SIGKILL", "SIGKILL", "SIGTERM", "SIGSTOP"])
    done[what] += 1
    if what == "SIGSTOP":
        victim.signal(signal.SIGSTOP)
        time.sleep(dice.uniform(0.1, 1.0))
        victim.signal(signal.SIGCONT)
        return victim
    if what == "SIGTERM":
        victim.signal(signal.SIGTERM)
        victim.wait(PATIENCE_S)
    else:
        victim.kill()
    fleet.programs.remove(victim)
    victim.close()
    return fleet.worker()


def soak(seconds: float, database: Database, directory: Path, dice: random.Random) -> list[str]:
    """Run the load. What went wrong; nothing, if all is well."""
    database.prepare()
    disturbances: Counter[str] = Counter()
    settings = {"LEASE_S": "5", "KEEP_S": "60"}
    with Fleet(database.url, directory, **settings) as fleet:
        web = fleet.ready_web()
        steady = fleet.worker()
        victim = fleet.worker()
        memory = Memory({"web": web, "worker": steady})
        load = Load(fleet)
        load.start()
        began = reported = time.monotonic()
        finished = 0
        next_disturbance = began + dice.uniform(3, 12)
        while (now := time.monotonic()) < began + seconds:
            time.sleep(0.25)
            memory.look()
            if now >= next_disturbance:
                victim = disturb(fleet, victim, dice, disturbances)
                next_disturbance = time.monotonic() + dice.uniform(3, 12)
            if now >= reported + REPORT_EVERY_S:
                count = len(fleet.journal)
                print(
                    f"{now - began:6.0f} s  {count:8d} run, {(count - finished) / (now - reported):6.0f}/s, "
                    f"{database.unfinished()} open;  {memory.shown()};  {dict(disturbances)}",
                    flush=True,
                )
                reported, finished = now, count
            if not (web.running and steady.running):
                return ["a process that nobody disturbed has ended"]
        load.stop()
        try:
            wait_until(lambda: database.unfinished() == 0, database.story, patience_s=PATIENCE_S)
        except AssertionError as error:
            return [str(error)]
        return [*broken_promises(load, database, fleet), *grown(memory)]


def broken_promises(load: Load, database: Database, fleet: Fleet) -> list[str]:
    """What was accepted and is not there once, or is there and was never accepted."""
    wrong = []
    paid = Counter(database.numbers("payments"))
    expected = Counter(load.orders) + Counter(load.payments)
    if paid != expected:
        wrong.append(
            f"payments: {len(expected - paid)} of {len(expected)} are missing, "
            f"{len(paid - expected)} are too many"
        )
    if database.numbers("orders") != load.orders:
        wrong.append("orders: what is in the database is not what was accepted")
    notes = {words[0] for words in fleet.journal.entries("note")}
    if len(notes) != load.notes:
        wrong.append(f"notes: {len(notes)} of {load.notes} accepted ones were run")
    if load.refusals:
        wrong.append(f"refused: {dict(load.refusals)}")
    failed = {row.state for row in database.jobs()} - {"succeeded"}
    if failed:
        wrong.append(f"states in the end: {failed}")
    if not wrong:
        print(f"{len(expected)} payments once each, {load.notes} notes at least once")
    return wrong


def grown(memory: Memory) -> list[str]:
    """Processes whose memory is not flat."""
    wrong = []
    for name, (early, late) in memory.growth().items():
        told = f"memory of the {name} process: {early / 2**20:.1f} MiB, then {late / 2**20:.1f} MiB"
        print(told)
        if late > early * ALLOWED_SHARE + ALLOWED_BYTES:
            wrong.append(f"{told}; allowed are 10 % and 4 MiB more")
    return wrong


def main() -> int:
    """The exit status: 0 if every promise was kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seconds", nargs="?", type=float, default=1200.0)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    seed = time.time_ns() % 1_000_000 if asked.seed is None else asked.seed
    print(f"{asked.seconds:g} s on {asked.database}, --seed {seed}", flush=True)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="backstay-soak-")))
        database: Database = (
            SqliteDatabase(directory / "soak.db")
            if asked.database == "sqlite"
            else stack.enter_context(fresh_postgres())
        )
        wrong = soak(asked.seconds, database, directory, random.Random(seed))
    for each in wrong:
        print(f"WRONG: {each}")
    print("FAILED" if wrong else "PASSED: nothing lost, nothing doubled, memory flat")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
