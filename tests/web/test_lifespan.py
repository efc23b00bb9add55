"""The server's part of an app's lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.web.lifespan import started
from tests.support import async_test


@async_test
async def test_an_app_is_started_gives_its_state_and_is_stopped() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        log.append("up")
        yield {"pool": "a pool"}
        log.append("down")

    state: dict[str, Any] = {}
    async with started(FastAPI(lifespan=lifespan), state):
        assert (log, state) == (["up"], {"pool": "a pool"})
    assert log == ["up", "down"]


@async_test
async def test_an_app_that_fails_to_start_says_why_and_runs_nothing() -> None:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        raise OSError("no pool to be had")
        yield

    with pytest.raises((OSError, RuntimeError), match="no pool to be had"):
        async with started(FastAPI(lifespan=lifespan), {}):
            pytest.fail("it started")


@async_test
async def test_an_app_is_stopped_when_the_block_fails_too() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        log.append("down")

    with pytest.raises(ZeroDivisionError):
        async with started(FastAPI(lifespan=lifespan), {}):
            raise ZeroDivisionError
    assert log == ["down"]


@async_test
async def test_an_app_that_ends_without_an_answer_is_found_out() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    with pytest.raises(RuntimeError, match="without an answer to 'startup'"):
        async with started(silent, {}):
            pytest.fail("it started")
