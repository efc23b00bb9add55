"""What is made behind somebody's back knows nothing of him, and is waited for at the end."""

import asyncio
import logging
from contextvars import ContextVar

import pytest

from backstay.cache.background import Background
from backstay.testing import FakeClock
from tests.support import async_test

REQUEST: ContextVar[str | None] = ContextVar("request", default=None)


@async_test
async def test_one_refresh_for_each_key_is_under_way() -> None:
    background = Background(FakeClock(), patience_s=5)
    gate = asyncio.Event()
    assert background.refresh("k", gate.wait)
    assert not background.refresh("k", gate.wait)
    assert background.refresh("other", gate.wait)
    gate.set()
    await background.settle()
    assert background.refresh("k", gate.wait)
    await background.settle()
    assert background.busy == 0


@async_test
async def test_it_begins_with_no_context_variables() -> None:
    background = Background(FakeClock(), patience_s=5)
    found = []

    async def make() -> None:
        found.append(REQUEST.get())

    REQUEST.set("somebody's")
    background.refresh("k", make)
    await background.settle()
    assert found == [None]


@async_test
async def test_what_failed_is_not_tried_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    background = Background(clock, patience_s=5)

    async def fail() -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.WARNING, logger="backstay.cache"):
        background.refresh("k", fail)
        await background.settle()
    assert "could not be made anew" in caplog.text
    assert not background.refresh("k", fail)
    await clock.advance(1)
    assert background.refresh("k", fail)
    await background.settle()


@async_test
async def test_closing_waits_for_what_is_under_way() -> None:
    background = Background(FakeClock(), patience_s=5)
    gate, done = asyncio.Event(), []

    async def make() -> None:
        await gate.wait()
        done.append(True)

    background.refresh("k", make)
    closing = asyncio.create_task(background.close())
    await asyncio.sleep(0)
    gate.set()
    await closing
    assert done == [True]
    assert not background.refresh("k", make), "it takes no more"


@async_test
async def test_closing_cancels_what_does_not_end() -> None:
    background = Background(FakeClock(), patience_s=0.01)
    ended = []

    async def make() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    background.refresh("k", make)
    await asyncio.sleep(0)
    await background.close()
    assert ended == [True]
    assert background.busy == 0


@async_test
async def test_opened_again_it_takes_work_again() -> None:
    background = Background(FakeClock(), patience_s=1)
    await background.close()
    background.open()

    async def nothing() -> None:
        pass

    assert background.refresh("k", nothing)
    await background.settle()
