"""The app is led to a database of tests, which is made for it, and never anywhere else."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import inspect, text

from backstay.db.installation import add_database
from backstay.db.manager import MainDatabaseManager
from backstay.tasks import add_tasks
from backstay.testing.setting import SettingTest
from backstay.testing.write_turn import IsolationError
from backstay.web.installation import installed
from tests.jobs.desks import needs_postgres
from tests.testing.house import house, people_app, prepared_setting, scratch_url
from tests.testing.town import EITHER, Base, Person, count

either = pytest.mark.parametrize("kind", EITHER)
EVERY = [
    "sqlite",
    pytest.param("postgresql+asyncpg", marks=needs_postgres),
    pytest.param("postgresql+psycopg", marks=needs_postgres),
]


def tables(manager: MainDatabaseManager) -> set[str]:
    return set(inspect(manager.engine).get_table_names())


def add(manager: MainDatabaseManager, name: str) -> None:
    with manager.session.begin() as session:
        session.add(Person(name=name))


def test_a_database_that_is_not_for_tests_is_refused_before_anything_happens(
    tmp_path: Path,
) -> None:
    with pytest.raises(IsolationError, match='does not have "test" in it'):
        SettingTest(f"sqlite:///{tmp_path / 'real.db'}", FastAPI(), keepdb=False)
    assert list(tmp_path.iterdir()) == []
    assert SettingTest.instance is None


def test_options_that_there_are_not_are_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    with pytest.raises(ValueError, match="'rollback' or 'truncate'; got 'magic'"):
        SettingTest(url, FastAPI(), isolation="magic")  # type: ignore[arg-type]  # which is the point
    with pytest.raises(ValueError, match='"test" or "session"; got 7'):
        SettingTest(url, FastAPI(), lifespan=7)  # type: ignore[arg-type]  # which is the point


def test_the_last_one_made_is_the_instance(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    first, second = SettingTest(url, FastAPI()), SettingTest(url, FastAPI())
    assert first is not second
    assert SettingTest.instance is second


def test_the_apps_own_manager_is_found(tmp_path: Path) -> None:
    given = MainDatabaseManager(f"sqlite:///{tmp_path / 'test.db'}")
    own = MainDatabaseManager(f"sqlite:///{tmp_path / 'real.db'}", base=Base)
    assert SettingTest(given, people_app(own)).manager is own
    assert SettingTest(given, people_app(own, added=False)).manager is own
    assert SettingTest(given, FastAPI()).manager is given
    assert SettingTest(given, people_app(own)).DatabaseManager is given


@pytest.mark.parametrize("kind", EVERY)
def test_the_app_is_led_to_the_test_database_and_back(kind: str, tmp_path: Path) -> None:
    with house(kind, tmp_path) as setting:
        manager = setting.manager
        before = manager.database.url
        with setting.prepared():
            assert "test" in manager.database.url
            assert manager.database.dialect == kind.partition("+")[0]
            assert {"people", "pets"} <= tables(manager)
        assert manager.database.url == before


@either
def test_a_database_that_is_not_kept_is_new_each_time(kind: str, tmp_path: Path) -> None:
    with house(kind, tmp_path, keepdb=False) as setting:
        for _ in range(2):
            with setting.prepared():
                assert count(setting.manager) == 0
                add(setting.manager, "Ada")
        if kind == "sqlite":
            assert not (tmp_path / "people_test.db").exists()


@either
def test_a_database_that_is_kept_has_its_tables_made_anew_and_no_others(
    kind: str, tmp_path: Path
) -> None:
    with house(kind, tmp_path, keepdb=True, isolation="truncate") as setting:
        with setting.prepared(), setting.manager.engine.begin() as connection:
            connection.execute(text("ALTER TABLE people DROP COLUMN mood"))
            connection.execute(text("CREATE TABLE someone_elses (id INTEGER)"))
            connection.execute(text("INSERT INTO someone_elses VALUES (1)"))
        with setting.prepared():
            setting.isolate()
            add(setting.manager, "Ada")
            setting.leave()
            with setting.manager.engine.connect() as connection:
                found = connection.execute(text("SELECT * FROM someone_elses")).all()
            assert found == [(1,)]


def test_each_process_has_a_database_of_its_own(tmp_path: Path) -> None:
    with house("sqlite", tmp_path) as setting:
        with setting.prepared("gw3"):
            assert setting.manager.database.url.endswith("people_test_gw3.db")
            add(setting.manager, "Ada")
        with setting.prepared("gw4"):
            assert count(setting.manager) == 0


@either
@pytest.mark.parametrize("isolation", ["rollback", "truncate"])
def test_what_is_written_in_a_test_is_undone(kind: str, isolation: Any, tmp_path: Path) -> None:
    with prepared_setting(kind, tmp_path, isolation=isolation) as setting:
        for _ in range(2):
            setting.isolate()
            setting.isolate()
            assert count(setting.manager) == 0
            add(setting.manager, "Ada")
            with setting.new_session() as session:
                assert session.query(Person).count() == 1
            setting.leave()
            setting.leave()


@pytest.mark.parametrize("isolation", ["rollback", "truncate"])
def test_what_is_written_before_all_tests_is_there_in_each(isolation: Any, tmp_path: Path) -> None:
    with prepared_setting("sqlite", tmp_path, isolation=isolation) as setting:
        add(setting.manager, "of all")
        for _ in range(2):
            setting.isolate()
            add(setting.manager, "of one")
            assert count(setting.manager) == 2
            setting.leave()


def test_a_test_may_ask_for_the_other_way(tmp_path: Path) -> None:
    with prepared_setting("sqlite", tmp_path, isolation="rollback") as setting:
        setting.next_isolation = "truncate"
        setting.isolate()
        assert not setting.holds_sqlite
        add(setting.manager, "Ada")
        with closing(sqlite3.connect(tmp_path / "people_test.db")) as outside:
            assert outside.execute("SELECT name FROM people").fetchall() == [("Ada",)]
        setting.leave()
        setting.next_isolation = None
        setting.isolate()
        assert setting.holds_sqlite
        assert count(setting.manager) == 0


def test_a_way_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with prepared_setting("sqlite", tmp_path) as setting:
        setting.next_isolation = "magic"  # type: ignore[assignment]  # which is the point
        with pytest.raises(ValueError, match="got 'magic'"):
            setting.isolate()


def test_a_database_that_is_not_prepared_is_when_somebody_has_said_how(tmp_path: Path) -> None:
    with house("sqlite", tmp_path) as setting:
        with pytest.raises(IsolationError, match="not prepared: load the fixtures"):
            setting.isolate()
        opened = setting.prepared()
        setting.before_use = opened.__enter__
        setting.isolate()
        add(setting.manager, "Ada")
        setting.leave()
        assert count(setting.manager) == 0
        opened.__exit__(None, None, None)


def test_models_without_tables_are_asked_for(tmp_path: Path) -> None:
    app = FastAPI()
    add_database(app, MainDatabaseManager(f"sqlite:///{tmp_path / 'real.db'}"))
    setting = SettingTest(f"sqlite:///{tmp_path / 'test.db'}", app)
    with pytest.raises(IsolationError, match="import them before SettingTest is made"):
        with setting.prepared():
            pass


def test_models_may_be_those_of_the_manager_that_is_given(tmp_path: Path) -> None:
    app = FastAPI()
    add_database(app, f"sqlite:///{tmp_path / 'real.db'}")
    given = MainDatabaseManager(f"sqlite:///{tmp_path / 'test.db'}", base=Base)
    with SettingTest(given, app).prepared():
        assert {"people", "pets"} <= tables(SettingTest(given, app).manager)


def test_durable_tasks_are_led_to_the_test_database_and_back(tmp_path: Path) -> None:
    with scratch_url("sqlite", tmp_path) as url:
        manager = MainDatabaseManager(f"sqlite:///{tmp_path / 'real.db'}", base=Base)
        app = people_app(manager)
        real = f"sqlite:///{tmp_path / 'real.db'}"
        add_tasks(app, database=real)
        durable: Any = installed(app).part("durable")
        with SettingTest(url, app).prepared():
            assert durable.database == url
            assert durable.ledger.url.endswith("people_test.db")
        assert durable.database == real


def test_durable_tasks_in_memory_stay_there(tmp_path: Path) -> None:
    with scratch_url("sqlite", tmp_path) as url:
        app = people_app(MainDatabaseManager(f"sqlite:///{tmp_path / 'real.db'}", base=Base))
        add_tasks(app, database="memory://")
        with SettingTest(url, app).prepared():
            durable: Any = installed(app).part("durable")
            assert durable.database == "memory://"


ENV = """
from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
"""

MIGRATION = """
from alembic import op
import sqlalchemy as sa

revision, down_revision = "1", None

def upgrade():
    people = op.create_table(
        "people",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(50), unique=True),
        sa.Column("mood", sa.String(20), server_default="calm"),
    )
    op.bulk_insert(people, [{"id": 1000, "name": "by migration"}])
"""


def migrations(folder: Path) -> Path:
    home = folder / "migrations"
    (home / "versions").mkdir(parents=True)
    (home / "env.py").write_text(ENV)
    (home / "versions" / "1_people.py").write_text(MIGRATION)
    ini = folder / "alembic.ini"
    ini.write_text(f"[alembic]\nscript_location = {home}\npath_separator = os\n")
    return ini


@either
@pytest.mark.parametrize("isolation", ["rollback", "truncate"])
def test_migrations_make_the_tables_and_their_rows_stay(
    kind: str, isolation: Any, tmp_path: Path
) -> None:
    ini = migrations(tmp_path)
    options = {"alembic_migrate": True, "alembic_ini": ini, "isolation": isolation}
    with house(kind, tmp_path, **options) as setting:
        for _ in range(2):  # the second time there is nothing left to do
            with setting.prepared():
                assert tables(setting.manager) == {"people", "alembic_version"}
                for _ in range(2):
                    setting.isolate()
                    assert count(setting.manager) == 1
                    add(setting.manager, "by test")
                    setting.leave()


def test_migrations_that_are_not_there_are_missed_by_name(tmp_path: Path) -> None:
    missing = tmp_path / "alembic.ini"
    with house("sqlite", tmp_path, alembic_migrate=True, alembic_ini=missing) as setting:
        with pytest.raises(IsolationError, match=r"alembic.ini', which is not there"):
            with setting.prepared():
                pass
