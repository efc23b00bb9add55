"""What was seen is remembered by place, however many samples there are."""

from typing import Any

from backstay.integration.sample_models.shape import MANY_VALUES, Shape


def seen(*values: Any) -> Shape:
    shape = Shape()
    for each in values:
        shape.observe(each)
    return shape


def test_kinds_are_told_apart_and_booleans_are_no_numbers() -> None:
    shape = seen(True, None)
    assert (shape.bools, shape.ints, shape.floats, shape.nulls) == (True, False, False, True)
    shape = seen(1, 2.5)
    assert (shape.bools, shape.ints, shape.floats, shape.large) == (False, True, True, False)
    assert seen(2**53 + 1).large


def test_a_format_is_one_of_all_texts_or_none() -> None:
    assert seen("2024-01-01", "2024-01-02").formats == {"date"}
    assert seen("2024-01-01", "soon").formats == frozenset()
    assert seen("soon", "2024-01-01").formats == frozenset()


def test_values_are_counted_until_there_are_many_or_long_ones() -> None:
    assert seen("a", "b", "a").values == {"a": 2, "b": 1}
    assert seen(*(str(number) for number in range(MANY_VALUES + 1))).values is None
    assert seen("a" * 101, "b").values is None


def test_lists_are_seen_item_by_item() -> None:
    shape = seen([], [{"a": 1}, {"b": 2}])
    assert shape.lists == 2
    assert shape.items is not None
    assert (shape.items.objects, list(shape.items.fields)) == (2, ["a", "b"])
    assert shape.items.fields["a"].seen == 1


def test_two_places_become_one() -> None:
    one, other = seen({"a": 1, "t": "x"}), seen({"a": None, "b": [1], "t": "2024-01-01"}, None)
    one.absorb(other)
    assert (one.objects, one.nulls, one.seen) == (2, True, 3)
    assert (one.fields["a"].ints, one.fields["a"].nulls) == (True, True)
    assert one.fields["t"].values == {"x": 1, "2024-01-01": 1}
    assert other.home is one


def test_a_tree_is_seen_as_one_shape() -> None:
    tree = seen({"v": 1, "kids": [{"v": None, "kids": [{"v": "x", "kids": [], "last": True}]}]})
    tree.find_recursion()
    items = tree.fields["kids"].items
    assert items is not None
    assert items.home is tree
    assert (tree.objects, tree.fields["kids"].lists) == (3, 3)
    assert set(tree.fields) == {"v", "kids", "last"}
    assert (tree.fields["v"].ints, tree.fields["v"].nulls, tree.fields["v"].texts) == (
        True,
        True,
        1,
    )


def test_a_tree_below_maps_and_lists_of_lists_is_one_too() -> None:
    tree = seen({"v": 1, "to": {"1": {"v": 2, "to": {"2": {"v": 3, "to": {}}}}}})
    tree.find_maps(lambda shape, _: all(key.isdigit() for key in shape.fields))
    tree.find_recursion()
    assert tree.objects == 3
    mapped = tree.fields["to"].mapped
    assert mapped is not None
    assert mapped.home is tree


def test_an_object_in_one_of_another_kind_is_no_tree() -> None:
    nested = seen({"id": 1, "name": "a", "area": {"id": 2, "name": "b"}})
    nested.find_recursion()
    assert nested.objects == 1
    wrapped = seen({"data": {"data": {"x": 1}}})
    wrapped.find_recursion()
    assert wrapped.objects == 1


def test_a_map_has_one_shape_for_all_keys_and_what_is_in_it_is_no_map_by_its_name() -> None:
    shape = seen({"rates": {"a": {"x": 1}, "b": {"y": 2}}})
    shape.find_maps(lambda _, key: key == "rates")
    mapped = shape.fields["rates"].mapped
    assert mapped is not None
    assert mapped.mapped is None
    assert set(mapped.home.fields) == {"x", "y"}


def test_a_map_and_an_object_that_become_one_place_are_a_map() -> None:
    one, other = seen({"m": {"1": 1}}), seen({"m": {"name": "x"}})
    one.find_maps(lambda shape, _: "1" in shape.fields)
    one.absorb(other)
    mapped = one.fields["m"].mapped
    assert mapped is not None
    assert (mapped.ints, mapped.texts) == (True, 1)
