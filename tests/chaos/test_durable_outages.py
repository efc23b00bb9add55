"""A database that is gone, full or locked for a while: refused meanwhile, and nothing is lost."""

import os
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.databases import SqliteDatabase
from tests.chaos.private_postgres import private_postgres
from tests.chaos.processes import Customers, Fleet, wait_until


def number_of(path: str) -> int:
    return int(path.rpartition("/")[2])


def test_postgres_killed_and_restarted_in_the_middle_loses_and_doubles_nothing(
    tmp_path: Path, long: bool
) -> None:
    down_s = 30.0 if long else 1.0
    notes, payments, posted = 1_500, 300, 20_000
    with private_postgres() as server:
        database = server.database
        database.prepare()
        with Fleet(database.url, tmp_path) as fleet:
            fleet.ready_web()
            worker = fleet.worker()
            wait_until(lambda: len(database.workers()) == 2, "both workers")
            assert fleet.post("/bulk/note", first=0, count=notes, pause_s=0.05) == 202
            assert fleet.post("/bulk/pay", first=100_000, count=payments, pause_s=0.01) == 202
            paths = [f"/jobs/pay/{number}" for number in range(posted)]
            with Customers(fleet.url, paths) as customers:
                for number, done in ((signal.SIGKILL, 400), (signal.SIGQUIT, 1_000)):
                    wait_until(lambda done=done: len(fleet.journal) >= done, f"{done} jobs")  # type: ignore[misc]
                    server.kill(number)
                    refused = len(customers.statuses)
                    wait_until(
                        lambda refused=refused: len(customers.statuses) > refused + 5,  # type: ignore[misc]
                        "a refusal",
                    )
                    time.sleep(down_s)  # the outage is as long as this
                    server.start()
                    accepted = len(customers.accepted)
                    wait_until(
                        lambda accepted=accepted: len(customers.accepted) > accepted + 20,  # type: ignore[misc]
                        "the web process to accept again",
                    )
                customers.stop()
            wait_until(lambda: database.unfinished() == 0, database.story)
            assert set(customers.statuses) == {503}
            rows = database.jobs()
            assert Counter(row.state for row in rows) == {"succeeded": len(rows)}
            expected = {number_of(path) for path in customers.accepted}
            possible = expected | {number_of(path) for path in customers.doubtful}
            expected |= set(range(100_000, 100_000 + payments))
            possible |= expected
            paid = Counter(database.numbers("payments"))
            assert expected <= set(paid) <= possible
            assert set(paid.values()) == {1}
            written = {int(number) for number, _, _ in fleet.journal.entries("note")}
            assert written == set(range(notes))
            assert Counter(row.number for row in rows if row.task == "note") == Counter(
                range(notes)
            )
            # By themselves: neither process was restarted.
            assert all(program.running for program in fleet.programs)
            assert worker.said("the ledger is back")


def test_a_locked_sqlite_file_is_waited_for_and_nothing_is_lost(
    sqlite: SqliteDatabase, tmp_path: Path, long: bool
) -> None:
    with Fleet(sqlite.url, tmp_path, LEASE_S="1") as fleet:
        fleet.ready_web()
        fleet.worker()
        wait_until(lambda: len(sqlite.workers()) == 2, "both workers")
        assert fleet.post("/bulk/note", first=10_000, count=300, pause_s=0.02) == 202
        paths = [f"/jobs/pay/{number}" for number in range(100_000)]
        with Customers(fleet.url, paths) as customers:
            wait_until(lambda: len(customers.accepted) > 20, "some to be accepted")
            with sqlite.locked():
                time.sleep(40.0 if long else 2.5)  # as long as the file is locked: several leases
            accepted = len(customers.accepted)
            wait_until(lambda: len(customers.accepted) > accepted + 20, "others to be accepted")
            customers.stop()
        wait_until(lambda: sqlite.unfinished() == 0, sqlite.story)
        # Patience is 30 s.
        assert set(customers.statuses) == ({503} if long else set())
        expected = sorted(number_of(path) for path in customers.accepted)
        paid = sqlite.numbers("payments")
        assert len(paid) == len(set(paid))
        assert set(expected) <= set(paid)
        assert set(paid) <= set(expected) | {number_of(path) for path in customers.doubtful}
        assert {row.state for row in sqlite.jobs()} == {"succeeded"}
        assert {int(words[0]) for words in fleet.journal.entries("note")} == set(
            range(10_000, 10_300)
        )


class SmallDisk:
    """A file system with room for little."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._filler = directory / "filler"

    def fill(self, fleet: Fleet) -> None:
        with self._filler.open("wb", buffering=0) as file:
            for size in (65_536, 4_096):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass

    def make_room(self, fleet: Fleet) -> None:
        self._filler.unlink()


class SmallFiles:
    """No file may grow; for processes it feels like a disk that cannot be written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def fill(self, fleet: Fleet) -> None:
        largest = max(each.stat().st_size for each in self.directory.glob("chaos.db*"))
        self._limit(fleet, largest)

    def make_room(self, fleet: Fleet) -> None:
        self._limit(fleet, resource.RLIM_INFINITY)

    @staticmethod
    def _limit(fleet: Fleet, size: int) -> None:
        for program in fleet.programs:
            resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@contextmanager
def small_disk(directory: Path) -> Iterator[SmallDisk]:
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "backstay-tests", str(directory)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        yield SmallDisk(directory)
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.mark.parametrize("kind", ["small disk", "small files"])
def test_a_full_disk_refuses_new_jobs_and_loses_none_that_were_accepted(
    kind: str, tmp_path: Path
) -> None:
    directory = tmp_path / "small"
    if kind == "small disk":
        with small_disk(directory) as disk:
            try_full_disk(disk, tmp_path)
    else:
        directory.mkdir()
        try_full_disk(SmallFiles(directory), tmp_path)


def try_full_disk(disk: SmallDisk | SmallFiles, journals: Path) -> None:
    database = SqliteDatabase(disk.directory / "chaos.db")
    database.prepare()
    with Fleet(database.url, journals) as fleet:
        fleet.ready_web()
        fleet.worker()
        wait_until(lambda: len(database.workers()) == 2, "both workers")
        assert fleet.post("/bulk/wait", first=0, count=30) == 202
        wait_until(lambda: len(fleet.journal.entries("wait")) == 30, "jobs that run")
        disk.fill(fleet)
        accepted = 0
        refused = 0
        for number in range(1, 400):  # until the last free page is used
            status = fleet.post("/bulk/note", first=100 * number, count=100)
            assert status in (202, 503)
            accepted += 100 * (status == 202)
            refused += status == 503
            if refused == 3:
                break
        assert refused == 3
        # What runs comes to its end meanwhile, and that cannot be recorded.
        fleet.release()
        wait_until(lambda: len(fleet.journal.entries("waited")) == 30, "the ends of those that ran")
        wait_until(
            lambda: any(program.said("out of reach") for program in fleet.programs),
            "a worker to notice",
        )
        disk.make_room(fleet)
        wait_until(lambda: database.unfinished() == 0, database.story)
        rows = database.jobs()
        assert Counter(row.state for row in rows) == {"succeeded": 30 + accepted}
        # The workers held on to what they had: nothing was run a second time.
        assert {(row.attempt, row.errors) for row in rows} == {(1, ())}
        assert fleet.post("/jobs/pay/1") == 202
        wait_until(lambda: database.numbers("payments") == [1], "a job that came later")
        assert all(program.running for program in fleet.programs)
