"""Every difference that Alembic finds is one readable line."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from backstay.db.differences import described

WAS = """
CREATE TABLE people (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(20), age INTEGER, note TEXT)
CREATE TABLE gone (id INTEGER NOT NULL PRIMARY KEY)
CREATE INDEX ix_age ON people (age)
"""


def test_all_kinds_are_lines() -> None:
    metadata = sa.MetaData()
    sa.Table(
        "people",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(50), nullable=False, server_default="nobody"),
        sa.Column("age", sa.Integer),
        sa.Column("town", sa.ForeignKey("towns.id", name="fk_town")),
        sa.UniqueConstraint("name", name="uq_name"),
    )
    sa.Table("towns", metadata, sa.Column("id", sa.Integer, primary_key=True))
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        for statement in WAS.strip().splitlines():
            connection.execute(sa.text(statement))
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        lines = described(compare_metadata(context, metadata))
    engine.dispose()
    assert sorted(lines) == [
        "add column people.town",
        "add constraint uq_name on people (name)",
        "add fk fk_town on people (town)",
        "add table towns",
        "modify default of people.name: None -> nobody",
        "modify nullable of people.name: True -> False",
        "modify type of people.name: VARCHAR(20) -> VARCHAR(50)",
        "remove column people.note",
        "remove index ix_age on people (age)",
        "remove table gone",
    ]


@pytest.mark.parametrize(
    ("diff", "line"),
    [
        (("execute", "DROP TYPE mood"), "execute DROP TYPE mood"),
        (
            ("modify_comment", "shop", "t", "c", {}, None, "x"),
            "modify comment of shop.t.c: None -> x",
        ),
        (("add_table", sa.Table("t", sa.MetaData(), schema="shop")), "add table shop.t"),
        (("something_new",), "something new"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_others_are_lines_too(diff: tuple[object, ...], line: str) -> None:
    assert described([diff]) == [line]
