"""``ctx.limits``: the same limits in requests, tasks and whatever else has a context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from backstay.context import Context, User, current_context
from backstay.errors import BadLimit, RateLimited
from backstay.limits import add_limits, rate_limit
from backstay.tasks import add_tasks
from backstay.testing import FakeClock, running
from backstay.web import Ctx, install
from tests.support import async_test

EXPORTS = rate_limit("3/hour", name="exports")


class ByHeader:
    """Whoever ``X-User`` names is who asks."""

    async def verify(self, connection: HTTPConnection) -> User | None:
        name = connection.headers.get("x-user")
        return User(name) if name else None


def app_with(clock: FakeClock | None = None) -> FastAPI:
    app = FastAPI()
    install(app, verify_user=ByHeader(), env_file=None, clock=clock or FakeClock())
    add_limits(app, "memory", named={"mails": "2/minute;5/hour", "same": EXPORTS})
    return app


@async_test
async def test_what_is_counted_in_code_stops_it_when_there_is_too_much() -> None:
    clock = FakeClock()
    async with running(app_with(clock)) as client:
        limits = client.ctx.limits
        assert (await limits.hit("mails")).remaining == 1
        assert (await limits.check("mails", cost=2)).allowed is False
        await limits.hit("mails")
        with pytest.raises(RateLimited) as caught:
            await limits.hit("mails")
        assert caught.value.retry_after_s == 60
        assert caught.value.public_headers == {}
        assert (await limits.hit("mails", "somebody else")).allowed
        await limits.clear("mails")
        assert (await limits.hit("mails", cost=2)).allowed


@async_test
async def test_a_limit_is_the_same_by_its_name_by_itself_and_as_a_dependency() -> None:
    app = app_with()

    @app.get("/", dependencies=[Depends(EXPORTS)])
    async def index(ctx: Ctx) -> list[int]:
        return [
            (await ctx.limits.hit(EXPORTS)).remaining,
            (await ctx.limits.hit("same")).remaining,
        ]

    async with running(app) as client:
        assert (await client.get("/", headers={"x-user": "alice"})).json() == [1, 0]
        refused = await client.get("/", headers={"x-user": "alice"})
        assert refused.status_code == 429
        assert (await client.get("/", headers={"x-user": "bob"})).status_code == 200


@async_test
async def test_a_refusal_in_an_endpoint_is_answered_with_429() -> None:
    app = app_with()

    @app.get("/")
    async def index(ctx: Ctx) -> None:
        await ctx.limits.hit("mails", "x", cost=2)

    async with running(app) as client:
        assert (await client.get("/")).status_code == 200
        refused = await client.get("/")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")


@async_test
async def test_a_task_counts_for_whoever_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = app_with()
    add_tasks(app)
    seen: list[int] = []

    async def export() -> None:
        seen.append((await current_context().limits.hit("same")).remaining)

    @app.get("/")
    async def index(ctx: Ctx) -> None:
        ctx.tasks.schedule(export)

    async with running(app) as client:
        for name in ("alice", "alice", "bob"):
            await client.get("/", headers={"x-user": name})
            await client.tasks.settle()
        assert seen == [2, 1, 2]
        # Without a user it is everybody's.
        assert (await client.ctx.limits.hit("same")).remaining == 2


@async_test
async def test_a_limit_without_a_name_is_no_limit_here() -> None:
    async with running(app_with()) as client:
        ctx: Context = client.ctx
        with pytest.raises(BadLimit, match="give it a name"):
            await ctx.limits.hit(rate_limit("1/minute"))
        with pytest.raises(BadLimit, match="There are: mails, same"):
            await ctx.limits.hit("letters")


@pytest.mark.parametrize("cost", [0, -1, True, 1.5, "1"])
@async_test
async def test_a_cost_is_a_whole_number(cost: Any) -> None:
    async with running(app_with()) as client:
        with pytest.raises(BadLimit, match="at least 1"):
            await client.ctx.limits.hit("mails", cost=cost)
