"""Whatever the shop is asked, it answers as its OpenAPI says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backstay.testing import RunningApp
from examples.shop.app import create_app
from tests.examples.town import shop_alone
from tests.viewset.fuzzing import Asked, asked

# The app under test rolls dice of its own in the background, while hypothesis rolls its.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module inside strategies"
    ":hypothesis.errors.HypothesisDeprecationWarning"
)

EXAMPLES = 40

OPENAPI = create_app(
    {"DATABASE": "nowhere.db", "BACKSTAY_SECRET_KEY": "what is written here is read by nobody"}
).openapi()

UNREADABLE = {"description": "Bytes that are no text.", "content": {"application/json": {}}}
"""What FastAPI answers to them itself, and documents nowhere. Routes of view sets say 422."""

for _path in ("/orders", "/newsletter"):
    OPENAPI["paths"][_path]["post"]["responses"]["400"] = UNREADABLE

OPERATIONS = sorted(
    (method.upper(), path) for path, item in OPENAPI["paths"].items() for method in item
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    @asynccontextmanager
    async def served() -> AsyncIterator[RunningApp]:
        async with shop_alone(tmp_path_factory.mktemp("shop")) as town:
            yield town.shop

    with asked(served, OPENAPI) as here:
        yield here


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(e) for e in OPERATIONS])
def test_every_answer_of_the_shop_is_one_that_is_documented(
    method: str, path: str, shop: Asked
) -> None:

    shop.fuzz(shop.schema[path][method], examples=EXAMPLES)


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_so_are_those_about_a_customer_who_is_there(method: str, shop: Asked) -> None:
    new: dict[str, Any] = {"name": method, "email": f"{method.lower()}@example.com"}
    made = shop.portal.call(lambda: shop.client.post("/customers", json=new))
    assert made.status_code == 201, made.text
    operation = shop.schema["/customers/{item_id}"][method]
    fixed = {"item_id": made.json()["id"]}
    shop.fuzz(operation, examples=EXAMPLES, path_parameters=fixed)
