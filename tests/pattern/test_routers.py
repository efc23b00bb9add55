"""Routers go into the app with what their view sets say."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from sqlalchemy import Integer
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay.errors import BadPattern
from backstay.pattern.routers import add_tags, include, read_routers
from backstay.viewset import FullViewSet


class Base(DeclarativeBase):
    pass


class ProductRow(Base):
    __tablename__ = "pattern_products"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)


class Product(BaseModel):
    id: int


class ProductViewSet(FullViewSet):
    """What the shop sells."""

    db_model = ProductRow
    pydantic_model = Product


def test_view_sets_are_documented_once() -> None:
    router = APIRouter()
    view = ProductViewSet().as_view(router, prefix="/products")
    router.views = [view, view]  # type: ignore[attr-defined]  # the attribute is its users' own
    app = FastAPI(openapi_tags=[{"name": "mine"}])
    include(app, read_routers([router]))
    assert [each["name"] for each in app.openapi_tags or ()] == ["mine", "ProductViewSet"]
    assert "What the shop sells." in (app.openapi_tags or [])[1]["description"]
    assert "/products" in app.openapi()["paths"]


def test_what_is_said_of_a_tag_already_stands() -> None:
    said = [{"name": "common", "description": "my own words"}]
    app = FastAPI(openapi_tags=said)
    add_tags(app, [{"name": "common"}, {"name": "new"}])
    assert app.openapi_tags == [*said, {"name": "new"}]
    assert len(said) == 1, "the list is its owner's"


@pytest.mark.parametrize("wrong", [[FastAPI()], ["router"], APIRouter(), [(APIRouter(), "/x")]])
def test_what_is_no_router_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="routers="):
        read_routers(wrong)


def test_views_are_what_as_view_returned() -> None:
    router = APIRouter()
    for wrong in (ProductViewSet(), SimpleNamespace(), ProductViewSet):
        router.views = [wrong]  # type: ignore[attr-defined]  # the attribute is its users' own
        with pytest.raises(BadPattern, match="as_view"):
            read_routers([router])


def test_no_routers_are_none() -> None:
    assert read_routers(None) == read_routers([]) == ()
