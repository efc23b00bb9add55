"""What the shop asks of its third parties, against them as the real services they are."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from backstay.errors import CircuitBreakerError, UpstreamError
from backstay.testing import MockRules, patch_integration
from examples.shop.integrations import Analytics, Mail, ParcelService, Partners, PaymentGateway
from examples.shop.processes import Service, settings_for, third_parties
from tests.examples.town import RELIABLE, shop_alone
from tests.support import async_test

ONE_CUP = PaymentGateway.Schema.NewCharge(order=1, amount_cents=900, card="tok_visa")


@asynccontextmanager
async def partners(**failures: float) -> AsyncIterator[tuple[Partners, dict[str, Service]]]:
    async with third_parties(failures={**RELIABLE, **failures}) as services:
        found = Partners.at(settings_for(services))
        try:
            yield found, services
        finally:
            for each in found:
                await each.aclose()


async def book(service: Service) -> list[dict[str, object]]:
    async with httpx.AsyncClient() as client:
        found: list[dict[str, object]] = (await client.get(f"{service.url}/received")).json()
        return found


def request_id_with(path: str, faults: Iterable[bool]) -> str:
    """A request whose attempts have that luck, where half of them fail."""

    def fails(request_id: str, attempt: int) -> bool:
        luck = random.Random(f"0 {path} {request_id} {attempt}")
        luck.uniform(0, 1)
        return luck.random() < 0.5

    wanted = list(faults)
    for number in range(1_000):
        request_id = f"r-{number}"
        if [fails(request_id, attempt) for attempt in range(1, len(wanted) + 1)] == wanted:
            return request_id
    raise AssertionError("nobody has that luck")


@async_test
async def test_a_charge_is_made_once_under_its_key_and_a_refund_names_it_by_that() -> None:
    async with partners() as (shop, services):
        gateway = shop.payment.with_options(idempotency_key="k-1", headers={"X-Request-ID": "r"})
        first, again = await gateway.charge(ONE_CUP), await gateway.charge(ONE_CUP)
        assert isinstance(first, PaymentGateway.Schema.Charge)
        assert isinstance(again, PaymentGateway.Schema.Charge)
        assert (first.is_replay, again.is_replay) == (False, True)
        assert first.id == again.id
        assert (await gateway.refund(1)).refunded
        assert not (await shop.payment.with_options(idempotency_key="k-2").refund(2)).refunded
        (charge,) = await book(services["payment"])
        assert charge["body"] == ONE_CUP.model_dump()
        assert (charge["key"], charge["request_id"]) == ("k-1", "r")
        assert (charge["asked"], charge["refunded"]) == (2, True)


@async_test
async def test_a_card_that_is_declined_is_an_answer_and_a_bank_that_is_silent_an_error() -> None:
    async with partners() as (shop, _):
        declined = ONE_CUP.model_copy(update={"card": "tok_declined"})
        answer = await shop.payment.charge(declined)
        assert answer == PaymentGateway.SchemaError.http402(error="declined")
        silent = ONE_CUP.model_copy(update={"card": "tok_bank_down"})
        for _ in range(7):  # of which five would open the circuit, if they were the gateway's fault
            with pytest.raises(UpstreamError) as caught:
                await shop.payment.charge(silent)
            assert caught.value.answered == 504
            assert isinstance(caught.value.error, PaymentGateway.SchemaError.http504)
        assert isinstance(await shop.payment.charge(ONE_CUP), PaymentGateway.Schema.Charge)


@async_test
async def test_messages_shipments_and_events_arrive_as_they_are_documented() -> None:
    async with partners() as (shop, services):
        message = Mail.Schema.NewMessage(to="ada@example.com", template="receipt", order=1)
        assert (await shop.mail.send(message)).id == "email-1"
        assert (await shop.mail.welcome("ada@example.com")).id == "email-2"
        lines = [ParcelService.Schema.Line(sku="cup", quantity=2)]
        assert (await shop.parcels.ship(1, lines)).id == "warehouse-1"
        event = Analytics.Schema.Event(event="order_placed", order=1, total_cents=900)
        await shop.analytics.track(event)
        receipt, welcome = await book(services["email"])
        assert receipt["body"] == message.model_dump()
        assert welcome["body"] == {"to": "ada@example.com", "template": "welcome"}
        (shipment,) = await book(services["warehouse"])
        assert shipment["body"] == {"order": 1, "items": [{"sku": "cup", "quantity": 2}]}
        (tracked,) = await book(services["analytics"])
        assert tracked["body"] == event.model_dump()


@async_test
async def test_a_welcome_is_tried_again_under_one_key_for_no_job_would() -> None:
    async with partners(email=0.5) as (shop, services):
        unlucky = request_id_with("/messages", [True, True, False])
        mail = shop.mail.with_options(headers={"X-Request-ID": unlucky})
        await mail.welcome("ada@example.com")
        assert len(await book(services["email"])) == 1


@async_test
async def test_who_is_down_for_charges_is_not_asked_for_refunds_and_others_are_asked() -> None:
    async with partners() as (shop, services), httpx.AsyncClient() as client:
        gateway = services["payment"].url
        await client.post(f"{gateway}/down")
        for _ in range(5):
            with pytest.raises(UpstreamError):
                await shop.payment.charge(ONE_CUP)
        with pytest.raises(CircuitBreakerError):
            await shop.payment.charge(ONE_CUP)
        with pytest.raises(CircuitBreakerError):
            await shop.payment.refund(1)
        assert (await client.get(f"{gateway}/asked")).json() == 5
        await shop.mail.welcome("ada@example.com")


def test_no_card_is_shown_where_a_charge_is_printed() -> None:
    assert "tok_visa" not in repr(ONE_CUP)
    assert "tok_visa" not in str(ONE_CUP)


@async_test
async def test_without_any_third_party_mocks_stand_in_and_an_order_is_processed(
    tmp_path: Path,
) -> None:
    rules = MockRules(
        {
            PaymentGateway.charge: {"id": "ch-1", "is_replay": False},
            Mail.send: Mail.Schema.Message(id="m-1"),
            ParcelService.ship: {"id": "p-1"},
            Analytics.track: {},
        }
    )
    async with shop_alone(tmp_path) as here:
        with patch_integration(rules):
            await here.order("r-1", cup=2)
            await here.settle()
            assert (await here.details(1))["status"] == "processed"
            charge = rules.assert_called(PaymentGateway.charge).arguments["charge"]
            assert (charge.order, charge.amount_cents) == (1, 1_800)
            rules.assert_called(Mail.send)
            rules.assert_not_called(PaymentGateway.refund)


@async_test
async def test_a_card_that_mocks_decline_calls_the_order_off_and_nobody_else_is_told(
    tmp_path: Path,
) -> None:
    declined = PaymentGateway.SchemaError.http402(error="declined")
    rules = MockRules({PaymentGateway.charge: declined, Analytics.track: {}})
    async with shop_alone(tmp_path) as here:
        with patch_integration(rules):
            await here.order("r-1", cup=2)
            await here.settle()
            assert (await here.details(1))["status"] == "payment_failed"
            assert rules.misses == []
