"""Integrations are told by what they have."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Depends, FastAPI

from backstay.errors import BadPattern
from backstay.integration import EndpointsDeclaration, IntegrationHTTP
from backstay.pattern import base_pattern
from backstay.pattern.integrations import read_integration_docs, read_integrations
from backstay.testing import running
from tests.support import async_test

GOOD = SimpleNamespace(
    integration=SimpleNamespace(name="geo", docs={}), base_url="https://geo.example"
)


class Geo(EndpointsDeclaration):
    integration = IntegrationHTTP("Geo")


def only_admin() -> None: ...


def test_what_looks_like_integrations_is_taken() -> None:
    assert read_integrations([GOOD]) == (GOOD,)
    assert read_integrations(None) == ()


@pytest.mark.parametrize(
    ("wrong", "missing"),
    [
        (object(), "no integration, no base_url"),
        (SimpleNamespace(integration=GOOD.integration), "no base_url"),
        (SimpleNamespace(integration=object(), base_url=""), "no integration.name"),
        ("geo", "no integration"),
    ],
)
def test_anything_else_is_not(wrong: Any, missing: str) -> None:
    with pytest.raises(TypeError, match=missing):
        read_integrations([GOOD, wrong])


def test_of_a_class_it_is_said_that_an_instance_is_wanted() -> None:
    with pytest.raises(TypeError, match=r"Geo is a class of them: give an instance, Geo\(base_url"):
        read_integrations([Geo])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "given",
    [None, True, False, only_admin, Depends(only_admin)],
    ids=lambda each: type(each).__name__,
)
def test_who_may_see_the_page_is_taken(given: Any) -> None:
    assert read_integration_docs(given) is given


@pytest.mark.parametrize("wrong", ["admin", 1, []], ids=str)
def test_anybody_else_is_refused_before_the_app_is_changed(wrong: Any) -> None:
    app = FastAPI()
    with pytest.raises(BadPattern, match="integration_docs="):
        base_pattern(app, useintegration=[], integration_docs=wrong)
    assert not hasattr(app.state, "backstay")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"useintegration": [GOOD], "debug": True}, 200),
        ({"useintegration": [GOOD]}, 404),
        ({"useintegration": [GOOD], "integration_docs": True}, 200),
        ({"useintegration": [GOOD], "integration_docs": only_admin}, 200),
        ({"useintegration": [GOOD], "debug": True, "integration_docs": False}, 404),
        ({"useintegration": [], "debug": True}, 200),
        ({"debug": True}, 404),
    ],
    ids=["debug", "none", "True", "dependency", "False", "no integrations", "not given"],
)
@async_test
async def test_the_page_is_there_if_integrations_are_used(
    options: dict[str, Any], status: int
) -> None:
    app = FastAPI()
    base_pattern(app, **options)
    async with running(app) as client:
        assert (await client.get("/docintegration")).status_code == status


@async_test
async def test_declared_integrations_live_as_long_as_the_app() -> None:
    geo, app = Geo("http://127.0.0.1:1"), FastAPI()
    base_pattern(app, useintegration=[geo, GOOD])
    async with running(app):
        opened = await geo.open_client()
        assert not opened.is_closed
    assert opened.is_closed
