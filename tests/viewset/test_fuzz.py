"""Whatever view sets are asked, they answer as their OpenAPI says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI

from backstay.testing import RunningApp
from backstay.viewset import CursorPaginator, DefaultPaginator, FullViewSet, ViewSetBulk
from tests.viewset.fuzzing import Asked, asked
from tests.viewset.stage import (
    Customer,
    CustomerRow,
    Order,
    OrderRow,
    Tag,
    TagRow,
    Thing,
    ThingRow,
    both,
    serving,
)


class Plain(FullViewSet):
    db_model = ThingRow
    pydantic_model = Thing


class Paged(ViewSetBulk, FullViewSet):
    """Pages, filters of all kinds, bulk, versions and items that are only marked as deleted."""

    db_model = ThingRow
    pydantic_model = Thing
    paginator_class = DefaultPaginator
    filter_fields = {
        "name": ["eq", "in", "icontains", "startswith"],
        "price": ["gte", "lte", "in", "isnull"],
    }
    search_fields = ["name"]
    ordering_fields = ["price", "name"]
    version_field = "version"
    soft_delete = "deleted_at"


class Scrolled(FullViewSet):
    db_model = CustomerRow
    pydantic_model = Customer
    paginator_class = CursorPaginator
    filter_fields = ["email"]
    ordering_fields = ["email", "id"]


class Tags(ViewSetBulk, FullViewSet):
    db_model = TagRow
    pydantic_model = Tag
    bulk_limit = 3


class Deep(FullViewSet):
    db_model = OrderRow
    pydantic_model = Order
    paginator_class = DefaultPaginator
    deep_schema = True
    filter_fields = {"note": ["eq"], "lines.sku": ["eq", "in"], "customer.email": ["icontains"]}
    search_fields = ["note"]


ALL = (
    (Plain, "/plain"),
    (Paged, "/paged"),
    (Scrolled, "/scrolled"),
    (Tags, "/tags"),
    (Deep, "/deep"),
)


@contextmanager
def stand(database: str, folder: Path) -> Iterator[Asked]:
    """All those view sets, and a row or two for each."""
    found: list[FastAPI] = []

    @asynccontextmanager
    async def served() -> AsyncIterator[RunningApp]:
        async with serving(
            database,
            folder,
            *ALL,
            prepare=found.append,
            raise_app_exceptions=True,
            settings={"BACKSTAY_SECRET_KEY": "what is written here is read by nobody"},
        ) as client:
            customer = {"email": "ada@example.com"}
            order = {"customer": {"id": 1}, "lines": [{"sku": "cup", "quantity": 1}], "tags": []}
            for path, item in (
                ("/plain", {"name": "cup"}),
                ("/scrolled", customer),
                ("/tags", {"name": "new"}),
                ("/deep", order),
            ):
                answer = await client.post(path, json=item)
                assert answer.status_code == 201, answer.text
            yield client

    app = FastAPI()
    router = APIRouter()
    for cls, prefix in ALL:
        cls().as_view(router, prefix)
    app.include_router(router)
    with asked(served, app.openapi()) as here:
        yield here
