"""What every paginator by number has in common."""

from typing import Any

import pytest
from pydantic import BaseModel

from backstay.errors import BadViewSet
from backstay.viewset.base_paginator import BasePaginatorClass, size_parameter


class Item(BaseModel):
    id: int


class Listed(BasePaginatorClass):
    class Schema(BaseModel):
        """Some."""

        items: dict[str, Any] | list[Any]

    @staticmethod
    def json(page: int, size: int, response: Any) -> dict[str, Any]:
        return {"items": response, "hidden": page}


def test_items_that_are_of_no_type_get_that_of_the_view_set() -> None:
    found = Listed().schema_for(Item)
    assert found.model_fields["items"].annotation == list[Item]
    assert (found.__name__, found.__doc__) == ("ItemListedPage", "Some.")
    assert issubclass(found, Listed.Schema)


@pytest.mark.parametrize("typed", [list[Item], list[int], dict[str, int]], ids=str)
def test_items_that_have_a_type_keep_it(typed: Any) -> None:
    class Typed(Listed):
        class Schema(BaseModel):
            items: typed

    assert Typed().schema_for(Item) is Typed.Schema


@pytest.mark.parametrize(
    "loose", [list, dict, Any, list[Any], dict | list, list[Any] | dict], ids=str
)
def test_every_way_to_say_any_items_is_understood(loose: Any) -> None:
    class Loose(Listed):
        class Schema(BaseModel):
            items: loose

    assert Loose().schema_for(Item).model_fields["items"].annotation == list[Item]


def test_an_answer_goes_through_its_schema() -> None:
    pages = Listed()
    assert pages._dump_models(1, 2, None, [Item(id=1)]) == b'{"items":[{"id":1}]}'
    with pytest.raises(TypeError, match="answers of Listed are made of objects"):
        pages._dump(1, 2, None, b"[]")


def test_there_is_no_answer_without_a_json() -> None:
    with pytest.raises(BadViewSet, match="BasePaginatorClass does not say"):
        BasePaginatorClass()
    with pytest.raises(NotImplementedError):
        BasePaginatorClass.json(1, 2, [])


def test_a_default_size_is_never_more_than_may_be_asked_for() -> None:
    assert size_parameter(50, 20).default == 20
