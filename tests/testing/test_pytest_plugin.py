"""The fixtures under a pytest of their own, in projects as people write them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.jobs.desks import POSTGRES
from tests.testing.house import scratch_url
from tests.testing.town import EITHER

DOCS = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
FILE = re.compile(r"^```python (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

APP = """
from fastapi import Depends, FastAPI
from sqlalchemy import Column, Integer, String, select
from sqlalchemy.ext.asyncio import AsyncSession
from backstay.db.installation import add_database
from backstay.db.manager import MainDatabaseManager

DatabaseManager = MainDatabaseManager("sqlite:///real.db")

class User(DatabaseManager.Base):
    __tablename__ = "users"
    id = Column(Integer, primary_key=True)
    name = Column(String)

app = FastAPI()
add_database(app, DatabaseManager)

@app.get("/users/{user_id}", name="user")
def user(user_id: int): return user_id

@app.get("/users")
async def users(session: AsyncSession = Depends(DatabaseManager.aget_session)):
    return list(await session.scalars(select(User.name)))

@app.post("/users")
async def add(session: AsyncSession = Depends(DatabaseManager.aget_session_transaction)):
    session.add(User(name="Ada"))
"""

CONFTEST = """
from backstay.testing.setting import SettingTest
from project import app

pytest_plugins = ["backstay.testing.pytest_plugin"]
SettingTest({url!r}, app, **{options!r})
"""

TESTS = """
import asyncio
import pytest
from sqlalchemy import select, text
from backstay.testing.base_pytest import BasePytest
from backstay.testing.fixture_rows import apply_fixture_db
from backstay.testing.queries import track_queries
from project import DatabaseManager, User, app

def rows(): return [User(name="Ada"), User(name="Bob")]

@pytest.mark.parametrize("time", [1, 2, 3])
def test_every_test_begins_with_nothing(client, db_session, time):
    assert client.get("/users").json() == []
    assert client.post("/users").status_code == 200
    assert client.get("/users").json() == ["Ada"]
    assert db_session.scalars(select(User.name)).all() == ["Ada"]
    client.headers["x"] = "y"

def test_nothing_is_left_in_the_client(client):
    assert "x" not in client.headers

def test_the_fixtures_are_what_they_say(
    test_app, url_path_for, engine, aengine, db_manager, setting_test
):
    assert test_app is app
    assert db_manager is DatabaseManager
    assert setting_test.app is app
    assert url_path_for("user", user_id=3) == "/users/3"
    assert engine is DatabaseManager.engine
    assert aengine is DatabaseManager.aengine

@pytest.mark.parametrize("time", [1, 2])
def test_a_test_that_uses_the_manager_only_is_undone_as_well(db_manager, time):
    with db_manager.session.begin() as session:
        assert session.scalars(select(User)).all() == []
        session.add(User(name="Ada"))

@pytest.mark.parametrize("time", [1, 2])
@apply_fixture_db(rows)
def test_rows_need_no_other_fixture(time):
    with DatabaseManager.session() as session:
        assert len(session.scalars(select(User)).all()) == 2

class TestInAClass(BasePytest):
    @apply_fixture_db(rows)
    def setUp(self, fixtures):
        self.rows = fixtures

    @pytest.mark.parametrize("time", [1, 2])
    def test_rows_of_set_up_are_undone_as_well(self, client, time):
        assert client.get("/users").json() == [row.name for row in self.rows]

    def test_even_if_nobody_asks_for_a_fixture(self):
        pass

@pytest.fixture
@apply_fixture_db(rows)
def two_rows(db_manager, fixtures):
    return fixtures

def test_a_fixture_may_have_rows(two_rows, client):
    assert len(client.get("/users").json()) == 2 == len(two_rows)

@pytest.mark.database_isolation("truncate")
def test_real_commits(client):
    client.post("/users")
    client.post("/users")

@pytest.mark.database_isolation("rollback")
def test_after_real_commits(client):
    assert client.get("/users").json() == []

def test_the_app_itself_is_where_it_was():
    assert "test" in DatabaseManager.database.url
"""


def run_pytest(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-W", "error", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def project(folder: Path, url: str, **options: object) -> None:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "project.py").write_text(APP)
    (folder / "conftest.py").write_text(CONFTEST.format(url=url, options=options))
    (folder / "test_project.py").write_text(TESTS)


@pytest.mark.parametrize("kind", EITHER)
@pytest.mark.parametrize(("isolation", "lifespan"), [("rollback", "test"), ("truncate", "session")])
def test_a_project_finds_its_tests_kept_apart(
    kind: str, isolation: str, lifespan: str, tmp_path: Path
) -> None:
    with scratch_url(kind, tmp_path) as url:
        project(tmp_path, url, isolation=isolation, lifespan=lifespan)
        assert "16 passed" in run_pytest(tmp_path)
    assert not (tmp_path / "real.db").exists()


@pytest.mark.parametrize("kind", EITHER)
def test_several_processes_have_a_database_each(kind: str, tmp_path: Path) -> None:
    with scratch_url(kind, tmp_path) as url:
        project(tmp_path, url, keepdb=False)
        assert "16 passed" in run_pytest(tmp_path, "-n", "2")
        if kind == "sqlite":
            assert list(tmp_path.glob("*.db*")) == []
        else:
            name = url.rpartition("/")[2]
            with psycopg.connect(POSTGRES, autocommit=True) as outside:
                left = outside.execute(
                    "SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{name}%"]
                ).fetchall()
            assert left == []


def test_tests_without_settings_are_told_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["backstay.testing.pytest_plugin"]\n')
    (tmp_path / "test_nothing.py").write_text(
        "import pytest\n"
        "def test_without_the_database(): pass\n"
        "def test_with_it(request):\n"
        "    with pytest.raises(Exception, match='make SettingTest') :\n"
        "        request.getfixturevalue('client')\n"
    )
    assert "2 passed" in run_pytest(tmp_path)


def test_tests_that_use_no_database_make_none(tmp_path: Path) -> None:
    project(tmp_path, "sqlite:///people_test.db")
    (tmp_path / "test_project.py").write_text("def test_nothing(): pass\n")
    assert "1 passed" in run_pytest(tmp_path)
    assert list(tmp_path.glob("*.db")) == []


def test_the_fixtures_may_be_imported_by_name(tmp_path: Path) -> None:
    project(tmp_path, "sqlite:///people_test.db", keepdb=False)
    conftest = (tmp_path / "conftest.py").read_text()
    (tmp_path / "conftest.py").write_text(
        "from backstay.testing.pytest_plugin import *\n" + conftest.replace("pytest_plugins", "_")
    )
    assert "16 passed" in run_pytest(tmp_path)


def test_the_projects_of_the_docs_pass(tmp_path: Path) -> None:
    found = FILE.findall(DOCS.read_text())
    assert [name for name, _ in found] == ["shop.py", "conftest.py", "test_shop.py", "test_jobs.py"]
    for name, source in found:
        (tmp_path / name).write_text(source)
    assert "4 passed" in run_pytest(tmp_path)
    assert list(tmp_path.glob("*.db*")) == []
