"""SIGSTOP past the lease: whoever wakes up again has lost its jobs, and changes nothing."""

import signal
from pathlib import Path

from tests.chaos.databases import PostgresDatabase, SqliteDatabase
from tests.chaos.processes import Fleet, Program, wait_until


def stop_without_the_write_lock(
    program: Program, database: SqliteDatabase | PostgresDatabase
) -> None:
    """SIGSTOP, between two transactions: a sleeper that holds SQLite's lock stops everybody."""
    while True:
        program.signal(signal.SIGSTOP)
        if database.is_free():
            return
        program.signal(signal.SIGCONT)


def test_a_worker_that_was_stopped_past_its_lease_changes_nothing_when_it_wakes_up(
    database: SqliteDatabase | PostgresDatabase, tmp_path: Path
) -> None:
    with Fleet(database.url, tmp_path, LEASE_S="1") as fleet:
        sleeper = fleet.ready_web()
        # On PostgreSQL the zombie has written already; in SQLite that would lock the file.
        name = "linger_first" if isinstance(database, PostgresDatabase) else "linger"
        for number in range(5):
            assert fleet.post(f"/jobs/{name}/{number}") == 202
        wait_until(lambda: len(fleet.journal.entries("linger")) == 5, "the first attempts")
        stop_without_the_write_lock(sleeper, database)
        other = fleet.worker()
        wait_until(lambda: database.unfinished() == 0, "the second attempts")
        before = sorted(map(repr, database.jobs()))
        assert database.states() == {"succeeded": 5}
        assert database.numbers("payments") == list(range(5))
        fleet.release()
        sleeper.signal(signal.SIGCONT)
        sleeper.wait_for("was taken for dead")
        wait_until(
            lambda: sum("rolled back" in line for line in sleeper.lines) == 5,
            "the zombie's five transactions to be rolled back",
        )
        assert len([each for each in fleet.journal.entries("lingered") if each[1] == "1"]) == 5
        assert sorted(map(repr, database.jobs())) == before
        assert database.rows("SELECT number, attempt FROM payments ORDER BY 1") == [
            (number, 2) for number in range(5)
        ]
        # It is a worker again: under another lease, with jobs of its own.
        other.signal(signal.SIGTERM)
        other.wait()
        assert fleet.post("/jobs/pay/100") == 202
        wait_until(lambda: database.numbers("payments")[-1] == 100, "a job after the awakening")


def test_a_plain_job_that_was_taken_over_is_not_ended_by_its_first_worker(
    on_postgres: SqliteDatabase | PostgresDatabase, tmp_path: Path
) -> None:
    with Fleet(on_postgres.url, tmp_path, LEASE_S="1") as fleet:
        sleeper = fleet.ready_web()
        assert fleet.post("/jobs/wait/1") == 202
        wait_until(lambda: fleet.journal.entries("wait"), "the first attempt")
        stop_without_the_write_lock(sleeper, on_postgres)
        fleet.worker()
        wait_until(lambda: len(fleet.journal.entries("wait")) == 2, "the second attempt")
        # The new worker holds it and waits; both are released, and the second one is asleep.
        holder = fleet.programs[-1]
        stop_without_the_write_lock(holder, on_postgres)
        fleet.release()
        sleeper.signal(signal.SIGCONT)
        sleeper.wait_for("was no longer ours")
        assert [(row.state, row.attempt) for row in on_postgres.jobs()] != [("succeeded", 1)]
        holder.signal(signal.SIGCONT)
        wait_until(lambda: on_postgres.unfinished() == 0, "an attempt that counts")
        assert on_postgres.jobs()[0].attempt >= 2
