"""Samples in, a module out whose models they fit and come back from as they were."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backstay.errors import BadIntegration
from backstay.integration import py2dantic
from tests.integration.sample_models.generated import (
    assert_only_declares,
    assert_round_trip,
    classes,
    imported,
)

SPICY_KEYS = [
    *("", "_id", "id", "90", "1", "2024-01-01", "a-b", "a_b", "a b", "ﬁ", "fi", "e\u0301", "é"),
    *("class", "None", "True", "self", "cls", "__init__", "__class__", "annotations"),
    *("int", "str", "list", "dict", "date", "time", "datetime", "typing", "pydantic"),
    *("Any", "UUID", "Field", "BaseModel", "RootModel", "StrEnum", "Root", "RootList", "root"),
    *("model_config", "model_fields", "model_dump_x", "schema", "json", "copy", "type", "enum"),
    *("$ref", "@type", "items", "properties", "k0", "kk1", "kids", "v", '"""', "\\", "\n"),
    *("{{ 7*7 }}", "{% raw %}", "\u202e", "x" * 10_000),
    'x: int = __import__("os").system("echo HACK")',
]
TEXTS = st.sampled_from(
    [
        *("2024-09-04T08:27:02+0300", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00"),
        *("2024-01-01", "10:00:00", "https://a.b/c", "https://a.b", "1", "5.0", "true", "nan", ""),
        "0f8fad5b-d9cb-469f-a165-70867728950e",
    ]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
KEYS = st.sampled_from(SPICY_KEYS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.dictionaries(st.sampled_from(["kids", "v", "k"]), inner, min_size=2)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(
    samples=st.lists(OBJECTS, min_size=1, max_size=3).filter(any),
    enums=st.booleans(),
    snake_case=st.booleans(),
    as_list=st.booleans(),
)
@example(
    samples=[{"नाम-1": 1, "0ั": 2, "a·b": 3, "¯": 4}], enums=False, snake_case=False, as_list=False
)
def test_every_sample_fits_and_comes_back_whatever_is_in_it(
    samples: list[dict[str, Any]], enums: bool, snake_case: bool, as_list: bool
) -> None:
    given_ = [samples] if as_list else samples
    source = py2dantic(*given_, name="Root", enums=enums, snake_case=snake_case, as_list=as_list)
    assert_only_declares(source)
    with imported(source) as module:
        for each in given_:
            assert_round_trip(module, "RootList" if as_list else "Root", each)


def test_the_same_samples_give_the_same_text() -> None:
    sample = {"b": {"x": 1}, "a": [{"y": "2024-01-01"}, {"z": None}], "class": 1}
    assert py2dantic(sample) == py2dantic(json.dumps(sample)) == py2dantic(dict(sample))


def test_what_samples_differ_in_is_optional_or_a_union() -> None:
    source = py2dantic(
        {"id": 1, "total": 5, "note": None, "tags": []},
        {"id": "x", "total": 5.5, "note": "hi", "tags": [{"a": 1}], "paid": True},
        {"id": 2, "total": 7, "note": None, "tags": [{"b": None}]},
        name="Order",
    )
    assert classes(source) == {
        "Tag": ["a: int | None = None", "b: Any | None = None"],
        "Order": [
            "id: str | int",
            "total: float",
            "note: str | None",
            "tags: list[Tag]",
            "paid: bool | None = None",
        ],
    }


def test_moments_days_and_ids_are_what_all_samples_say() -> None:
    one = {
        "at": "2024-09-04T08:27:02+0300",
        "local": "2024-09-04T08:27:02",
        "date": "2024-09-04",
        "time": "08:27:02",
        "id": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "url": "https://hh.ru/vacancy/1",
        "mixed": "2024-09-04",
    }
    source = py2dantic(one, one | {"mixed": "tomorrow"}, name="Vacancy")
    assert classes(source)["Vacancy"] == [
        "at: AwareDatetime",
        "local: NaiveDatetime",
        "date_: date = Field(..., alias='date')",
        "time_: time = Field(..., alias='time')",
        "id: UUID",
        "url: AnyUrl",
        "mixed: str",
    ]


def test_a_tree_is_a_model_that_refers_to_itself() -> None:
    leaf = {"name": "c", "areas": []}
    tree = {"name": "a", "areas": [{"name": "b", "areas": [leaf], "code": 7}]}
    source = py2dantic(tree, name="Area")
    assert classes(source) == {
        "Area": ["name: str", "areas: list[Area]", "code: int | None = None"]
    }
    deep: dict[str, Any] = leaf
    for _ in range(30):
        deep = {"name": "x", "areas": [deep], "code": 1}
    with imported(source) as module:
        assert_round_trip(module, "Area", deep)


def test_models_that_hold_each_other_are_found_too() -> None:
    sample = {
        "name": "a",
        "boss": {"firm": {"name": "b", "boss": {"firm": None, "age": 3}}, "age": 2},
    }
    source = py2dantic(sample, name="Firm")
    assert set(classes(source)) == {"Firm", "Boss"}
    with imported(source) as module:
        assert_round_trip(module, "Firm", sample)


def test_objects_whose_keys_are_ids_are_maps() -> None:
    sample = {
        "by_day": {"2024-01-01": 1, "2024-01-02": None},
        "by_id": {"17": {"n": 1}, "18": {"n": 2}},
        "rates": {"EUR": 1.0, "USD": 1.1},
        "sizes": {"90": "a", "original": "b"},
    }
    found = classes(py2dantic(sample, name="Root", maps=["rates"]))
    assert found["Root"] == [
        "by_day: dict[str, int | None]",
        "by_id: dict[str, ByIdItem]",
        "rates: dict[str, float]",
        "sizes: Sizes",
    ]
    assert found["Sizes"][0] == "field_90: str = Field(..., alias='90')"
    assert "ByDay" in classes(py2dantic(sample, find_maps=False))


def test_few_texts_are_an_enumeration_if_wanted() -> None:
    samples = [{"status": each, "id": each * 3} for each in ("paid", "open", "paid", "open")]
    assert classes(py2dantic(*samples, name="Order"))["Order"] == ["status: str", "id: str"]
    wanted = {
        "Status": ["PAID = 'paid'", "OPEN = 'open'"],
        "Order": ["status: Status", "id: str"],
    }
    assert classes(py2dantic(*samples, name="Order", enums=["status"])) == wanted
    everything = classes(py2dantic(*samples, {"status": "open", "id": "x"}, enums=True))
    assert set(everything) == {"Status", "RootModel"}


def test_a_list_is_as_many_samples_unless_it_is_to_be_a_model() -> None:
    orders = [{"id": 1}, {"id": 2, "note": "x"}]
    assert py2dantic(orders, name="Order") == py2dantic(*orders, name="Order")
    source = py2dantic(orders, name="Order", as_list=True)
    assert list(classes(source)) == ["Order", "OrderList"]
    with imported(source) as module:
        assert_round_trip(module, "OrderList", orders)
    with imported(py2dantic([1, None, "x"], name="Thing", as_list=True)) as module:
        assert_round_trip(module, "ThingList", [1, None, "x"])


def test_files_and_lines_are_samples(tmp_path: Path) -> None:
    file = tmp_path / "orders.ndjson"
    file.write_text('{"id": 1}\n{"id": null}\n')
    assert classes(py2dantic(file, '{"more": true}', name="Order"))["Order"] == [
        "id: int | None = None",
        "more: bool | None = None",
    ]


def test_models_are_made_from_the_base_that_is_named(tmp_path: Path) -> None:
    source = py2dantic({"a": {"model": 1}}, name="Order", base="pydantic.main.BaseModel")
    assert "from pydantic.main import BaseModel" in source
    with imported(source) as module:
        assert_round_trip(module, "Order", {"a": {"model": 1}})


@pytest.mark.parametrize(
    ("samples", "options", "said"),
    [
        ([], {}, "there is no sample"),
        ([{}], {}, "the samples are empty"),
        ([[]], {}, "the samples are empty"),
        ([5], {}, "the sample is a number, and models are of objects"),
        ([{"a": 1}, [{"a": 1}, None]], {}, "sample 2 holds null at [1]"),
        ([{"a": 1}], {"as_list": True}, "the sample is an object, and as_list=True wants lists"),
        ([[{"a": 1}]], {"as_list": True}, "'RootModel' is a name the module needs itself"),
        ([{"a": 1}], {"name": "class"}, "name='class' is no name for a class"),
        ([{"a": 1}], {"name": "X(object): pass\nclass Y"}, "is no name for a class"),
        ([{"a": 1}], {"name": "Any"}, "'Any' is a name the module needs itself"),
        ([{"a": 1}], {"base": "Model"}, "is no class with its module"),
        ([{"a": 1}], {"base": "os;x.Model"}, "is no class with its module"),
        ([{"a": 1}], {"base": "shop.Field"}, "has the name of something else"),
        ([{"a": 1}], {"depth": 0}, "depth=0 leaves nothing to look at"),
        ([{"a": 1}], {"enums": "a"}, "take several names"),
        ([{"a": 1}], {"enums": ["a"]}, "enums= names 'a', and no field of that name holds texts"),
        ([{"a": 1}], {"maps": ["a"]}, "maps= names 'a', and no field of that name is an object"),
        (['{"a": }'], {}, "the sample, line 1, column 7: this is no JSON"),
        ([{"a": 1}, '{"a": }'], {}, "sample 2, line 1, column 7"),
    ],
    ids=[str(number) for number in range(19)],
)
def test_what_makes_no_models_is_refused(
    samples: list[Any], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadIntegration) as caught:
        py2dantic(*samples, **options)
    assert said in str(caught.value)
