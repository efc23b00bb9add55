"""Enum types of PostgreSQL live as long as somebody uses them."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.dialects.postgresql import ARRAY

from tests.db.migrating import Migrations
from tests.db.places import at
from tests.jobs.desks import needs_postgres

pytestmark = needs_postgres


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Migrations]:
    with at("postgresql", tmp_path) as url, Migrations(tmp_path, url) as migrations:
        yield migrations


def table(made: Migrations, name: str, *columns: Any) -> sa.Table:
    return sa.Table(
        name,
        made.manager.Base.metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        *columns,
        extend_existing=True,
    )


def mood(*labels: str) -> sa.Enum:
    return sa.Enum(*(labels or ("calm", "angry")), name="mood")


def types_of(made: Migrations) -> dict[str, list[str]]:
    with made.manager.engine.connect() as connection:
        inspector: Any = sa.inspect(connection)
        return {each["name"]: each["labels"] for each in inspector.get_enums()}


def step(made: Migrations) -> str:
    """Write a revision, go up, down and up again; models and database agree after that."""
    text = made.revise()
    assert text is not None
    before = types_of(made)
    made.upgrade()
    after = types_of(made)
    made.check()
    made.downgrade()
    assert types_of(made) == before or "ADD VALUE" in text  # which cannot be undone
    if "ADD VALUE" not in text:
        made.upgrade()
    assert types_of(made) == after
    return text


def test_it_is_made_with_its_tables_and_dropped_with_the_last(made: Migrations) -> None:
    table(made, "people", sa.Column("mood", mood(), server_default="calm"))
    table(made, "pets", sa.Column("mood", mood()))
    step(made)
    assert types_of(made) == {"mood": ["calm", "angry"]}
    metadata = made.manager.Base.metadata
    metadata.remove(metadata.tables["pets"])
    step(made)
    assert types_of(made) == {"mood": ["calm", "angry"]}
    metadata.remove(metadata.tables["people"])
    table(made, "something", sa.Column("id2", sa.Integer))
    step(made)
    assert types_of(made) == {}


def test_a_second_table_of_a_type_that_is_there_uses_it(made: Migrations) -> None:
    table(made, "people", sa.Column("mood", mood()))
    step(made)
    table(made, "pets", sa.Column("mood", mood()))
    assert "create_type=False" in step(made)


def test_a_new_column_brings_its_new_type_also_beside_a_table_of_the_same(made: Migrations) -> None:
    table(made, "people")
    step(made)
    table(
        made,
        "people",
        sa.Column("mood", mood()),
        sa.Column("colours", ARRAY(sa.Enum("red", name="colour"))),
    )
    table(made, "pets", sa.Column("mood", mood()))
    step(made)
    assert types_of(made) == {"colour": ["red"], "mood": ["calm", "angry"]}


def test_new_labels_are_added_in_their_places(made: Migrations) -> None:
    table(made, "people", sa.Column("mood", mood("calm")))
    step(made)
    labels = ("asleep", "calm", "it's: so", "angry")
    table(made, "people", sa.Column("mood", mood(*labels)))
    text = step(made)
    assert "AFTER" in text
    assert types_of(made) == {"mood": list(labels)}


def test_labels_that_are_gone_are_told_and_left(
    made: Migrations, caplog: pytest.LogCaptureFixture
) -> None:
    table(made, "people", sa.Column("mood", mood()))
    step(made)
    table(made, "people", sa.Column("mood", mood("calm")))
    with caplog.at_level(logging.WARNING, "backstay"):
        assert made.revise() is None
    assert "has the labels 'calm', 'angry', its model has 'calm'" in caplog.text


def test_types_that_no_column_makes_are_nobodys_affair(made: Migrations) -> None:
    made.execute("CREATE TYPE alien AS ENUM ('x')")
    table(made, "people", sa.Column("word", sa.Enum("a", name="word", native_enum=False)))
    text = step(made)
    assert "TYPE" not in text
    assert types_of(made) == {"alien": ["x"]}


def test_a_revision_by_hand_gets_nothing(made: Migrations) -> None:
    table(made, "people", sa.Column("mood", mood("calm")))
    step(made)
    table(made, "people", sa.Column("mood", mood()))
    config = made.config
    config.set_main_option("revision_environment", "true")
    written: Any = command.revision(config, "by hand")
    assert "ADD VALUE" not in Path(written.path).read_text()


def test_statements_are_written_offline_as_they_are_run(
    made: Migrations, capsys: pytest.CaptureFixture[str]
) -> None:
    table(made, "people", sa.Column("mood", mood()))
    table(made, "pets", sa.Column("mood", mood()))
    made.revise()
    capsys.readouterr()
    command.upgrade(made.config, "head", sql=True)
    assert capsys.readouterr().out.count("CREATE TYPE") == 1
