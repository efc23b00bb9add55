"""Results become just the answers that FastAPI makes of them."""

import dataclasses
import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Generic, TypeVar

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response
from fastapi.exceptions import ResponseValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, RootModel, computed_field, field_serializer

from backstay.cache.responses import cache_redis
from tests.cache.serving import a_scope, an_app, asking, sent_by
from tests.support import async_test

OURS = {"x-cache", "etag", "cache-control", "vary", "age", "x-request-id"}

T = TypeVar("T")


class Size(Enum):
    SMALL = "s"


class Item(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str = "none"
    price: Decimal | None = None
    at: datetime = datetime(2027, 1, 1, tzinfo=UTC)
    size: Size = Size.SMALL


class Shown(BaseModel):
    full_name: Annotated[str, Field(serialization_alias="fullName")]
    nick: str | None = None
    secret: Annotated[str, Field(exclude=True)] = "s"

    @computed_field
    def length(self) -> int:
        return len(self.full_name)

    @field_serializer("nick")
    def loud(self, nick: str | None) -> str | None:
        return nick and nick.upper()


class Page(BaseModel, Generic[T]):
    items: list[T]


class Row:
    """As an ORM makes them."""

    def __init__(self, **columns: Any) -> None:
        self.__dict__.update(columns)


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


class Loud(JSONResponse):
    media_type = "application/vnd.loud+json"

    def render(self, content: Any) -> bytes:
        return super().render(content).upper()


def row() -> Row:
    return Row(id=7, name="é", price=Decimal("1.50"), password_hash="secret")


CASES: dict[str, tuple[Callable[[], Any], Any, dict[str, Any]]] = {
    "model": (lambda: Item(id=1), Item, {}),
    "dict": (lambda: {"id": 1, "password": "x"}, Item, {}),
    "dict-free": (lambda: {"a": [1, None, {"b": Decimal("1.5")}]}, None, {}),
    "list": (lambda: [{"id": 1}, Item(id=2)], list[Item], {}),
    "row": (row, Item, {}),
    "rows": (lambda: [row(), row()], list[Item], {}),
    "dataclass": (lambda: Point(1), Point, {}),
    "dataclass-free": (lambda: Point(1), None, {}),
    "generic": (lambda: {"items": [row()]}, Page[Item], {}),
    "root": (lambda: [1, 2], RootModel[list[int]], {}),
    "union": (lambda: {"x": 1}, Item | Point, {}),
    "none": (lambda: None, None, {}),
    "optional": (lambda: None, Item | None, {}),
    "int": (lambda: 7, int, {}),
    "str": (lambda: "é\n", str, {}),
    "alias": (lambda: {"full_name": "Ann", "nick": "a"}, Shown, {}),
    "by-name": (lambda: Shown(full_name="Ann"), Shown, {"response_model_by_alias": False}),
    "include": (row, Item, {"response_model_include": {"id", "name"}}),
    "exclude": (row, Item, {"response_model_exclude": {"name"}}),
    "unset": (lambda: Item(id=1), Item, {"response_model_exclude_unset": True}),
    "defaults": (lambda: Item(id=1, name="none"), Item, {"response_model_exclude_defaults": True}),
    "exclude-none": (lambda: Item(id=1), Item, {"response_model_exclude_none": True}),
    "no-model": (lambda: {"id": 1, "more": 2}, Item, {"response_model": None}),
    "other-model": (lambda: {"id": 1, "more": 2}, dict[str, int], {"response_model": Item}),
    "created": (lambda: Item(id=1), Item, {"status_code": 201}),
    "empty": (lambda: None, None, {"status_code": 204}),
    "html": (lambda: "<p>", str, {"response_class": HTMLResponse}),
    "loud": (lambda: Item(id=1), Item, {"response_class": Loud}),
    "json": (lambda: Item(id=1), Item, {"response_class": JSONResponse}),
    "made": (lambda: PlainTextResponse("x", 203, {"X-A": "1"}), PlainTextResponse, {}),
    "made-json": (lambda: JSONResponse({"a": 1}), Response, {}),
    "made-bare": (
        lambda: Response(b"\x00\xff", media_type="image/x"),
        Any,
        {"response_model": None},
    ),
}


def strip(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in OURS}


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
@pytest.mark.parametrize("case", CASES)
def test_an_answer_kept_or_not_is_the_one_without_the_cache(case: str, is_async: bool) -> None:
    make, annotation, options = CASES[case]

    def handler() -> Any:
        return make()

    async def async_handler() -> Any:
        return make()

    chosen: Any = async_handler if is_async else handler
    chosen.__annotations__["return"] = annotation

    @async_test
    async def compare() -> None:
        app, _ = an_app()
        app.get("/plain", **options)(chosen)
        app.get("/kept", **options)(cache_redis(statuses=[200, 201, 203, 204])(chosen))
        async with asking(app):
            status, headers, body = await sent_by(app, a_scope("/plain"))
            for expected in ("MISS", "HIT"):
                found = await sent_by(app, a_scope("/kept"))
                assert found[1]["x-cache"] == expected
                assert (found[0], strip(found[1]), found[2]) == (status, strip(headers), body)

    compare()


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
def test_status_headers_and_cookies_set_on_the_response_parameter_are_the_answers(
    is_async: bool,
) -> None:
    def limited(response: Response) -> None:
        response.headers["X-Limit"] = "9"

    def handler(response: Response, n: Annotated[None, Depends(limited)]) -> Item:
        response.status_code = 203
        response.headers["X-Mine"] = "1"
        response.headers.append("X-Mine", "2")
        return Item(id=1)

    async def async_handler(response: Response, n: Annotated[None, Depends(limited)]) -> Item:
        return handler(response, n)

    chosen: Any = async_handler if is_async else handler

    @async_test
    async def compare() -> None:
        app, _ = an_app()
        app.get("/plain")(chosen)
        app.get("/kept")(cache_redis()(chosen))
        async with asking(app) as client:
            plain = await client.get("/plain")
            for expected in ("MISS", "HIT"):
                kept = await client.get("/kept")
                assert kept.headers["x-cache"] == expected
                assert kept.status_code == plain.status_code == 203
                assert kept.content == plain.content
                for name in ("x-mine", "x-limit", "content-type", "content-length"):
                    assert kept.headers.get_list(name) == plain.headers.get_list(name)

    compare()


def test_a_body_that_the_status_forbids_is_left_out() -> None:
    async def handler(response: Response) -> dict[str, int]:
        response.status_code = 204
        return {"a": 1}

    @async_test
    async def compare() -> None:
        app, _ = an_app()
        app.get("/plain")(handler)
        app.get("/kept")(cache_redis()(handler))
        async with asking(app):
            plain = await sent_by(app, a_scope("/plain"))
            for _ in range(2):
                kept = await sent_by(app, a_scope("/kept"))
                assert (kept[0], strip(kept[1]), kept[2]) == (plain[0], strip(plain[1]), plain[2])
                assert (kept[0], kept[2]) == (204, b"")

    compare()


@async_test
async def test_a_result_that_does_not_fit_is_an_error_that_names_the_route() -> None:
    app, _ = an_app()

    @app.get("/items/{item_id}")
    @cache_redis()
    async def get_item(item_id: int) -> Item:
        return {"name": "no id"}  # type: ignore[return-value]  # that is the point

    async with asking(app) as client:
        for _ in range(2):
            with pytest.raises(ResponseValidationError) as raised:
                await client.get("/items/1")
            assert raised.value.endpoint_path == "GET /items/{item_id}"


@async_test
async def test_the_class_of_responses_of_an_including_router_counts() -> None:
    app, _ = an_app()
    router = APIRouter()

    @router.get("/a")
    @cache_redis()
    async def get_a() -> dict[str, str]:
        return {"a": "b"}

    app.include_router(router, prefix="/loud", default_response_class=Loud)
    app.include_router(router, prefix="/low")
    async with asking(app) as client:
        for _ in range(2):
            assert (await client.get("/loud/a")).text == '{"A":"B"}'
            assert (await client.get("/low/a")).text == '{"a":"b"}'


def test_openapi_is_the_same_as_without_the_cache() -> None:
    def build(wrap: Callable[[Any], Any]) -> dict[str, Any]:
        app = FastAPI()

        def user(token: str) -> str:
            return token

        @app.get("/items/{item_id}", response_model_exclude={"name"})
        @wrap
        async def get_item(item_id: int, who: Annotated[str, Depends(user)], page: int = 0) -> Item:
            """One item.

            And more about it.
            """
            raise HTTPException(404)

        @app.get("/plain", tags=["t"])
        @wrap
        def plain(response: Response) -> list[Item]:
            return []

        return app.openapi()

    assert build(cache_redis(None, 5)) == build(lambda handler: handler)


def test_the_wrapper_looks_like_the_handler() -> None:
    async def get_item(item_id: int) -> Item:
        """Doc."""
        return Item(id=item_id)

    kept = cache_redis()(get_item)
    assert (kept.__name__, kept.__doc__, kept.__module__, kept.__qualname__) == (
        get_item.__name__,
        get_item.__doc__,
        get_item.__module__,
        get_item.__qualname__,
    )
    assert inspect.unwrap(kept) is get_item
