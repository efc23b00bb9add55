"""The state as a part of an app: opened when it is needed, never a wait for oneself."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from backstay.app import Backstay
from backstay.context import Moment, Origin
from backstay.errors import BadState, NotInstalled, StateUnavailable
from backstay.settings import Settings
from backstay.state import add_state
from backstay.state.part import StatePart
from backstay.tasks import add_tasks
from backstay.testing import FakeClock, running
from backstay.web import install
from tests.support import async_test


def settings(**values: str) -> Settings:
    return Settings(values, environ={})


@async_test
async def test_nothing_is_made_until_somebody_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Backstay(settings=settings())
    part = StatePart(app)
    app.add(part)
    await app.start()
    state = app.open(Origin.SCRIPT).state
    assert not part.is_open
    assert list(tmp_path.iterdir()) == []
    # Many at once open it once.
    await asyncio.gather(*(state.incr("k") for _ in range(20)))
    assert part.is_open
    assert (tmp_path / "backstay-state.db").exists()
    await app.stop()
    assert not part.is_open


@pytest.mark.parametrize(
    ("given", "values", "file"),
    [
        ("sqlite:///a.db", {"BACKSTAY_STATE": "sqlite:///b.db"}, "a.db"),
        (None, {"BACKSTAY_STATE": "sqlite:///b.db", "BACKSTAY_DATABASE": "sqlite:///c.db"}, "b.db"),
    ],
)
@async_test
async def test_what_was_named_is_opened_with_the_app(
    given: str | None,
    values: dict[str, str],
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Backstay(settings=settings(**values))
    part = StatePart(app, given)
    app.add(part)
    await app.start()
    assert part.is_open
    assert {each.name.removesuffix("-wal").removesuffix("-shm") for each in tmp_path.iterdir()} == {
        file
    }
    await app.stop()


@pytest.mark.parametrize(
    ("durable", "values", "url"),
    [
        (None, {}, "sqlite:///backstay-state.db"),
        (None, {"BACKSTAY_DATABASE": "sqlite:///c.db"}, "sqlite:///c-state.db"),
        ("sqlite:///shop.db", {"BACKSTAY_DATABASE": "sqlite:///c.db"}, "sqlite:///shop-state.db"),
        ("postgresql://u@host/shop", {}, "postgresql://u@host/shop"),
        ("memory://", {}, "memory://"),
    ],
)
def test_what_nobody_named_lies_beside_the_durable_tasks(
    durable: str | None, values: dict[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BACKSTAY_STATE", raising=False)
    app = FastAPI()
    install(app, settings=values, env_file=None)
    part = add_state(app)  # durable tasks may be switched on later
    if durable is not None:
        add_tasks(app, database=durable)
    assert part.url == url


@async_test
async def test_tests_that_move_the_durable_tasks_move_the_state_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = FastAPI()
    install(app, settings={}, env_file=None)
    add_tasks(app, database="sqlite:///shop.db")
    add_state(app)
    async with running(app, database="memory://") as client:
        await client.ctx.state.set("k", 1)
    assert list(tmp_path.iterdir()) == []


@async_test
async def test_what_cannot_be_opened_stops_the_app_from_starting(tmp_path: Path) -> None:
    app = Backstay(settings=settings())
    app.add(StatePart(app, f"sqlite:///{tmp_path}/missing/x.db"))
    with pytest.raises(StateUnavailable, match="no directory"):
        await app.start()


@async_test
async def test_before_the_start_and_after_the_end_it_says_what_to_do() -> None:
    app = Backstay(settings=settings())
    part = StatePart(app, "memory://")
    app.add(part)
    state = app.open(Origin.SCRIPT).state
    with pytest.raises(StateUnavailable, match="has not started or has stopped"):
        await state.get("k")
    await app.start()
    await state.set("k", 1)
    await app.stop()
    with pytest.raises(StateUnavailable, match="has not started or has stopped"):
        await state.set("k", 1)


@async_test
async def test_whoever_asked_first_may_be_cancelled_and_it_opens_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Backstay(settings=settings())
    part = StatePart(app)
    app.add(part)
    await app.start()
    state = app.open(Origin.SCRIPT).state
    first = asyncio.create_task(state.get("k"))
    second = asyncio.create_task(state.get("k", 7))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 7
    await app.stop()


@async_test
async def test_work_that_is_over_goes_on_using_it() -> None:
    app = Backstay(settings=settings())
    app.add(StatePart(app, "memory://"))
    await app.start()
    ctx = app.open(Origin.REQUEST)
    await ctx.state.set("k", 1)
    ctx.reach(Moment.ANSWERED, True)
    ctx.close()
    assert await ctx.state.incr("k") == 2
    await app.stop()


@async_test
async def test_scopes_of_the_app_s_own_are_apart_from_those_with_names() -> None:
    app = Backstay(settings=settings())
    part = StatePart(app, "memory://")
    app.add(part)
    await app.start()
    mine, shared = part.state("widget:a|ali"), app.open(Origin.REQUEST).state
    await mine.set("k", 1)
    await shared.set("k", 2)
    assert await part.state("widget:a|eve").get("k") is None
    assert await shared.scope("widget:a|ali").get("k") is None
    assert await mine.scope("app").get("k") == 2
    assert await app.open(Origin.JOB).state.get("k") == 2
    with pytest.raises(BadState, match="'named:' is for State.scope"):
        part.state("named:app")
    await app.stop()


@async_test
async def test_expired_values_are_swept_while_the_app_runs() -> None:
    clock = FakeClock()
    app = Backstay(settings=settings(), clock=clock)
    part = StatePart(app, "memory://", sweep_every_s=10)
    app.add(part)
    await app.start()
    await app.open(Origin.REQUEST).state.set("k", 1, ttl=1)
    await clock.advance(10)
    await clock.until_polling()
    assert await part.store.sweep(10) == 0, "it had been swept"
    await app.stop()


@pytest.mark.parametrize(
    "options",
    [
        {"max_value_bytes": 0},
        {"max_value_bytes": True},
        {"sweep_every_s": 0},
        {"sweep_every_s": "1"},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadState, match=f"{next(iter(options))}= is"):
        StatePart(Backstay(settings=settings()), "memory://", **options)


def test_without_it_ctx_state_says_what_to_add() -> None:
    with pytest.raises(NotInstalled, match=r"backstay.state.add_state\(app\)"):
        _ = Backstay().open(Origin.SCRIPT).state


@async_test
async def test_one_file_for_both_never_means_waiting_for_oneself(tmp_path: Path) -> None:
    """SQLite has one write lock a file, and an open session holds it."""
    app = FastAPI()
    install(app, settings={"BACKSTAY_DATABASE": f"sqlite:///{tmp_path}/x.db"}, env_file=None)
    add_tasks(app, worker=False)
    add_state(app, f"sqlite:///{tmp_path}/x.db")
    async with running(app) as client:
        ctx = client.ctx.app.open(Origin.REQUEST)
        await ctx.state.set("k", 1)
        await ctx.db.session.execute(text("SELECT 1"))
        assert await ctx.state.get("k") == 1, "reading waits for nobody"
        for change in (
            ctx.state.set("k", 2),
            ctx.state.incr("k"),
            ctx.state.delete("k"),
            ctx.state.clear(),
            ctx.state.update("k", lambda value: value),
            ctx.state.scope("other").set("k", 2),
        ):
            with pytest.raises(BadState, match=r"ctx.db.commit\(\).*add_state\(app, "):
                await change
        await ctx.db.commit()
        assert await ctx.state.incr("k") == 2
        await ctx.db.close()
        ctx.close()


@async_test
async def test_two_files_never_wait_for_each_other(tmp_path: Path) -> None:
    app = FastAPI()
    install(app, settings={"BACKSTAY_DATABASE": f"sqlite:///{tmp_path}/x.db"}, env_file=None)
    add_tasks(app, worker=False)
    add_state(app)
    async with running(app) as client:
        ctx = client.ctx.app.open(Origin.REQUEST)
        await ctx.db.session.execute(text("SELECT 1"))
        assert await ctx.state.incr("k") == 1
        await ctx.db.close()
        ctx.close()
