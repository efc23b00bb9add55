"""pytest's fixtures for apps with a database. Load them in ``conftest.py``.

``pytest_plugins = ["backstay.testing.pytest_plugin"]``, or import the names you want from here.
They work with the ``SettingTest`` that was made last.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from backstay.errors import MissingExtra
from backstay.testing.database_client import DatabaseClient, new_client
from backstay.testing.setting import SettingTest
from backstay.testing.write_turn import IsolationError

try:
    import pytest
except ImportError as missing:
    raise MissingExtra("testing", "pytest") from missing

if TYPE_CHECKING:
    from fastapi import FastAPI
    from sqlalchemy.engine import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.orm import Session

    from backstay.db.manager import MainDatabaseManager

__all__ = [
    "aengine",
    "client",
    "database_isolation",
    "db_manager",
    "db_session",
    "engine",
    "prepared_database",
    "pytest_configure",
    "setting_test",
    "started_app",
    "test_app",
    "url_path_for",
]

_USES_DATABASE = {"aengine", "client", "db_manager", "db_session", "engine"}
_MARKER = "database_isolation"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f'{_MARKER}(kind): how this test is kept apart from others: "rollback" or "truncate"',
    )


@pytest.fixture(scope="session")
def setting_test() -> SettingTest:
    """The ``SettingTest`` made last."""
    if SettingTest.instance is None:
        raise IsolationError(
            "nobody has said what is tested: make SettingTest(DatabaseManager, app) in conftest.py"
        )
    return SettingTest.instance


@pytest.fixture(scope="session")
def prepared_database(setting_test: SettingTest) -> Iterator[None]:
    """The test database with its tables, for all tests of this process."""
    with setting_test.prepared(os.environ.get("PYTEST_XDIST_WORKER")):
        yield


@pytest.fixture(autouse=True)
def database_isolation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Undo, after each test, what it has written. Does nothing for tests that use no database."""
    setting = SettingTest.instance
    if setting is None:
        yield
        return
    marker = request.node.get_closest_marker(_MARKER)
    kind = marker.args[0] if marker is not None else None
    # For apply_fixture_db, in tests and in setUp methods that ask for no fixture.
    setting.before_use = lambda: request.getfixturevalue("prepared_database")
    setting.next_isolation = kind
    try:
        if _USES_DATABASE & set(request.fixturenames):
            request.getfixturevalue("prepared_database")
            if setting.lifespan == "session" and "client" in request.fixturenames:
                request.getfixturevalue("started_app")
            setting.isolate()
        yield
    finally:
        setting.before_use = None
        setting.leave()


@pytest.fixture(scope="session")
def started_app(setting_test: SettingTest, prepared_database: None) -> Iterator[DatabaseClient]:
    """The app, started once for all tests: for ``SettingTest(..., lifespan="session")``."""
    with new_client(setting_test) as started:
        yield started


@pytest.fixture
def client(
    request: pytest.FixtureRequest, setting_test: SettingTest, database_isolation: None
) -> Iterator[DatabaseClient]:
    """A client of the app, of this test's own."""
    running = request.getfixturevalue("started_app") if setting_test.lifespan == "session" else None
    with new_client(setting_test, running) as fresh:
        yield fresh


@pytest.fixture(scope="session")
def test_app(setting_test: SettingTest) -> FastAPI:
    """The app."""
    return setting_test.app


@pytest.fixture(scope="session")
def url_path_for(setting_test: SettingTest) -> Callable[..., str]:
    """From an endpoint's name to its path: ``url_path_for("get_item", item_id=3)``."""

    def path(name: str, /, **params: Any) -> str:
        return str(setting_test.app.url_path_for(name, **params))

    return path


@pytest.fixture(scope="session")
def db_manager(setting_test: SettingTest, prepared_database: None) -> MainDatabaseManager:
    """The app's manager, at the test database."""
    return setting_test.manager


@pytest.fixture
def engine(db_manager: MainDatabaseManager, database_isolation: None) -> Engine:
    """The engine for sync code, in this test."""
    return db_manager.engine


@pytest.fixture
def aengine(db_manager: MainDatabaseManager, database_isolation: None) -> AsyncEngine:
    """The engine for async code, in this test."""
    return db_manager.aengine


@pytest.fixture
def db_session(setting_test: SettingTest, database_isolation: None) -> Iterator[Session]:
    """A session. Commit what the app is to see."""
    with setting_test.new_session() as session:
        yield session
