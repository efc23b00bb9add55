"""``backstay events``."""

import asyncio
import json
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from backstay.cli import events
from backstay.cli.program import Program
from backstay.clock import SystemClock
from backstay.db import Database
from backstay.events import EventStore, Masking
from backstay.events.collector import Collector, Seen
from backstay.events.rows import event_rows, minute_rows
from backstay.events.sampling import Sampling
from tests.cli.terminal import Outcome
from tests.db.places import at
from tests.events.journal import seen
from tests.jobs.desks import needs_postgres

program = typer.Typer(cls=Program, pretty_exceptions_enable=False)
events.add_to(program)


@program.callback()
def _root() -> None:
    """So that the commands have a group above them, as in the program."""


def run(*args: object, columns: int = 160, **env: str) -> Outcome:
    result = CliRunner().invoke(
        program,
        ["events", *map(str, args)],
        env={"COLUMNS": str(columns), "TERM": "dumb", "NO_COLOR": "1", **env},
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def keep(url: str, *several: Seen) -> None:
    """Write them, as an app would."""

    async def write() -> None:
        database = Database(url)
        collector = Collector(SystemClock(), Sampling.of(1.0), queue=1_000, batch=1_000)
        for each in several:
            collector.record(each)
        rows = event_rows(collector.take(1_000), Masking())
        await EventStore(database).write(rows, minute_rows(collector.tally.take(), Masking()))
        await database.close()

    asyncio.run(write())


def recent(number: int = 0, **changes: Any) -> Seen:
    then = SystemClock().now() - timedelta(seconds=60 - number)
    return seen(number, started_at=then, **changes)


@pytest.fixture
def file(here: Path) -> Path:
    path = here / "backstay.db"
    keep(
        f"sqlite:///{path}",
        recent(0),
        recent(1, kind="task", name="send", outcome="failed", status=None, duration_s=61.0),
        recent(2, status=503, error=("ValueError", "no stock"), correlation_id="work-0"),
    )
    return path


def test_events_are_listed_the_newest_first(file: Path) -> None:
    shown = run("list").out.splitlines()
    assert shown[0].split() == ["WHEN", "KIND", "NAME", "OUTCOME", "TOOK", "WORK", "ERROR"]
    assert "503" in shown[1]
    assert "ValueError: no stock" in shown[1]
    assert "failed" in shown[2]
    assert "1 min" in shown[2]
    assert "GET /items/{item_id}" in shown[3]
    assert "12 ms" in shown[3]


def test_narrow_terminals_get_them_one_under_the_other(file: Path) -> None:
    shown = run("list", columns=50).out.splitlines()
    assert len(shown) == 6
    assert shown[0] == "request work-0"
    assert all(len(each) <= 50 for each in shown)


def test_they_are_chosen_by_what_they_are(file: Path) -> None:
    def names(*args: object) -> list[str]:
        return [each["name"] for each in run("list", "--json", *args).json]

    assert len(names()) == 3
    assert names("--kind", "task") == ["send"]
    assert names("--failed") == ["GET /items/{item_id}", "send"]
    assert names("--outcome", "failed", "--name", "send") == ["send"]
    assert names("--search", "NO STOCK") == ["GET /items/{item_id}"]
    keep(f"sqlite:///{file}", recent(-7_200, name="long ago"))
    assert len(names()) == 4
    assert "long ago" not in names("--since", "1h")
    assert names("--work", "work-1") == ["send"]
    page = run("list", "--json", "-n", "1").json
    assert names("--before", page[0]["id"])[:2] == ["send", "GET /items/{item_id}"]


def test_the_next_page_is_named(file: Path) -> None:
    assert "there are more: --limit, or --before 0" in run("list", "-n", 1).err
    assert "there are more" not in run("list").err


def test_nothing_is_said_to_be_nothing(file: Path) -> None:
    assert "no events" in run("list", "--kind", "nothing").err
    assert run("list", "--kind", "nothing", "--json").json == []
    assert "nothing happened" in run("top", "--kind", "nothing").err


def test_a_piece_of_work_is_shown_in_order(file: Path) -> None:
    out = run("show", "work-0").out
    assert out.startswith("work-0  20")
    assert out.index("200") < out.index("503")
    assert "error  ValueError: no stock" in out
    assert '"path": "/items/0"' in out
    assert "2.0 s" in out
    assert [each["status"] for each in run("show", "work-0", "--json").json] == [200, 503]


def test_work_of_which_nothing_was_kept_is_a_failure(file: Path) -> None:
    outcome = run("show", "nobody")
    assert outcome.code == 1
    assert "nothing was kept of 'nobody'" in outcome.err
    assert "sampling" in outcome.err


def test_top_says_how_often_and_how_long(file: Path) -> None:
    header, *rows = run("top").out.splitlines()
    assert header.split() == ["KIND", "NAME", "COUNT", "FAILED", "P50", "P95", "P99", "MAX"]
    assert rows[0].split()[:5] == ["request", "GET", "/items/{item_id}", "2", "1"]
    assert rows[0].endswith("12 ms")
    (first, second) = run("top", "--json").json
    assert (first["count"], first["failed"], second["name"]) == (2, 1, "send")
    assert 10 <= first["p95_ms"] <= 25
    assert "P50" not in run("top", columns=60).out


def test_what_is_too_much_or_too_old_is_deleted(file: Path) -> None:
    assert run("prune").out == "0 events, 0 minutes deleted\n"
    assert run("prune", "--keep-events", 1).out == "2 events, 0 minutes deleted\n"
    assert len(run("list", "--json").json) == 1
    assert run("prune", "--keep-for", "1s", "--json").json == {"events": 1, "minutes": 0}
    assert run("prune", "--keep-minutes-for", "1s").out.startswith("0 events")


@pytest.mark.parametrize("option", ["--since"])
def test_what_is_no_duration_is_refused(file: Path, option: str) -> None:
    for command in ("list", "top"):
        outcome = run(command, option, "yesterday")
        assert outcome.code == 2
        assert "--since: 'yesterday' is no duration; write 90s" in outcome.err
    assert "--keep-for: " in run("prune", "--keep-for", "long").err


def test_a_cursor_that_is_none_is_refused(file: Path) -> None:
    outcome = run("list", "--before", "x")
    assert outcome.code == 1
    assert "before= is the id of an event" in outcome.err


EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\r\nbackstay: all is well"


def test_other_people_s_text_moves_no_cursor(here: Path) -> None:
    keep(
        f"sqlite:///{here / 'backstay.db'}",
        recent(
            0,
            kind="task",
            name=EVIL,
            outcome=EVIL,
            correlation_id=f"w{EVIL}",
            error=("ValueError", EVIL),
            facts={EVIL: EVIL},
        ),
    )
    (found,) = run("list", "--json").json
    for columns in (50, 100, 200):
        for args in (["list"], ["top"], ["show", found["correlation_id"]], ["show", EVIL]):
            outcome = run(*args, columns=columns)
            for said in (outcome.out, outcome.err):
                assert not {"\x1b", "\x07", "\u202e", "\r"} & set(said)
                assert "\nbackstay: all" not in said or args[0] == "show"


def test_no_database_and_no_events_are_said_so_and_no_file_is_made(here: Path) -> None:
    assert run("list").code == 2
    for name in ("missing.db", "sqlite:///missing.db"):
        outcome = run("list", "-d", name)
        assert outcome.code == 2
        assert not (here / "missing.db").exists()
    (here / "other.db").touch()
    outcome = run("list", "-d", "other.db")
    assert outcome.code == 2
    assert "no events are kept in" in outcome.err
    outcome = run("list", "-d", "memory://")
    assert outcome.code == 2
    assert "memory" in outcome.err


SHOP = """
from fastapi import FastAPI
from backstay.db import add_database
from backstay.events import add_events

app = FastAPI()
add_database(app, "sqlite:///shop.db")
add_events(app, keep_events=2)
bare = FastAPI()
"""


@pytest.fixture
def shop(here: Path) -> Iterator[Path]:
    path = list(sys.path)
    (here / "events_shop.py").write_text(SHOP)
    keep("sqlite:///shop.db", recent(0), recent(1), recent(2))
    yield here
    sys.path[:] = path
    sys.modules.pop("events_shop", None)


def test_an_app_is_asked_for_its_events_and_how_many_it_keeps(shop: Path) -> None:
    assert len(run("list", "-d", "events_shop:app", "--json").json) == 3
    outcome = run("list", "-d", "events_shop:app", "--verbose")
    assert "(from the app events_shop:app)" in outcome.err
    assert run("prune", "-d", "events_shop:app").out.startswith("1 event,")
    assert len(run("list", "-d", "shop.db", "--json").json) == 2
    assert run("list", BACKSTAY_DATABASE="sqlite:///shop.db").code == 0


def test_an_app_without_events_is_refused(shop: Path) -> None:
    outcome = run("list", "-d", "events_shop:bare")
    assert outcome.code == 2
    assert "the app events_shop:bare keeps no events" in outcome.err
    assert "backstay.events.add_events(app)" in outcome.err


@needs_postgres
def test_postgresql_is_asked_as_well(here: Path) -> None:
    with at("postgresql", here) as url:
        keep(url, recent(0))
        assert json.loads(run("list", "-d", url, "--json").out)[0]["status"] == 200
        assert "hunter2" not in run("list", "-d", "postgresql://u:hunter2@127.0.0.1:1/x").err
