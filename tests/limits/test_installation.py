"""``add_limits``: where limits are counted, and a limit for all that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI

from backstay.errors import AlreadyInstalled, BadLimit
from backstay.limits import add_limits, rate_limit
from backstay.limits.database import DatabaseCounts
from backstay.limits.memory import MemoryCounts
from backstay.testing import running
from backstay.web import install
from tests.support import async_test


@async_test
async def test_the_default_holds_for_every_route_that_has_no_limit_of_its_own() -> None:
    app = FastAPI()
    add_limits(app, "memory", default="2/minute")
    router = APIRouter()

    @app.get("/plain")
    async def plain() -> int:
        return 1

    @app.get("/own", dependencies=[Depends(rate_limit("3/minute"))])
    async def own() -> int:
        return 1

    @router.get("/included")
    async def included() -> int:
        return 1

    app.include_router(router, prefix="/r")
    app.include_router(
        router, prefix="/o", dependencies=[Depends(rate_limit("1/minute", name="o"))]
    )
    async with running(app) as client:
        for path, times in (("/plain", 2), ("/r/included", 2), ("/own", 3), ("/o/included", 1)):
            found = [(await client.get(path)).status_code for _ in range(times + 1)]
            assert found == [200] * times + [429], path
        assert (await client.get("/openapi.json")).status_code == 200
        assert "ratelimit" not in (await client.get("/openapi.json")).headers


def test_a_default_that_comes_too_late_is_refused() -> None:
    app = FastAPI()

    @app.get("/early")
    async def early() -> int:
        return 1

    with pytest.raises(BadLimit, match="'/early' is the first"):
        add_limits(app, "memory", default="2/minute")
    add_limits(app, "memory")  # nothing was switched on by the failure

    with_router = FastAPI()
    with_router.include_router(APIRouter(prefix="/r"))
    router = APIRouter()
    router.add_api_route("/x", early)
    with_router.include_router(router)
    with pytest.raises(BadLimit, match="right after app = FastAPI"):
        add_limits(with_router, "memory", default="2/minute")


def test_a_shared_default_is_one_for_all_routes() -> None:
    app = FastAPI()
    add_limits(app, "memory", default=rate_limit("2/minute", name="everything"))


def test_the_setting_names_the_place(tmp_path: Path) -> None:
    app = FastAPI()
    install(app, settings={"BACKSTAY_LIMITS": f"sqlite:///{tmp_path}/x.db"}, env_file=None)
    assert isinstance(add_limits(app).limiter.store, DatabaseCounts)
    plain = FastAPI()
    install(plain, settings={}, env_file=None)
    assert isinstance(add_limits(plain).limiter.store, MemoryCounts)


def test_it_is_said_once() -> None:
    app = FastAPI()
    add_limits(app, "memory")
    with pytest.raises(AlreadyInstalled):
        add_limits(app, "memory")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"storage": "nowhere"}, "no place"),
        ({"storage": "sqlite:///x.db", "key_prefix": "A b"}, "names of tables"),
        ({"fail": "half"}, "fail='half'"),
        ({"by": "cookie"}, "by='cookie'"),
        ({"timeout_s": 0}, "timeout_s=0"),
        ({"timeout_s": True}, "timeout_s=True"),
        ({"retry_after_s": float("inf")}, "retry_after_s=inf"),
        ({"prune_every_s": "60"}, "prune_every_s='60'"),
        ({"default": "ten"}, "is no limit"),
        ({"named": {"a b": "1/minute"}}, "stands in headers"),
        ({"named": {"a": rate_limit("1/minute")}}, "is given one"),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)
def test_what_could_never_work_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadLimit) as caught:
        add_limits(FastAPI(), **{"storage": "memory", **options})
    assert says in str(caught.value)
