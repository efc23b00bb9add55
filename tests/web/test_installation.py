"""``install(app)``: once, before the start, around one app or several inside each other."""

import json
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from pydantic import SecretStr
from pydantic_settings import BaseSettings
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from backstay import Backstay, Context, Moment, User, current_context
from backstay.clock import SystemClock
from backstay.errors import AlreadyInstalled, NotInstalled
from backstay.testing import FakeClock, running
from backstay.web import Ctx, get_context, install, installed
from tests.support import async_test, shown
from tests.web.by_hand import ByHand


class Everybody:
    """A verifier that knows everybody by the name they give."""

    async def verify(self, connection: HTTPConnection) -> User | None:
        name = connection.headers.get("x-name")
        return User(name) if name else None


def test_installing_gives_the_apps_backstay() -> None:
    app = FastAPI()
    backstay = install(app)
    assert isinstance(backstay, Backstay)
    assert installed(app) is backstay


def test_installing_again_without_options_gives_the_same() -> None:
    app = FastAPI()
    backstay = install(app, settings={"A": 1})
    assert install(app) is backstay
    assert backstay.settings.get("A") == 1


@pytest.mark.parametrize(
    "option",
    [
        {"settings": {}},
        {"env_file": "other.env"},
        {"env_file": None},
        {"verify_user": Everybody()},
        {"correlation_header": "X-Trace"},
        {"json_logs": False},
        {"clock": SystemClock()},
        {"logger": logging.getLogger("other")},
    ],
    ids=lambda option: next(iter(option)),
)
def test_installing_again_with_an_option_that_would_be_lost_is_refused(
    option: dict[str, Any],
) -> None:
    app = FastAPI()
    install(app)
    with pytest.raises(AlreadyInstalled, match="call install with its options first"):
        install(app, **option)


@async_test
async def test_installing_after_the_first_request_is_refused() -> None:
    app = FastAPI()
    await ByHand(app).run()
    with pytest.raises(RuntimeError, match="call it where the app is made"):
        install(app)


@async_test
async def test_installing_again_without_options_is_harmless_at_any_time() -> None:
    app = FastAPI()
    backstay = install(app)
    async with running(app):
        assert install(app) is backstay


@pytest.mark.parametrize("thing", [None, "app", APIRouter(), FastAPI], ids=shown)
def test_only_apps_can_be_installed_in(thing: Any) -> None:
    with pytest.raises(TypeError, match=rf"needs a FastAPI app, got .*{type(thing).__qualname__}"):
        install(thing)


def test_an_app_without_backstay_says_which_line_is_missing() -> None:
    with pytest.raises(NotInstalled, match=r"backstay\.web\.install\(app\)"):
        installed(FastAPI())


@async_test
async def test_a_plain_starlette_app_will_do() -> None:
    app = Starlette()
    install(app, clock=FakeClock())
    by_hand = ByHand(app)
    await by_hand.run()
    assert by_hand.start["status"] == 404
    assert by_hand.header("x-request-id") == [f"{1:032x}"]


ENV_FILE = """\
# where things are
DATABASE_URL="sqlite:///from file.db"
export REGION=eu
EMPTY=
NOVALUE
BACKSTAY_TEST_SETTING=from the file
"""


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.env"
    path.write_text(ENV_FILE)
    return path


def test_settings_come_from_the_file_last(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKSTAY_TEST_SETTING", raising=False)
    settings = install(FastAPI(), env_file=env_file).settings
    assert settings.get("DATABASE_URL") == "sqlite:///from file.db"
    assert settings.get("REGION") == "eu"
    assert settings.get("EMPTY") == ""
    assert settings.get("NOVALUE", "not set") == "not set"
    assert settings.get("BACKSTAY_TEST_SETTING") == "from the file"
    monkeypatch.setenv("BACKSTAY_TEST_SETTING", "from the environment")
    assert settings.get("BACKSTAY_TEST_SETTING") == "from the environment"
    given = install(FastAPI(), env_file=str(env_file), settings={"BACKSTAY_TEST_SETTING": "given"})
    assert given.settings.get("BACKSTAY_TEST_SETTING") == "given"
    assert given.settings.get("REGION") == "eu"


def test_the_file_is_dot_env_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert install(FastAPI()).settings.get("REGION") is None, "no file is no error"
    (tmp_path / ".env").write_text(ENV_FILE)
    assert install(FastAPI()).settings.get("REGION") == "eu"
    assert install(FastAPI(), env_file=None).settings.get("REGION") is None


def test_the_file_does_not_leak_into_the_environment(env_file: Path) -> None:
    code = (
        "import os, sys; from fastapi import FastAPI; from backstay.web import install; "
        "assert install(FastAPI(), env_file=sys.argv[1]).settings['REGION'] == 'eu'; "
        "assert 'REGION' not in os.environ"
    )
    subprocess.run([sys.executable, "-c", code, env_file], check=True, env={}, timeout=60)


class Model(BaseSettings):
    database_url: str = "sqlite://"
    api_key: SecretStr = SecretStr("hush")


@async_test
async def test_a_settings_model_may_be_given_instead(env_file: Path) -> None:
    app = FastAPI()
    install(app, settings=Model(), env_file=env_file)

    @app.get("/")
    async def endpoint(ctx: Ctx) -> list[Any]:
        return [ctx.settings.get(name) for name in ("DATABASE_URL", "API_KEY", "REGION")]

    async with running(app) as client:
        assert (await client.get("/")).json() == ["sqlite://", "hush", None]


@pytest.mark.parametrize("json_logs", [True, False, None])
def test_one_switch_sets_up_the_logging_of_the_process(json_logs: bool | None) -> None:
    code = (
        "import logging; from fastapi import FastAPI; from backstay.web import install; "
        f"install(FastAPI(), json_logs={json_logs}); "
        "logging.getLogger('shop').info('hello')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    if json_logs is None:
        assert done.stderr == ""
    elif json_logs:
        assert json.loads(done.stderr)["message"] == "hello"
    else:
        assert done.stderr.rstrip().endswith("[-] shop: hello")


def give_ctx(app: FastAPI, seen: list[Context], path: str = "/") -> None:
    @app.get(path)
    async def endpoint(ctx: Ctx) -> str | None:
        seen.append(ctx)
        return None if ctx.user is None else ctx.user.subject


class Part:
    """Any part at all."""

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute

    def bind(self, ctx: Context) -> str:
        return f"{self.attribute} of {ctx.correlation_id}"

    async def open(self) -> None: ...

    async def close(self) -> None: ...


def nested(outer: FastAPI, inner: FastAPI) -> FastAPI:
    """The inner app two mounts below the outer one."""
    between = FastAPI()
    between.mount("/inner", inner)
    outer.mount("/between", between)
    return outer


PATH = "/between/inner/"


@async_test
async def test_an_app_mounted_in_one_with_backstay_is_covered_by_it() -> None:
    outer, inner, seen = FastAPI(), FastAPI(), []
    backstay = install(outer)
    give_ctx(inner, seen)
    by_hand = ByHand(nested(outer, inner), PATH, headers={"X-Request-ID": "abc"})
    await by_hand.run()
    assert by_hand.start["status"] == 200
    assert by_hand.header("x-request-id") == ["abc"]
    assert [ctx.app for ctx in seen] == [backstay]


@async_test
async def test_backstay_may_be_in_a_mounted_app_alone() -> None:
    outer, inner, seen = FastAPI(), FastAPI(), []
    backstay = install(inner)
    give_ctx(inner, seen)
    by_hand = ByHand(nested(outer, inner), PATH, headers={"X-Request-ID": "abc"})
    await by_hand.run()
    assert by_hand.header("x-request-id") == ["abc"]
    assert [ctx.app for ctx in seen] == [backstay]
    assert seen[0].moment is Moment.CLOSED
    elsewhere = ByHand(outer, "/openapi.json")
    await elsewhere.run()
    assert elsewhere.header("x-request-id") == []


@async_test
async def test_of_two_apps_that_have_the_same_the_outer_ones_context_counts() -> None:
    outer, inner, seen = FastAPI(), FastAPI(), []
    backstay = install(outer)
    backstay.add(Part("a"))
    backstay.add(Part("b"))
    install(inner).add(Part("a"))
    give_ctx(inner, seen)
    by_hand = ByHand(nested(outer, inner), PATH, headers={"X-Request-ID": "abc"})
    await by_hand.run()
    assert by_hand.header("x-request-id") == ["abc"]
    assert [ctx.app for ctx in seen] == [backstay]


class SeesBothSides:
    """Asks for the context on the way in and on the way out."""

    def __init__(self, app: ASGIApp, seen: list[Context]) -> None:
        self.app = app
        self.seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.seen.append(current_context())
        await self.app(scope, receive, send)
        if scope["type"] == "http":
            self.seen.extend([current_context(), await get_context(HTTPConnection(scope))])


@async_test
async def test_a_mounted_app_that_has_more_has_a_context_of_its_own_with_the_same_id() -> None:
    outer, inner = FastAPI(), FastAPI()
    inside: list[Any] = []
    outside: list[Context] = []
    outer_backstay, inner_backstay = install(outer), install(inner)
    inner_backstay.add(Part("a"))
    give_ctx(inner, inside)
    outer.add_middleware(SeesBothSides, seen=outside)
    by_hand = ByHand(nested(outer, inner), PATH, headers={"X-Request-ID": "abc"})
    await by_hand.run()
    assert by_hand.header("x-request-id") == ["abc"]
    assert [ctx.app for ctx in inside] == [inner_backstay]
    assert [ctx.app for ctx in outside] == [outer_backstay] * 3
    assert len({id(ctx) for ctx in outside}) == 1
    assert inside[0].a == "a of abc"
    assert {ctx.correlation_id for ctx in [*inside, *outside]} == {"abc"}
    assert all(ctx.moment is Moment.CLOSED for ctx in [*inside, *outside])


@async_test
async def test_a_mounted_app_keeps_a_new_id_of_the_outer_one() -> None:
    outer, inner, inside = FastAPI(), FastAPI(), []
    install(outer, clock=FakeClock())
    install(inner).add(Part("a"))
    give_ctx(inner, inside)
    by_hand = ByHand(nested(outer, inner), PATH)
    await by_hand.run()
    assert by_hand.header("x-request-id") == [f"{1:032x}"]
    assert inside[0].correlation_id == f"{1:032x}"


@async_test
async def test_a_mounted_apps_own_verifier_is_asked() -> None:
    outer, inner, seen = FastAPI(), FastAPI(), []
    install(outer)
    install(inner, verify_user=Everybody())
    give_ctx(inner, seen)
    async with running(nested(outer, inner)) as client:
        assert (await client.get(PATH, headers={"X-Name": "ada"})).json() == "ada"


@async_test
async def test_included_routers_are_covered() -> None:
    app, seen, router = FastAPI(), [], APIRouter(prefix="/router")

    @router.get("/")
    async def endpoint(ctx: Ctx) -> None:
        seen.append(ctx)

    backstay = install(app)
    app.include_router(router)
    await ByHand(app, "/router/").run()
    assert [ctx.app for ctx in seen] == [backstay]


@async_test
async def test_parts_open_after_the_lifespans_of_included_routers() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        log.append("router up")
        yield
        log.append("router down")

    class LoggedPart(Part):
        async def open(self) -> None:
            log.append("part open")

        async def close(self) -> None:
            log.append("part closed")

    app = FastAPI()
    install(app).add(LoggedPart("a"))
    app.include_router(APIRouter(lifespan=lifespan))
    async with running(app):
        pass
    assert log == ["router up", "part open", "part closed", "router down"]


@async_test
async def test_middleware_may_be_added_after_installing() -> None:
    app, seen = FastAPI(), []
    install(app)
    app.add_middleware(SeesBothSides, seen=seen)

    @app.get("/")
    async def endpoint(request: Request, ctx: Ctx) -> None:
        seen.append(ctx)

    await ByHand(app).run()
    assert len(seen) == 4
    assert len({id(ctx) for ctx in seen}) == 1


def test_settings_that_hold_nothing_are_refused_and_the_app_is_as_it_was() -> None:
    app = FastAPI()
    with pytest.raises(TypeError, match=r"settings= has values by name, and got int"):
        install(app, settings=5)
    with pytest.raises(NotInstalled):
        installed(app)
