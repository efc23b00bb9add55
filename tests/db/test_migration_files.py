"""What a project begins with, as files."""

import ast
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from backstay.db.migration_files import write_files


def test_three_files_are_written_that_alembic_understands(tmp_path: Path) -> None:
    config = tmp_path / "alembic.ini"
    files = write_files("app.db:manager", tmp_path / "alembic", config=config)
    assert files == [
        config,
        tmp_path / "alembic" / "env.py",
        tmp_path / "alembic" / "script.py.mako",
    ]
    script = ScriptDirectory.from_config(Config(str(config)))
    assert Path(script.dir) == tmp_path / "alembic"
    assert script.file_template.startswith("%(year)d_%(month).2d_")
    made = script.generate_revision("1", "first", head="head")
    assert made is not None
    ast.parse(Path(made.path).read_text())


@pytest.mark.parametrize(
    ("reference", "lines"),
    [
        ("app.db:manager", ["from app.db import manager", "AlembicEnv(manager).run()"]),
        ("app:shop.manager", ["from app import shop", "AlembicEnv(shop.manager).run()"]),
        ("app:made()", ["from app import made", "AlembicEnv(made()).run()"]),
    ],
)
def test_env_imports_the_manager_and_the_models(
    reference: str, lines: list[str], tmp_path: Path
) -> None:
    write_files(reference, tmp_path, config=tmp_path / "alembic.ini", models="app.models")
    text = (tmp_path / "env.py").read_text()
    ast.parse(text)
    assert set(lines) < set(text.splitlines())
    assert "from app.models import *" in text


def test_a_folder_beside_the_configuration_may_have_a_percent_sign(tmp_path: Path) -> None:
    config = tmp_path / "etc" / "alembic.ini"
    write_files("app:manager", tmp_path / "100%", config=config)
    script = ScriptDirectory.from_config(Config(str(config)))
    assert Path(script.dir).resolve() == tmp_path / "100%"


def test_files_that_are_there_stay_and_revisions_always(tmp_path: Path) -> None:
    config = tmp_path / "alembic.ini"
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "1.py").write_text("mine")
    (tmp_path / "env.py").write_text("mine")
    with pytest.raises(FileExistsError, match=r"there is .*env.py already"):
        write_files("app:manager", tmp_path, config=config)
    assert not config.exists()
    write_files("app:manager", tmp_path, config=config, replace=True)
    assert "AlembicEnv" in (tmp_path / "env.py").read_text()
    assert (tmp_path / "versions" / "1.py").read_text() == "mine"


@pytest.mark.parametrize("models", ["app/models.py", "", "app.models:File"])
def test_what_is_no_module_is_refused(models: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no module; write it as in an import"):
        write_files("app:manager", tmp_path, config=tmp_path / "alembic.ini", models=models)


@pytest.mark.parametrize("manager", ["app", "app:1", "app:manager; import os", "app:x(1)"])
def test_what_is_no_reference_is_refused(manager: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no reference to a manager"):
        write_files(manager, tmp_path, config=tmp_path / "alembic.ini")
