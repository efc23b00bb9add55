"""``base_pattern``: every argument by itself, all together, and what it refuses."""

import asyncio
import secrets
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytz
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr
from starlette.applications import Starlette

from backstay import appstate
from backstay.clock import Clock
from backstay.db import MainDatabaseManager, add_database
from backstay.errors import AlreadyInstalled, BadPattern, WeakSecret
from backstay.pattern import HealthcheckResponse, base_pattern
from backstay.tasks import add_tasks
from backstay.testing import FakeClock, running
from backstay.timezone import get_datetime_now
from backstay.web import install, installed
from tests.support import async_test

KEY = secrets.token_urlsafe(48)
INTEGRATION = SimpleNamespace(
    integration=SimpleNamespace(name="geo", docs={}), base_url="https://geo.example"
)


@pytest.fixture
def manager(tmp_path: Path) -> MainDatabaseManager:
    return MainDatabaseManager(f"sqlite:///{tmp_path}/shop.db")


@async_test
async def test_one_call_as_people_write_it_already(
    manager: MainDatabaseManager, tmp_path: Path
) -> None:
    (tmp_path / "version.toml").write_text('version="1.2.3"\n')
    (tmp_path / "README.md").write_text("# Shop\n\nSells things.\n")
    router = APIRouter()

    @router.get("/now")
    async def now() -> str:
        return str(get_datetime_now().utcoffset())

    app = FastAPI(title="Shop")
    backstay = base_pattern(
        app,
        routers=(router,),
        timezone=pytz.timezone("Europe/Moscow"),
        cache_status=True,
        debug=True,
        base_dir=tmp_path,
        database_manager=manager,
        secret_key=KEY,
        origins=["https://shop.example"],
        useintegration=[INTEGRATION],
    )
    assert backstay is installed(app)
    assert str(app.state.TIMEZONE) == "Europe/Moscow"
    assert app.state.CACHE_STATUS is True
    assert app.state.DEBUG is app.debug is True
    assert app.state.DATABASE_MANAGER is manager
    assert app.state.SECRET_KEY == KEY
    assert app.state.USEINTEGRATION == (INTEGRATION,)
    assert (app.version, app.description) == ("1.2.3", "Sells things.")
    async with running(app) as client:
        answer = await client.get("/healthcheck")
        assert HealthcheckResponse(**answer.json()) == HealthcheckResponse(
            status=True, version="1.2.3"
        )
        assert (await client.get("/now")).json() == "3:00:00"
        assert (await client.get("/readyz")).json()["status"] == "ok"
        tags = (await client.get("/openapi.json")).json()["tags"]
    assert [each["name"] for each in tags] == ["common"]


@async_test
async def test_the_first_ten_may_be_positional(manager: MainDatabaseManager) -> None:
    app = FastAPI()
    base_pattern(app, (), UTC, False, False, None, manager, KEY, ["*"], [])
    assert app.state.TIMEZONE is UTC
    assert app.state.CACHE_STATUS is False
    assert app.state.SECRET_KEY == KEY
    assert app.state.USEINTEGRATION == ()
    async with running(app) as client:
        assert (await client.get("/livez")).headers["access-control-allow-origin"] == "*"


@async_test
async def test_an_app_alone_is_a_service_already() -> None:
    app = FastAPI(version="9", description="mine")
    base_pattern(app)
    assert (app.version, app.description, app.debug) == ("9", "mine", False)
    assert app.state.TIMEZONE is UTC
    for name in ("CACHE_STATUS", "DATABASE_MANAGER", "SECRET_KEY", "DEBUG", "USEINTEGRATION"):
        assert not hasattr(app.state, name)
    async with running(app) as client:
        problem = await client.get("/nowhere")
    assert problem.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("options", "check"),
    [
        (
            {"timezone": "Europe/Berlin"},
            lambda app: app.state.TIMEZONE.key == "Europe/Berlin",
        ),
        ({"timezone": ZoneInfo("Asia/Tokyo")}, lambda app: app.state.TIMEZONE.key == "Asia/Tokyo"),
        ({"cache_status": False}, lambda app: appstate.CACHE_STATUS(app) is False),
        ({"debug": True}, lambda app: appstate.DEBUG(app) is True),
        ({"debug": False}, lambda app: appstate.DEBUG(app) is False),
        ({"secret_key": KEY}, lambda app: appstate.SECRET_KEY(app) == KEY),
        ({"secret_key": SecretStr(KEY)}, lambda app: app.state.SECRET_KEY == KEY),
        ({"version": "3"}, lambda app: app.version == "3"),
        ({"routers": [APIRouter(tags=["a"])]}, lambda app: len(app.openapi_tags) == 1),
        ({"health": False}, lambda app: not app.openapi_tags),
        ({"settings": {"A": 1}}, lambda app: installed(app).settings["A"] == 1),
        (
            {"trusted_proxies": ["10.0.0.0/8"]},
            lambda app: str(installed(app).trusted_proxies[0]) == "10.0.0.0/8",
        ),
        ({"security_headers": False}, lambda app: installed(app).answer_headers == ()),
    ],
)
@async_test
async def test_each_is_usable_by_itself(options: dict[str, Any], check: Any) -> None:
    app = FastAPI()
    base_pattern(app, **options)
    assert check(app)
    async with running(app) as client:
        assert (await client.get("/openapi.json")).status_code == 200


def test_what_is_set_already_stays_where_nothing_is_said() -> None:
    app = FastAPI(debug=True)
    app.state.TIMEZONE = ZoneInfo("Asia/Tokyo")
    app.state.CACHE_STATUS = True
    base_pattern(app)
    assert app.state.TIMEZONE.key == "Asia/Tokyo"
    assert app.state.CACHE_STATUS is True
    assert app.debug is True


def test_a_version_that_is_given_wins(tmp_path: Path) -> None:
    (tmp_path / "version.toml").write_text("version = broken")
    app = FastAPI(description="mine")
    (tmp_path / "README.md").write_text("theirs")
    base_pattern(app, base_dir=str(tmp_path), version="3")
    assert (app.version, app.description) == ("3", "mine")


@async_test
async def test_titles_are_those_of_problems() -> None:
    app = FastAPI()
    base_pattern(app, titles={"de": {404: "Nicht gefunden"}})
    async with running(app) as client:
        answer = await client.get("/nowhere", headers={"Accept-Language": "de"})
    assert answer.json()["title"] == "Nicht gefunden"


@async_test
async def test_errors_may_stay_as_they_are() -> None:
    app = FastAPI()
    base_pattern(app, problem_details=False)
    async with running(app) as client:
        assert (await client.get("/nowhere")).json() == {"detail": "Not Found"}


@async_test
async def test_parts_may_come_before_and_after(
    manager: MainDatabaseManager, tmp_path: Path
) -> None:
    for tasks_first in (True, False):
        app = FastAPI()
        if tasks_first:
            add_tasks(app, database=f"sqlite:///{tmp_path}/jobs.db")
            add_database(app, manager)
        base_pattern(app, database_manager=manager, checks={"mine": lambda: asyncio.sleep(0)})
        if not tasks_first:
            add_tasks(app, database=f"sqlite:///{tmp_path}/jobs.db")
        async with running(app) as client:
            await manager.database.fetch(_select_one())
            checks = (await client.get("/readyz")).json()["checks"]
        assert checks.keys() == {"database", "jobs", "worker", "mine"}
        assert {each["status"] for each in checks.values()} == {"ok"}


def _select_one() -> Any:
    from sqlalchemy import text

    return text("SELECT 1")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timezone": "Nowhere/Else"}, BadPattern),
        ({"timezone": ""}, BadPattern),
        ({"timezone": "../../etc/passwd"}, BadPattern),
        ({"timezone": 3}, BadPattern),
        ({"debug": "yes"}, BadPattern),
        ({"cache_status": 1}, BadPattern),
        ({"timing": "yes"}, BadPattern),
        ({"base_dir": "/no/such/place"}, BadPattern),
        ({"secret_key": "hunter2"}, WeakSecret),
        ({"secret_key": "hunter2", "debug": False}, WeakSecret),
        ({"origins": ["*", "https://a.example"]}, BadPattern),
        ({"allowed_hosts": []}, BadPattern),
        ({"trusted_proxies": ["everybody"]}, BadPattern),
        ({"max_body_bytes": -1}, BadPattern),
        ({"body_timeout_s": 0}, BadPattern),
        ({"security_headers": {"X": "\r\n"}}, BadPattern),
        ({"hsts": "a\nb"}, BadPattern),
        ({"checks": {"a": 1}}, BadPattern),
        ({"health": None}, BadPattern),
        ({"problem_details": "no"}, BadPattern),
        ({"version": 3}, BadPattern),
        ({"version": ""}, BadPattern),
        ({"titles": {"de": {200: "gut"}}}, BadPattern),
        ({"titles": ["de"]}, BadPattern),
        ({"database_manager": "sqlite:///shop.db"}, BadPattern),
        ({"routers": ["router"]}, TypeError),
        ({"useintegration": ["geo"]}, TypeError),
    ],
)
def test_what_will_not_do_leaves_the_app_as_it_was(
    options: dict[str, Any], error: type[Exception]
) -> None:
    app = FastAPI()
    routes = list(app.routes)
    with pytest.raises(error):
        base_pattern(app, **options)
    assert app.routes == routes
    assert not app.user_middleware
    assert app.state._state == {}


def test_weak_keys_are_for_development() -> None:
    app = FastAPI(debug=True)
    base_pattern(app, secret_key="hunter2")
    assert app.state.SECRET_KEY == "hunter2"


def test_it_is_called_once() -> None:
    app = FastAPI()
    base_pattern(app)
    with pytest.raises(AlreadyInstalled, match="once"):
        base_pattern(app)


def test_an_app_has_one_database(manager: MainDatabaseManager, tmp_path: Path) -> None:
    app = FastAPI()
    add_database(app, f"sqlite:///{tmp_path}/other.db")
    with pytest.raises(AlreadyInstalled, match=r"other\.db"):
        base_pattern(app, database_manager=manager)


def test_settings_come_before_the_rest() -> None:
    app = FastAPI()
    install(app)
    with pytest.raises(AlreadyInstalled):
        base_pattern(app, settings={"A": 1})


def test_it_is_for_fastapi_apps() -> None:
    for wrong in (Starlette(), APIRouter(), None):
        with pytest.raises(TypeError, match="FastAPI"):
            base_pattern(wrong)  # type: ignore[arg-type]  # that is what is tried


@async_test
async def test_it_comes_before_the_app_starts() -> None:
    app = FastAPI()
    install(app)
    async with running(app):
        with pytest.raises(RuntimeError, match="started"):
            base_pattern(app)


def test_the_clock_of_the_app_is_everybodys() -> None:
    clock: Clock = FakeClock()
    app = FastAPI()
    install(app, clock=clock)
    assert base_pattern(app).clock is clock
