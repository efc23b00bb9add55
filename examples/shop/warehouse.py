"""What the warehouse's machines do: with API keys, which are made by ``examples.shop.keys``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query

from backstay.auth import current_user, require_scopes
from backstay.context import User
from backstay.web import Ctx, HTTPException404, HTTPException409
from examples.shop import store
from examples.shop.models import Delivery, Parcel, Product
from examples.shop.premises import Session
from examples.shop.views import PRODUCTS_CHANGED

__all__ = ["SCOPE", "router"]

SCOPE = "warehouse"
"""What a key has to allow. No login's token does."""

_NOT_FOR_YOU: dict[int | str, dict[str, Any]] = {
    401: {
        "description": "This needs an API key.",
        "content": {"application/problem+json": {}},
    },
    403: {
        "description": f"The key has no scope `{SCOPE}`.",
        "content": {"application/problem+json": {}},
    },
}

router = APIRouter(
    prefix="/warehouse",
    tags=["warehouse"],
    dependencies=[Depends(require_scopes(SCOPE))],
    responses=_NOT_FOR_YOU,
)


@router.get("/orders", summary="List what is to be packed")
async def list_parcels(
    session: Session, limit: Annotated[int, Query(ge=1, le=500)] = 100
) -> list[Parcel]:
    """Orders that are paid and not shipped, the oldest first."""
    return await store.to_be_packed(session, limit)


@router.post(
    "/stock/{sku}",
    summary="Take a delivery in",
    responses={
        404: {
            "description": "There is no such product.",
            "content": {"application/problem+json": {}},
        },
        409: {
            "description": "That delivery was another one.",
            "content": {"application/problem+json": {}},
        },
    },
)
async def take_in(
    sku: Annotated[str, Path(max_length=40)],
    delivery: Delivery,
    ctx: Ctx,
    session: Session,
    user: Annotated[User, Depends(current_user)],
) -> Product:
    """More of a product is on the shelf, from the next look at it on. A delivery that is sent again,
    because the answer was lost, is counted once.
    """
    try:
        key = str(user.claims["api_key"])
        product = await store.take_in(session, sku, delivery, key)
    except store.UnknownProduct as error:
        raise HTTPException404(str(error)) from None
    except store.NumberTaken as error:
        raise HTTPException409(str(error)) from None
    await ctx.cache.invalidate(PRODUCTS_CHANGED)  # once the session has committed
    ctx.logger.info("delivery %s: %d x %s", delivery.number, delivery.quantity, sku)
    return product
