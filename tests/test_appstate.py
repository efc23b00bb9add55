"""An app knows what it was told about itself, and never what another was told."""

from types import SimpleNamespace

import pytest
from fastapi import FastAPI

from backstay import appstate
from backstay.appstate import (
    AUTH_JWT,
    CACHE_STATUS,
    DATABASE_MANAGER,
    DEBUG,
    SECRET_KEY,
    TIMEZONE,
)
from backstay.testing import running
from backstay.web import install
from tests.support import async_test

KEYS = {
    TIMEZONE: "TIMEZONE",
    CACHE_STATUS: "CACHE_STATUS",
    DATABASE_MANAGER: "DATABASE_MANAGER",
    SECRET_KEY: "SECRET_KEY",
    AUTH_JWT: "auth_jwt",
    DEBUG: "DEBUG",
}


@pytest.mark.parametrize("ask", KEYS, ids=lambda ask: ask.__name__)
def test_without_an_app_nothing_is_known(ask) -> None:
    assert ask() is None


@pytest.mark.parametrize("ask", KEYS, ids=lambda ask: ask.__name__)
def test_an_app_that_was_told_nothing_knows_nothing(ask) -> None:
    app = FastAPI()
    assert ask(app) is (False if ask is DEBUG else None)


@pytest.mark.parametrize(("ask", "key"), KEYS.items(), ids=KEYS.values())
def test_what_an_app_was_told_is_what_it_knows(ask, key: str) -> None:
    app = SimpleNamespace(state=SimpleNamespace(**{key: "told"}))
    assert ask(app) == "told"


def test_an_app_in_debug_mode_says_so() -> None:
    assert DEBUG(FastAPI(debug=True)) is True


@async_test
async def test_inside_of_a_request_it_is_the_app_that_serves_it() -> None:
    found: list[object] = []
    for name in ("one", "other"):
        app = FastAPI()
        install(app)
        app.state.TIMEZONE = name

        @app.get("/")
        async def zone() -> None:
            found.append(TIMEZONE())

        async with running(app) as client:
            await client.get("/")
    assert found == ["one", "other"]


def test_every_question_is_one_of_these() -> None:
    assert set(appstate.__all__) == {ask.__name__ for ask in KEYS}
