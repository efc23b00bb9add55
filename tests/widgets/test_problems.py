"""What is wrong, in words for the model that wrote it."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator
from pydantic_core import ValidationError

from backstay.errors import BackstayError
from backstay.widgets.input_reading import read_model
from backstay.widgets.problems import InvalidInputs, Problem, find_problems


class Item(BaseModel):
    price: float = 0
    kind: Literal["book", "toy"] = "book"
    password: SecretStr = SecretStr("")


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    tail: bool = True


class Node(BaseModel):
    name: str = ""
    child: Node | None = None


class Basket(BaseModel):
    query: str = Field("", max_length=5, alias="searchText")
    count: int | None = None
    items: list[Item] = []
    by_name: dict[str, Item] = {}
    mixed: int | list[int] = 0
    pet: Cat | Dog | None = Field(None, discriminator="kind")
    pin: int = Field(0, json_schema_extra={"writeOnly": True})
    node: Node | None = None
    even: int = 0

    @field_validator("even")
    @classmethod
    def check_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("only even numbers, please")
        return value


class Wide(BaseModel):
    a: int = 0
    b: int = 0
    c: int = 0


READING = read_model(Basket, max_file_bytes=10)


def refuse(
    arguments: dict[str, Any], model: type[BaseModel] = Basket, **more: Any
) -> InvalidInputs:
    reading = READING if model is Basket else read_model(model, max_file_bytes=10)
    with pytest.raises(ValidationError) as refused:
        reading.validate(arguments)
    return find_problems(refused.value, arguments, reading.schema, **more)


def only(arguments: dict[str, Any]) -> tuple[str, str, str | None]:
    (problem,) = refuse(arguments).problems
    return problem.path, problem.message, problem.found


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"count": "x"}, "count"),
        ({"items": [{}, {}, {"price": "x"}]}, "items[2].price"),
        ({"by_name": {"a b": {"price": "x"}}}, "by_name.a b.price"),
        ({"mixed": ["x"]}, "mixed[0]"),
        ({"pet": {"kind": "cat", "lives": "x"}}, "pet.lives"),
        ({"pet": {"kind": "cow"}}, "pet"),
        ({"node": {"child": {"child": {"name": 1}}}}, "node.child.child.name"),
        ({"searchText": 1}, "searchText"),
    ],
)
def test_a_path_leads_to_the_value_and_names_nothing_of_the_inside(
    arguments: dict[str, Any], path: str
) -> None:
    assert path in [each.path for each in refuse(arguments).problems]


def test_a_problem_has_what_is_wanted_and_what_was_found() -> None:
    path, message, found = only({"items": [{"kind": "car"}]})
    assert (path, found) == ("items[0].kind", "'car'")
    assert message == "should be 'book' or 'toy'"
    assert only({"even": 3}) == ("even", "only even numbers, please", "3")


def test_the_message_is_one_paragraph_that_ends_in_what_to_do() -> None:
    refused = refuse({"count": "x", "even": 3})
    assert str(refused) == (
        "the arguments do not fit this tool's input schema: count: should be a valid integer, "
        "unable to parse string as an integer (found 'x'); even: only even numbers, please "
        "(found 3). Correct them and call the tool again."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cuont": 1}, "is unknown; did you mean 'count'?"),
        ({"searchTxt": 1}, "is unknown; did you mean 'searchText'?"),
        ({"items": [{"prise": 1}]}, "is unknown; did you mean 'price'?"),
        ({"node": {"child": {"nmae": 1}}}, "is unknown; did you mean 'name'?"),
        ({"items": [{"zzz": 1}]}, "is unknown; the names there are: kind, password, price"),
        ({"pet": {"kind": "dog", "tial": True}}, "is unknown; did you mean 'tail'?"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_known_or_all_of_them(
    arguments: dict[str, Any], message: str
) -> None:
    assert only(arguments)[1] == message
    assert only(arguments)[2] is None, "its value is not what is wrong"


def test_where_nothing_is_taken_that_is_said() -> None:
    class Nothing(BaseModel):
        pass

    (problem,) = refuse({"x": 1}, Nothing).problems
    assert problem.message == "is unknown: nothing is taken here; leave it out"


def test_what_is_missing_is_named_and_shows_nothing() -> None:
    class Needy(BaseModel):
        name: str
        item: Item

    refused = refuse({}, Needy)
    assert [str(each) for each in refused.problems] == [
        "name: is required and is missing",
        "item: is required and is missing",
    ]


def test_the_branches_of_a_union_are_one_problem() -> None:
    path, message, found = only({"mixed": "x"})
    assert path == "mixed"
    assert message.count(", or: ") == 1
    assert found == "'x'"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "null"),
        (True, "true"),
        ({"a": 1, "b": 2}, "an object of 2"),
        ([1, 2, 3], "a list of 3"),
        (1.5, "1.5"),
        (float("nan"), "nan, which JSON does not have"),
        (12345, "12345"),
        ([10**5000][0], f"a number of {(10**5000).bit_length()} bits"),
        (b"inside", None),
        ("\ud800", "'\\\\ud800'"),
        ("x" * 200, "'" + "x" * 78 + "…"),
    ],
    ids=range(11),
)
def test_a_value_is_shown_as_json_would_and_never_at_length(value: object, found: str) -> None:
    class Text(BaseModel):
        value: Literal["only this"]

    (problem,) = refuse({"value": value}, Text).problems
    assert problem.found == found
    assert problem.found is None or len(problem.found) <= 80


@pytest.mark.parametrize(
    "arguments",
    [
        {"items": [{"password": 4711}]},
        {"by_name": {"x": {"password": 4711}}},
        {"pin": "4711x"},
        {"items": [{"password": 4711, "price": "x"}]},
        {"items": [{"password": 4711, "more": "x"}]},
        {"items": [4711, {"password": "4711"}][1:] * 1 + [{"passwrod": "4711"}]},
    ],
)
def test_secrets_are_not_shown(arguments: dict[str, Any]) -> None:
    refused = refuse(arguments)
    assert "4711" not in str(refused)
    assert "4711" not in repr(refused.problems)


def test_a_model_that_hides_its_input_hides_all_of_it() -> None:
    assert "topsecret" not in str(refuse({"count": "topsecret"}, hidden=True))
    assert "topsecret" in str(refuse({"count": "topsecret"}))


def test_ten_problems_are_told_and_the_rest_are_counted() -> None:
    refused = refuse({f"unknown_{n}": n for n in range(50)})
    assert len(refused.problems) == 10
    assert refused.more == 40
    assert "; and 40 more. Correct" in str(refused)


def test_thousands_of_problems_are_counted_only() -> None:
    refused = refuse({f"unknown_{n}": n for n in range(5000)})
    assert [each.path for each in refused.problems] == [""]
    assert "5000 values" in str(refused)


def test_however_long_the_names_and_values_are_the_message_is_short() -> None:
    long = "n" * 100_000
    refused = refuse({f"{n}{long}": long for n in range(10)} | {"by_name": {long: {long: long}}})
    assert len(str(refused)) < 8000


def test_no_word_of_the_program_is_in_the_message() -> None:
    told = str(refuse({"mixed": "x", "pet": {"kind": 1}, "node": [], "searchText": {}}))
    for word in ("pydantic", "Traceback", "function-", "errors.pydantic.dev", "Error"):
        assert word not in told


def test_it_is_one_of_our_errors_and_has_a_status_for_http() -> None:
    refused = InvalidInputs([Problem("x", "is odd", "3")])
    assert isinstance(refused, BackstayError)
    assert refused.status == 422
    assert str(refused.problems[0]) == "x: is odd (found 3)"
    assert str(Problem("", "is odd")) == "is odd"
