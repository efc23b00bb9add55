"""From an input schema to instances, and to refusals that help."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretStr, model_validator

from backstay.widgets.files import FileReference
from backstay.widgets.inputs import MAX_FILE_BYTES, Inputs
from backstay.widgets.problems import InvalidInputs


class Item(BaseModel):
    price: float = 0
    data: bytes = b""


class Tree(BaseModel):
    name: str = ""
    children: list[Tree] = []
    payload: bytes | None = None


class Search(BaseModel):
    query: str
    count: int = 10
    items: list[Item] = []
    by_name: dict[str, Item] = {}
    anything: Any = None
    tree: Tree | None = None
    number: int | float | None = None
    kind: Literal["a", "b"] = "a"
    secret: SecretStr = SecretStr("")


SEARCH = Inputs(Search)


def test_an_instance_of_the_users_class_comes_out() -> None:
    found = SEARCH.validate({"query": "tea", "items": [{"data": "aGk="}]})
    assert isinstance(found, Search)
    assert found == Search(query="tea", items=[Item(data=b"hi")])


def test_it_takes_dict_as_the_page_for_widgets_writes_it() -> None:
    found: Any = SEARCH.validate({"query": "tea", "items": [{"data": "aGk="}]})
    text = json.dumps(found.dict(sort_keys=True), sort_keys=True)
    assert json.loads(text)["items"] == [{"data": "aGk=", "price": 0.0}]


def test_what_is_refused_is_told() -> None:
    with pytest.raises(InvalidInputs, match="count: should be a valid integer") as refused:
        SEARCH.validate({"query": "tea", "count": "many"})
    assert refused.value.problems[0].path == "count"
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("wrong", [[], "x", 1, 1.5, True, b"x", object()])
def test_arguments_that_are_no_object_are_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInputs, match="they should be an object, not "):
        SEARCH.validate(wrong)


def test_any_mapping_is_an_object() -> None:
    arguments: Mapping[str, Any] = MappingProxyType({"query": "tea"})
    assert SEARCH.validate(arguments) == Search(query="tea")


# ---------------------------------------------------------------------- the model


def test_without_a_model_nothing_is_taken() -> None:
    nothing = Inputs(None)
    assert nothing.schema["type"] == "object"
    assert nothing.schema["additionalProperties"] is False
    assert nothing.validate(None) == nothing.validate({})
    assert nothing.file_params == ()
    with pytest.raises(InvalidInputs, match="x: is unknown: nothing is taken here"):
        nothing.validate({"x": 1})


@pytest.mark.parametrize("wrong", [dict, Search(query="x"), "Search", BaseModel, list[int], int])
def test_what_is_no_model_is_refused_at_the_start(wrong: Any) -> None:
    with pytest.raises(TypeError, match="must be a class derived from pydantic's BaseModel"):
        Inputs(wrong)


@pytest.mark.parametrize("root", [list[int], int, int | None, Search | int])
def test_a_model_that_is_no_object_is_refused_at_the_start(root: Any) -> None:
    with pytest.raises(TypeError, match="the arguments of a tool are an object"):
        Inputs(RootModel[root])


def test_a_root_model_of_objects_is_an_object() -> None:
    named = Inputs(RootModel[dict[str, int]])
    assert named.schema["type"] == "object"
    found: Any = named.validate({"b": 1, "a": 2})
    assert list(found.dict(sort_keys=True)) == ["a", "b"]
    either = Inputs(RootModel[Item | Tree])
    assert either.schema["type"] == "object"
    assert isinstance(either.validate({"name": "x"}).root, Tree)  # type: ignore[attr-defined]  # a RootModel has it


def test_a_limit_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="max_file_bytes must not be negative, got -1"):
        Inputs(Item, max_file_bytes=-1)


def test_a_file_has_ten_mebibytes_unless_something_else_is_said() -> None:
    assert Inputs(Item).max_file_bytes == MAX_FILE_BYTES == 10 * 1024 * 1024
    data = base64.b64encode(b"x" * 101).decode()
    assert Inputs(Item, max_file_bytes=101).validate({"data": data}) == Item(data=b"x" * 101)
    with pytest.raises(InvalidInputs, match="data: the file is 101 bytes and at most 100 are"):
        Inputs(Item, max_file_bytes=100).validate({"data": data})


def test_a_fault_in_a_validator_of_the_users_is_no_fault_of_the_clients() -> None:
    class Broken(BaseModel):
        @model_validator(mode="after")
        def check(self) -> Broken:
            raise KeyError("oh")

    with pytest.raises(KeyError, match="oh"):
        Inputs(Broken).validate({})


def test_a_dict_of_the_models_own_is_kept() -> None:
    class Own(BaseModel):
        def dict(self, **options: Any) -> dict[str, Any]:  # type: ignore[override]  # what users do
            return {"mine": True}

    found = Inputs(Own).validate({})
    assert type(found) is Own
    assert found.dict() == {"mine": True}


def test_a_model_that_hides_its_input_is_obeyed() -> None:
    class Hiding(BaseModel):
        model_config = ConfigDict(hide_input_in_errors=True)
        pin: int

    with pytest.raises(InvalidInputs) as refused:
        Inputs(Hiding).validate({"pin": "hunter2"})
    assert "hunter2" not in str(refused.value)


# ---------------------------------------------------------------------- the schema


def test_the_schema_is_a_copy_of_ones_own() -> None:
    first = SEARCH.schema
    first["properties"].clear()
    assert "query" in SEARCH.schema["properties"]


def test_the_top_is_an_object_without_following_references() -> None:
    schema = Inputs(Tree).schema
    assert schema["type"] == "object"
    assert "$ref" not in schema
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}
    assert schema["$defs"]["Tree"]["type"] == "object"


def test_no_dialect_is_named_unless_the_model_names_one() -> None:
    class Named(BaseModel):
        model_config = ConfigDict(
            json_schema_extra={"$schema": "https://json-schema.org/draft/2020-12/schema"}
        )

    assert "$schema" not in SEARCH.schema
    assert Inputs(Named).schema["$schema"].endswith("2020-12/schema")


def test_names_are_aliases_where_there_are_any() -> None:
    class Aliased(BaseModel):
        text: str = Field(alias="searchText")

    inputs = Inputs(Aliased)
    assert list(inputs.schema["properties"]) == inputs.schema["required"] == ["searchText"]
    assert inputs.validate({"searchText": "x"}) == Aliased(searchText="x")


# ---------------------------------------------------------------------- file references


class Files(BaseModel):
    one: FileReference
    maybe: FileReference | None = None
    many: list[FileReference] = []
    marked: Annotated[FileReference | None, Field(description="x")] = None
    renamed: FileReference | None = Field(None, alias="theFile")
    name: str = ""
    either: FileReference | str = ""
    raw: bytes = b""
    named: dict[str, FileReference] = {}


def test_fields_that_are_file_references_are_named_as_clients_know_them() -> None:
    assert Inputs(Files).file_params == ("one", "maybe", "many", "marked", "theFile")


def test_a_file_reference_is_described_at_the_field_itself() -> None:
    schema = Inputs(Files).schema
    one = schema["properties"]["one"]
    assert set(one["required"]) == {"download_url", "file_id"}
    assert one["type"] == "object"
    assert "FileReference" not in schema.get("$defs", {})
    assert schema["properties"]["many"]["items"]["type"] == "object"


def test_a_file_reference_arrives_as_one() -> None:
    found: Any = Inputs(Files).validate(
        {"one": {"download_url": "https://host/x", "file_id": "f", "thumbnail": "new"}}
    )
    assert found.one == FileReference(download_url="https://host/x", file_id="f")


# ---------------------------------------------------------------------- whatever comes

numbers = st.integers() | st.builds(lambda: 10**5000) | st.floats()
texts = st.text(max_size=20) | st.just("\ud800") | st.just("data:;base64,aGk") | st.just("aGk=")
names = st.sampled_from([*Search.model_fields, *Item.model_fields, *Tree.model_fields]) | texts
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=20,
)


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    query: str = ""
    count: int = 10
    data: bytes = b""
    items: list[Item] = []
    anything: Any = None


@pytest.mark.parametrize("inputs", [SEARCH, Inputs(Tree), Inputs(Strict), Inputs(Files)])
@given(arguments=st.dictionaries(names, anything, max_size=6) | anything)
def test_whatever_comes_is_an_instance_or_a_refusal(inputs: Inputs, arguments: Any) -> None:
    try:
        found: Any = inputs.validate(arguments)
    except InvalidInputs as refused:
        told = str(refused)
        told.encode()
        assert len(told) < 8000  # a refusal is one of two good ends
    else:
        assert isinstance(found, inputs.model)
        assert len(inputs.cache_key(found)) == 32
        json.dumps(found.dict(sort_keys=True))


@given(st.dictionaries(names, anything, max_size=6))
def test_the_same_arguments_have_the_same_key(arguments: dict[str, Any]) -> None:
    arguments = {"query": "x", "anything": arguments}
    turned = dict(reversed(arguments.items()))
    assert SEARCH.cache_key(SEARCH.validate(arguments)) == SEARCH.cache_key(SEARCH.validate(turned))


@pytest.mark.parametrize("inputs", [SEARCH, Inputs(Tree), Inputs(Strict)])
def test_depth_without_end_is_a_refusal(inputs: Inputs) -> None:
    lists: Any = []
    tree: Any = {}
    for _ in range(100_000):
        lists = [lists]
        tree = {"children": [tree]}
    for arguments in ({"query": "x", "tree": tree}, {"items": lists, "query": "x"}, tree):
        with pytest.raises(InvalidInputs):
            inputs.validate(arguments)
    del lists, tree


def test_a_key_is_one_of_the_instance_and_tells_secrets_apart() -> None:
    def key(**more: Any) -> str:
        return SEARCH.cache_key(SEARCH.validate({"query": "x", **more}))

    assert key(secret="a") != key(secret="b")
    assert key() == SEARCH.cache_key(Search(query="x"))
    assert key(number=1) != key(number=2)
    assert not math.isnan(int(key(), 16))
