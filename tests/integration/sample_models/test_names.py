"""Names are Python's, unlike each other, and as near to the keys as can be."""

import ast
import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.integration.sample_models.names import (
    class_name,
    enum_names,
    field_names,
    is_name,
    literal,
    singular,
    words_of,
)

INJECTION = 'x: int = __import__("os").system("echo HACK")'


def one(key: str, *, snake_case: bool = False) -> str:
    return field_names([key], forbidden={"json", "copy"}, snake_case=snake_case)[key]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("id", "id"),
        ("createdAt", "createdAt"),
        ("имя", "имя"),
        ("a__b", "a__b"),
        (INJECTION, "x_int_import_os_system_echo_HACK"),
        ("class", "class_"),
        ("None", "None_"),
        ("json", "json_"),
        ("_id", "id"),
        ("__init__", "init"),
        ("90", "field_90"),
        ("", "field"),
        ("!?", "field"),
        ("model_dump_x", "field_model_dump_x"),
        ("$ref", "ref"),
        ("a-b", "a_b"),
        ("ﬁ", "fi"),
        ("x²", "x2"),
        ("नाम", "नाम"),
        ("¯", "field"),
        ("a·b", "a_b"),
        ("a\u202eb", "a_b"),
        ("x" * 10_000, "x" * 60),
    ],
    ids=[str(number) for number in range(23)],
)
def test_a_key_becomes_a_name(key: str, name: str) -> None:
    assert one(key) == name


def test_snake_case_is_made_of_words() -> None:
    assert one("createdAt", snake_case=True) == "created_at"
    assert one("HTTPStatus", snake_case=True) == "http_status"
    assert one("class", snake_case=True) == "class_"


def test_names_that_would_be_the_same_get_numbers_and_keys_that_are_names_keep_theirs() -> None:
    named = field_names(["a-b", "_id", "a b", "a_b", "id"], forbidden=(), snake_case=False)
    assert named == {"a-b": "a_b_2", "_id": "id_2", "a b": "a_b_3", "a_b": "a_b", "id": "id"}


@given(st.lists(st.text(max_size=8), unique=True, max_size=12), st.booleans())
def test_names_of_any_keys_are_names_and_unlike_each_other(keys: list[str], snake: bool) -> None:
    forbidden = {"json", "a", "field"}
    named = field_names(keys, forbidden=forbidden, snake_case=snake)
    assert list(named) != [] or not keys
    assert len(set(named.values())) == len(keys) == len(named)
    for key, name in named.items():
        assert is_name(name)
        assert name not in forbidden
        assert not name.startswith("_")
        assert name == key or name not in keys


@given(st.lists(st.text(max_size=8), unique=True, max_size=12))
def test_names_of_any_values_are_names_in_capitals_and_unlike_each_other(values: list[str]) -> None:
    named = enum_names(values)
    assert len(set(named.values())) == len(values)
    for name in named.values():
        assert is_name(name)
        assert not name.startswith("_")


def test_values_of_an_enumeration_are_named_by_their_words() -> None:
    assert enum_names(["between1And3", "", "90", "mro", "Mro", "!"]) == {
        "between1And3": "BETWEEN1_AND3",
        "": "EMPTY",
        "90": "VALUE_90",
        "mro": "MRO",
        "Mro": "MRO_2",
        "!": "VALUE",
    }


@given(st.text(max_size=20))
def test_a_literal_is_the_text_in_characters_that_print(text: str) -> None:
    written = literal(text)
    assert ast.literal_eval(written) == text
    assert written.isprintable()
    if '"' not in text:
        assert written[0] == '"'


@given(st.lists(st.text(max_size=5), max_size=3))
def test_a_class_has_a_name_whatever_the_words(words: list[str]) -> None:
    name = class_name([each for text in words for each in words_of(text)])
    assert is_name(name)
    assert not keyword.iskeyword(name)


def test_words_begin_at_symbols_and_capitals() -> None:
    assert words_of("logo_urls-HTTPStatus.v2") == ["logo", "urls", "HTTP", "Status", "v2"]
    assert class_name(["logo", "urls"]) == "LogoUrls"
    assert class_name([]) == "Model"


@pytest.mark.parametrize(
    ("word", "one"),
    [
        ("items", "item"),
        ("vacancies", "vacancy"),
        ("addresses", "address"),
        ("boxes", "box"),
        ("status", "status"),
        ("address", "address"),
        ("news", "news"),
        ("data", "data"),
    ],
)
def test_one_of_several_is_named_by_the_regular_rules(word: str, one: str) -> None:
    assert singular(word) == one
