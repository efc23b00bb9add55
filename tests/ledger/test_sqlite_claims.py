"""Claims cost the same whatever lies in the table, and starve nobody."""

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from backstay.ledger import Claims, Gate, NewJob, QueueRow, new_job_id
from backstay.ledger.sqlite_claims import Claiming
from backstay.ledger.sqlite_connections import executor_of
from backstay.ledger.sqlite_inserts import Inserts
from backstay.ledger.sqlite_queries import Queries
from backstay.ledger.sqlite_schema import migrate

NOW = 1_800_000_000_000_000


def job(task: str = "work", **options: Any) -> NewJob:
    return NewJob(new_job_id(), task, **options)


class Table:
    """A database that counts the rows and index entries its statements go through."""

    def __init__(self) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.raw, "backstay_", "it")
        self.execute = executor_of(self.raw)
        self.claiming = Claiming("backstay_")
        self.steps = 0

    def insert(self, *jobs: NewJob) -> None:
        Inserts("backstay_").insert(self.execute, jobs, NOW)

    def claim(self, want: int, queue: str = "default", now: int = NOW) -> Claims:
        return self.claiming.claim(self.execute, "w", {queue: want}, now)

    def cost_of_claim(self, want: int) -> int:
        """Thousands of instructions of SQLite's machine, as near as it tells."""
        self.steps = 0

        def count() -> int:
            self.steps += 1
            return 0

        self.raw.set_progress_handler(count, 100)
        self.raw.execute("BEGIN")
        self.claim(want)
        self.raw.execute("ROLLBACK")
        self.raw.set_progress_handler(None, 0)
        return self.steps


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table()
    with contextlib.closing(table.raw):
        yield table


def test_every_statement_goes_through_an_index_of_its_own(table: Table) -> None:
    statements: list[str] = []
    table.insert(job(), job(gate=Gate("g", 1, rate=3)), job(delay_s=9))
    Queries("backstay_").declare(table.execute, [])
    table.raw.set_trace_callback(statements.append)
    table.claim(5)
    table.raw.set_trace_callback(None)
    assert len(statements) > 5
    for statement in statements:
        plan = [row[3] for row in table.raw.execute("EXPLAIN QUERY PLAN " + statement)]
        scans = [step for step in plan if step.startswith("SCAN backstay_jobs")]
        # A scan of a partial index is a scan of live rows.
        assert all("USING" in step for step in scans), (statement, plan)


def test_what_has_finished_or_is_scheduled_costs_nothing(table: Table) -> None:
    table.insert(*(job(delay_s=60) for _ in range(20)), *(job() for _ in range(20)))
    before = table.cost_of_claim(5)
    table.raw.executemany(
        "INSERT INTO backstay_jobs (id, state, queue, rank, run_at, task, created_at, finished_at) "
        "VALUES (?, ?, 'default', ?, ?, 'work', 0, ?)",
        [
            (new_job_id().bytes, state, number, NOW * 2, finished_at)
            for number in range(5000)
            for state, finished_at in (("succeeded", 1), ("scheduled", None), ("discarded", 1))
        ],
    )
    assert table.cost_of_claim(5) <= before + 2


def test_a_flood_that_is_due_at_once_is_let_in_by_portions(table: Table) -> None:
    table.insert(*(job(delay_s=1) for _ in range(2500)))
    later = NOW + 2_000_000
    claims = table.claim(10, now=later)
    assert len(claims.jobs) == 10
    assert claims.more
    assert claims.next_due_s == 0
    (available,) = table.execute(
        "SELECT count(*) FROM backstay_jobs WHERE state = 'available'", {}
    )[0]
    assert available == 990


def test_what_is_due_in_other_queues_becomes_available_too(table: Table) -> None:
    table.insert(*(job(queue=name, delay_s=1) for name in ("a", "b", "c")))
    claims = table.claim(10, "b", NOW + 2_000_000)
    assert len(claims.jobs) == 1
    states = table.execute("SELECT queue, state FROM backstay_jobs ORDER BY queue", {})
    assert states == [("a", "available"), ("b", "running"), ("c", "available")]


def test_gated_and_free_jobs_are_taken_in_the_order_of_their_rank(table: Table) -> None:
    for number in range(12):
        gate = None if number % 2 else Gate(f"g{number % 3}", limit=9)
        Inserts("backstay_").insert(table.execute, [job(str(number), gate=gate)], NOW + number)
    claims = table.claim(7, now=NOW + 99)
    assert [each.task for each in claims.jobs] == [str(number) for number in range(7)]
    assert claims.more
    assert [each.task for each in table.claim(9, now=NOW + 99).jobs] == [
        str(number) for number in range(7, 12)
    ]


def test_many_blocked_gates_hide_none_that_is_open(table: Table) -> None:
    table.insert(*(job(gate=Gate(f"g{number:04}", limit=0)) for number in range(450)))
    table.insert(job("open", gate=Gate("z")))
    claims = table.claim(1)
    assert [each.task for each in claims.jobs] == ["open"]


def test_more_gates_than_one_claim_looks_at_are_looked_at_by_the_next(table: Table) -> None:
    table.insert(*(job(gate=Gate(f"g{number:04}", limit=0)) for number in range(1500)))
    table.insert(job("open", gate=Gate("z")))
    claims = table.claim(1)
    assert claims.jobs == []
    assert claims.next_due_s == 0.05
    assert [each.task for each in table.claim(1).jobs] == ["open"]


def test_every_gate_gets_its_turn(table: Table) -> None:
    table.insert(*(job(gate=Gate(f"g{number:04}", limit=1)) for number in range(600)))
    seen = set()
    for _ in range(60):
        seen |= {each.id for each in table.claim(10).jobs}
    assert len(seen) == 600


def test_the_memory_of_a_rate_is_swept_once_it_means_nothing(table: Table) -> None:
    table.insert(job(gate=Gate("g", rate=1, per_s=10)))
    table.claim(1)
    queries = Queries("backstay_")
    queries.prune(table.execute, 0, 10, NOW + 5_000_000)
    assert table.execute("SELECT name FROM backstay_gates", {}) == [("gate:g",)]
    queries.prune(table.execute, 0, 10, NOW + 21_000_000)
    assert table.execute("SELECT name FROM backstay_gates", {}) == []


def test_a_gate_may_be_called_like_the_limit_of_a_queue(table: Table) -> None:
    Queries("backstay_").declare(table.execute, [QueueRow(name="default", rate=5, per_s=60)])
    table.insert(*(job(gate=Gate("queue:default", rate=2, per_s=60)) for _ in range(3)))
    table.insert(job(), job())
    assert len(table.claim(9).jobs) == 4
    table.insert(job(), job())
    assert len(table.claim(9).jobs) == 1


@pytest.mark.parametrize("per_s", [0.0, -1.0, 1e300, 5e-324, "soon", b"soon", None])
@pytest.mark.parametrize("where", ["gate", "queue"])
def test_a_damaged_rate_keeps_no_job_from_being_claimed(
    table: Table, where: str, per_s: object
) -> None:
    gate = Gate("g", rate=1, per_s=5) if where == "gate" else None
    table.insert(*(job(gate=gate) for _ in range(3)), job())
    if where == "queue":
        Queries("backstay_").declare(table.execute, [QueueRow(name="default", rate=1)])
        table.raw.execute("UPDATE backstay_queues SET per_s = coalesce(?, per_s)", (per_s,))
    else:
        table.raw.execute("UPDATE backstay_jobs SET gate_per_s = ?", (per_s,))
    taken = sum(len(table.claim(1, now=NOW + 10_000_000 * round).jobs) for round in range(4))
    assert taken == 4
