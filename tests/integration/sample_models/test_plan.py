"""Models are planned: shared, named, and bounded."""

from typing import Any

import pytest

from backstay.errors import BadIntegration
from backstay.integration.sample_models.plan import Plan, new_plan
from backstay.integration.sample_models.shape import Shape


def plan(*samples: Any, name: str = "Root", taken: tuple[str, ...] = (), **more: Any) -> Plan:
    shape = Shape()
    for each in samples:
        shape.observe(each)
    options: dict[str, Any] = {
        "depth": 20,
        "snake_case": False,
        "as_list": False,
        "is_enum": lambda shape, key: key == "status",
    }
    return new_plan(shape, name=name, taken=taken, **(options | more))


def names(planned: Plan) -> list[str]:
    return [each.name for each in planned.models]


def test_the_outermost_model_comes_first_and_the_others_are_named_by_their_keys() -> None:
    assert names(plan({"log_urls": {"a": 1}, "vacancies": [{"b": 1}]})) == [
        "Root",
        "LogUrls",
        "Vacancy",
    ]
    assert names(plan({"data": [{"b": 1}]})) == ["Root", "DataItem"]


def test_objects_of_one_shape_share_a_model_named_by_what_their_keys_have_in_common() -> None:
    street = {"street": "x", "city": "y", "zip": "1", "country": "z"}
    assert names(plan({"billing_address": street, "shipping_address": street})) == [
        "Root",
        "Address",
    ]
    assert names(plan({"schedule": {"id": 1, "name": "a"}, "kind": {"name": "b", "id": 2}})) == [
        "Root",
        "IdName",
    ]


def test_objects_of_other_shapes_with_one_name_are_named_by_what_holds_them() -> None:
    planned = plan({"a": {"area": {"x": 1}}, "b": {"area": {"y": 1}}})
    assert names(planned) == ["Root", "A", "Area", "B", "BArea"]


def test_names_that_the_module_needs_are_not_taken() -> None:
    planned = plan({"field": {"x": 1}, "any": {"y": 1}, "model": {"z": 1}}, taken=("Model",))
    assert names(planned) == ["Root", "RootField", "RootAny", "RootModel2"] or names(planned) == [
        "Root",
        "RootField",
        "RootAny",
        "Model2",
    ]
    for name in ("Any", "Field", "int", "Model"):
        with pytest.raises(BadIntegration, match="is a name the module needs itself"):
            plan({"x": 1}, name=name, taken=("Model",))


def test_a_field_is_required_unless_it_was_missing_and_nullable_if_null_was_seen() -> None:
    (model,) = plan({"a": 1, "b": None, "c": 1}, {"a": None, "b": 2}).models
    assert [(each.key, each.required, each.nullable) for each in model.fields] == [
        ("a", True, True),
        ("b", True, True),
        ("c", False, False),
    ]


def test_a_type_is_everything_that_was_seen() -> None:
    (model,) = plan(
        {"a": ["x", True, 1, None, [1.5, 2]], "big": 0.5}, {"a": [], "big": 2**60}
    ).models
    kinds = {each.key: each.type for each in model.fields}
    assert kinds["a"] == (
        "list",
        ("union", ("union", ("str",), ("bool",), ("int",), ("list", ("float",))), ("null",)),
    )
    assert kinds["big"] == ("union", ("int",), ("float",))


def test_choices_are_an_enumeration_once_for_the_same_values() -> None:
    planned = plan({"status": "paid", "inner": {"status": "paid"}})
    assert [(each.name, each.members) for each in planned.enums] == [("Status", {"paid": "PAID"})]


def test_what_lies_deeper_than_wanted_has_no_types() -> None:
    planned = plan({"a": {"b": {"c": {}}}, "l": [[1]]}, depth=2)
    assert names(planned) == ["Root", "A"]
    assert planned.models[1].fields[0].type == ("map", ("any",))
    assert plan({"a": {"b": 1}}, depth=1).models[0].fields[0].type == ("map", ("any",))


def test_a_list_is_a_model_if_wanted() -> None:
    planned = plan({"a": 1}, name="Order", as_list=True)
    assert planned.listed == ("OrderList", ("model", 0), False)


def test_models_and_fields_are_bounded() -> None:
    with pytest.raises(BadIntegration, match="more than 500 models or 5,000 fields"):
        plan({f"a{number}": {f"b{number}": 1} for number in range(501)})
    with pytest.raises(BadIntegration, match="name it a map"):
        plan({f"a{number}": 1 for number in range(5_001)})
