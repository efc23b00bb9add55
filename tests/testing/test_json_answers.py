"""What an API answered is compared whole, but for the keys that are left out, and shown if it differs."""

import copy
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.testing.json_answers import check_response_json, rm_key_from_deep_dict

KEYS = ["id", "at"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*KEYS, "name", "items"]), inner, max_size=4)
    ),
    max_leaves=20,
)


def keys_in(data: Any) -> set[str]:
    if isinstance(data, dict):
        return set(data).union(*map(keys_in, data.values()))
    return set().union(*map(keys_in, data)) if isinstance(data, list) else set()


@given(JSON)
def test_removed_keys_are_nowhere_and_the_others_still_there(data: Any) -> None:
    cleaned = rm_key_from_deep_dict(copy.deepcopy(data), KEYS)
    assert keys_in(cleaned).isdisjoint(KEYS)
    assert rm_key_from_deep_dict(copy.deepcopy(data), []) == data


def test_keys_are_removed_in_place() -> None:
    data = {"id": 1, "items": [{"id": 2, "name": "x"}]}
    assert rm_key_from_deep_dict(data, ["id"]) is data
    assert data == {"items": [{"name": "x"}]}


def test_one_string_is_no_list_of_keys() -> None:
    with pytest.raises(TypeError, match=r"write \['id'\]"):
        rm_key_from_deep_dict({"id": 1}, "id")


def test_the_deepest_answers_are_no_trouble() -> None:
    data: Any = {"id": 1}
    for _ in range(100_000):
        data = [data]
    rm_key_from_deep_dict(data, ["id"])


def test_an_answer_that_is_as_expected_is_true() -> None:
    answer = httpx.Response(200, json={"id": 7, "name": "x", "items": [{"id": 8, "n": 1}]})
    expected = {"name": "x", "items": [{"n": 1}]}
    assert check_response_json(answer, 200, expected, ["id"]) is True
    assert check_response_json(answer, 200, {"id": 7, "name": "x", "items": [{"id": 8, "n": 1}]})


def test_keys_that_are_left_out_may_be_expected_and_what_was_expected_is_not_changed() -> None:
    expected = {"id": "whatever", "items": [{"id": 1}]}
    check_response_json(httpx.Response(200, json={"id": 7, "items": [{}]}), 200, expected, ["id"])
    assert expected == {"id": "whatever", "items": [{"id": 1}]}


def test_another_status_is_shown_with_the_answer() -> None:
    with pytest.raises(AssertionError, match="status 500 instead of 200; the answer was: oh no"):
        check_response_json(httpx.Response(500, text="oh no"), 200, {})


def test_an_answer_that_is_no_json_is_shown() -> None:
    with pytest.raises(AssertionError, match="no JSON: 'oh no'"):
        check_response_json(httpx.Response(200, text="oh no"), 200, {})


def test_every_difference_is_named_with_its_place() -> None:
    found = {"a": 1, "b": [{"c": 2}, {"c": 3}], "d": 4, "f": [1], "g": {}}
    expected = {"a": 1, "b": [{"c": 2}, {"c": 9}], "e": 5, "f": [1, 2], "g": []}
    with pytest.raises(AssertionError) as caught:
        check_response_json(httpx.Response(200, json=found), 200, expected)
    assert str(caught.value).splitlines()[1:-1] == [
        "  answer['b'][1]['c'] is 3 instead of 9",
        "  answer['d'] is 4, and should not be there",
        "  answer['e'] is missing, 5 expected",
        "  answer['f'] has 1 items instead of 2: [1]",
        "  answer['g'] is {} instead of []",
    ]
