"""Placing an order, and following it: as the account whose it is, or as a guest who has its key."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Response

from backstay import Context
from backstay.errors import NotAllowed
from backstay.limits import rate_limit
from backstay.web import Ctx, HTTPException403, HTTPException404
from examples.shop import store
from examples.shop.identity import account_of
from examples.shop.models import AcceptedOrder, NewOrder, OrderDetails
from examples.shop.premises import CurrentShop, Session
from examples.shop.steps import begin, steps_of

__all__ = ["check_owner", "router"]

ORDER_KEY = "X-Order-Key"

router = APIRouter(prefix="/orders", tags=["orders"])


def check_owner(ctx: Context, email: str) -> str | None:
    """Whose order it will be that is placed with this address.

    Returns:
        The account that is logged in, ``None`` for a guest's.

    Raises:
        NotAllowed: the token is not for placing orders.
        HTTPException403: the address is not that of the account.
    """
    account = account_of(ctx)
    if account is None:
        return None
    if not account.may_order:
        raise NotAllowed("This token is not for placing orders.")
    if email.lower() != account.email:
        raise HTTPException403(
            f"You are logged in as {account.email}; place orders for others without logging in."
        )
    return account.email


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {}}}


@router.post(
    "",
    status_code=201,
    summary="Place an order",
    response_description="The order is yours, and whatever it needs is on disk. The rest follows.",
    responses={
        403: _problem("You are logged in, and the order is not in your name."),
        409: _problem("Sold out. Nothing is charged."),
        422: _problem("Something in the order will not do, or there is no such product."),
    },
    dependencies=[Depends(rate_limit("100/minute", name="orders"))],
)
async def place_order(
    new: NewOrder, ctx: Ctx, shop: CurrentShop, session: Session, response: Response
) -> AcceptedOrder:
    """Sets the items aside and answers. Payment, receipt and warehouse notice come after the
    answer, and they will come: the job that begins them is in the transaction of the order.

    Guests get a key to follow it with. Whoever is logged in sees it in `GET /orders`.
    """
    owner = check_owner(ctx, new.email)
    order = await begin(session, new, ctx, shop, owner=owner)
    response.headers["Cache-Control"] = "no-store"
    key = shop.order_keys.key_of(order) if owner is None else None
    return AcceptedOrder(**order.model_dump(), order_key=key)


@router.get(
    "/{order_id}",
    summary="Show an order and how far it is",
    responses={404: _problem("There is no such order, or it is none of yours.")},
)
async def get_order(
    order_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    ctx: Ctx,
    shop: CurrentShop,
    session: Session,
    response: Response,
    order_key: Annotated[
        str | None,
        Header(alias=ORDER_KEY, description="Of a guest's order, as `POST /orders` gave it."),
    ] = None,
) -> OrderDetails:
    """The order with the state of each of its durable steps, as the ledger has it. For whoever it
    belongs to, by login or by key, and for admins; for all others there is no such order.
    """
    order = await store.find_order(session, order_id)
    account = account_of(ctx)
    is_admin = account is not None and account.is_admin
    if order is not None and not is_admin:
        owner = await store.owner_of(session, order_id)
        if owner is None:
            is_theirs = shop.order_keys.fits(order_key, order)
        else:
            is_theirs = account is not None and account.email == owner
        if not is_theirs:
            order = None
    if order is None:
        raise HTTPException404(f"There is no order {order_id}, or it is none of yours.")
    response.headers["Cache-Control"] = "no-store"
    steps = await steps_of(session, order_id, ctx, with_faults=is_admin)
    return OrderDetails(**order.model_dump(), steps=steps)
