"""fastapi-accelerator's ``env.py``: the service's tables are made by the plain ``alembic`` commands."""

from pathlib import Path

from sqlalchemy import create_engine, inspect

from tests.db.migrating import FILE_TEMPLATE, alembic_program
from tests.db.places import at
from tests.seeds.service import both

ROOT = Path(__file__).resolve().parents[2]
ENV = """\
# Import the DB manager
from tests.seeds.accelerator.core.db import DatabaseManager

# Models that are to be tracked
from tests.seeds.accelerator.models import *  # noqa F401

from backstay.db import AlembicEnv

AlembicEnv(DatabaseManager).run()
"""


def alembic(folder: Path, *args: str, **env: str) -> None:
    process = alembic_program(folder, *args, PYTHONPATH=str(ROOT), **env)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0, error


@both
def test_a_revision_is_written_from_the_models_and_applied(database: str, tmp_path: Path) -> None:
    alembic(tmp_path, "init", "alembic")
    (tmp_path / "alembic" / "env.py").write_text(ENV)
    ini = tmp_path / "alembic.ini"
    ini.write_text(
        ini.read_text().replace("[alembic]", f"[alembic]\nfile_template = {FILE_TEMPLATE}")
    )
    with at(database, tmp_path) as url:
        alembic(tmp_path, "revision", "--autogenerate", "-m", "init", DATABASE_URL=url)
        (written,) = (tmp_path / "alembic" / "versions").glob("*.py")
        assert written.name.startswith("20")
        assert written.name.endswith("_init.py")
        alembic(tmp_path, "upgrade", "head", DATABASE_URL=url)
        # SQLAlchemy before 2.1 takes the short name for that of another driver.
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        tables = set(inspect(engine).get_table_names())
        engine.dispose()
        assert tables == {
            *("alembic_version", "files", "measurements"),
            *("task_executions", "task_users", "tasks", "users"),
        }
