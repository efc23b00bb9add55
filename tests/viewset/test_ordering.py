"""Orders: allowed ones only, complete, and the same in every database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.exceptions import RequestValidationError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backstay.errors import BadViewSet
from backstay.viewset.ordering import Ordering
from backstay.viewset.queries import ListQuery
from tests.viewset.shelves import STORES, Country, Customer, Order, OrderOut, Store, noon, opened

FIELDS = ["name", "pieces", "placedAt", "customer.email", "customer__country__name", "rush"]


def text(query: str, default: Any = (), fields: Any = FIELDS) -> str:
    ordering = Ordering.build(Order, OrderOut, fields, default)
    return ordering.read(ListQuery(ordering.parameters).read(query.encode())).text


@pytest.fixture(scope="module", params=STORES)
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    with opened(request.param, tmp_path_factory.mktemp("ordering")) as store:
        ann = Customer(id=1, email="ann@x", country=Country(code="NL", name="Netherlands"))
        bob = Customer(id=2, email="bob@x", country=Country(code="BE", name="Belgium"))
        cid = Customer(id=3, email="cid@x")
        store.fill(
            Order(id=1, name="b", pieces=2, placed=noon(2), customer=bob),
            Order(id=2, name="a", pieces=None, placed=None, customer=ann),
            Order(id=3, name="b", pieces=1, placed=noon(1), customer=cid),
            Order(id=4, name="c", pieces=2, placed=noon(3)),
        )
        yield store


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [1, 2, 3, 4]),
        ("sort=name", [2, 1, 3, 4]),
        ("sort=-name", [4, 3, 1, 2]),
        ("sort=name,-pieces", [2, 1, 3, 4]),
        ("sort=name&sort=-pieces", [2, 1, 3, 4]),
        ("sort=pieces", [3, 1, 4, 2]),
        ("sort=-pieces", [4, 1, 3, 2]),
        ("sort=-pieces,name", [1, 4, 3, 2]),
        ("sort=placedAt", [3, 1, 4, 2]),
        ("sort=-placedAt", [4, 1, 3, 2]),
        ("sort=customer__email", [2, 1, 3, 4]),
        ("sort=-customer__email", [3, 1, 2, 4]),
        ("sort=customer__country__name", [1, 2, 3, 4]),
        ("sort=-customer__country__name", [2, 1, 4, 3]),
    ],
)
def test_rows_come_in_the_order_that_is_asked_for_and_those_without_a_value_last(
    store: Store, query: str, ids: list[int]
) -> None:
    ordering = Ordering.build(Order, OrderOut, FIELDS)
    order = ordering.read(ListQuery(ordering.parameters).read(query.encode()))
    forward = store.rows(sa.select(Order.id).order_by(*order.clauses))
    backward = store.rows(sa.select(Order.id).order_by(*order.backward))
    assert [each.id for each in forward] == ids
    assert [each.id for each in backward] == ids[::-1]


@pytest.mark.parametrize(
    ("query", "default", "says"),
    [
        ("", (), "id"),
        ("", "-placedAt", "-placedAt,-id"),
        ("", "rush, -name", "rush,-name,id"),
        ("", ["rush", "-name"], "rush,-name,id"),
        ("", "-id", "-id"),
        ("sort=pieces", "-placedAt", "pieces,id"),
        ("sort=-pieces", (), "-pieces,-id"),
        ("sort=-pieces,-rush", (), "-pieces,-rush,-id"),
        ("sort=-pieces,pieces,name", (), "-pieces,name,id"),
    ],
)
def test_every_order_ends_with_the_primary_key(query: str, default: Any, says: str) -> None:
    assert text(query, default) == says


def test_what_is_not_offered_is_refused_and_the_answer_says_what_is() -> None:
    ordering = Ordering.build(Order, OrderOut, ["name", "pieces"])
    for query in (b"sort=price", b"sort=name,--pieces", b"sort=", b"sort=name,", b"sort=secret"):
        with pytest.raises(RequestValidationError) as caught:
            ListQuery(ordering.parameters).read(query)
        error = caught.value.errors()[0]
        assert error["loc"][:2] == ("query", "sort")
        assert error["msg"] == "Input should be 'name', '-name', 'pieces' or '-pieces'"


def test_without_ordering_fields_there_is_no_sort() -> None:
    ordering = Ordering.build(Order, OrderOut, (), "name")
    assert ordering.parameters == ()
    assert ordering.read({"sort": ["-name"]}).text == "name,id"


def test_nulls_are_spoken_of_only_where_there_can_be_some() -> None:
    ordering = Ordering.build(Order, OrderOut, FIELDS)
    order = ordering.read({"sort": ["-name", "-pieces"]})
    assert [str(each) for each in order.clauses] == [
        "orders.name DESC",
        "orders.pieces DESC NULLS LAST",
        "orders.id DESC",
    ]


def test_an_order_that_was_asked_for_before_is_the_same_object() -> None:
    ordering = Ordering.build(Order, OrderOut, FIELDS)
    assert ordering.read({"sort": ["name"]}) is ordering.read({"sort": ["name"]})
    assert ordering.read({}) is ordering.read({})


def test_terms_know_what_clients_do_not_see() -> None:
    ordering = Ordering.build(Order, OrderOut, ["name", "secret", "customer.email"])
    order = ordering.read({"sort": ["name", "secret", "customer__email"]})
    assert [each.hidden for each in order.terms] == [False, True, False, False]


def test_composite_keys_are_compared_whole() -> None:
    class Base(DeclarativeBase):
        pass

    class Place(Base):
        __tablename__ = "places"
        hall: Mapped[int] = mapped_column(primary_key=True)
        row: Mapped[int] = mapped_column(primary_key=True)

    assert Ordering.build(Place, OrderOut).read({}).text == "hall,row"
    assert Ordering.build(Place, OrderOut, (), "-row").read({}).text == "-row,-hall"


@pytest.mark.parametrize(
    ("fields", "default", "says"),
    [
        (["nothing"], (), "ordering_fields names 'nothing', but Order has no attribute"),
        ((), "-nothing", "ordering names 'nothing', but Order has no attribute"),
        (["customer"], (), "'customer' is a relation, by which rows cannot be ordered"),
        (["extra"], (), "'extra' is of type JSON"),
        (["lines.sku"], (), "'lines__sku' goes through a relation to many rows"),
        ("name", (), "ordering_fields is a list of names; got the string 'name'"),
    ],
)
def test_orders_that_could_never_work_are_refused_at_start_up(
    fields: Any, default: Any, says: str
) -> None:
    with pytest.raises(BadViewSet, match=says):
        Ordering.build(Order, OrderOut, fields, default)


def test_openapi_lists_what_can_be_sorted_by() -> None:
    ordering = Ordering.build(Order, OrderOut, ["name"], "-placedAt")
    (told,) = ListQuery(ordering.parameters).openapi()
    assert told["schema"]["items"]["enum"] == ["name", "-name"]
    assert (told["style"], told["explode"]) == ("form", False)
    assert told["description"].endswith("Otherwise by `-placedAt,-id`.")
