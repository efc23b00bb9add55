"""What a route says about keeping its answers makes sense, or is refused where it is said."""

from datetime import timedelta
from typing import Any

import pytest
from starlette.requests import Request

from backstay.cache.policy import Policy
from backstay.errors import BadCache
from tests.cache.serving import a_scope


def a_request(path: str = "/", **parameters: Any) -> Request:
    return Request(a_scope(path, path_params=parameters))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ttl": 0}, "cache_ttl= is more than 0 seconds"),
        ({"ttl": "soon"}, "cache_ttl= is a number of seconds or a timedelta"),
        ({"stale": -1}, "stale="),
        ({"max_age": -1}, "max_age="),
        ({"private_max_age": float("nan")}, "private_max_age="),
        ({"early": True}, "early=True without public=True"),
        ({"key": "items"}, "key= is a function of the request"),
        ({"vary": "Accept-Language"}, "vary= is several names of headers"),
        ({"vary": ["*"]}, "vary= holds"),
        ({"vary": ["a b"]}, "vary= holds"),
        ({"vary": [7]}, "vary= holds"),
        ({"vary": 7}, "vary= is several names of headers"),
        ({"tags": "items"}, "tags= is several texts"),
        ({"tags": [7]}, "tags= holds 7"),
        ({"tags": ["item:{"]}, "is no template"),
        ({"tags": ["item:{}"]}, "which is no name of a parameter"),
        ({"tags": ["item:{item.id}"]}, "which is no name of a parameter"),
        ({"tags": ["item:{item[0]}"]}, "which is no name of a parameter"),
        ({"statuses": [99]}, "statuses= holds 99"),
        ({"statuses": [206]}, "statuses= holds 206"),
        ({"statuses": [304]}, "statuses= holds 304"),
        ({"statuses": [True]}, "statuses= holds True"),
    ],
    ids=str,
)
def test_what_could_never_work_is_refused_with_a_word_on_what_would(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadCache, match=message):
        Policy.of(**{"ttl": 10, **options})


@pytest.mark.parametrize(
    ("options", "control", "tells_age"),
    [
        ({}, "private, max-age=0, must-revalidate", True),
        ({"private_max_age": 5}, "private, max-age=5", False),
        ({"private_max_age": 500}, "private, max-age=60", False),
        ({"public": True}, "public, max-age=60", True),
        ({"public": True, "stale": 30}, "public, max-age=60, stale-while-revalidate=30", True),
        ({"public": True, "tags": ["a"]}, "public, max-age=0, must-revalidate", True),
        ({"public": True, "tags": ["a"], "max_age": 5}, "public, max-age=5", False),
        ({"public": True, "max_age": 0}, "public, max-age=0, must-revalidate", True),
        ({"public": True, "max_age": timedelta(hours=1)}, "public, max-age=60", False),
    ],
    ids=str,
)
def test_clients_are_told_how_long_they_need_not_ask(
    options: dict[str, Any], control: str, tells_age: bool
) -> None:
    assert Policy.of(ttl=60, **options).cache_control == (control, tells_age)


def test_only_private_answers_are_made_anew_because_a_client_says_so() -> None:
    assert Policy.of(ttl=1).revalidate
    assert not Policy.of(ttl=1, public=True).revalidate
    assert Policy.of(ttl=1, public=True, revalidate=True).revalidate


def test_headers_are_named_in_any_case_and_once() -> None:
    policy = Policy.of(ttl=1, vary=["Accept-Language", "accept-language", "X-Tenant"])
    assert policy.vary == ("accept-language", "x-tenant")


def test_tags_are_texts_templates_and_functions() -> None:
    policy = Policy.of(
        ttl=1,
        tags=[
            "items",
            "item:{item_id}",
            "{{odd}}",
            "item:{item_id:03}",
            lambda request: f"at:{request.url.path}",
            lambda request: ["one", "two", "items"],
        ],
    )
    assert policy.tag_fields == {"item_id"}
    assert policy.tags_of(a_request("/x"), {"item_id": 7}) == (
        "items",
        "item:7",
        "{odd}",
        "item:007",
        "at:/x",
        "one",
        "two",
    )


def test_a_single_function_may_stand_for_all_tags() -> None:
    policy = Policy.of(ttl=1, tags=lambda request: ["a", "b"])  # type: ignore[arg-type]  # kindly
    assert policy.tags_of(a_request(), {}) == ("a", "b")


def test_what_the_handler_is_called_with_counts_more_than_what_stands_in_the_path() -> None:
    policy = Policy.of(ttl=1, tags=["item:{item_id}", "shop:{shop}"])
    request = a_request(item_id="007", shop="s")
    assert policy.tags_of(request, {"item_id": 7}) == ("item:7", "shop:s")


def test_a_function_that_gives_no_text_is_told_so() -> None:
    policy = Policy.of(ttl=1, tags=[lambda request: [7]])  # type: ignore[list-item]  # wrong
    with pytest.raises(BadCache, match="gave 7 of type int"):
        policy.tags_of(a_request(), {})
