"""What a statement does is seen by its words, and in doubt it writes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.testing.statement_kind import StatementKind

READ = [
    "SELECT 1",
    "  select name from people",
    "-- why\nSELECT 1",
    "/* two\nlines */ SELECT 1",
    "VALUES (1)",
    "WITH a AS (SELECT 1) SELECT * FROM a",
    "PRAGMA table_info(people)",
    "SHOW search_path",
    "EXPLAIN SELECT 1",
    "SELECT updated_at, deleted FROM people",
    "",
    ";",
]
WRITE = [
    "INSERT INTO people VALUES (1)",
    "update people set name = ''",
    "WITH gone AS (DELETE FROM people RETURNING id) SELECT * FROM gone",
    "SELECT * INTO other FROM people",
    "SELECT * FROM people FOR UPDATE",
    "SELECT * FROM people FOR NO KEY UPDATE",
    "SELECT * FROM people FOR SHARE",
    "EXPLAIN ANALYZE INSERT INTO people VALUES (1)",
    "CREATE TABLE t (id int)",
    "SAVEPOINT here",
    "ROLLBACK TO SAVEPOINT here",
    "rollback transaction to here",
    "RELEASE SAVEPOINT here",
    "COPY people FROM STDIN",
    "SET LOCAL statement_timeout = 5",
]


@pytest.mark.parametrize("statement", READ)
def test_what_only_reads_is_known_to(statement: str) -> None:
    assert StatementKind.of(statement) is StatementKind.READ


@pytest.mark.parametrize("statement", WRITE)
def test_everything_else_counts_as_writing(statement: str) -> None:
    assert StatementKind.of(statement) is StatementKind.WRITE


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("BEGIN", StatementKind.BEGIN),
        ("BEGIN IMMEDIATE", StatementKind.BEGIN),
        ("start transaction", StatementKind.BEGIN),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", StatementKind.BEGIN),
        ("set session characteristics as transaction read only", StatementKind.BEGIN),
        ("COMMIT", StatementKind.COMMIT),
        ("END TRANSACTION", StatementKind.COMMIT),
        ("ROLLBACK", StatementKind.ROLLBACK),
        ("rollback work", StatementKind.ROLLBACK),
    ],
)
def test_what_begins_and_ends_transactions_is_known(statement: str, kind: StatementKind) -> None:
    assert StatementKind.of(statement) is kind


@given(st.text())
def test_any_text_has_a_kind(statement: str) -> None:
    assert isinstance(StatementKind.of(statement), StatementKind)
