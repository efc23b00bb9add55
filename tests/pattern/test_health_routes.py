"""``/healthcheck``, ``/livez`` and ``/readyz``, as probes and monitors ask for them."""

from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import PlainTextResponse

from backstay.pattern import HealthCheck, base_pattern
from backstay.pattern.health_routes import PATHS
from backstay.pattern.part import PatternPart
from backstay.testing import running
from tests.support import async_test


async def fine() -> None:
    pass


async def broken() -> None:
    raise ConnectionError("nobody at 10.0.0.1")


def make_app(**options: Any) -> FastAPI:
    app = FastAPI(version="7.1")
    base_pattern(app, **options)
    return app


@async_test
async def test_healthcheck_says_that_it_answers_and_which_version_it_is() -> None:
    async with running(make_app(checks={"a": broken})) as client:
        answer = await client.get("/healthcheck")
        assert (answer.status_code, answer.json()) == (200, {"status": True, "version": "7.1"})
        described = (await client.get("/openapi.json")).json()
    operation = described["paths"]["/healthcheck"]["get"]
    assert operation["tags"] == ["common"]
    assert set(described["paths"]) == {"/healthcheck"}


@async_test
async def test_livez_asks_nobody() -> None:
    async with running(make_app(checks={"a": broken})) as client:
        answer = await client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("checks", "status", "standing"),
    [
        ({"a": fine}, 200, "ok"),
        ({"a": HealthCheck(check=broken, vital=False)}, 200, "degraded"),
        ({"a": broken, "b": fine}, 503, "down"),
    ],
)
@async_test
async def test_readyz_says_whether_it_should_be_sent_work(
    checks: dict[str, Any], status: int, standing: str
) -> None:
    async with running(make_app(checks=checks)) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == status
        assert answer.json()["status"] == standing
        assert answer.json()["checks"].keys() == checks.keys()
        assert "10.0.0.1" not in answer.text
        assert answer.headers["cache-control"] == "no-store"


@async_test
async def test_details_are_for_those_who_develop() -> None:
    async with running(make_app(checks={"a": broken}, debug=True)) as client:
        checks = (await client.get("/readyz")).json()["checks"]
    assert checks["a"]["detail"] == "ConnectionError: nobody at 10.0.0.1"
    assert checks["a"]["duration_ms"] >= 0


@pytest.mark.parametrize("path", PATHS)
@async_test
async def test_head_will_do(path: str) -> None:
    async with running(make_app()) as client:
        answer = await client.head(path)
        full = await client.get(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == full.headers["content-length"]
        assert (await client.post(path)).status_code == 405


@async_test
async def test_an_app_that_is_about_to_end_is_alive_and_not_ready() -> None:
    app = make_app(checks={"a": fine})
    async with running(app) as client:
        part = app.state.backstay.part(PatternPart.attribute)
        part._drain()
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["draining"] is True
        assert answer.json()["checks"]["a"]["status"] == "ok"
        assert (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@async_test
async def test_who_probes_needs_no_token(path: str) -> None:
    def refuse() -> None:
        raise HTTPException(401)

    app = FastAPI(dependencies=[Depends(refuse)])
    base_pattern(app)
    async with running(app) as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("first", [True, False])
@async_test
async def test_no_catch_all_hides_them(path: str, first: bool) -> None:
    app = FastAPI()

    def catch_all() -> None:
        app.mount("/", PlainTextResponse("caught"))

    if first:
        catch_all()
    base_pattern(app)
    if not first:
        catch_all()
    async with running(app) as client:
        assert (await client.get(path)).text != "caught"
        assert (await client.get("/else")).text == "caught"


@pytest.mark.parametrize("path", PATHS)
@async_test
async def test_a_route_of_the_apps_own_is_left_alone(path: str) -> None:
    app = FastAPI()

    @app.get(path)
    async def own() -> str:
        return "own"

    base_pattern(app)
    async with running(app) as client:
        assert (await client.get(path)).json() == "own"


@async_test
async def test_they_need_not_be_there() -> None:
    async with running(make_app(health=False)) as client:
        for path in PATHS:
            assert (await client.get(path)).status_code == 404
