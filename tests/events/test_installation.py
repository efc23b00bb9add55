"""``add_events``: options that make no sense are refused where they are given."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.db import Database, MainDatabaseManager
from backstay.errors import AlreadyInstalled, BadEvents
from backstay.events import EventsPart, Masking, add_events
from backstay.observation import Kind
from backstay.web import install
from tests.support import shown


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    install(app, settings={}, env_file=None)
    return app


@pytest.mark.parametrize(
    "wrong",
    [
        {"keep_events": 0},
        {"keep_events": 1.5},
        {"keep_events": True},
        {"batch": -1},
        {"queue": "many"},
        {"keep_for_s": 0},
        {"keep_minutes_for_s": -1},
        {"every_s": float("nan")},
        {"every_s": float("inf")},
        {"sample": 2},
        {"sample": {"requests": 1}},
        {"batch": 200, "queue": 100},
        {"mask": "password"},
    ],
    ids=shown,
)
def test_options_that_make_no_sense_are_refused(app: FastAPI, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadEvents, match=next(iter(wrong))):
        add_events(app, "sqlite:///events.db", **wrong)
    add_events(app, "sqlite:///events.db")  # nothing was switched on by that


def test_a_setting_that_makes_no_sense_is_refused() -> None:
    app = FastAPI()
    install(app, settings={"BACKSTAY_EVENTS": "sometimes"}, env_file=None)
    with pytest.raises(BadEvents, match="BACKSTAY_EVENTS"):
        add_events(app)


def test_an_app_has_events_once(app: FastAPI) -> None:
    add_events(app)
    with pytest.raises(AlreadyInstalled, match="'events' is switched on"):
        add_events(app)


def test_what_is_no_database_is_refused(app: FastAPI) -> None:
    with pytest.raises(TypeError, match="a database is a URL"):
        add_events(app, 7)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ValueError, match="no database URL"):
        add_events(app, "events")


def test_databases_of_every_kind_are_taken(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'events.db'}"
    for database in (url, Database(url), MainDatabaseManager(url), Database(url).engine):
        app = FastAPI()
        install(app, settings={}, env_file=None)
        part = add_events(app, database)
        assert isinstance(part, EventsPart)
        assert part.store.database.address.database == str(tmp_path / "events.db")


def test_only_what_is_kept_is_observed(app: FastAPI) -> None:
    backstay = install(app)
    assert not backstay.is_observed(Kind.REQUEST)
    add_events(app, record_requests=False)
    assert not backstay.is_observed(Kind.REQUEST)
    assert not backstay.is_observed(Kind.FILL)
    for kind in (Kind.TASK, Kind.JOB, Kind.WIDGET, Kind.CALL):
        assert backstay.is_observed(kind)


def test_masking_of_one_s_own_is_used(app: FastAPI) -> None:
    mine = Masking(names=("iban",))
    assert add_events(app, mask=mine).masking is mine
