"""One dict becomes an outline of classes, as in the library it comes from, without its faults."""

from typing import Any, Dict, List  # noqa: UP035  # what the text needs

import pytest
from pydantic import BaseModel, Field

from backstay.errors import BadIntegration
from backstay.integration import generate_pydantic_models


def made(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {
        "__name__": "outline",
        "Any": Any,
        "BaseModel": BaseModel,
        "Dict": Dict,  # noqa: UP006
        "Field": Field,
        "List": List,  # noqa: UP006
    }
    exec(compile(source, "outline", "exec"), names)
    return names


def test_the_seeds_example_is_written_as_there_and_booleans_are_booleans() -> None:
    sample = {
        "items": [
            {"id": "0000", "premium": False, "area": {"id": "1"}, "salary": None, "tags": []},
        ],
        "found": 187,
        "roles": [["x"]],
        "share": 0.5,
    }
    assert generate_pydantic_models(sample, depth=2, prfix_class_name="Job") == (
        "class Job_ItemsItem(BaseModel):\n"
        "    id: str = None\n"
        "    premium: bool = None\n"
        "    area: Dict = None\n"
        "    salary: Any = None\n"
        "    tags: List = None\n"
        "\n"
        "class Job(BaseModel):\n"
        "    items: List[Job_ItemsItem]\n"
        "    found: int = None\n"
        "    roles: List[List[str]] = None\n"
        "    share: float = None\n"
    )


def test_classes_stand_behind_those_they_use_and_know_their_samples() -> None:
    sample = {"class": {"a": {}, "b": {"c": True}}, "Class": {"b": 1}, "class ": [{"q": 1}]}
    names = made(generate_pydantic_models(sample, 5, "Root"))
    read = names["Root"].model_validate(sample)
    assert read.model_dump(by_alias=True) == sample


@pytest.mark.parametrize(
    "key",
    [
        'x: int = __import__("os").system("echo HACK")\n    y',
        "__init__",
        "_private",
        "90",
        "",
        "List",
        "int",
        "model_config",
        "Root_A",
        "BaseModel",
        "class X:\n    pass\nimport os",
    ],
    ids=[str(number) for number in range(11)],
)
def test_no_key_gets_into_the_code(key: str) -> None:
    sample = {key: 1, "a": {key: {"deep": 2}}}
    source = generate_pydantic_models(sample, 3, "Root")
    assert "import os" not in source.replace(repr(key)[1:-1], "")
    assert made(source)["Root"].model_validate(sample).model_dump(by_alias=True) == sample


def test_nothing_below_the_depth_gets_a_class() -> None:
    assert generate_pydantic_models({"a": {"b": 1}}, 1) == (
        "class RootModel(BaseModel):\n    a: Dict = None\n"
    )
    assert generate_pydantic_models({"a": 1}, 0) == ""
    assert generate_pydantic_models({}, 1, parent_class="my.Model") == (
        "class RootModel(my.Model):\n    pass\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"data": [1]},
        {"data": {"a": float("nan")}},
        {"prfix_class_name": "X(object): pass\nclass Y"},
        {"parent_class": "object): pass\nclass Y("},
    ],
    ids=["list", "nan", "name", "parent"],
)
def test_what_is_no_sample_or_name_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(BadIntegration):
        generate_pydantic_models(**({"data": {}, "depth": 1} | arguments))
