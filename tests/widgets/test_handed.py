"""The instance handed to execute is the user's own in all it does."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any, ClassVar, Generic, TypeVar

import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    PrivateAttr,
    RootModel,
    ValidationError,
    computed_field,
    field_serializer,
)

from backstay.widgets.handed import hand_over, handed_class

T = TypeVar("T")


class Order(BaseModel):
    """What is ordered."""

    registered: ClassVar[list[str]] = []

    name: str
    count: int = 1
    data: bytes = b"\xff"
    tags: set[str] = set()
    _seen: int = PrivateAttr(default=3)

    def __init_subclass__(cls, **options: Any) -> None:
        Order.registered.append(cls.__name__)

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def double(self) -> int:
        return self.count * 2

    @field_serializer("name")
    def shout(self, value: str) -> str:
        return value.upper()


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    x: int


class Careful(BaseModel):
    model_config = ConfigDict(validate_assignment=True)
    x: int


class Pair(BaseModel, Generic[T]):
    left: T
    right: T


class Named(RootModel[dict[str, int]]):
    pass


class Outer(BaseModel):
    order: Order


def hand(instance: BaseModel) -> Any:
    handed = handed_class(type(instance))
    assert handed is not None
    hand_over(instance, handed)
    return instance


def order(**more: Any) -> Any:
    return hand(Order(name="tea", **more))


def test_dict_takes_sort_keys_and_gives_what_json_takes() -> None:
    found = order(tags={"b", "a"}).dict(sort_keys=True)
    assert list(found) == ["count", "data", "double", "name", "tags"]
    assert json.loads(json.dumps(found, sort_keys=True)) == {
        "count": 1,
        "data": "/w==",
        "double": 2,
        "name": "TEA",
        "tags": ["a", "b"],
    }


def test_dict_without_it_is_what_model_dump_gives_and_warns_of_nothing() -> None:
    instance = order()
    assert instance.dict() == instance.model_dump() == Order(name="tea").model_dump()
    assert instance.dict(exclude={"data"}, exclude_unset=True) == {"name": "TEA", "double": 2}
    assert instance.dict(sort_keys=True, include={"name"}) == {"name": "TEA"}


def test_it_is_an_instance_of_the_users_class_by_every_name() -> None:
    instance = order()
    assert isinstance(instance, Order)
    assert type(instance).__name__ == "Order"
    assert type(instance).__qualname__ == Order.__qualname__
    assert type(instance).__module__ == Order.__module__
    assert type(instance).__doc__ == "What is ordered."
    assert repr(instance) == repr(Order(name="tea"))
    assert str(instance) == str(Order(name="tea"))


def test_it_equals_what_the_users_class_would_make_of_the_same() -> None:
    for other in (Order(name="tea"), order()):
        assert order() == other
        assert other == order()
    for other in (Order(name="tea", count=2), order(count=2), {"name": "tea"}, None):
        assert order() != other
        assert other != order()


def test_the_users_own_idea_of_equality_is_kept() -> None:
    class Odd(BaseModel):
        x: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Odd)

        def __hash__(self) -> int:
            return 7

    assert hand(Odd(x=1)) == Odd(x=2)
    assert hash(hand(Odd(x=1))) == 7


def test_a_frozen_one_can_be_hashed_and_others_cannot() -> None:
    assert hash(hand(Frozen(x=1))) == hash(Frozen(x=1))
    assert {hand(Frozen(x=1)): "a"}[Frozen(x=1)] == "a"  # type: ignore[index]  # pydantic makes it hashable
    with pytest.raises(TypeError, match="unhashable"):
        hash(order())
    with pytest.raises(ValidationError, match="frozen"):
        hand(Frozen(x=1)).x = 2


def test_it_crosses_to_other_processes_as_the_users_class() -> None:
    instance = order(count=5)
    instance._seen = 9
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(instance, protocol))
        assert type(back) is Order
        assert back == instance
        assert back._seen == 9
        assert back.model_fields_set == {"name", "count"}


def test_copies_are_copies_and_take_dict_as_well() -> None:
    instance = order(tags={"a"})
    instance._seen = 9
    for made in (copy.copy(instance), copy.deepcopy(instance), instance.model_copy(deep=True)):
        assert made == instance
        assert made is not instance
        assert made._seen == 9
        assert made.dict(sort_keys=True) == instance.dict(sort_keys=True)
    assert copy.deepcopy(instance).tags is not instance.tags
    assert instance.model_copy(update={"count": 9}).count == 9


def test_it_can_be_dumped_validated_and_nested_like_any_other() -> None:
    instance = order(data=b"x")
    assert instance.model_dump_json() == Order(name="tea", data=b"x").model_dump_json()
    assert Order.model_validate(instance) is instance
    assert Outer(order=instance).order is instance
    assert Outer(order=instance).model_dump() == {"order": instance.model_dump()}
    assert Outer(order=instance) == Outer(order=Order(name="tea", data=b"x"))


def test_its_attributes_are_set_as_the_model_says() -> None:
    careful = hand(Careful(x=1))
    careful.x = "2"
    assert careful.x == 2
    with pytest.raises(ValidationError):
        careful.x = "two"
    instance = order()
    instance.count = 4
    instance._seen = 5
    assert (instance.count, instance._seen, instance.double) == (4, 5, 8)


def test_generic_models_and_root_models_are_handed_over_too() -> None:
    pair = hand(Pair[int](left=1, right=2))
    assert pair.dict(sort_keys=True) == {"left": 1, "right": 2}
    assert pair == Pair[int](left=1, right=2)
    assert type(pair).__name__ == "Pair[int]"
    named = hand(Named({"b": 1, "a": 2}))
    assert list(named.dict(sort_keys=True)) == ["a", "b"]
    assert named == Named({"a": 2, "b": 1})


def test_extra_fields_are_kept() -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    instance = hand(Open.model_validate({"x": 1}))
    assert instance.dict() == {"x": 1}
    assert instance == Open.model_validate({"x": 1})
    assert instance != Open.model_validate({"x": 2})


def test_a_dict_of_the_models_own_is_kept() -> None:
    class Method(BaseModel):
        def dict(self, **options: Any) -> dict[str, Any]:  # type: ignore[override]  # what users do
            return {"mine": True}

    class Inherited(Method):
        pass

    assert handed_class(Method) is None
    assert handed_class(Inherited) is None


def test_a_field_of_that_name_is_kept() -> None:
    with pytest.warns(UserWarning, match="shadows"):

        class Field(BaseModel):
            dict: str  # type: ignore[assignment]  # what users do

    assert handed_class(Field) is None


def test_a_class_that_registers_its_subclasses_hears_of_none() -> None:
    assert Order.registered == []
    handed_class(Order)
    assert Order.registered == []


def test_what_is_an_instance_of_the_users_class_is_not_said_to_be_one_of_ours() -> None:
    handed = handed_class(Order)
    assert handed is not None
    assert issubclass(handed, Order)
    assert not isinstance(Order(name="tea"), handed)
    assert not issubclass(Order, handed)
    assert isinstance(Order(name="tea"), Order)
