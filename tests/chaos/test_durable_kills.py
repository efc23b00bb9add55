"""kill -9: every accepted job is finished, and what is transactional happens once."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.databases import PostgresDatabase, SqliteDatabase
from tests.chaos.processes import Customers, Fleet, Program, wait_until


def test_five_thousand_jobs_survive_kills_of_workers_and_of_the_web_process(
    database: SqliteDatabase | PostgresDatabase, tmp_path: Path, chance: random.Random, long: bool
) -> None:
    notes, payments, orders = (40_000, 6_000, 4_000) if long else (4_000, 750, 250)
    total = notes + payments + orders
    kills = 60 if long else 5
    with Fleet(database.url, tmp_path, LEASE_S="2") as fleet:
        parts: dict[str, Program] = {"web": fleet.ready_web()}
        parts |= {"first": fleet.worker(), "second": fleet.worker()}
        assert fleet.post("/bulk/note", first=0, count=notes // 2, pause_s=0.02) == 202
        assert fleet.post("/bulk/pay", first=100_000, count=payments // 2, pause_s=0.01) == 202
        assert fleet.post("/bulk/note", first=notes // 2, count=notes // 2, pause_s=0.02) == 202
        assert fleet.post("/bulk/pay_in_thread", first=200_000, count=payments // 2) == 202
        paths = [f"/orders/{number}" for number in range(orders)]
        with Customers(fleet.url, paths) as customers:
            moments = sorted(chance.sample(range(total // 50, total - total // 20), kills))
            victims = [chance.choice(["web", "first", "second"]) for _ in moments]
            for moment, victim in zip(moments, victims, strict=True):
                wait_until(
                    lambda done=moment: len(fleet.journal) >= done,  # type: ignore[misc]
                    f"{moment} of {total} jobs, {len(customers.accepted)} orders accepted, "
                    f"{len(fleet.journal)} done, {database.states()}",
                )
                parts[victim].kill()
                parts[victim] = fleet.web() if victim == "web" else fleet.worker()
            customers.join()
        wait_until(lambda: database.unfinished() == 0, database.story)
        placed = database.numbers("orders")
        assert {int(path.rpartition("/")[2]) for path in customers.accepted} <= set(placed)
        assert len(placed) == len(set(placed))
        assert len(placed) <= len(customers.accepted) + len(customers.doubtful)
        assert customers.statuses == []
        rows = database.jobs()
        assert len(rows) == notes + payments + len(placed)
        assert Counter(row.state for row in rows) == {"succeeded": len(rows)}
        # Every attempt that was lost is on record, and nothing else went wrong.
        assert [row for row in rows if row.attempt != 1 + len(row.errors)] == []
        assert {error for row in rows for error in row.errors} <= {"WorkerLost"}
        assert any(row.errors for row in rows), "nobody was killed at work"
        assert {int(number) for number, _, _ in fleet.journal.entries("note")} == set(range(notes))
        expected = placed + [
            first + number for first in (100_000, 200_000) for number in range(payments // 2)
        ]
        assert Counter(database.numbers("payments")) == Counter(expected)


def test_a_job_that_kills_its_worker_ends_in_the_dead_letter_list_and_its_handler_runs(
    on_sqlite: SqliteDatabase | PostgresDatabase, tmp_path: Path
) -> None:
    with Fleet(on_sqlite.url, tmp_path, LEASE_S="1") as fleet:
        worker = fleet.ready_web()
        assert fleet.post("/jobs/die/7") == 202
        for _ in range(3):
            assert worker.wait() == -9
            worker = fleet.web()
        wait_until(lambda: fleet.journal.entries("bury"), "the handler of the discarded job")
        wait_until(lambda: on_sqlite.unfinished() == 0, "the handler's end")
        assert [words[:2] for words in fleet.journal.entries("die")] == [
            ["7", str(attempt)] for attempt in (1, 2, 3)
        ]
        assert fleet.journal.entries("bury") == [["7", "3", "WorkerLost"]]
        died, buried = sorted(on_sqlite.jobs(), key=lambda row: row.task, reverse=True)
        assert (died.state, died.attempt, died.errors) == ("discarded", 3, ("WorkerLost",) * 3)
        assert (buried.task, buried.state, buried.attempt) == ("bury", "succeeded", 1)
        assert worker.running


@pytest.mark.skipif(
    os.environ.get("BACKSTAY_CHAOS") != "long",
    reason="waits for a lease of 10 s to run out; set BACKSTAY_CHAOS=long",
)
def test_a_worker_that_is_started_again_at_once_runs_what_the_killed_one_held(
    sqlite: SqliteDatabase, tmp_path: Path
) -> None:
    with Fleet(sqlite.url, tmp_path) as fleet:  # with the lease that comes by default
        web = fleet.ready_web()
        assert fleet.post("/jobs/wait/1") == 202
        wait_until(lambda: fleet.journal.entries("wait"), "the job's start")
        web.kill()
        fleet.release()
        fleet.web()
        wait_until(lambda: sqlite.unfinished() == 0, "the job's end")
        assert [words[:2] for words in fleet.journal.entries("waited")] == [["1", "2"]]
