"""Names of routes, for people and for generated clients."""

import pytest
from fastapi import APIRouter, FastAPI

from backstay.viewset.names import operation_id, plural, resource_of, singular, spoken


@pytest.mark.parametrize(
    ("class_name", "resource"),
    [
        ("ProductViewSet", "product"),
        ("OrderLineViewSet", "order_line"),
        ("HTTPLogView", "http_log"),
        ("ViewSet", "view_set"),
        ("Products", "products"),
    ],
)
def test_a_resource_is_called_as_its_view_set_without_the_ending(
    class_name: str, resource: str
) -> None:
    assert resource_of(class_name) == resource


def test_people_read_spaces() -> None:
    assert spoken("order_line") == "order line"


@pytest.mark.parametrize(
    ("noun", "nouns"),
    [
        ("order", "orders"),
        ("category", "categories"),
        ("box", "boxes"),
        ("day", "days"),
        ("class", "classes"),
    ],
)
def test_regular_nouns_have_regular_plurals(noun: str, nouns: str) -> None:
    assert plural(noun) == nouns
    assert singular(nouns) == noun
    assert singular(noun) == noun


def test_an_operation_is_called_by_its_verb_and_its_whole_path() -> None:
    async def endpoint(item_id: int) -> None: ...

    inner = APIRouter(prefix="/products")
    inner.add_api_route(
        "/{item_id}/stock-level",
        endpoint,
        name="product.retrieve",
        generate_unique_id_function=operation_id,
    )
    outer = APIRouter(prefix="/api/v1")
    outer.include_router(inner)
    app = FastAPI()
    app.include_router(outer)
    ((path, methods),) = app.openapi()["paths"].items()
    assert path == "/api/v1/products/{item_id}/stock-level"
    assert methods["get"]["operationId"] == "retrieve_api_v1_products_stock_level"
