"""The payment gateway is down for a while: orders are taken, wait, and are all processed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from backstay.testing import enqueued
from tests.examples.town import RELIABLE, Town, town
from tests.support import async_test

ORDERS = 16
ATTEMPTS = 8
"""Of a payment, if each call were made."""


async def tell(here: Town, what: str) -> Any:
    async with httpx.AsyncClient() as client:
        url = f"{here.services['payment'].url}/{what}"
        if what == "asked":
            return (await client.get(url)).json()
        return await client.post(url)


async def payments(here: Town) -> list[Any]:
    return [job for job in await enqueued(here.shop) if job.task == "shop.payment"]


async def refunds(here: Town) -> list[Any]:
    return [job for job in await enqueued(here.shop) if job.task == "shop.refund"]


async def calls_and_attempts_while_all_wait(here: Town) -> tuple[int, int]:
    """How often the gateway was asked and how many attempts there were, each payment being put off,
    and none of them having come back while one was looking.
    """
    while True:
        before = [(job.state, job.run_at, job.attempt) for job in await payments(here)]
        asked = await tell(here, "asked")
        after = [(job.state, job.run_at, job.attempt) for job in await payments(here)]
        if before == after and {state for state, _, _ in before} == {"scheduled"}:
            return asked, sum(attempts for _, _, attempts in before)
        await asyncio.sleep(0.02)


@async_test
async def test_orders_are_accepted_and_wait_without_using_up_attempts_and_all_are_processed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="backstay.integration")
    async with town(tmp_path, failures=RELIABLE) as here:
        await tell(here, "down")
        for number in range(ORDERS):
            answer = await here.order(f"r-{number}", cup=1)
            assert answer.status_code == 201
        asked, attempts = await calls_and_attempts_while_all_wait(here)
        assert "the circuit of PaymentGateway.charge is open" in caplog.text

        # Who is down was asked a few times, and not by every order until it had no attempt left.
        assert 5 <= asked < ORDERS * ATTEMPTS * 0.15
        # What was not asked was no attempt, and those that only found the circuit open were none.
        assert attempts <= asked

        await tell(here, "up")
        await here.settle()
        assert "the circuit of PaymentGateway.charge is closed again" in caplog.text
        found = [await here.details(number) for number in range(1, ORDERS + 1)]
        assert {order["status"] for order in found} == {"processed"}
        assert await here.wrong(*range(1, ORDERS + 1)) == []
        # Since it is up, each order was charged by one call.
        assert await tell(here, "asked") <= asked + 2 + ORDERS


@async_test
async def test_an_outage_that_lasts_uses_up_no_attempts_though_one_call_a_while_tries(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        await tell(here, "down")
        await here.order("r-1", cup=1)
        asked, attempts = await calls_and_attempts_while_all_wait(here)
        while await tell(here, "asked") < asked + 2:
            await asyncio.sleep(0.02)
        assert (await calls_and_attempts_while_all_wait(here))[1] == attempts < asked
        await tell(here, "up")
        await here.settle()
        assert (await here.details(1))["status"] == "processed"
        assert await here.wrong(1) == []


@async_test
async def test_whoever_waits_for_too_long_is_told_and_nothing_is_charged(tmp_path: Path) -> None:
    async with town(tmp_path, failures=RELIABLE, WAIT_S="0.2") as here:
        await tell(here, "down")
        assert (await here.order("r-1", cup=1)).status_code == 201
        while (await here.details(1))["status"] != "payment_failed":
            await asyncio.sleep(0.02)
        await tell(here, "up")
        await here.settle()  # the refund, which has more patience
        (payment,) = await payments(here)
        assert payment.state == "discarded"
        assert "out of patience after 0.2 s: " in str(payment.error)
        assert await here.wrong(1) == []


@async_test
async def test_what_is_owed_is_given_back_however_long_that_has_to_wait(tmp_path: Path) -> None:
    async with town(tmp_path, failures=RELIABLE, WAIT_S="0") as here:
        assert (await here.order("r-1", "tok_bank_down", cup=1)).status_code == 201
        while not await refunds(here):
            await tell(here, "down")
            await asyncio.sleep(0.02)
        while {job.state for job in await refunds(here)} != {"scheduled"}:
            await asyncio.sleep(0.02)
        await tell(here, "up")
        await here.settle()
        assert {job.state for job in await refunds(here)} == {"succeeded"}


@async_test
async def test_while_analytics_is_down_events_are_kept_at_once(tmp_path: Path) -> None:
    async with town(tmp_path, failures=RELIABLE) as here:
        async with httpx.AsyncClient() as client:
            analytics = here.services["analytics"].url
            await client.post(f"{analytics}/down")
            orders = range(1, 9)
            for number in orders:
                await here.order(f"r-{number}", cup=1)
            await here.settle()
            # Eight failures open the circuit, and 24 attempts would have been made.
            assert (await client.get(f"{analytics}/asked")).json() < 16
        assert await here.wrong(*orders) == []  # each event is known to analytics, or kept
