"""The same by view sets, and answers that are kept."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import HTTPBearer

from backstay.cache import add_cache
from backstay.db import MainDatabaseManager, add_database
from backstay.viewset import DefaultPaginator, GenericViewSet, ViewSetCreate, ViewSetList
from benchmarks.data.schemas import Item
from benchmarks.data.tables import ItemRow, MadeRow, url_of

__all__ = ["app"]


class Items(ViewSetList, GenericViewSet):
    db_model = ItemRow
    pydantic_model = Item


class Pages(Items):
    paginator_class = DefaultPaginator


class Made(ViewSetCreate, GenericViewSet):
    db_model = MadeRow
    pydantic_model = Item


class Routed(Items):
    cache_class = True
    cache_ttl = 3600
    cache_public = True


class Early(Routed):
    cache_early = True


class Private(Items):
    cache_class = True
    cache_ttl = 3600
    dependencies = (Depends(HTTPBearer()),)


def app(driver: str) -> FastAPI:
    manager = MainDatabaseManager(url_of(driver), pool_size=10)
    made = FastAPI()
    add_database(made, manager)
    add_cache(made, "memory://")
    router = APIRouter()
    for cls, prefix in (
        (Items, "/list"),
        (Pages, "/page"),
        (Made, "/made"),
        (Routed, "/routed"),
        (Early, "/early"),
        (Private, "/private"),
    ):
        cls().as_view(router, prefix)
    made.include_router(router)
    return made
