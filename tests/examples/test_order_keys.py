"""Keys of orders: each is for one order, made with one secret, and cannot be made without."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from examples.shop.models import Order
from examples.shop.order_keys import OrderKeys

OLD, NEW = "the secret of last year", "the secret of this year"
AT = datetime(2031, 5, 4, 12, 30, 1, 17, tzinfo=UTC)


def order(number: int = 7, placed_at: datetime = AT) -> Order:
    return Order(
        id=number,
        status="paid",
        email="ada@example.com",
        items=[],
        total_cents=900,
        placed_at=placed_at,
        correlation_id="r-1",
    )


def test_a_key_fits_its_order_however_far_that_is_and_fits_no_other() -> None:
    keys = OrderKeys([NEW])
    key = keys.key_of(order())
    assert len(key) == 43
    assert keys.fits(key, order())
    assert keys.fits(key, order().model_copy(update={"status": "processed"}))
    assert not keys.fits(key, order(8))
    assert not keys.fits(key, order(77))
    assert not keys.fits(key, order(placed_at=AT + timedelta(microseconds=1)))
    assert not keys.fits(None, order())


def test_a_key_survives_a_new_secret_as_long_as_the_old_one_is_named() -> None:
    key = OrderKeys([OLD]).key_of(order())
    assert OrderKeys.from_setting(f"{NEW}, {OLD}").fits(key, order())
    assert OrderKeys.from_setting(f"{NEW},{OLD}").key_of(order()) != key
    assert not OrderKeys([NEW]).fits(key, order())


@given(st.text())
def test_what_somebody_makes_up_fits_nothing(made_up: str) -> None:
    assert not OrderKeys([NEW, OLD]).fits(made_up, order())


def test_secrets_are_not_shown() -> None:
    assert OLD not in repr(OrderKeys([OLD]))
