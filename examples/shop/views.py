"""Products, customers and orders over HTTP: what a class says of a table, and nothing else.

Everybody sees products; customers are for admins; orders are for whoever they belong to. Placing an
order is more than writing a row, so that route, and the one that shows how far an order is, stand in
``examples.shop.orders``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from fastapi import APIRouter, Depends
from sqlalchemy import ColumnElement, false

from backstay.auth import require_roles, require_scopes
from backstay.context import Context
from backstay.viewset import (
    CursorPaginator,
    DefaultPaginator,
    FullViewSet,
    GenericViewSet,
    ViewSetList,
    ViewSetRetrieve,
)
from examples.shop.identity import ADMIN, account_of
from examples.shop.models import Customer, Order, Product
from examples.shop.store import CustomerRow, OrderRow, ProductRow

__all__ = ["PRODUCTS_CHANGED", "add_views"]

PRODUCTS_CHANGED = "table:products"
"""By which answers about products are known in the cache, for orders change what is left of them."""


class ProductViewSet(ViewSetList, ViewSetRetrieve, GenericViewSet):
    """What there is to buy. Answers are kept, and gone the moment that somebody orders."""

    db_model = ProductRow
    pydantic_model = Product
    tags = ("products",)
    paginator_class = DefaultPaginator
    filter_fields: ClassVar = {"price_cents": ["gte", "lte"], "sku": ["in"]}
    search_fields = ("name", "sku")
    ordering_fields = ("price_cents", "name", "stock")
    ordering = "sku"
    cache_class = True
    cache_ttl = 300.0
    cache_public = True
    cache_early = True


class CustomerViewSet(FullViewSet):
    """Who buys, for admins. Two who change one customer at a time do not undo each other's work."""

    dependencies = (Depends(require_roles(ADMIN)), Depends(require_scopes("customers")))
    db_model = CustomerRow
    pydantic_model = Customer
    tags = ("customers",)
    paginator_class = DefaultPaginator
    read_only = ("joined_at",)
    filter_fields = ("email",)
    search_fields = ("name", "email")
    ordering_fields = ("name", "joined_at")
    soft_delete = "left_at"
    version_field = "version"

    async def own_values(self, action: str, ctx: Context) -> dict[str, Any]:
        """When they came is ours to say."""
        return {"joined_at": datetime.now(UTC)} if action == "create" else {}


class OrderViewSet(ViewSetList, GenericViewSet):
    """What was bought, with its items, newest first, page after page as a customer scrolls. Accounts
    see their own orders, admins all of them.
    """

    dependencies = (Depends(require_scopes("orders:read")),)
    db_model = OrderRow
    pydantic_model = Order
    tags = ("orders",)
    paginator_class = CursorPaginator
    deep_schema = True
    filter_fields: ClassVar = {
        "status": ["eq", "in"],
        "email": ["eq"],
        "placed_at": ["gte", "lt"],
        "items.sku": ["eq"],
    }
    ordering_fields = ("id", "placed_at", "total_cents")
    ordering = "-id"

    async def visible(self, ctx: Context) -> ColumnElement[bool] | None:
        """In the SQL of every page, count and cursor, whatever is filtered and sorted by."""
        account = account_of(ctx)
        if account is None:  # a program
            return false()
        return None if account.is_admin else OrderRow.owner == account.email


def add_views(router: APIRouter) -> None:
    """Their routes."""
    router.views = [  # type: ignore[attr-defined]  # where what lists view sets looks for them
        ProductViewSet().as_view(router, prefix="/products"),
        CustomerViewSet().as_view(router, prefix="/customers"),
        OrderViewSet().as_view(router, prefix="/orders"),
    ]
