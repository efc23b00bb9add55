"""The time is said in the zone that was asked for."""

import importlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
import pytz
from fastapi import FastAPI, Request

from backstay.testing import FakeClock, running
from backstay.timezone import TIMEZONE, get_datetime_now, moscow_tz, new_york_tz
from backstay.web import install
from tests.support import async_test

SUMMER = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "offset_h"),
    [
        (ZoneInfo("Europe/Moscow"), 3),
        (pytz.timezone("Europe/Moscow"), 3),
        (pytz.timezone("Europe/Berlin"), 2),
        (pytz.utc, 0),
        ("America/New_York", -4),
        (timezone(timedelta(hours=5, minutes=30)), 5.5),
        (moscow_tz, 3),
        (new_york_tz, -4),
        (None, 0),
    ],
    ids=str,
)
@async_test
async def test_the_offset_is_the_zone_s_at_that_moment(zone: Any, offset_h: float) -> None:
    app = FastAPI()
    install(app, clock=FakeClock(SUMMER))

    @app.get("/")
    async def now() -> list[str]:
        told = get_datetime_now(zone)
        return [told.isoformat(), str(told.utcoffset())]

    async with running(app) as client:
        said, offset = (await client.get("/")).json()
    assert offset == str(timedelta(hours=offset_h))
    assert datetime.fromisoformat(said) == SUMMER


def test_outside_of_any_app_it_is_the_machine_s_time() -> None:
    before = datetime.now(UTC)
    told = get_datetime_now(pytz.timezone("Europe/Moscow"))
    assert before <= told <= datetime.now(UTC)
    assert told.tzinfo is not None


@async_test
async def test_the_four_documented_ways_say_the_same() -> None:
    app = FastAPI()
    install(app, clock=FakeClock(SUMMER))
    app.state.TIMEZONE = pytz.timezone("Europe/Moscow")

    @app.get("/")
    async def now(request: Request) -> list[str]:
        zone = TIMEZONE() or TIMEZONE(request.app)
        return [
            get_datetime_now(request.app.state.TIMEZONE).isoformat(),
            get_datetime_now(app.state.TIMEZONE).isoformat(),
            get_datetime_now(pytz.timezone("Europe/Moscow")).isoformat(),
            get_datetime_now(zone).isoformat(),
            get_datetime_now().isoformat(),
        ]

    async with running(app) as client:
        assert set((await client.get("/")).json()) == {"2026-07-01T15:00:00+03:00"}


@pytest.mark.parametrize("zone", [3, 3.0, SUMMER, object], ids=repr)
def test_what_is_no_zone_is_refused_by_name(zone: Any) -> None:
    with pytest.raises(TypeError, match="a time zone is"):
        get_datetime_now(zone)


def test_an_unknown_name_of_a_zone_is_refused() -> None:
    with pytest.raises(ZoneInfoNotFoundError, match="Mars/Phobos"):
        get_datetime_now("Mars/Phobos")


def test_other_names_are_not_there() -> None:
    module = importlib.import_module("backstay.timezone")
    with pytest.raises(AttributeError, match="paris_tz"):
        _ = module.paris_tz
