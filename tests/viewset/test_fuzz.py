"""Whatever view sets are asked, they answer as their OpenAPI says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
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
    needs_postgres,
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


# The app under test rolls dice of its own in the background, while hypothesis rolls its.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Do not use the `random` module inside strategies"
    ":hypothesis.errors.HypothesisDeprecationWarning"
)

EXAMPLES = 25


def _app_of_all() -> FastAPI:
    app = FastAPI()
    router = APIRouter()
    for cls, prefix in ALL:
        cls().as_view(router, prefix)
    app.include_router(router)
    return app


OPENAPI = _app_of_all().openapi()
OPERATIONS = sorted(
    (method.upper(), path) for path, item in OPENAPI["paths"].items() for method in item
)
NEW: dict[str, Any] = {
    "/plain": {"name": "one"},
    "/paged": {"name": "two"},
    "/scrolled": {"email": "ada@example.com"},
    "/tags": {"name": "three"},
    "/deep": {
        "customer": {"email": "bob@example.com"},
        "lines": [{"sku": "cup", "quantity": 1}],
        "tags": [],
    },
}

each_operation = pytest.mark.parametrize(
    ("method", "path"), OPERATIONS, ids=[" ".join(each) for each in OPERATIONS]
)


@contextmanager
def stand(database: str, folder: Path) -> Iterator[Asked]:
    """All those view sets."""

    def served() -> AbstractAsyncContextManager[RunningApp]:
        return serving(
            database,
            folder,
            *ALL,
            # What the app did not expect is raised where it was asked for, which is better to read.
            raise_app_exceptions=True,
            settings={"BACKSTAY_SECRET_KEY": "what is written here is read by nobody"},
        )

    with asked(served, OPENAPI) as here:
        yield here


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=needs_postgres)])
def here(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Asked]:
    with stand(request.param, tmp_path_factory.mktemp("fuzz")) as found:
        yield found


@each_operation
def test_every_answer_is_one_that_is_documented(method: str, path: str, here: Asked) -> None:
    here.fuzz(here.schema[path][method], examples=EXAMPLES)


@pytest.mark.parametrize(
    ("method", "path"),
    [each for each in OPERATIONS if "{item_id}" in each[1]],
    ids=[" ".join(each) for each in OPERATIONS if "{item_id}" in each[1]],
)
def test_so_is_every_answer_about_an_item_that_is_there(
    method: str, path: str, here: Asked
) -> None:
    prefix = path.removesuffix("/{item_id}")
    unique = {
        key: f"{method} {path} {value}" if isinstance(value, str) else value
        for key, value in NEW[prefix].items()
    }
    if prefix == "/deep":
        unique["customer"] = {"email": f"{method} {path}"}
    made = here.ask("POST", prefix, json=unique)
    assert made.status_code == 201, made.text
    fixed = {"item_id": made.json()["id"]}
    here.fuzz(here.schema[path][method], examples=EXAMPLES, path_parameters=fixed)


# ------------------------------------------------------------------ what no schema would think of

TEXTS = ["\0", "a\0b", "\ud800", "\uffff", "%", "_%", "\\", "'", '"', "ß" * 60, "x" * 5000, "\x1b"]
NUMBERS = [2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 1e308, 0.5, -1, True]
BODIES = {
    "no text": b"\xff\xfe",
    "cut off": b'{"name": "a',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "too deep": b"[" * 100_000,
    "a number without an end": b'{"name": "a", "price": ' + b"9" * 10_000 + b"}",
    "not a number": b'{"name": "a", "price": NaN}',
    "infinity": b'{"name": "a", "price": 1e999}',
    "nothing": b"",
    "null": b"null",
    "said twice": b'{"name": "a", "name": null}',
    "a list": b"[]",
    "half a pair": b'{"name": "\\ud800"}',
    "a key that is half a pair": b'{"\\udfff": 1, "name": 1}',
}
IDS = ["0", "-1", str(2**31), str(2**63), str(10**400), "1.0", "1e3", "+1", "٣", "%00", "a%2Fb"]
HEADERS = ["", "*", '"', '""', 'W/"1"', '"1", ', "\xff", '"' * 9000, ", " * 4000, '"\x00"', "1"]


def _is_answer(answer: Any) -> None:
    assert answer.status_code in {200, 201, 204, 304, 404, 405, 409, 412, 422}, answer.text
    assert b"Traceback" not in answer.content
    if answer.status_code in {404, 409, 412, 422} and answer.headers["content-type"].endswith(
        "problem+json"
    ):
        assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_none_is_answered_with_422(name: str, here: Asked) -> None:
    headers = {"content-type": "application/json"}
    for method, path in OPERATIONS:
        if method in {"PATCH", "POST", "PUT"}:
            address = path.replace("{item_id}", "1")
            answer = here.ask(method, address, content=BODIES[name], headers=headers)
            _is_answer(answer)
            if name in {"no text", "cut off", "too deep", "a number without an end", "nothing"}:
                assert answer.status_code == 422, answer.text
                assert answer.headers["content-type"] == "application/problem+json"


def test_no_value_is_too_odd_for_an_answer(here: Asked) -> None:
    for text in TEXTS:
        # Not json=, which would refuse to send half a surrogate pair.
        said = json.dumps({"name": text, "email": text, "note": text}).encode()
        for path in NEW:
            headers = {"content-type": "application/json"}
            _is_answer(here.ask("POST", path, content=said, headers=headers))
            query = quote(text, errors="surrogatepass")
            for name in ("search", "name__in", "name__icontains", "email", "sort", "lines.sku"):
                _is_answer(here.ask("GET", f"{path}?{name}={query}"))
    for number in NUMBERS:
        said = json.dumps({"name": f"n{number}"[:40], "price": number}).encode()
        _is_answer(
            here.ask("POST", "/plain", content=said, headers={"content-type": "application/json"})
        )
        for name in ("price__gte", "price__in", "skip", "limit", "page", "size"):
            for path in ("/plain", "/paged"):
                _is_answer(here.ask("GET", f"{path}?{name}={str(number)[:500]}"))


@pytest.mark.parametrize("item_id", IDS)
def test_no_id_is_too_odd_for_an_answer(item_id: str, here: Asked) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        for path in NEW:
            _is_answer(here.ask(method, f"{path}/{item_id}", json={"name": "a", "email": "a"}))
    _is_answer(here.ask("DELETE", f"/tags/bulk?id={item_id}"))


def test_no_header_is_too_odd_for_an_answer(here: Asked) -> None:
    made = here.ask("POST", "/paged", json={"name": "odd headers"})
    address = f"/paged/{made.json()['id']}"
    for value in HEADERS:
        raw = value.encode("latin-1")
        for name in (b"if-match", b"if-none-match", b"x-user", b"content-type", b"accept"):
            for method in ("GET", "PATCH"):
                _is_answer(here.ask(method, address, content=b"{}", headers=[(name, raw)]))
