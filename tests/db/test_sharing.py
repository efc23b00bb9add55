"""Whether what was sent is what stands there."""

from __future__ import annotations

import enum
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from backstay.db.drafts import read_draft
from backstay.db.mapping import mapper_of
from backstay.db.refusals import SharedRow
from backstay.db.sharing import require_same, same
from tests.db.warehouse import Customer, Kind, Order, Place, Profile, Tag, Vehicle

NOON = datetime(2026, 1, 1, 12)
KEY = uuid.UUID(int=7)


class Size(enum.IntEnum):
    SMALL = 1


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (1, 1),
        (None, None),
        (Decimal("0.10"), 0.1),
        (Decimal("1.50"), "1.50"),
        (KEY, str(KEY)),
        (str(KEY), KEY),
        (Kind.GIFT, "gift"),
        (Kind.GIFT, "GIFT"),
        ("gift", Kind.GIFT),
        (Size.SMALL, 1),
        (NOON, NOON.replace(tzinfo=UTC)),
        (
            NOON.replace(tzinfo=UTC),
            NOON.replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=3))),
        ),
        ({"a": [1]}, {"a": [1]}),
    ],
    ids=repr,
)
def test_values_are_the_same_whatever_types_the_two_ends_use(standing: Any, said: Any) -> None:
    assert same(standing, said)


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (1, 2),
        (None, 0),
        (0, None),
        (None, ""),
        ("None", "none"),
        (Decimal("0.10"), 0.11),
        (Kind.GIFT, "plain"),
        (Kind.GIFT, Kind.PLAIN),
        (NOON, NOON + timedelta(microseconds=1)),
        (NOON, NOON.replace(tzinfo=timezone(timedelta(hours=3)))),
        (True, "1"),
        ({"a": 1}, {"a": 2}),
    ],
    ids=repr,
)
def test_other_values_are_not(standing: Any, said: Any) -> None:
    assert not same(standing, said)


def compare(model: type[Any], data: dict[str, Any], obj: object) -> None:
    require_same(read_draft(mapper_of(model), data), obj)


def test_what_is_sent_of_an_object_and_all_behind_it_has_to_be_what_is() -> None:
    red, blue = Tag(id=1, name="red"), Tag(id=2, name="blue")
    ann = Customer(id=3, name="Ann", profile=Profile(id=4, bio="b"))
    order = Order(id=5, number="n", customer=ann, tags={red, blue})
    good: dict[str, Any] = {
        "id": 5,
        "number": "n",
        "customer": {"id": 3, "profile": {"bio": "b"}},
        "tags": [{"id": 2}, {"id": 1, "name": "red"}],
    }
    compare(Order, good, order)
    compare(Order, {"id": None, "tags": [red, blue], "customer": ann}, order)
    for change, loc in (
        ({"number": "m"}, ("number",)),
        ({"customer": None}, ("customer",)),
        ({"customer": {"name": "Bob"}}, ("customer", "name")),
        ({"customer": {"id": 9}}, ("customer",)),
        ({"customer": {"profile": {"id": 4, "bio": "c"}}}, ("customer", "profile", "bio")),
        ({"tags": [{"id": 1}]}, ("tags",)),
        ({"tags": [{"id": 1}, {"id": 1}]}, ("tags", 1)),
        ({"tags": [{"id": 1}, {"name": "blue"}]}, None),
        ({"tags": [{"name": "red"}, {"name": "blue"}]}, ("tags", 0)),
    ):
        if loc is None:
            compare(Order, {**good, **change}, order)  # only one is left that it can be
            continue
        with pytest.raises(SharedRow) as found:
            compare(Order, {**good, **change}, order)
        assert found.value.loc == loc


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(SharedRow, match="loud_note"):
        compare(Order, {"loud_note": "N"}, Order(note="n"))
    compare(Vehicle, {"place": Place(1, 2)}, Vehicle(x=1, y=2, place=Place(1, 2)))


def test_what_stands_there_is_not_told() -> None:
    with pytest.raises(SharedRow) as found:
        compare(Customer, {"id": 1, "secret": "guess"}, Customer(id=1, secret="swordfish"))
    assert "swordfish" not in str(found.value) + found.value.public_detail
