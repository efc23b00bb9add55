"""Which ledger a command means."""

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from backstay.cli.refusal import Refusal
from backstay.cli.screen import Screen
from backstay.cli.target import choose, look
from backstay.errors import BackstayError, BadJob, LedgerMismatch, LedgerUnavailable
from backstay.ledger import JobFilter, JobRow, Ledger, new_ledger
from backstay.ledger.sqlite import SqliteLedger
from backstay.settings import Settings
from tests.cli.terminal import WORKER, backstay, job, with_ledger, write
from tests.ledger.databases import POSTGRES_URL, fresh_schema, need_postgres

SHOP = """
from fastapi import FastAPI
from backstay.tasks import add_tasks
app = FastAPI()
add_tasks(app, database="sqlite:///of_the_app.db")
bare = FastAPI()
"""


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("target_shop", None)


async def newest(ledger: Ledger) -> list[JobRow]:
    return await ledger.find(JobFilter())


def test_a_url_is_taken(here: Path) -> None:
    target = choose("sqlite:///shop.db")
    assert target.name == "sqlite:///shop.db"
    assert target.source == "--database"


def test_a_file_is_taken_by_its_path(here: Path) -> None:
    (job_id,) = write(here / "shop.db", job())
    for path in ("shop.db", str(here / "shop.db")):
        assert [each.id for each in look(choose(path), Screen(), newest)] == [job_id]


def test_an_app_is_asked_for_its_ledger(here: Path) -> None:
    (job_id,) = write(here / "of_the_app.db", job())
    (here / "target_shop.py").write_text(SHOP)
    target = choose("target_shop:app")
    assert target.source == "the app target_shop:app"
    assert [each.id for each in look(target, Screen(), newest)] == [job_id]


def test_an_app_without_durable_tasks_is_told_how_to_have_them(here: Path) -> None:
    (here / "target_shop.py").write_text(SHOP)
    with pytest.raises(Refusal, match="has no durable tasks") as caught:
        choose("target_shop:bare")
    assert "add_tasks(app" in str(caught.value.hint)


def test_an_app_has_its_own_prefix(here: Path) -> None:
    (here / "target_shop.py").write_text(SHOP)
    with pytest.raises(Refusal, match="the app's own"):
        choose("target_shop:app", prefix="other_")


def test_the_setting_comes_before_the_default_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(here / "backstay.db", job())
    assert choose().source == "the default file"
    (here / ".env").write_text("BACKSTAY_DATABASE=sqlite:///from_file.db\n")
    assert choose().name == "sqlite:///from_file.db"
    monkeypatch.setenv("BACKSTAY_DATABASE", "sqlite:///from_environment.db")
    assert choose().name == "sqlite:///from_environment.db"
    assert choose("sqlite:///said.db").name == "sqlite:///said.db"
    assert choose(settings=Settings({"BACKSTAY_DATABASE": "sqlite:///x.db"})).name.endswith("x.db")


def test_nothing_named_and_nothing_there_is_refused(here: Path) -> None:
    with pytest.raises(Refusal, match=r"there is no backstay\.db here"):
        choose()


@pytest.mark.parametrize("database", ["shop", "no/such.db", "shop.db", "."])
def test_what_is_nothing_known_is_refused(database: str) -> None:
    with pytest.raises(Refusal, match="neither a URL, nor an app, nor a file"):
        choose(database)


@pytest.mark.parametrize("database", ["oracle://x/y", "http://example.org"])
def test_databases_nobody_speaks_to_are_refused(database: str) -> None:
    with pytest.raises(BadJob, match="no address of a ledger"):
        choose(database)


@pytest.mark.parametrize("database", ["memory://", "sqlite://", "sqlite:///:memory:"])
def test_memory_is_nobody_elses_to_look_at(database: str) -> None:
    with pytest.raises(LedgerUnavailable, match="lives in the process that opened it"):
        look(choose(database), Screen(), newest)


def test_looking_makes_no_file(here: Path) -> None:
    with pytest.raises(LedgerUnavailable, match=r"there is no file .*shop\.db"):
        look(choose("sqlite:///shop.db"), Screen(), newest)
    assert list(here.iterdir()) == []


def test_looking_makes_no_tables(here: Path) -> None:
    connection = sqlite3.connect(here / "other.db")
    connection.execute("CREATE TABLE orders (id)")
    connection.close()
    before = (here / "other.db").read_bytes()
    with pytest.raises(LedgerUnavailable, match="holds no jobs.* 1 other table"):
        look(choose("other.db"), Screen(), newest)
    with pytest.raises(LedgerUnavailable, match="no table's name begins with 'else_'"):
        look(choose("other.db", prefix="else_"), Screen(), newest)
    assert (here / "other.db").read_bytes() == before


def test_an_empty_file_is_no_ledger(here: Path) -> None:
    (here / "empty.db").touch()
    with pytest.raises(LedgerUnavailable, match="it is empty"):
        look(choose("empty.db"), Screen(), newest)
    assert (here / "empty.db").stat().st_size == 0


def test_a_file_that_is_something_else_is_refused(here: Path) -> None:
    (here / "note.txt").write_text("dear diary, " * 200)
    with pytest.raises(LedgerMismatch, match="is no SQLite database"):
        look(choose("note.txt"), Screen(), newest)


def test_a_server_that_is_not_there_is_one_error_without_its_password() -> None:
    target = choose("postgresql://root:hush@127.0.0.1:1/nothing")
    assert "hush" not in target.name
    with pytest.raises(LedgerUnavailable) as caught:
        look(target, Screen(), newest)
    assert isinstance(caught.value, BackstayError)
    assert "hush" not in str(caught.value)


def test_the_verbose_hear_what_was_taken(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "backstay.db", job())
    look(choose(), Screen(verbose=True), newest)
    assert capsys.readouterr().err == "database: sqlite:///backstay.db (from the default file)\n"


def test_paths_with_spaces_and_umlauts_are_found(here: Path) -> None:
    folder = here / "Bücher & Größen"
    folder.mkdir()
    write(folder / "mein shop.db", job())
    found: Any = look(choose(str(folder / "mein shop.db")), Screen(), newest)
    assert len(found) == 1


def test_a_locked_file_is_given_up_sooner_than_by_an_app(here: Path) -> None:
    write(here / "shop.db")
    ledger = choose("sqlite:///shop.db").ledger
    assert isinstance(ledger, SqliteLedger)
    assert ledger._patience_s == 5.0


def test_looking_makes_no_tables_on_a_server_either(here: Path) -> None:
    need_postgres()
    with fresh_schema() as (schema, engine):
        for name in (schema, f"{schema}_none"):
            with pytest.raises(LedgerUnavailable, match="there are no jobs in it"):
                look(choose(POSTGRES_URL, schema=name), Screen(), newest)
        with engine.connect() as connection:
            found = connection.exec_driver_sql(
                "SELECT count(*) FROM pg_namespace n LEFT JOIN pg_class c "
                f"ON c.relnamespace = n.oid WHERE nspname LIKE '{schema}%%' AND c.oid IS NOT NULL "
                f"OR nspname = '{schema}_none'"
            )
            assert found.scalar() == 0


def test_every_command_speaks_to_postgresql(here: Path) -> None:
    need_postgres()
    with fresh_schema() as (schema, _):
        where = ("--database", POSTGRES_URL, "--schema", schema)

        async def fill(ledger: Ledger) -> list[UUID]:
            jobs = [job(queue="mail"), job("größe"), job(delay_s=100)]
            await ledger.insert(jobs)
            await ledger.register(WORKER)
            return [each.id for each in jobs]

        ids = with_ledger(new_ledger(POSTGRES_URL, schema=schema), fill)
        assert len(backstay("jobs", "list", "--json", *where).json) == 3
        assert "größe" in backstay("jobs", "show", str(ids[1])[:18], *where).out
        assert backstay("jobs", "cancel", ids[0], *where).code == 0
        assert backstay("jobs", "retry", ids[0], *where).code == 0
        assert "mail" in backstay("queues", "list", *where).out
        assert backstay("queues", "pause", "mail", *where).code == 0
        assert "web-1" in backstay("workers", *where).out
        assert "workers  1 alive" in backstay("top", "--once", "--interval", "0.1", *where).out
        assert backstay("jobs", "prune", "--older-than", "1s", "--yes", *where).code == 0
        assert list(here.iterdir()) == []
