"""``backstay db``: an app's migrations on a command line."""

from __future__ import annotations

import importlib
import os
import sqlite3
import sys
import uuid
from pathlib import Path

import pytest

from tests.cli.terminal import Outcome, backstay
from tests.jobs.desks import needs_postgres

MODELS = """\
from sqlalchemy.orm import Mapped, mapped_column
from backstay.db import MainDatabaseManager

DatabaseManager = MainDatabaseManager("sqlite:///shop.db")

class File(DatabaseManager.Base):
    __tablename__ = "files"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
"""
ANOTHER = "    size: Mapped[int] = mapped_column(server_default='0')\n"


class Project:
    """An app whose models are in a module that no other test has imported."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.module = f"app_{uuid.uuid4().hex[:8]}"
        self.file = here / f"{self.module}.py"
        self.file.write_text(MODELS)

    def init(self, *more: str) -> Outcome:
        reference = f"{self.module}:DatabaseManager"
        return backstay("db", "init", "--manager", reference, "--models", self.module, *more)

    def write_models(self, code: str) -> None:
        self.file.write_text(code)
        # Written within the same second, and of a size that may be the same.
        sys.modules.pop(self.module, None)
        importlib.invalidate_caches()

    def write(self, name: str, code: str, down: str | None = None) -> None:
        (self.here / "alembic" / "versions" / f"{name}.py").write_text(
            f'"""{name} it is"""\n'
            "import sqlalchemy as sa\nfrom alembic import op\n"
            f"revision, down_revision = {name!r}, {down!r}\n"
            f"def upgrade():\n    {code}\n"
            "def downgrade():\n    pass\n"
        )


@pytest.fixture
def project(here: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("ALEMBIC_CONFIG", raising=False)
    return Project(here)


def tables(file: str = "shop.db") -> set[str]:
    connection = sqlite3.connect(file)
    try:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    finally:
        connection.close()


def test_a_project_goes_from_nothing_to_a_migrated_database_and_back(project: Project) -> None:
    begun = project.init()
    assert begun.code == 0
    assert begun.out.splitlines() == [
        "✓ alembic.ini",
        "✓ alembic/env.py",
        "✓ alembic/script.py.mako",
    ]
    assert backstay("db", "current").err == "no migration has been run yet\n"

    first = backstay("db", "revision", "-m", "first files")
    assert (first.code, first.err) == (0, "")
    assert first.out.startswith("✓ alembic/versions/20")
    assert first.out.endswith("_first_files.py\n")

    upgraded = backstay("db", "upgrade")
    assert upgraded.code == 0
    assert upgraded.out.startswith("↑ ")
    assert "first files" in upgraded.out
    assert "files" in tables()
    assert "nothing to do: at " in backstay("db", "upgrade").err

    assert backstay("db", "check").code == 0
    assert "no revision was written" in backstay("db", "revision").err
    assert "head here" in backstay("db", "current").out
    assert "first files" in backstay("db", "history").out

    down = backstay("db", "downgrade", "-1")
    assert (down.code, down.out[0]) == (0, "↓")
    assert "before the first revision" in down.err
    assert "files" not in tables()
    stamped = backstay("db", "stamp", "head")
    assert (stamped.code, stamped.out[0]) == (0, "·")
    assert "files" not in tables()


def test_check_fails_where_models_and_database_differ(project: Project) -> None:
    project.init()
    backstay("db", "revision", "-m", "first")
    backstay("db", "upgrade")
    project.write_models(MODELS + ANOTHER)
    outcome = backstay("db", "check")
    assert outcome.code == 1
    assert outcome.out == "✗ add column files.size\n"
    assert "backstay db revision" in outcome.err


def test_everything_is_said_in_json_too(project: Project) -> None:
    assert project.init("--json").json["files"][0] == "alembic.ini"
    path = Path(backstay("db", "revision", "-m", "first", "--json").json["path"])
    assert path.is_file()
    told = backstay("db", "upgrade", "--json").json
    (step,) = told["steps"]
    assert (step["direction"], step["message"]) == ("upgrade", "first")
    assert told["current"] == [step["revision"]]
    assert backstay("db", "revision", "--json").json == {"path": None}
    assert backstay("db", "check", "--json").json == {"agrees": True, "differences": []}
    (current,) = backstay("db", "current", "--json").json
    assert (current["id"], current["is_head"], current["is_current"]) == (
        step["revision"],
        True,
        True,
    )
    assert backstay("db", "history", "--json").json == [current]
    project.write_models(MODELS + ANOTHER)
    outcome = backstay("db", "check", "--json")
    assert (outcome.code, outcome.json["agrees"]) == (1, False)
    assert backstay("db", "downgrade", "base", "--json").json["current"] == []


def test_statements_are_written_instead(project: Project) -> None:
    project.init()
    project.write("one", "op.create_table('files', sa.Column('id', sa.Integer))")
    outcome = backstay("db", "upgrade", "--sql")
    assert outcome.code == 0
    assert "CREATE TABLE files" in outcome.out
    assert "DELETE FROM alembic_version" in backstay("db", "downgrade", "one:base", "--sql").out
    assert not Path("shop.db").exists()


def test_an_empty_revision_is_written_if_asked_for(project: Project) -> None:
    project.init()
    written = backstay("db", "revision", "--empty", "-m", "by hand", "--json")
    assert "create_table" not in Path(written.json["path"]).read_text()


def test_files_that_are_there_are_kept_unless_forced(project: Project) -> None:
    project.init()
    Path("alembic/env.py").write_text("mine")
    outcome = project.init()
    assert outcome.code == 1
    assert "there are alembic.ini, alembic/env.py, alembic/script.py.mako already" in outcome.err
    assert "--force" in outcome.err
    assert Path("alembic/env.py").read_text() == "mine"
    assert project.init("--force").code == 0
    assert "AlembicEnv" in Path("alembic/env.py").read_text()


def test_another_folder_and_another_configuration_may_be_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert project.init("db/migrations", "--config", "db/shop.ini").code == 0
    monkeypatch.setenv("ALEMBIC_CONFIG", "db/shop.ini")
    assert backstay("db", "revision", "-m", "first").out.startswith("✓ db/migrations/versions/")
    assert backstay("db", "upgrade").code == 0


@pytest.mark.parametrize("command", ["current", "history", "upgrade", "check", "revision"])
def test_without_a_configuration_the_way_to_begin_is_told(project: Project, command: str) -> None:
    outcome = backstay("db", command)
    assert outcome.code == 2
    assert "there is no alembic.ini" in outcome.err
    assert "backstay db init --manager" in outcome.err


@pytest.mark.parametrize("reference", ["app.db", "app/db.py:manager", "a:b:c"])
def test_what_is_no_reference_to_a_manager_is_refused(project: Project, reference: str) -> None:
    outcome = backstay("db", "init", "--manager", reference)
    assert outcome.code == 2
    assert "is no reference to a manager" in outcome.err
    assert not Path("alembic.ini").exists()


def test_a_revision_that_is_not_there_is_a_line(project: Project) -> None:
    project.init()
    outcome = backstay("db", "upgrade", "nowhere")
    assert outcome.code == 1
    assert outcome.err == "backstay: Can't locate revision identified by 'nowhere'\n"


def test_a_migration_that_fails_is_named_with_what_the_database_said(project: Project) -> None:
    project.init()
    project.write("one", "op.execute('SELECT 1')")
    project.write("two", "op.execute('SELECT * FROM nowhere')", "one")
    outcome = backstay("db", "upgrade")
    assert outcome.code == 1
    assert [line[0] for line in outcome.out.splitlines()] == ["↑", "↑"]
    assert "the upgrade of two raised OperationalError: no such table: nowhere" in outcome.err
    assert "at: SELECT * FROM nowhere" in outcome.err
    assert "Traceback" not in outcome.err
    assert backstay("db", "current").out == ""


def test_a_migration_with_a_mistake_is_a_line_with_its_place(project: Project) -> None:
    project.init()
    project.write("one", "undefined()")
    outcome = backstay("db", "upgrade")
    assert outcome.code == 1
    assert "the upgrade of one raised NameError" in outcome.err
    assert "versions/one.py:6" in outcome.err


def test_an_app_that_cannot_be_imported_is_a_line_with_its_place(project: Project) -> None:
    project.init()
    project.write_models("import sqlalchemy\n1 / 0\n")
    outcome = backstay("db", "upgrade")
    assert outcome.code == 1
    assert "raised ZeroDivisionError" in outcome.err
    assert f"{project.module}.py:2" in outcome.err


@needs_postgres
def test_a_database_that_does_not_answer_is_misuse(project: Project) -> None:
    project.init()
    project.write_models(
        MODELS.replace("sqlite:///shop.db", "postgresql://a:secret@127.0.0.1:1/none")
    )
    outcome = backstay("db", "upgrade")
    assert outcome.code == 2
    assert "the database cannot be reached: OperationalError" in outcome.err
    assert "secret" not in outcome.err
    project.write("one", "pass")
    history = backstay("db", "history", "--json")
    assert (history.code, history.json[0]["is_current"]) == (0, None)
    assert "cannot be reached" in history.err


def test_without_alembic_its_extra_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.init()
    monkeypatch.setitem(sys.modules, "alembic", None)
    outcome = backstay("db", "upgrade")
    assert outcome.code == 2
    assert 'pip install "backstay[migrations]"' in outcome.err


def test_models_that_are_not_imported_are_asked_for(project: Project) -> None:
    outcome = backstay("db", "init", "--manager", f"{project.module}:DatabaseManager")
    assert "import the modules of your models in alembic/env.py" in outcome.err
    assert "# import app.models" in Path("alembic", "env.py").read_text()
    assert os.path.isdir("alembic/versions")
