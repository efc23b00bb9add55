"""Defaults are compared in the database's words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from backstay.db import Database
from backstay.db.server_defaults import _bare, compare_as_kept
from tests.db.places import at
from tests.jobs.desks import needs_postgres

ANYWHERE = [
    (sa.String(20), "plain"),
    (sa.String(20), "it's"),
    (sa.String(20), "'quoted'"),
    (sa.String(20), "100% :a (b"),
    (sa.Integer, "7"),
    (sa.Integer, sa.text("(1 + 1)")),
    (sa.Boolean, sa.false()),
    (sa.DateTime, sa.func.now()),
    (sa.JSON, "{}"),
]
IN_POSTGRES = [
    (JSONB, '{"a": ":b"}'),
    (ARRAY(sa.Integer), "{1,2}"),
    (sa.Uuid, sa.func.gen_random_uuid()),
    (sa.Float, sa.func.random()),
    (sa.Interval, "1 day"),
    (sa.Numeric(5, 2), "1.50"),
    (sa.LargeBinary, sa.text("'\\x00'")),
]


def ident(value: object) -> str:
    return str(value() if isinstance(value, type) else value)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    yield from engine_of("sqlite", tmp_path)


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[sa.Engine]:
    yield from engine_of("postgresql", tmp_path)


def engine_of(kind: str, folder: Path) -> Iterator[sa.Engine]:
    with at(kind, folder) as url:
        database = Database(url)
        yield database.engine
        database.engine.dispose()


def differs(engine: sa.Engine, kind: Any, was: Any, wanted: Any) -> bool:
    """Whether a column that was made with one default is found to have another."""
    with engine.connect() as connection:
        sa.Table("t", sa.MetaData(), sa.Column("c", kind, server_default=was)).create(connection)
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": True, "compare_type": False}
        )
        compare_as_kept(context)
        from alembic.autogenerate import compare_metadata

        metadata = sa.MetaData()
        sa.Table("t", metadata, sa.Column("c", kind, server_default=wanted))
        found = bool(compare_metadata(context, metadata))
        connection.rollback()
        return found


@pytest.mark.parametrize(("kind", "default"), ANYWHERE, ids=ident)
def test_the_same_is_the_same_in_sqlite(sqlite: sa.Engine, kind: Any, default: Any) -> None:
    assert not differs(sqlite, kind, default, default)


@needs_postgres
@pytest.mark.parametrize(("kind", "default"), [*ANYWHERE, *IN_POSTGRES], ids=ident)
def test_the_same_is_the_same_in_postgresql(postgres: sa.Engine, kind: Any, default: Any) -> None:
    assert not differs(postgres, kind, default, default)


@pytest.mark.parametrize(
    ("was", "wanted"),
    [("a", "b"), ("a", None), (None, "a"), ("a", sa.text("lower('A')"))],
    ids=ident,
)
@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def test_what_differs_differs(kind: str, was: Any, wanted: Any, tmp_path: Path) -> None:
    for engine in engine_of(kind, tmp_path):
        assert differs(engine, sa.String(20), was, wanted)


@needs_postgres
def test_what_cannot_be_tried_differs_and_the_transaction_goes_on(postgres: sa.Engine) -> None:
    assert differs(postgres, sa.String, "a", sa.text("no_such_function()"))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_text_is_itself_in_sqlite(sqlite: sa.Engine, text: str) -> None:
    assert not differs(sqlite, sa.String, text, text)


@needs_postgres
@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_text_is_itself_in_postgresql(postgres: sa.Engine, text: str) -> None:
    assert not differs(postgres, sa.String, text, text)


@pytest.mark.parametrize(
    ("expression", "bare"),
    [
        ("(a)", "a"),
        ("(a) + (b)", "(a) + (b)"),
        ("(')')", "')'"),
        ("f(a)", "f(a)"),
        ("(a", "(a"),
        ("", ""),
    ],
)
def test_only_parentheses_around_all_of_it_are_taken_off(expression: str, bare: str) -> None:
    assert _bare(expression) == bare
