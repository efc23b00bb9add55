"""Test databases are made, dropped, one for each process, and never anything else's."""

import uuid
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from backstay.testing.scratch_database import ScratchDatabase
from backstay.testing.write_turn import IsolationError
from tests.jobs.desks import POSTGRES, needs_postgres


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///shop.db",
        "sqlite:////var/tests/shop.db",
        "sqlite:///latest.db",
        "postgresql://me@host/shop",
        "postgresql://test@test/shop?application_name=test",
        "postgresql://me@host/contest",
        "postgresql+asyncpg://me@host/attestations",
    ],
)
def test_a_name_that_does_not_say_test_is_refused(url: str) -> None:
    with pytest.raises(IsolationError, match='does not have "test" in it'):
        ScratchDatabase(make_url(url))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///test.db",
        "sqlite+aiosqlite:////srv/shop-tests.sqlite3",
        "sqlite:///latest_test.db",
        "postgresql://me@host/test",
        "postgresql+asyncpg://me@host/ShopTest",
    ],
)
def test_a_name_that_does_is_taken(url: str) -> None:
    assert ScratchDatabase(make_url(url)).url == make_url(url)


def test_the_refusal_shows_no_password() -> None:
    with pytest.raises(IsolationError) as caught:
        ScratchDatabase(make_url("postgresql://me:secret@host/shop"))
    assert "secret" not in str(caught.value)
    assert '"test_shop"' in str(caught.value)


def test_other_kinds_of_database_are_refused() -> None:
    with pytest.raises(IsolationError, match="SQLite and PostgreSQL"):
        ScratchDatabase(make_url("mysql://me@host/test"))


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("sqlite:///in/test.db", "in/test_gw1.db"),
        ("sqlite:///test", "test_gw1"),
        ("postgresql://me:secret@host/test?sslmode=require", "test_gw1"),
    ],
)
def test_each_process_has_one_of_its_own(url: str, named: str) -> None:
    scratch = ScratchDatabase(make_url(url))
    assert scratch.for_worker(None) is scratch
    assert scratch.for_worker("gw1").url == make_url(url).set(database=named)


def test_a_sqlite_file_is_dropped_with_what_lies_beside_it(tmp_path: Path) -> None:
    scratch = ScratchDatabase(make_url(f"sqlite:///{tmp_path / 'test.db'}"))
    scratch.create()
    for suffix in ("", "-wal", "-shm", "-journal"):
        (tmp_path / f"test.db{suffix}").touch()
    (tmp_path / "test.db.kept").touch()
    scratch.drop()
    scratch.drop()
    assert [each.name for each in tmp_path.iterdir()] == ["test.db.kept"]


@needs_postgres
def test_a_postgresql_database_is_made_if_it_is_missing_and_dropped_whoever_is_connected() -> None:
    url = make_url(POSTGRES).set(database=f'backstay "test" {uuid.uuid4().hex[:12]}')
    scratch = ScratchDatabase(url)
    engine = create_engine(url.set(drivername="postgresql+psycopg"), poolclass=NullPool)
    scratch.create()
    try:
        scratch.create()
        with engine.connect() as connection:
            asked = text("SHOW synchronous_commit")
            assert connection.execute(asked).scalar_one() == "off"
            scratch.drop()
            connection.invalidate()
    finally:
        scratch.drop()
    with pytest.raises(OperationalError, match="does not exist"):
        engine.connect()


@needs_postgres
def test_a_server_that_cannot_be_reached_is_named_without_the_password() -> None:
    url = make_url(POSTGRES).set(port=1, password="secret", database="test")
    with pytest.raises(IsolationError, match="127.0.0.1:1/test cannot be made") as caught:
        ScratchDatabase(url).create()
    assert "secret" not in str(caught.value)
