"""Questions find their rows by index, and any number of ids can be asked for."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backstay.ledger import FINISHED, LIVE, JobFilter, NewJob, State, new_job_id
from backstay.ledger.sqlite_connections import executor_of
from backstay.ledger.sqlite_inserts import Inserts
from backstay.ledger.sqlite_queries import Queries
from backstay.ledger.sqlite_schema import migrate

NOW = 1_800_000_000_000_000


class Table:
    def __init__(self) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.raw, "backstay_", "it")
        self.execute = executor_of(self.raw)
        self.queries = Queries("backstay_")

    def insert(self, state: str, count: int = 1, **columns: Any) -> list[NewJob]:
        jobs = [NewJob(new_job_id(), columns.get("task", "work")) for _ in range(count)]
        Inserts("backstay_").insert(self.execute, jobs, NOW)
        self.raw.executemany(
            "UPDATE backstay_jobs SET state = ?, finished_at = ?, expires_at = ? WHERE id = ?",
            [
                (state, columns.get("finished_at"), columns.get("expires_at"), each.id.bytes)
                for each in jobs
            ],
        )
        return jobs

    def cost(self, look: Callable[[], object]) -> int:
        """Instructions of SQLite's machine, in tens."""
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        self.raw.set_progress_handler(count, 10)
        look()
        self.raw.set_progress_handler(None, 0)
        return steps

    def plans_of(self, which: JobFilter) -> list[str]:
        statements: list[str] = []
        self.raw.set_trace_callback(statements.append)
        self.queries.find(self.execute, which, 10, None, NOW)
        self.raw.set_trace_callback(None)
        return [
            row[3] for each in statements for row in self.raw.execute("EXPLAIN QUERY PLAN " + each)
        ]


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table()
    with contextlib.closing(table.raw):
        yield table


@pytest.mark.parametrize("state", sorted(set(State) - {State.SUCCEEDED}))
def test_what_is_few_beside_the_history_is_found_by_an_index(table: Table, state: State) -> None:
    plans = table.plans_of(JobFilter(states=frozenset({state})))
    scans = [plan for plan in plans if plan.startswith("SCAN") and "backstay_jobs" in plan]
    assert all(" INDEX backstay_jobs_" in plan for plan in scans), plans
    assert any(" INDEX backstay_jobs_" in plan for plan in plans), plans


def test_ids_are_found_by_their_index(table: Table) -> None:
    (plan,) = [each for each in table.plans_of(JobFilter(ids=(new_job_id(),))) if "jobs" in each]
    assert "(id=?)" in plan


def test_any_number_of_ids_can_be_asked_for(table: Table) -> None:
    jobs = table.insert("succeeded", 1200, finished_at=NOW)
    ids = tuple(each.id for each in jobs)
    assert set(table.queries.get(table.execute, ids, NOW)) == set(ids)
    found = table.queries.find(table.execute, JobFilter(ids=ids), 700, None, NOW)
    assert [each.id for each in found] == list(reversed(ids))[:700]
    which = JobFilter(ids=ids + ids)
    deletable = table.queries.deletable(table.execute, which, 1_000, 5_000, NOW)
    assert len(deletable) == 1000, "those written later are spared"
    assert table.queries.delete(table.execute, which, deletable) == 1000


def test_states_of_all_kinds_are_found_together_newest_first(table: Table) -> None:
    jobs = [table.insert(state)[0] for state in State]
    wanted = frozenset({State.WAITING, State.AVAILABLE, State.SUCCEEDED, State.RETRYING})
    found = table.queries.find(table.execute, JobFilter(states=wanted), 50, None, NOW)
    assert [each.id for each in found] == [
        each.id for each, state in zip(jobs, State, strict=True) if state in wanted
    ][::-1]
    assert table.queries.find(table.execute, JobFilter(states=frozenset()), 50, None, NOW) == []


def test_signs_of_patterns_in_a_text_mean_themselves(table: Table) -> None:
    for task in ("a_b", "axb", "50%", "50!", "x"):
        table.insert("available", task=task)
    for text, tasks in (("A_B", {"a_b"}), ("%", {"50%"}), ("!", {"50!"}), ("5", {"50%", "50!"})):
        found = table.queries.find(table.execute, JobFilter(text=text), 50, None, NOW)
        assert {each.task for each in found} == tasks


def test_counts_are_added_up_over_every_index(table: Table) -> None:
    for number, state in enumerate(State, start=1):
        table.insert(state, number, finished_at=NOW if state in FINISHED else None)
    table.raw.execute(
        "UPDATE backstay_jobs SET gate = 'g' WHERE seq = "
        "(SELECT max(seq) FROM backstay_jobs WHERE state = 'available')"
    )
    counts = {each.state: each.jobs for each in table.queries.counts(table.execute)}
    assert counts == {state: number for number, state in enumerate(State, start=1)}


def test_a_job_that_took_the_place_of_a_deleted_one_is_not_deleted_for_it(table: Table) -> None:
    table.insert("succeeded", 1, finished_at=NOW)
    found = table.queries.deletable(table.execute, JobFilter(), 1, 10, NOW)
    table.raw.execute("DELETE FROM backstay_jobs")
    table.insert("succeeded", 1, finished_at=NOW)
    assert table.execute("SELECT seq FROM backstay_jobs", {}) == [(found[0][0],)]
    assert table.queries.delete(table.execute, JobFilter(), found) == 0


def test_a_job_that_was_requeued_meanwhile_is_not_deleted(table: Table) -> None:
    table.insert("discarded", 1, finished_at=NOW)
    found = table.queries.deletable(table.execute, JobFilter(), 1, 10, NOW)
    table.raw.execute("UPDATE backstay_jobs SET state = 'available', finished_at = NULL")
    assert table.queries.delete(table.execute, JobFilter(), found) == 0


@pytest.mark.parametrize(
    "which",
    [
        JobFilter(queue="mail"),
        JobFilter(states=frozenset({State.SUCCEEDED}), queue="mail"),
        JobFilter(states=frozenset({State.SUCCEEDED}), task="rare"),
        JobFilter(states=frozenset({State.SUCCEEDED, State.RETRYING}), task="rare", queue="mail"),
        JobFilter(states=frozenset({State.SCHEDULED}), queue="mail"),
        JobFilter(task="rare"),
    ],
)
def test_looking_for_what_is_rare_costs_the_same_however_long_the_history(
    table: Table, which: JobFilter
) -> None:
    table.insert("succeeded", 2_000, finished_at=NOW)
    before = table.cost(lambda: table.queries.find(table.execute, which, 10, None, NOW))
    table.insert("succeeded", 6_000, finished_at=NOW)
    after = table.cost(lambda: table.queries.find(table.execute, which, 10, None, NOW))
    assert after <= before * 1.2


def test_the_live_are_counted_at_the_same_cost_however_long_the_history(table: Table) -> None:
    table.insert("scheduled", 50)
    table.insert("succeeded", 100, finished_at=NOW)
    before = table.cost(lambda: table.queries.counts(table.execute, LIVE))
    table.insert("succeeded", 5_000, finished_at=NOW)
    assert table.cost(lambda: table.queries.counts(table.execute, LIVE)) <= before * 1.2


def test_history_is_counted_without_reading_rows(table: Table) -> None:
    statements: list[str] = []
    table.raw.set_trace_callback(statements.append)
    table.queries.counts(table.execute, FINISHED)
    table.raw.set_trace_callback(None)
    plans = [
        row[3] for each in statements for row in table.raw.execute("EXPLAIN QUERY PLAN " + each)
    ]
    assert len(plans) == 3
    assert all("USING COVERING INDEX backstay_jobs_finished" in plan for plan in plans), plans


def test_how_long_queues_wait_costs_the_same_whatever_lies_in_them(table: Table) -> None:
    def fill(count: int) -> None:
        table.insert("available", count)
        gated = table.insert("available", count)
        table.raw.executemany(
            "UPDATE backstay_jobs SET gate = 'g', priority = 5 WHERE id = ?",
            [(each.id.bytes,) for each in gated],
        )
        table.insert("scheduled", count)
        table.insert("succeeded", count, finished_at=NOW)

    fill(50)
    before = table.cost(lambda: table.queries.waits(table.execute, NOW))
    fill(2_000)
    assert table.cost(lambda: table.queries.waits(table.execute, NOW)) <= before * 1.5


def test_pruning_steps_over_what_is_to_be_kept(table: Table) -> None:
    table.insert("succeeded", 100, finished_at=NOW)
    before = table.cost(lambda: table.queries.prune(table.execute, 10, 100, NOW))
    table.insert("succeeded", 5_000, finished_at=NOW)
    assert table.cost(lambda: table.queries.prune(table.execute, 10, 100, NOW)) <= before * 2


def test_pruning_deletes_what_is_over_and_no_more_than_it_may(table: Table) -> None:
    for state in ("succeeded", "cancelled", "discarded"):
        table.insert(state, 2, finished_at=NOW - 10_000_000)
        table.insert(state, 1, finished_at=NOW - 10_000_000, task="other")
        table.insert(state, 2, finished_at=NOW, expires_at=NOW)
        table.insert(state, 1, finished_at=NOW, expires_at=NOW + 1)
    prune = table.queries.prune
    assert prune(table.execute, 10, 4, NOW) == 4
    assert prune(table.execute, 10, 100, NOW) == 8
    assert prune(table.execute, 10, 100, NOW) == 0
    left = table.execute("SELECT state, count(*) FROM backstay_jobs GROUP BY state", {})
    assert left == [("cancelled", 1), ("discarded", 4), ("succeeded", 1)]


def test_pruning_goes_through_the_index_only(table: Table) -> None:
    table.insert("succeeded", 3, finished_at=NOW - 10_000_000)
    statements: list[str] = []
    table.raw.set_trace_callback(statements.append)
    table.queries.prune(table.execute, 10, 4, NOW)
    table.raw.set_trace_callback(None)
    looks = [each for each in statements if "jobs_finished" in each]
    assert looks
    for statement in looks:
        (plan,) = [row[3] for row in table.raw.execute("EXPLAIN QUERY PLAN " + statement)]
        assert plan.startswith("SEARCH backstay_jobs USING"), plan
        assert "TEMP B-TREE" not in plan
