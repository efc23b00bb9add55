"""A task whose annotations are strings and name what is defined further down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backstay.jobs.arguments import Arguments, Result

if TYPE_CHECKING:
    from decimal import Decimal


def ship(order: Later, others: list[Later]) -> Later:
    return order


def pay(amount: Decimal) -> Decimal:
    return amount


SHIP = Arguments(ship, name="ship")
SHIPPED = Result(ship, "ship")


@dataclass
class Later:
    number: int
