"""Questions find their rows by index, and any number of ids can be asked for."""

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from backstay.ledger import FINISHED, JobFilter, NewJob, State, new_job_id
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
    assert table.queries.delete(table.execute, JobFilter(ids=ids + ids), NOW) == 1200


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
