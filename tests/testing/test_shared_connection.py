"""Leases of one connection behave as connections of their own, and leave nothing behind."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from backstay.testing.shared_connection import Lease, SharedConnection
from backstay.testing.write_turn import IsolationError
from tests.jobs.desks import POSTGRES
from tests.testing.town import EITHER

PEOPLE = "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"
WHO = st.sampled_from([0, 1])
PETS = """
    CREATE TABLE pets (
        id INTEGER PRIMARY KEY,
        owner INTEGER REFERENCES people (id) DEFERRABLE INITIALLY DEFERRED
    )
"""


@pytest.fixture(params=EITHER)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SharedConnection]:
    """In the middle of a test, its tables made within it."""
    raw: Any
    if request.param == "sqlite":
        raw = sqlite3.connect(tmp_path / "test.db", isolation_level=None, check_same_thread=False)
        raw.execute("PRAGMA foreign_keys=ON")
    else:
        raw = psycopg.connect(POSTGRES, autocommit=True)
    with closing(raw):
        if request.param == "postgresql":
            raw.execute("SET search_path TO pg_temp")
        shared = SharedConnection(raw, request.param, wait_s=0.05)
        for table in (PEOPLE, PETS):
            raw.execute(table)
        shared.begin_test()
        yield shared
        shared.end_test()
        assert names_by(raw) == []


def names_by(connection: Any) -> list[str]:
    cursor = connection.cursor()
    cursor.execute("SELECT name FROM people ORDER BY id")
    return [row[0] for row in cursor.fetchall()]


def add(lease: Lease, *names: str) -> None:
    for name in names:
        lease.cursor().execute(f"INSERT INTO people VALUES ({len(name)}, '{name}')")


def a_lease(shared: SharedConnection) -> Lease:
    return shared.lease(asynchronous=False)


def test_what_is_committed_is_seen_by_others_and_undone_with_the_test(
    shared: SharedConnection,
) -> None:
    one, other = a_lease(shared), a_lease(shared)
    add(one, "A")
    one.commit()
    assert names_by(other) == ["A"]


def test_what_is_rolled_back_leaves_what_was_committed_before(shared: SharedConnection) -> None:
    one = a_lease(shared)
    add(one, "A")
    one.commit()
    add(one, "Bo", "Cid")
    one.rollback()
    assert names_by(one) == ["A"]
    add(one, "Bo")
    one.close()
    assert names_by(a_lease(shared)) == ["A"]


def test_reading_keeps_nobody_waiting(shared: SharedConnection) -> None:
    reader, writer = a_lease(shared), a_lease(shared)
    assert names_by(reader) == []
    add(writer, "A")
    writer.commit()
    assert names_by(reader) == ["A"]
    reader.commit()


def test_what_is_not_committed_is_seen_by_nobody_else(shared: SharedConnection) -> None:
    writer, other = a_lease(shared), a_lease(shared)
    add(writer, "A")
    assert names_by(writer) == ["A"]
    with pytest.raises(IsolationError, match="would wait for ever"):
        names_by(other)
    writer.commit()
    assert names_by(other) == ["A"]


def test_a_statement_that_fails_costs_others_nothing(shared: SharedConnection) -> None:
    writer, reader = a_lease(shared), a_lease(shared)
    add(writer, "A")
    writer.commit()
    with pytest.raises((sqlite3.Error, psycopg.Error)):
        reader.cursor().execute("SELECT nothing FROM nowhere")
    assert names_by(reader) == ["A"]
    with pytest.raises((sqlite3.Error, psycopg.Error)):
        add(writer, "A")
    writer.rollback()
    assert names_by(reader) == ["A"]


def test_savepoints_of_the_apps_own_work_within(shared: SharedConnection) -> None:
    one = a_lease(shared)
    add(one, "A")
    cursor = one.cursor()
    cursor.execute("SAVEPOINT own")
    add(one, "Bo")
    cursor.execute("ROLLBACK TO SAVEPOINT own")
    cursor.execute("RELEASE SAVEPOINT own")
    one.commit()
    assert names_by(one) == ["A"]


def test_autocommit_commits_every_statement(shared: SharedConnection) -> None:
    one, other = a_lease(shared), a_lease(shared)
    one.autocommit = True
    add(one, "A", "Bo")
    assert names_by(other) == ["A", "Bo"]
    with pytest.raises((sqlite3.Error, psycopg.Error)):
        add(one, "A")
    one.rollback()
    assert names_by(other) == ["A", "Bo"]


def test_an_isolation_level_of_none_means_autocommit_to_sqlite_only(
    shared: SharedConnection,
) -> None:
    one = a_lease(shared)
    one.isolation_level = None
    assert one.autocommit is shared.is_sqlite
    assert one.isolation_level is None


def test_begin_and_end_as_statements_are_the_leases_own(shared: SharedConnection) -> None:
    one = a_lease(shared)
    cursor = one.cursor()
    cursor.execute("BEGIN")
    add(one, "A")
    cursor.execute("COMMIT")
    add(one, "Bo")
    cursor.execute("ROLLBACK")
    assert names_by(one) == ["A"]


def test_a_commit_fails_for_a_deferred_key_as_it_would(shared: SharedConnection) -> None:
    one = a_lease(shared)
    one.cursor().execute("INSERT INTO pets VALUES (1, 17)")
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        one.commit()
    one.rollback()
    one.cursor().execute("INSERT INTO pets VALUES (1, 1)")
    add(one, "A")
    one.commit()
    one.cursor().execute("INSERT INTO pets VALUES (2, 17)")
    with pytest.raises((sqlite3.IntegrityError, psycopg.IntegrityError)):
        one.commit()
    one.rollback()


def test_rows_that_are_not_fetched_yet_survive_what_others_do(shared: SharedConnection) -> None:
    one, other = a_lease(shared), a_lease(shared)
    add(one, "A", "Bo", "Cid")
    one.commit()
    cursor = one.cursor()
    cursor.execute("SELECT name FROM people ORDER BY id")
    assert cursor.fetchone() == ("A",)
    other.cursor().execute("DELETE FROM people")
    other.rollback()
    assert cursor.fetchmany(1) == [("Bo",)]
    assert list(cursor) == [("Cid",)]
    assert cursor.fetchone() is None
    assert cursor.fetchmany() == []


def test_executing_many_is_one_statement_in_turn(shared: SharedConnection) -> None:
    one = a_lease(shared)
    mark = "?" if shared.is_sqlite else "%s"
    one.cursor().executemany(f"INSERT INTO people VALUES ({mark}, {mark})", [(1, "A"), (2, "B")])
    one.rollback()
    assert names_by(one) == []


def test_a_lease_that_outlives_its_test_says_so_and_may_be_used_again(
    shared: SharedConnection,
) -> None:
    old, idle = a_lease(shared), a_lease(shared)
    add(old, "A")
    shared.end_test()
    with pytest.raises(IsolationError, match="no test is running"):
        names_by(idle)
    shared.begin_test()
    for use in (lambda: add(old, "Bo"), old.commit):
        with pytest.raises(IsolationError, match="the test in which .* is over"):
            use()
    add(idle, "A")
    idle.commit()
    old.rollback()
    assert names_by(old) == ["A"]


def test_what_a_lease_does_not_have_the_connection_has(shared: SharedConnection) -> None:
    one = a_lease(shared)
    name = "total_changes" if shared.is_sqlite else "info"
    assert type(getattr(one, name)) is type(getattr(shared.raw, name))
    assert one.read_only is None
    assert one.deferrable is None


class TwoSessions(RuleBasedStateMachine):
    """Two leases against a model: what is committed, and what each has not committed yet."""

    def __init__(self) -> None:
        super().__init__()
        self.raw = sqlite3.connect(":memory:", isolation_level=None)
        self.raw.execute(PEOPLE)
        self.shared = SharedConnection(self.raw, "sqlite", wait_s=0.05)
        self.shared.begin_test()
        self.leases = [a_lease(self.shared), a_lease(self.shared)]
        self.committed: set[int] = set()
        self.own: list[set[int] | None] = [None, None]
        self.next_id = 0

    @rule(who=WHO)
    def write(self, who: int) -> None:
        self.next_id += 1
        statement = f"INSERT INTO people (id) VALUES ({self.next_id})"
        if self.own[1 - who] is not None:
            with pytest.raises(IsolationError):
                self.leases[who].cursor().execute(statement)
            return
        self.leases[who].cursor().execute(statement)
        self.own[who] = (self.own[who] or set()) | {self.next_id}

    @rule(who=WHO)
    def fail(self, who: int) -> None:
        if self.own[1 - who] is None and (known := self.committed | (self.own[who] or set())):
            with pytest.raises(sqlite3.IntegrityError):
                self.leases[who].cursor().execute(f"INSERT INTO people (id) VALUES ({min(known)})")
            self.own[who] = self.own[who] or set()  # its transaction has begun all the same

    @rule(who=WHO)
    def read(self, who: int) -> None:
        cursor = self.leases[who].cursor()
        if self.own[1 - who] is not None:
            with pytest.raises(IsolationError):
                cursor.execute("SELECT id FROM people")
            return
        cursor.execute("SELECT id FROM people")
        assert {row[0] for row in cursor.fetchall()} == self.committed | (self.own[who] or set())

    @rule(who=WHO)
    def commit(self, who: int) -> None:
        self.leases[who].commit()
        self.committed |= self.own[who] or set()
        self.own[who] = None

    @rule(who=WHO)
    def rollback(self, who: int) -> None:
        self.leases[who].rollback()
        self.own[who] = None

    @rule(who=WHO)
    def reopen(self, who: int) -> None:
        self.leases[who].close()
        self.leases[who] = a_lease(self.shared)
        self.own[who] = None

    def teardown(self) -> None:
        self.shared.end_test()
        assert names_by(self.raw) == []
        self.raw.close()


TestTwoSessions = TwoSessions.TestCase
TestTwoSessions.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
