"""Whatever the shop is asked, by whomever, it answers as its OpenAPI says."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from examples.shop.app import create_app
from tests.examples.town import Headers, Town, shop_alone
from tests.viewset.fuzzing import Asked, asked

# The app under test rolls dice of its own in the background, while hypothesis rolls its.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module inside strategies"
    ":hypothesis.errors.HypothesisDeprecationWarning"
)

EXAMPLES = 40

OPENAPI = create_app(
    {"DATABASE": "nowhere.db", "BACKSTAY_SECRET_KEY": secrets.token_urlsafe(32)}
).openapi()

OPERATIONS = sorted(
    (method.upper(), path) for path, item in OPENAPI["paths"].items() for method in item
)

OPEN = {
    ("GET", "/healthcheck"),
    ("GET", "/orders/{order_id}"),  # with an order's key
    ("GET", "/products"),
    ("GET", "/products/{item_id}"),
    ("POST", "/accounts"),
    ("POST", "/newsletter"),
    ("POST", "/orders"),
    ("POST", "/token"),
    ("POST", "/token/revoke"),
}
"""What is answered to whoever shows nothing. All else is for those who show who they are."""


@dataclass(frozen=True)
class Shop:
    """The shop, to be asked from this thread."""

    asked: Asked
    town: Town

    def show(self, headers: Headers) -> None:
        """What every request shows from now on."""
        for name in ("Authorization", "X-API-Key"):
            self.asked.client.headers.pop(name, None)
        self.asked.client.headers.update(headers)

    def let_in(self, path: str) -> None:
        """Show what opens that path. Afresh: what was asked before may have ended a session."""
        if path.startswith("/warehouse"):
            self.show(self.asked.portal.call(self.town.key, "warehouse")[1])
        else:
            self.show(self.asked.portal.call(self.town.login, "admin@example.com", "admin"))


@pytest.fixture(scope="module")
def running_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    towns: list[Town] = []

    @asynccontextmanager
    async def served() -> AsyncIterator[Any]:
        async with shop_alone(tmp_path_factory.mktemp("shop")) as town:
            towns.append(town)
            yield town.shop

    with asked(served, OPENAPI) as here:
        yield Shop(here, towns[0])


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(e) for e in OPERATIONS])
def test_every_answer_of_the_shop_is_one_that_is_documented(
    method: str, path: str, running_shop: Shop
) -> None:
    running_shop.let_in(path)
    operation = running_shop.asked.schema[path][method]
    running_shop.asked.fuzz(operation, examples=EXAMPLES)


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(e) for e in OPERATIONS])
def test_whoever_shows_nothing_gets_in_where_that_is_meant_and_nowhere_else(
    method: str, path: str, running_shop: Shop
) -> None:
    running_shop.show({})
    answers: list[httpx.Response] = []
    running_shop.asked.fuzz(
        running_shop.asked.schema[path][method],
        examples=EXAMPLES // 4,
        check=lambda case, answer: answers.append(answer),
    )
    codes = {answer.status_code for answer in answers}
    assert codes
    if (method, path) in OPEN:
        assert codes != {401}
    else:
        assert not {code for code in codes if code < 400}
        # Malformed requests may be turned down before anybody asks who sends them.
        assert codes <= {400, 401, 405, 415, 422}


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_so_are_those_about_a_customer_who_is_there(method: str, running_shop: Shop) -> None:
    running_shop.let_in("/customers")
    new: dict[str, Any] = {"name": method, "email": f"{method.lower()}@example.com"}
    made = running_shop.asked.ask("POST", "/customers", json=new)
    assert made.status_code == 201, made.text
    operation = running_shop.asked.schema["/customers/{item_id}"][method]
    fixed = {"item_id": made.json()["id"]}
    running_shop.asked.fuzz(operation, examples=EXAMPLES, path_parameters=fixed)
