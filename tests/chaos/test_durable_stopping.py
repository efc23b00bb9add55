"""SIGTERM: what is unfinished is handed back, and nothing is lost or done twice."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.databases import PostgresDatabase, SqliteDatabase
from tests.chaos.processes import Customers, Fleet, wait_until


def test_sigterm_hands_back_what_does_not_finish_without_using_up_attempts(
    on_postgres: SqliteDatabase | PostgresDatabase, tmp_path: Path
) -> None:
    with Fleet(on_postgres.url, tmp_path, GRACE_S="0.3", CONCURRENCY="10") as fleet:
        fleet.ready_web(WORKER="0")
        worker = fleet.worker()
        assert fleet.post("/bulk/wait", first=0, count=5) == 202
        assert fleet.post("/bulk/wait_in_thread", first=5, count=5) == 202
        wait_until(lambda: len(fleet.journal.entries("wait")) == 10, "ten jobs to run")
        assert fleet.post("/bulk/note", first=0, count=300) == 202
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
        assert {(row.state, row.attempt, row.errors) for row in on_postgres.jobs()} == {
            ("available", 0, ())
        }
        assert on_postgres.rows("SELECT id FROM backstay_workers") == []
        fleet.release()
        fleet.worker()
        wait_until(lambda: on_postgres.unfinished() == 0, "the next worker to do it all")
        assert {(row.state, row.attempt, row.errors) for row in on_postgres.jobs()} == {
            ("succeeded", 1, ())
        }


@pytest.mark.parametrize("which", ["worker", "web"])
def test_a_second_sigterm_ends_the_grace_and_hands_everything_back(
    sqlite: SqliteDatabase, tmp_path: Path, which: str
) -> None:
    with Fleet(sqlite.url, tmp_path, GRACE_S="600") as fleet:
        web = fleet.ready_web(WORKER="1" if which == "web" else "0")
        program = web if which == "web" else fleet.worker()
        assert fleet.post("/bulk/wait", first=0, count=10) == 202
        wait_until(lambda: len(fleet.journal.entries("wait")) == 10, "ten jobs to run")
        program.signal(signal.SIGTERM)
        # The lifespan ends, and with it begins the grace.
        program.wait_for("Waiting for application shutdown" if which == "web" else "no more jobs")
        assert sqlite.states() == {"running": 10}
        program.signal(signal.SIGTERM)
        program.wait(10)
        assert {(row.state, row.attempt) for row in sqlite.jobs()} == {("available", 0)}


def test_a_job_that_ignores_its_cancellation_cannot_keep_the_process_from_ending(
    sqlite: SqliteDatabase, tmp_path: Path
) -> None:
    with Fleet(sqlite.url, tmp_path, GRACE_S="0.1") as fleet:
        web = fleet.ready_web()
        assert fleet.post("/jobs/ignore/1") == 202
        wait_until(lambda: fleet.journal.entries("wait"), "the job's start")
        web.signal(signal.SIGTERM)
        web.wait()
        assert fleet.journal.entries("ignored")
        assert [(row.state, row.attempt) for row in sqlite.jobs()] == [("available", 0)]


def test_a_rolling_restart_under_load_loses_nothing_and_does_nothing_twice(
    on_sqlite: SqliteDatabase | PostgresDatabase, tmp_path: Path, long: bool
) -> None:
    notes, orders, rounds = (20_000, 4_000, 15) if long else (1_200, 150, 3)
    with Fleet(on_sqlite.url, tmp_path, GRACE_S="60", CONCURRENCY="5") as fleet:
        worker = fleet.worker()
        web = fleet.ready_web()
        assert fleet.post("/bulk/note", first=0, count=notes, pause_s=0.02) == 202
        paths = [f"/orders/{number}" for number in range(orders)]
        with Customers(fleet.url, paths) as customers:
            for round_ in range(rounds):
                done = (notes + orders) * (round_ + 1) // (rounds + 2)
                wait_until(lambda done=done: len(fleet.journal) >= done, f"{done} jobs")  # type: ignore[misc]
                if round_ == 1:
                    web.signal(signal.SIGTERM)
                    web.wait()
                    web = fleet.web()
                else:
                    following = fleet.worker()
                    wait_until(lambda: following.pid in on_sqlite.workers(), "the next worker")  # noqa: B023
                    worker.signal(signal.SIGTERM)
                    assert worker.wait() == 0
                    worker = following
            customers.join()
        wait_until(lambda: on_sqlite.unfinished() == 0, on_sqlite.story)
        placed = on_sqlite.numbers("orders")
        assert {int(path.rpartition("/")[2]) for path in customers.accepted} <= set(placed)
        assert customers.statuses == []
        assert on_sqlite.numbers("payments") == placed
        assert Counter(int(words[0]) for words in fleet.journal.entries("note")) == Counter(
            range(notes)
        )
        assert {(row.state, row.attempt, row.errors) for row in on_sqlite.jobs()} == {
            ("succeeded", 1, ())
        }
