"""Telemetry as a part: scraped one at a time, and shared while the app runs."""

import asyncio

import pytest
from fastapi import FastAPI

from backstay.telemetry import TelemetryPart, add_telemetry
from backstay.testing import running
from backstay.web import Ctx
from tests.support import async_test


@async_test
async def test_scrapes_at_the_same_time_are_all_answered() -> None:
    part = add_telemetry(FastAPI())
    answers = await asyncio.gather(*(part.scrape() for _ in range(5)))
    assert len(answers) == 5
    assert all(b"backstay_info" in body for body, _ in answers)


@async_test
async def test_without_metrics_there_is_nothing_to_scrape() -> None:
    part = add_telemetry(FastAPI(), metrics=False)
    with pytest.raises(RuntimeError, match="no metrics"):
        await part.scrape()


@async_test
async def test_a_context_has_it_for_metrics_of_the_app() -> None:
    app = FastAPI()
    part = add_telemetry(app)

    @app.get("/")
    async def endpoint(ctx: Ctx) -> bool:
        return ctx.telemetry is part and isinstance(part, TelemetryPart)

    async with running(app) as client:
        assert (await client.get("/")).json() is True


@async_test
async def test_an_app_may_run_again_in_another_loop() -> None:
    part = add_telemetry(FastAPI())
    for _ in range(2):
        await part.open()
        await part.scrape()
        await part.close()
