"""Migrations from programs: outcomes are values, and errors say what went wrong."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from backstay.db.migrations import MigrationFailed, Migrations, Step
from backstay.errors import DatabaseUnavailable
from tests.db.migrating import Migrations as Project
from tests.db.migrating import tables_of
from tests.support import async_test

# The env.py of a project in which a program leaves no attributes.
ENV = """
from backstay.db import MainDatabaseManager
from backstay.db.alembic_env import AlembicEnv
import sqlalchemy as sa

manager = MainDatabaseManager("{url}")
sa.Table("people", manager.Base.metadata, sa.Column("id", sa.Integer, primary_key=True))
try:
    AlembicEnv(manager).run()
finally:
    manager.engine.dispose()
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    with Project(tmp_path, url) as made:
        (made.folder / "env.py").write_text(ENV.format(url=url))
        yield made


def test_going_up_and_down_tells_the_steps_before_they_are_taken(project: Project) -> None:
    project.write("op.create_table('first', sa.Column('id', sa.Integer))", "op.drop_table('first')")
    project.write("op.create_table('second', sa.Column('id', sa.Integer))")
    seen: list[Step] = []
    migrations = Migrations("alembic.ini")
    steps = migrations.upgrade(on_step=seen.append)
    assert steps == [Step("upgrade", "r1", "r1"), Step("upgrade", "r2", "r2")] == seen
    assert migrations.current() == ("r2",)
    assert migrations.upgrade() == []
    assert migrations.downgrade("base") == [
        Step("downgrade", "r2", "r2"),
        Step("downgrade", "r1", "r1"),
    ]
    assert migrations.current() == ()
    assert tables_of(project.manager) == {"alembic_version", "second"}
    assert migrations.stamp("r1") == [Step("stamp", "r1", "")]
    assert migrations.stamp("base") == [Step("stamp", "base", "")]


def test_history_is_the_newest_first_and_asks_no_database(project: Project) -> None:
    project.write("pass")
    project.write("pass")
    (project.folder / "env.py").unlink()
    newest, oldest = Migrations().history()
    assert (newest.id, newest.follows, newest.is_head) == ("r2", ("r1",), True)
    assert (oldest.id, oldest.follows, oldest.is_head) == ("r1", (), False)
    assert oldest.path.name == "r1.py"


def test_revising_gives_the_file_and_nothing_where_all_agree(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    migrations = Migrations()
    capsys.readouterr()
    assert migrations.differences() == ["add table people"]
    path = migrations.revise("first people")
    assert path is not None
    assert path.name.endswith("_first_people.py")
    with pytest.raises(MigrationFailed, match="Target database is not up to date"):
        migrations.revise()
    migrations.upgrade()
    assert migrations.revise() is None
    assert migrations.differences() == []
    empty = migrations.revise("by hand", autogenerate=False)
    assert empty is not None
    assert capsys.readouterr().out == ""


def test_statements_come_as_a_text(project: Project) -> None:
    project.write("op.create_table('first', sa.Column('id', sa.Integer))")
    assert "CREATE TABLE first" in Migrations().statements()
    assert "CREATE TABLE" not in Migrations().statements("r1:base", down=True)


def test_what_failed_is_named(project: Project) -> None:
    project.write("op.execute('SELECT 1')")
    project.write("op.execute('SELECT *\\n FROM nowhere')")
    with pytest.raises(MigrationFailed) as caught:
        Migrations().upgrade()
    assert str(caught.value) == (
        "the upgrade of r2 raised OperationalError: no such table: nowhere, "
        "at: SELECT * FROM nowhere"
    )
    assert isinstance(caught.value.__cause__, sa.exc.OperationalError)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "1 / 0",
            "what alembic.ini leads to raised ZeroDivisionError: division by zero at .*env.py:1",
        ),
        ("def", r"what alembic.ini leads to raised SyntaxError: .* at .*env.py:1"),
    ],
)
def test_mistakes_are_told_with_their_place(project: Project, code: str, said: str) -> None:
    (project.folder / "env.py").write_text(code)
    with pytest.raises(MigrationFailed, match=said):
        Migrations().upgrade()


def test_a_revision_that_is_not_there_is_said(project: Project) -> None:
    with pytest.raises(MigrationFailed, match="Can't locate revision identified by 'nowhere'"):
        Migrations().upgrade("nowhere")


def test_a_database_that_cannot_be_reached_is_unavailable(project: Project) -> None:
    (project.folder / "env.py").write_text(ENV.format(url="sqlite:////nowhere/x.db"))
    with pytest.raises(DatabaseUnavailable, match="cannot be reached: .*unable to open"):
        Migrations().upgrade()


def test_a_configuration_that_is_not_there_is_missed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no .*none.ini, seen from"):
        Migrations(tmp_path / "none.ini")


def test_logging_is_left_as_it_was(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    project.write("pass")
    # Said here, because another project's alembic.ini may have set it in this process before.
    caplog.set_level(logging.WARNING, logger="alembic.runtime.migration")
    logger, root = logging.getLogger("alembic.runtime.migration"), logging.getLogger()
    before: list[Any] = [logger.level, logger.propagate, list(logger.handlers), list(root.handlers)]
    assert len(Migrations().upgrade()) == 1
    assert [logger.level, logger.propagate, list(logger.handlers), list(root.handlers)] == before
    assert "Running" not in caplog.text


@async_test
async def _migrate(made: Migrations) -> None:
    assert len(await asyncio.to_thread(made.upgrade)) == 1


def test_they_run_in_a_thread_beside_an_event_loop(project: Project) -> None:
    project.write("pass")
    _migrate(Migrations())
