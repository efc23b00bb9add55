"""Nested data is read into drafts, and checked before anybody is asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from backstay.db.drafts import Draft, read_draft
from backstay.db.loading import MAX_DEPTH
from backstay.db.mapping import mapper_of
from backstay.db.refusals import BadNested
from tests.db.warehouse import Car, Counted, Customer, Line, Node, Order, Slot, Tag, Vehicle


def read(model: type[Any], data: Any) -> Draft:
    return read_draft(mapper_of(model), data)


def test_plain_values_and_relations_are_told_apart() -> None:
    data = {"number": "1", "reference": "2", "lines": [{"product": "x"}], "customer": None}
    draft = read(Order, data)
    assert draft.values == {"number": "2"}  # the synonym is the same attribute
    assert draft.related["customer"] is None
    (line,) = draft.behind("lines")
    assert (line.loc, line.values) == (("lines", 0), {"product": "x"})
    assert draft.behind("customer") == []


def test_a_models_unsent_values_are_defaults_except_none() -> None:
    class In(BaseModel):
        number: str = "n"
        note: str | None = None
        lines: list[dict[str, Any]] = []

    draft = read(Order, In())
    assert (draft.values, draft.defaults, draft.related) == ({}, {"number": "n"}, {})
    draft = read(Order, In(number="m", lines=[]))
    assert (draft.values, draft.defaults, draft.related) == ({"number": "m"}, {}, {"lines": []})


def test_a_field_is_written_to_its_name_or_to_where_it_is_read_from() -> None:
    class In(BaseModel):
        model_config = ConfigDict(populate_by_name=True, extra="allow")
        number: str = Field(alias="note")  # both are attributes; the name wins
        client: dict[str, Any] = Field(validation_alias="customer")

    draft = read(Order, In(number="1", client={"name": "Ann"}, kind="plain"))
    assert draft.values == {"number": "1", "kind": "plain"}
    assert draft.behind("customer")[0].values == {"name": "Ann"}

    class Unknown(BaseModel):
        confirm: str

    with pytest.raises(BadNested, match="confirm: there is no such field"):
        read(Order, Unknown(confirm="x"))


def test_a_key_is_what_was_said_of_it_or_of_what_is_linked() -> None:
    assert read(Order, {"id": 5}).sent_key() == {"id": 5}
    assert read(Order, {"id": None}).sent_key() == read(Order, {}).sent_key() == {}
    assert read(Slot, {"position": 1}).sent_key() == {"position": 1}
    linked = {"position": 1, "order": {"id": 7}}
    assert read(Slot, linked).sent_key() == {"order_id": 7, "position": 1}
    assert read(Slot, {"order": Order(id=8)}).sent_key() == {"order_id": 8}
    assert read(Slot, {"order": {"number": "new"}}).sent_key() == {}


def test_a_class_of_many_in_one_table_is_chosen_by_the_data() -> None:
    def chosen(model: type[Any], **data: Any) -> type[Any]:
        return read(model, data).mapper.class_  # type: ignore[no-any-return]  # of a mapper of anything

    assert chosen(Vehicle, type="car", doors=3) is Car
    assert chosen(Vehicle, type="boat") is chosen(Vehicle, type=["car"]) is Vehicle
    assert chosen(Car, type="vehicle") is Car
    (car,) = read(Counted, {"vehicles": [{"type": "car"}]}).behind("vehicles")
    assert car.mapper.class_ is Car


def test_data_may_be_as_deep_as_it_can_be_read_and_no_deeper() -> None:
    data: dict[str, Any] = {"name": "x"}
    for _ in range(MAX_DEPTH):
        data = {"name": "x", "children": [data]}
    assert read(Node, data).behind("children")
    with pytest.raises(BadNested, match=f"nested more than {MAX_DEPTH} deep") as found:
        read(Node, {"name": "x", "children": [data]})
    assert len(found.value.loc) == 2 * (MAX_DEPTH + 1)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "lines", "tags", "customer", "product", "order", "x"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(anything)
def test_whatever_is_sent_is_read_or_refused(data: Any) -> None:
    for model in (Order, Line, Customer, Tag, Slot, Node, Vehicle):
        try:
            draft = read(model, data)
            draft.sent_key()
        except BadNested:
            continue
        assert isinstance(data, dict)
        assert draft.values.keys() | draft.related.keys() <= data.keys()
