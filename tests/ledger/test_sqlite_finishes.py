"""Ends of claims: the fast way for successes says when it does not apply."""

import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from backstay.ledger import Finish, NewJob, State, UniqueKey, new_job_id
from backstay.ledger.sqlite_claims import Claiming
from backstay.ledger.sqlite_connections import executor_of
from backstay.ledger.sqlite_finishes import Finishes
from backstay.ledger.sqlite_inserts import Inserts
from backstay.ledger.sqlite_schema import migrate

NOW = 1_800_000_000_000_000


def job(**options: Any) -> NewJob:
    return NewJob(new_job_id(), "work", **options)


class Table:
    def __init__(self) -> None:
        self.raw = sqlite3.connect(":memory:", isolation_level=None)
        migrate(self.raw, "backstay_", "it")
        self.execute = executor_of(self.raw)
        self.inserts = Inserts("backstay_")
        self.finishes = Finishes("backstay_", self.inserts)

    def running(self, *jobs: NewJob) -> list[Finish]:
        """The successes of these, claimed."""
        self.inserts.insert(self.execute, jobs, NOW)
        claims = Claiming("backstay_").claim(self.execute, "w", {"default": 99}, NOW)
        return [
            Finish(each.id, each.fence, State.SUCCEEDED, result="1", keep_s=2.0)
            for each in claims.jobs
        ]

    def all(self) -> list[tuple[Any, ...]]:
        columns = [each[1] for each in self.raw.execute("PRAGMA table_info(backstay_jobs)")]
        every = ", ".join(each for each in columns if each != "id")
        return self.execute(f"SELECT {every} FROM backstay_jobs ORDER BY seq", {})


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table()
    with contextlib.closing(table.raw):
        yield table


def test_the_fast_way_and_the_other_leave_the_same_row(table: Table) -> None:
    other = Table()
    jobs = [job(), job(unique=UniqueKey("k")), job(keep_s=5.0)]
    rows = Finishes.successes(table.running(*jobs))
    assert table.finishes.succeed(table.raw, table.execute, rows, NOW) is False
    stale, stirred = other.finishes.finish_all(other.execute, other.running(*jobs), NOW)
    assert (stale, stirred) == (set(), False)
    assert table.all() == other.all()
    other.raw.close()


def test_the_fast_way_releases_children(table: Table) -> None:
    parent = job()
    finishes = table.running(parent, job(after=(parent.id,)))
    rows = Finishes.successes(finishes)
    assert table.finishes.succeed(table.raw, table.execute, rows, NOW) is True


def test_the_fast_way_says_that_a_claim_was_stale(table: Table) -> None:
    finishes = table.running(job(), job())
    finishes[0].fence += 1
    rows = Finishes.successes(finishes)
    assert table.finishes.succeed(table.raw, table.execute, rows, NOW) is None


@pytest.mark.parametrize(
    "options",
    [{"state": State.RETRYING}, {"error": "{}"}, {"then": (job(),)}],
)
def test_only_plain_successes_go_the_fast_way(options: dict[str, Any]) -> None:
    plain = Finish(new_job_id(), 1, State.SUCCEEDED)
    assert len(Finishes.successes([plain])) == 1
    other = Finish(**{"id": new_job_id(), "fence": 1, "state": State.SUCCEEDED, **options})
    assert Finishes.successes([plain, other]) == []


@pytest.mark.parametrize("state", [State.RUNNING, State.WAITING])
def test_no_claim_ends_as_running_or_waiting(table: Table, state: State) -> None:
    (finish,) = table.running(job())
    finish.state = state
    with pytest.raises(ValueError, match="a claim cannot end as"):
        table.finishes.finish(table.execute, finish, NOW)


def test_a_job_handed_back_keeps_its_place(table: Table) -> None:
    (finish,) = table.running(job(priority=2))
    finish.state, finish.give_back = State.AVAILABLE, True
    (before,) = table.execute("SELECT rank, run_at FROM backstay_jobs", {})
    table.finishes.finish(table.execute, finish, NOW + 60)
    (after,) = table.execute("SELECT rank, run_at FROM backstay_jobs", {})
    assert after == before


def test_requeued_jobs_take_their_key_again_or_stay(table: Table) -> None:
    first = job(unique=UniqueKey("k"))
    (finish,) = table.running(first)
    finish.state = State.DISCARDED
    table.finishes.finish(table.execute, finish, NOW)
    second = job(unique=UniqueKey("k"))
    found = [(first.id.bytes, "k", 31, None)]
    table.inserts.insert(table.execute, [second], NOW)
    assert table.finishes.requeue(table.execute, found, NOW) == []
    table.finishes.cancel(table.execute, second.id, "no", NOW)
    assert table.finishes.requeue(table.execute, found, NOW) == [first.id]
    third = table.inserts.insert(table.execute, [job(unique=UniqueKey("k"))], NOW)
    assert third == [(first.id, False)]
