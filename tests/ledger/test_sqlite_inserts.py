"""Writing jobs: rows for the fast way, statements for all others, in any transaction."""

import contextlib
import math
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from backstay.errors import BadJob
from backstay.ledger import Gate, NewJob, State, UniqueKey, new_job_id
from backstay.ledger.sqlite_inserts import PRIORITY_US, Children, Inserts
from backstay.ledger.sqlite_rows import from_us
from backstay.ledger.sqlite_schema import migrate

NOW = 1_800_000_000_000_000


def job(**options: Any) -> NewJob:
    return NewJob(new_job_id(), "app:work", **options)


class Table:
    """A database whose statements are noted."""

    def __init__(self) -> None:
        # As SQLAlchemy's pysqlite has it: a transaction begins with the first writing statement.
        self.raw = sqlite3.connect(":memory:")
        self.raw.isolation_level = None
        migrate(self.raw, "backstay_", "it")
        self.raw.isolation_level = "DEFERRED"
        self.noted: list[tuple[str, bool]] = []
        self.inserts = Inserts("backstay_")

    def execute(self, statement: str, parameters: Any) -> list[tuple[Any, ...]]:
        rows = self.raw.execute(statement, parameters).fetchall()
        self.noted.append((statement, self.raw.in_transaction))
        return rows

    def row(self, each: NewJob, columns: str) -> tuple[Any, ...]:
        (row,) = self.raw.execute(
            f"SELECT {columns} FROM backstay_jobs WHERE id = ?", (each.id.bytes,)
        )
        return tuple(row)


@pytest.fixture
def table() -> Iterator[Table]:
    table = Table()
    with contextlib.closing(table.raw):
        yield table


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"priority": 3},
        {"delay_s": 60},
        {"run_at": from_us(NOW + 5)},
        {"run_at": from_us(NOW - 5), "delay_s": 60},
        {"queue": "mail", "max_attempts": 4, "keep_s": 1.5, "args": '{"a":1}', "meta": '{"b":2}'},
    ],
)
def test_the_fast_way_and_the_other_write_the_same_row(
    table: Table, options: dict[str, Any]
) -> None:
    fast, slow = job(**options), job(**options)
    rows = Inserts.simple_rows([fast], NOW)
    assert rows is not None
    table.raw.executemany(table.inserts.simple, rows)
    table.inserts.insert(table.execute, [slow], NOW)
    columns = [each[1] for each in table.raw.execute("PRAGMA table_info(backstay_jobs)")]
    every = ", ".join(each for each in columns if each not in ("id", "seq"))
    assert table.row(fast, every) == table.row(slow, every)


@pytest.mark.parametrize(
    "options", [{"unique": UniqueKey("k")}, {"gate": Gate("g", 1)}, {"after": (new_job_id(),)}]
)
def test_what_needs_more_than_a_row_does_not_go_the_fast_way(options: dict[str, Any]) -> None:
    assert Inserts.simple_rows([job(), job(**options)], NOW) is None


def test_a_point_of_priority_is_worth_ten_minutes() -> None:
    assert timedelta(microseconds=PRIORITY_US) == timedelta(minutes=10)


@pytest.mark.parametrize(
    "options", [{}, {"unique": UniqueKey("k", period_s=5)}, {"after": (new_job_id(),)}]
)
def test_the_first_statement_opens_a_transaction(table: Table, options: dict[str, Any]) -> None:
    table.inserts.insert(table.execute, [job(**options)], NOW)
    assert all(in_transaction for _, in_transaction in table.noted)


def test_a_plain_job_is_one_statement(table: Table) -> None:
    table.inserts.insert(table.execute, [job()], NOW)
    assert len(table.noted) == 1


def test_a_key_is_held_until_its_period_is_over(table: Table) -> None:
    first, second, third = (job(unique=UniqueKey("k", period_s=5)) for _ in range(3))
    for each, now, created in ((first, 0, True), (second, 4, False), (third, 5, True)):
        (inserted,) = table.inserts.insert(table.execute, [each], NOW + now * 1_000_000)
        assert inserted.created is created
    assert table.row(first, "unique_held") == (0,)


def test_children_go_the_way_of_their_parents_down_to_the_last(table: Table) -> None:
    parent = job()
    child = job(after=(parent.id,))
    grandchild = job(after=(child.id,), on_parent_failure="discard", keep_s=2)
    survivor = job(after=(grandchild.id,), on_parent_failure="run", priority=1)
    table.inserts.insert(table.execute, [parent, child, grandchild, survivor], NOW)
    settle = Children("backstay_").settle
    assert settle(table.execute, parent.id.bytes, State.DISCARDED, NOW + 7)
    assert table.row(child, "state, finished_at, expires_at") == ("cancelled", NOW + 7, None)
    assert table.row(grandchild, "state, expires_at") == ("discarded", NOW + 2_000_007)
    assert table.row(survivor, "state, run_at, rank") == (
        "available",
        NOW + 7,
        NOW + 7 - PRIORITY_US,
    )
    assert not settle(table.execute, parent.id.bytes, State.DISCARDED, NOW + 7)


@pytest.mark.parametrize(
    "options", [{"delay_s": math.nan}, {"run_at": datetime(2027, 1, 1)}, {"args": None}]
)
def test_neither_way_writes_what_cannot_be_kept(table: Table, options: dict[str, Any]) -> None:
    with pytest.raises(BadJob):
        Inserts.simple_rows([job(), job(**options)], NOW)
    with pytest.raises(BadJob):
        table.inserts.insert(table.execute, [job(), job(**options)], NOW)
    assert table.noted == []


def test_text_that_is_no_unicode_is_refused_in_other_peoples_transactions_too(table: Table) -> None:
    with pytest.raises(BadJob, match="no lone surrogates"):
        table.inserts.insert(table.execute, [job(args='"\ud800"')], NOW)
