"""What goes over the wire."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

Email = Annotated[
    str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=254, examples=["ada@example.com"])
]
# Whoever logs in is known by his address, so one address has to be one text.
AccountEmail = Annotated[Email, AfterValidator(str.lower)]
# SQLite keeps no offset, and what leaves the shop is a date-time of RFC 3339, which has one.
Instant = Annotated[
    datetime, AfterValidator(lambda at: at if at.tzinfo is not None else at.replace(tzinfo=UTC))
]
Status = Literal["processing", "paid", "processed", "payment_failed", "needs_attention"]
Role = Literal["customer", "admin"]
Moment = Literal["durable", "after_response"]

STEPS: dict[str, Moment] = {
    "payment": "durable",
    "receipt": "durable",
    "warehouse": "durable",
    "analytics": "after_response",
}
"""What every order needs. Durable steps survive any process; the others end with theirs."""


class Item(BaseModel):
    """So many of one product."""

    sku: str = Field(examples=["teapot"])
    quantity: int = Field(ge=1, le=100, examples=[1])


class NewOrder(BaseModel):
    """What a customer sends."""

    email: Email
    items: list[Item] = Field(min_length=1, max_length=20)
    card: str = Field(
        description="A token of the payment gateway's. As with any gateway's test mode, some are "
        "special: `tok_declined` is refused, for `tok_bank_down` the card's bank never answers, "
        "and `tok_slow` is charged at once and answered a while later.",
        examples=["tok_visa"],
        repr=False,
    )


class Order(BaseModel):
    """An order as the shop keeps it."""

    model_config = ConfigDict(frozen=True)

    id: int
    status: Status
    email: str
    items: list[Item]
    total_cents: int
    placed_at: Instant
    correlation_id: str = Field(description="On every log line and every call to a third party.")

    @property
    def title(self) -> str:
        """For people: ``2 x cup, 1 x teapot``."""
        return ", ".join(f"{item.quantity} x {item.sku}" for item in self.items)


class AcceptedOrder(Order):
    """An order that was just placed."""

    order_key: str | None = Field(
        description="For guests: send it as `X-Order-Key` to see the order again. Whoever has it "
        "may. `null` if you were logged in: then you see it as yourself."
    )


class Step(BaseModel):
    """One thing that is done for an order by a durable job."""

    step: str
    job: UUID
    state: str = Field(description="Of the job: `running`, `retrying`, `succeeded` ...")
    attempts: int
    detail: str = Field(
        description="What it came to. Why an attempt failed is the shop's business: admins see it."
    )


class OrderDetails(Order):
    """An order and how far each step is."""

    steps: list[Step]


class Product(BaseModel):
    """Something the shop sells."""

    sku: str
    name: str
    price_cents: int
    stock: int = Field(description="What stands on the shelf.")
    reserved: int = Field(description="How much of that is set aside for orders not paid yet.")


class Customer(BaseModel):
    """Somebody who buys."""

    id: int
    email: Email
    name: str = Field(min_length=1, max_length=100, examples=["Ada Lovelace"])
    joined_at: Instant


class NewAccount(BaseModel):
    """A sign-up."""

    email: AccountEmail
    password: SecretStr = Field(
        min_length=12,
        max_length=200,
        description="Twelve characters or more, of any kind.",
        examples=["four words or more"],
    )


class SignedUp(BaseModel):
    """The same for an address that was free and for one that was not."""

    email: str
    message: str = (
        "Log in with the password you have chosen. If there was an account with this address "
        "already, its password is what it was, and a mail says that somebody has tried."
    )


class Parcel(BaseModel):
    """An order to be packed. Who gets it and what it cost is not the packers' business."""

    order: int
    placed_at: Instant
    items: list[Item]


class Delivery(BaseModel):
    """Goods that came in."""

    number: str = Field(
        min_length=1,
        max_length=64,
        description="Of the delivery note. Sent again, the same delivery is counted once.",
        examples=["DN-2031-7"],
    )
    quantity: int = Field(ge=1, le=10_000, examples=[24])


class Subscription(BaseModel):
    """A sign-up for the newsletter."""

    email: Email


def euros(cents: int) -> str:
    """An amount, for people."""
    return f"{cents / 100:,.2f} €"


# ------------------------------------------------------------------ what AI assistants send


class Search(BaseModel):
    """What an assistant looks for."""

    text: str = Field("", max_length=100, description="Words of the name. Empty: everything.")
    max_price: float | None = Field(None, gt=0, le=100_000, description="In euros.")
    look_at: str | None = Field(
        None, max_length=40, description="The sku of a product to look at more closely."
    )


class OrderQuestion(BaseModel):
    """Which order, and whether there is time."""

    order_id: int = Field(ge=1, le=2**63 - 1, description="As place_order gave it.")
    order_key: str | None = Field(
        None,
        max_length=100,
        description="As place_order gave it with the order_id. Not needed for orders of a user who "
        "is logged in.",
        repr=False,
    )
    wait: bool = Field(
        False,
        description="Answer when the order is through (at most 20 s), reporting progress meanwhile.",
    )


class OrderByAssistant(NewOrder):
    """An order that may be sent twice."""

    key: str = Field(
        min_length=8,
        max_length=64,
        description="Make one up for each order, and send the same one again if you cannot tell "
        "whether the order came through: it is placed once.",
        examples=["tea-for-ada-7f3a"],
    )

    def fingerprint(self, owner: str | None) -> str:
        """The same for what was sent twice, and for nothing else.

        The card is in it, because keys can be guessed and are not what a guest is known by.

        Args:
            owner: the account that sends it, ``None`` for a guest.

        Returns:
            More characters than a ``key`` can have, so it is never taken for one.
        """
        items = sorted((each.sku, each.quantity) for each in self.items)
        sent = json.dumps([owner, self.key, self.email, self.card, items])
        return f"sent: {hashlib.sha256(sent.encode()).hexdigest()}"


class Placed(BaseModel):
    """What place_order answers."""

    order_id: int
    status: Status
    items: str
    total: str
    order_key: str | None = Field(
        description="For guests: order_status takes it, and shows the order to whoever has it. "
        "null if the user is logged in.",
        repr=False,
    )
    again: bool = Field(description="The key was known, so this is the order placed before.")


class ShownStep(BaseModel):
    """One step, for the customer."""

    title: str
    status: str
    note: str = ""


class ShownOrder(BaseModel):
    """An order as the template ``progress`` shows it."""

    title: str
    subtitle: str
    status: Literal["running", "succeeded", "failed"]
    done: int
    total: int
    message: str
    steps: list[ShownStep]
    poll: dict[str, Any] = Field(description="Where the page asks for news.")
    result: dict[str, str] | None = Field(None, description="Once it is through.")
