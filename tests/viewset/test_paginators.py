"""Paginators: which rows a page has, and what is answered about them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
import sqlalchemy as sa
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, TypeAdapter

from backstay.errors import BadViewSet
from backstay.viewset.cursors import Cursors, audience_of
from backstay.viewset.filters import FilterSet
from backstay.viewset.ordering import Ordering
from backstay.viewset.pages import Page, Question, Window
from backstay.viewset.paginators import (
    BasePaginatorClass,
    CursorPaginator,
    DefaultPaginator,
    LimitOffsetPaginator,
)
from backstay.viewset.queries import ListQuery
from tests.viewset.shelves import STORES, Customer, Line, Order, Store, opened

FILTERS = FilterSet.build(Order, BaseModel, {"pieces": ["gte", "lt"], "lines.sku": ["eq"]})
CURSORS = Cursors(["a key that is long enough"])


class Item(BaseModel):
    id: int
    name: str


ORDERING = Ordering.build(Order, Item, ["pieces", "name", "secret", "customer.email"], "id")


@pytest.fixture(scope="module", params=STORES)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    with opened(request.param, tmp_path_factory.mktemp("pages")) as store:
        customers = [Customer(email=f"{each}@example.org") for each in "abc"]
        store.fill(
            *(
                Order(
                    id=each, name=f"n{each}", pieces=each, secret=f"s{each}", customer=[*customers, None][each % 4],
                    lines=[Line(sku="A", pieces=1), Line(sku="A", pieces=2)],
                )
                for each in range(1, 26)
            )
        )  # fmt: skip
        yield store


CORE = sa.select(Order.id, Order.name)


def question(
    pages: BasePaginatorClass, query: str = "", *, base: Any = CORE, user: str = "ann"
) -> Question:
    reader = ListQuery([*FILTERS.parameters, *ORDERING.parameters, *pages.parameters])
    values = reader.read(query.encode())
    order = ORDERING.read(values)
    return Question(
        base=base,
        order=order,
        values=values,
        filters=FILTERS.conditions(values),
        cursors=CURSORS,
        audience=audience_of("/orders", FILTERS.describe(values), order.text, user),
    )


def read(store: Store, window: Window) -> Page:
    rows = store.rows(window.statement, window.parameters)
    total = None
    if window.must_count(rows):
        assert window.count is not None
        total = store.rows(window.count, window.parameters)[0][0]
    return window.page(rows, total)


def answer(store: Store, pages: BasePaginatorClass, query: str = "", **how: Any) -> Any:
    page = read(store, pages.window(question(pages, query, **how)))
    items = [{"id": row[0], "name": row[1]} for row in page.rows]
    if pages.takes_models:
        assert page.dump_models is not None
        dumped = page.dump_models([Item(**each) for each in items])
    else:
        dumped = page.dump(json.dumps(items).encode())
    found = json.loads(dumped)
    TypeAdapter(pages.schema_for(Item)).validate_python(found)
    return found


def ids(found: Any) -> list[int]:
    return [each["id"] for each in (found if isinstance(found, list) else found["items"])]


@pytest.mark.parametrize(
    ("query", "page", "size", "count", "pages", "expected"),
    [
        ("", 1, 10, 25, 3, list(range(1, 11))),
        ("page=3", 3, 10, 25, 3, list(range(21, 26))),
        ("page=2&size=20", 2, 20, 25, 2, list(range(21, 26))),
        ("page=9", 9, 10, 25, 3, []),
        ("page=1000000000&size=100", 1_000_000_000, 100, 25, 1, []),
        ("pieces__gte=24", 1, 10, 2, 1, [24, 25]),
        ("pieces__gte=24&page=2", 2, 10, 2, 1, []),
        ("pieces__gte=26", 1, 10, 0, 0, []),
        ("pieces__lt=4&sort=-pieces&size=2", 1, 2, 3, 2, [3, 2]),
        ("lines__sku=A&size=1", 1, 1, 25, 25, [1]),
    ],
)
def test_a_page_by_number_says_how_many_items_there_are_on_all_pages(
    store: Store, query: str, page: int, size: int, count: int, pages: int, expected: list[int]
) -> None:
    found = answer(store, DefaultPaginator(), query)
    assert list(found) == ["page", "size", "count", "pages", "items"]
    assert list(found.values())[:4] == [page, size, count, pages]
    assert ids(found) == expected


def test_page_and_count_are_read_by_one_statement_that_is_made_once(store: Store) -> None:
    pages = DefaultPaginator()
    first = pages.window(question(pages))
    second = pages.window(question(pages, "page=2"))
    assert first.statement is second.statement
    assert str(first.statement).count("count(*)") == 1
    assert not first.must_count([])
    filtered = pages.window(question(pages, "pieces__gte=3"))
    assert filtered.statement is not first.statement
    again = pages.window(question(pages, "pieces__gte=4&page=3"))
    assert again.statement is filtered.statement
    assert again.parameters["filter_0"] == 4


def test_objects_are_paged_like_rows(store: Store) -> None:
    pages = DefaultPaginator()
    base = sa.select(Order)
    with sa.orm.Session(store.filler) as session:
        window = pages.window(question(pages, "page=3", base=base))
        page = window.page(session.execute(window.statement, dict(window.parameters)).all())
        assert [row[0].id for row in page.rows] == [21, 22, 23, 24, 25]
        assert page.total == 25


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1000000001", "page"),
        ("page=x", "page"),
        ("size=0", "size"),
        ("size=101", "size"),
        ("size=99999999999999999999", "size"),
        ("page=1&page=2", "page"),
    ],
)
def test_pages_and_sizes_are_bounded(query: str, location: str) -> None:
    with pytest.raises(RequestValidationError) as caught:
        question(DefaultPaginator(), query)
    assert [each["loc"] for each in caught.value.errors()] == [("query", location)]


def test_sizes_are_the_classs_to_say(store: Store) -> None:
    class Small(DefaultPaginator):
        default_size = 3
        max_size = 5

    assert len(ids(answer(store, Small()))) == 3
    assert len(ids(answer(store, Small(), "size=5"))) == 5
    with pytest.raises(RequestValidationError):
        question(Small(), "size=6")

    class Tiny(DefaultPaginator):
        max_size = 2

    assert len(ids(answer(store, Tiny()))) == 2


def test_offsets_can_be_overridden(store: Store) -> None:
    class FromZero(DefaultPaginator):
        def get_offset(self, page: int, size: int) -> int:
            return page * size

    assert ids(answer(store, FromZero(), "size=2")) == [3, 4]


def test_a_plain_list_skips_and_is_limited(store: Store) -> None:
    pages = LimitOffsetPaginator(default_limit=4, max_limit=6)
    assert ids(answer(store, pages)) == [1, 2, 3, 4]
    assert ids(answer(store, pages, "skip=23")) == [24, 25]
    assert ids(answer(store, pages, "skip=999&limit=6")) == []
    assert ids(answer(store, pages, "limit=2&sort=-name")) == [9, 8]
    for query in ("skip=-1", "limit=0", "limit=7", "limit=x", "skip=99999999999999999999"):
        with pytest.raises(RequestValidationError):
            question(pages, query)
    assert LimitOffsetPaginator(max_limit=5).default_limit == 5
    assert "count" not in str(pages.window(question(pages)).statement)


class SeedStyle(BasePaginatorClass):
    """As users of the original wrote them."""

    class Schema(BaseModel):
        page: int
        size: int
        count: int
        items: dict[str, Any] | list[Any]

    @staticmethod
    def json(page: int, size: int, response: Any) -> dict[str, Any]:
        items = jsonable_encoder(response)
        return {"page": page, "size": size, "count": len(items), "items": items, "more": 1}


def test_a_paginator_of_the_originals_style_answers_as_it_says(store: Store) -> None:
    pages = SeedStyle()
    assert pages.takes_models
    assert not pages.counts
    found = answer(store, pages, "page=3&size=12")
    assert found == {"page": 3, "size": 12, "count": 1, "items": [{"id": 25, "name": "n25"}]}
    assert "count" not in str(pages.window(question(pages)).statement)


def test_a_paginator_that_asks_for_the_total_is_told(store: Store) -> None:
    class Totals(BasePaginatorClass):
        class Schema(BaseModel):
            rows: list[Item]
            total: int

        @staticmethod
        def json(page: int, size: int, response: Any, *, total: int = 0) -> dict[str, Any]:
            return {"rows": [each.model_dump() for each in response], "total": total}

    pages = Totals()
    found = answer(store, pages, "size=1")
    assert found == {"rows": [{"id": 1, "name": "n1"}], "total": 25}
    assert pages.schema_for(Item) is Totals.Schema


def test_the_defaults_own_json_can_be_built_upon(store: Store) -> None:
    class Kind(DefaultPaginator):
        class Schema(BaseModel):
            kind: str
            page: int
            size: int
            count: int
            items: list[Any]

        @staticmethod
        def json(
            page: int, size: int, response: Any, *, total: int | None = None
        ) -> dict[str, Any]:
            return {"kind": "x", **DefaultPaginator.json(page, size, response, total=total)}

    found = answer(store, Kind(), "size=1")
    assert found["kind"] == "x"
    assert found["count"] == 25
    assert DefaultPaginator.json(1, 2, [1, 2, 3])["pages"] == 2


def test_a_json_of_the_defaults_former_form_still_fits_its_schema(store: Store) -> None:
    class Former(DefaultPaginator):
        @staticmethod
        def json(
            page: int, size: int, response: Any, *, total: int | None = None
        ) -> dict[str, Any]:
            return {"page": page, "size": size, "count": total, "items": response}

    found = answer(store, Former(), "size=10")
    assert (found["count"], found["pages"], len(found["items"])) == (25, 3, 10)


def test_paginators_that_could_not_answer_are_refused_at_start_up() -> None:
    class Mute(BasePaginatorClass):
        pass

    class Half(DefaultPaginator):
        class Schema(BaseModel):
            rows: list[Any]

    class Other(CursorPaginator):
        class Schema(BaseModel):
            rows: list[Any]

    with pytest.raises(BadViewSet, match="Mute does not say what a page is answered as"):
        Mute()
    with pytest.raises(BadViewSet, match="Half has a Schema of its own, but no json"):
        Half()
    with pytest.raises(BadViewSet, match="Other cannot have a Schema of its own"):
        Other()


def test_openapi_knows_what_items_are() -> None:
    class Renamed(SeedStyle):
        class Schema(SeedStyle.Schema):
            """Some orders."""

    for pages, name in (
        (DefaultPaginator(), "ItemPage"),
        (CursorPaginator(), "ItemCursorPage"),
        (SeedStyle(), "ItemSeedStylePage"),
        (Renamed(), "ItemRenamedPage"),
    ):
        told = TypeAdapter(pages.schema_for(Item)).json_schema(mode="serialization")
        assert told["title"] == name
        assert told["properties"]["items"]["items"] == {"$ref": "#/$defs/Item"}
        assert set(told["required"]) == set(told["properties"])
    assert DefaultPaginator().schema_for(Item) is DefaultPaginator().schema_for(Item)
    assert LimitOffsetPaginator().schema_for(Item) == list[Item]
    size = DefaultPaginator().parameters[1].openapi()
    assert size["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}


def test_cursors_lead_to_the_next_page_and_back(store: Store) -> None:
    pages = CursorPaginator()
    first = answer(store, pages, "size=10&sort=-pieces")
    assert list(first) == ["items", "next", "previous", "size"]
    assert (ids(first)[0], first["previous"], first["size"]) == (25, None, 10)
    second = answer(store, pages, f"size=10&sort=-pieces&cursor={first['next']}")
    assert ids(second) == list(range(15, 5, -1))
    third = answer(store, pages, f"size=10&sort=-pieces&cursor={second['next']}")
    assert (ids(third), third["next"]) == ([5, 4, 3, 2, 1], None)
    back = answer(store, pages, f"size=10&sort=-pieces&cursor={third['previous']}")
    assert ids(back) == ids(second)
    begin = answer(store, pages, f"size=10&sort=-pieces&cursor={back['previous']}")
    assert (ids(begin), begin["previous"]) == (ids(first), None)
    # Another size is still the same question.
    assert len(ids(answer(store, pages, f"size=3&sort=-pieces&cursor={first['next']}"))) == 3


@pytest.mark.parametrize("sort", ["customer__email", "-customer__email,pieces", "-pieces"])
def test_cursors_go_through_relations_and_through_filters_on_them(store: Store, sort: str) -> None:
    pages = CursorPaginator()
    query = f"size=4&sort={sort}&lines__sku=A&pieces__gte=3"
    seen: list[int] = []
    found = answer(store, pages, query)
    while True:
        seen += ids(found)
        if found["next"] is None:
            break
        found = answer(store, pages, f"{query}&cursor={found['next']}")
    assert sorted(seen) == list(range(3, 26))
    whole = answer(store, DefaultPaginator(), query.replace("size=4", "size=100"))
    assert seen == ids(whole)


def test_a_page_that_is_exactly_full_is_the_last_one(store: Store) -> None:
    found = answer(store, CursorPaginator(), "size=25")
    assert (len(ids(found)), found["next"]) == (25, None)
    nothing = answer(store, CursorPaginator(), "pieces__gte=100")
    assert nothing == {"items": [], "next": None, "previous": None, "size": 10}


@pytest.mark.parametrize(
    ("query", "user"),
    [
        ("sort=-name&cursor={}", "ann"),
        ("sort=name&pieces__gte=2&cursor={}", "ann"),
        ("cursor={}", "ann"),
        ("sort=name&cursor={}", "bob"),
        ("sort=name&cursor=x{}", "ann"),
        ("sort=name&cursor=", "ann"),
        ("sort=name&cursor=%00", "ann"),
        ("sort=name&cursor=%ff", "ann"),
    ],
)
def test_a_cursor_of_another_question_is_a_422(store: Store, query: str, user: str) -> None:
    pages = CursorPaginator()
    cursor = answer(store, pages, "sort=name")["next"]
    with pytest.raises(RequestValidationError) as caught:
        pages.window(question(pages, query.format(cursor), user=user))
    (error,) = caught.value.errors()
    assert (error["loc"], error["type"]) == (("query", "cursor"), "cursor")
    assert "Begin again without it" in error["msg"]


def test_a_cursor_hides_what_the_schema_hides(store: Store) -> None:
    import base64

    pages = CursorPaginator()
    for sort, shown in (("name", True), ("secret", False)):
        cursor = answer(store, pages, f"sort={sort}&size=1")["next"]
        text = base64.urlsafe_b64decode(cursor + "==")
        assert (b"n1" in text or b"s1" in text) is shown
        assert ids(answer(store, pages, f"sort={sort}&size=1&cursor={cursor}")) == [10]


def test_a_link_header_repeats_the_question(store: Store) -> None:
    pages = CursorPaginator()
    query = "sort=name&size=10&pieces__gte=2&tag=%C3%A4%3E"
    page = read(store, pages.window(question(pages, query)))
    link = page.headers(query.encode())["Link"]
    assert link.startswith("<?sort=name&size=10&pieces__gte=2&tag=%C3%A4%3E&cursor=")
    assert link.endswith('>; rel="next"')
    asked = link.removeprefix("<?").partition(">")[0]
    following = read(store, pages.window(question(pages, asked)))
    both = following.headers(asked.encode())["Link"]
    assert both.count("cursor=") == 2
    assert 'rel="next", <?' in both
    assert both.endswith('rel="prev"')
    assert parse_qs(asked)["tag"] == ["ä>"]
    assert DefaultPaginator().window(question(DefaultPaginator())).page([], 0).headers(b"") == {}


def test_statements_of_cursor_pages_are_made_once(store: Store) -> None:
    pages = CursorPaginator()
    cursor = answer(store, pages, "size=2")["next"]
    first = pages.window(question(pages, f"cursor={cursor}"))
    other = answer(store, pages, f"size=2&cursor={cursor}")["next"]
    second = pages.window(question(pages, f"cursor={other}"))
    assert first.statement is second.statement


def test_cursors_need_something_to_sign_them_with() -> None:
    pages = CursorPaginator()
    asked = question(pages)
    with pytest.raises(BadViewSet, match="BACKSTAY_SECRET_KEY"):
        pages.window(Question(base=asked.base, order=asked.order, values=asked.values))
