"""URLs are made of a base, a path and arguments, and lead where the path says."""

from datetime import date
from enum import Enum
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from backstay.errors import AddressRefused, BadIntegration
from backstay.integration.http.url import PathTemplate, read_base_url, take_user, with_query

BASE = "https://api.example.com/v1"


class Colour(Enum):
    RED = "deep red"


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://x.example", "/a", "https://x.example/a"),
        ("https://x.example/", "/a", "https://x.example/a"),
        ("https://x.example/v1//", "/a/", "https://x.example/v1/a/"),
        ("https://x.example/v1", "", "https://x.example/v1"),
        ("http://127.0.0.1:8080", "/a?b=c", "http://127.0.0.1:8080/a?b=c"),
    ],
)
def test_base_and_path_have_one_slash_between_them(base: str, path: str, url: str) -> None:
    assert PathTemplate(path).fill(read_base_url(base), {}).geturl() == url


@pytest.mark.parametrize(
    "base",
    [
        "example.com",
        "/v1",
        "ftp://x.example",
        "https://",
        "https://x.example/?key=1",
        "https://x/#y",
        "http://[::1",
    ],
)
def test_a_base_that_leads_nowhere_is_refused(base: str) -> None:
    with pytest.raises(BadIntegration, match="base_url="):
        read_base_url(base)


@pytest.mark.parametrize(
    "base",
    ["https://x.example/?api_key=s3cret", "user:s3cret@x.example", "//user:s3cret@x.example/v1"],
    ids=["query", "no-scheme", "no-scheme-either"],
)
def test_a_base_that_is_refused_is_told_without_its_secrets(base: str) -> None:
    with pytest.raises(BadIntegration, match=r"api_key|x\.example") as raised:
        read_base_url(base)
    assert "s3cret" not in str(raised.value)


def test_there_may_be_no_base_before_anything_is_called() -> None:
    assert read_base_url("") == ""
    with pytest.raises(BadIntegration, match="nobody said where"):
        PathTemplate("/a").fill("", {})


@pytest.mark.parametrize("path", ["a", "/{", "/{a", "/}", "/{a b}", "/{a}/{a}", "/{a:int}", "/{}"])
def test_a_path_that_makes_no_sense_is_refused(path: str) -> None:
    with pytest.raises(BadIntegration):
        PathTemplate(path)


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        (3, "3"),
        (True, "true"),
        (Colour.RED, "deep%20red"),
        (date(2027, 1, 2), "2027-01-02"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("a/b?c#d%", "a%2Fb%3Fc%23d%25"),
        ("ü", "%C3%BC"),
    ],
    ids=["int", "bool", "enum", "date", "uuid", "reserved", "unicode"],
)
def test_an_argument_is_one_segment(value: object, segment: str) -> None:
    url = PathTemplate("/items/{item}").fill(BASE, {"item": value})
    assert url.geturl() == f"{BASE}/items/{segment}"


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_an_argument_that_would_lead_elsewhere_is_refused(value: str) -> None:
    with pytest.raises(AddressRefused, match="'item'"):
        PathTemplate("/items/{item}").fill(BASE, {"item": value})


@pytest.mark.parametrize("value", ["/etc", "a//b", "../x", "a/../b", "a/."])
def test_neither_may_a_whole_path_lead_elsewhere(value: str) -> None:
    with pytest.raises(AddressRefused):
        PathTemplate("/files/{name:path}").fill(BASE, {"name": value})


def test_arguments_may_stand_in_a_query_and_what_is_behind_a_hash_is_not_sent() -> None:
    template = PathTemplate("/items/{item}?in={list}&all=1#{part}")
    url = template.fill(BASE, {"item": "a?b", "list": "c&d", "part": "e"})
    assert url.geturl() == f"{BASE}/items/a%3Fb?in=c%26d&all=1"


def test_a_whole_path_keeps_its_slashes() -> None:
    url = PathTemplate("/files/{name:path}").fill(BASE, {"name": "a b/c.txt"})
    assert url.path == "/v1/files/a%20b/c.txt"


def test_none_has_no_place_in_a_path() -> None:
    with pytest.raises(BadIntegration, match="None"):
        PathTemplate("/items/{item}").fill(BASE, {"item": None})


@given(st.text(min_size=1).filter(lambda text: text not in {".", ".."}))
def test_whatever_the_argument_is_it_arrives_as_it_was(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return
    url = PathTemplate("/items/{item}/end").fill(BASE, {"item": value})
    head, _, rest = urlsplit(url.geturl()).path.partition("/v1/items/")
    segment, _, end = rest.rpartition("/")
    assert (head, unquote(segment), end) == ("", value, "end")
    assert "/" not in segment
    assert url.netloc == "api.example.com"


class Search(BaseModel):
    text: str
    page_size: int = Field(10, serialization_alias="pageSize")
    since: date | None = None
    tags: list[str] = []


def test_a_model_is_a_query_by_its_aliases_without_what_is_none() -> None:
    url = with_query(BASE, Search(text="a b&c", tags=["x", "y"]))
    assert parse_qsl(urlsplit(url).query) == [
        ("text", "a b&c"),
        ("pageSize", "10"),
        ("tags", "x"),
        ("tags", "y"),
    ]


def test_a_query_is_added_to_what_is_there() -> None:
    assert with_query("https://x/?a=1", {"b": True, "c": None}) == "https://x/?a=1&b=true"
    assert with_query("https://x/", {}) == with_query("https://x/", None) == "https://x/"
    assert with_query("https://x/", {"d": date(2027, 1, 2)}) == "https://x/?d=2027-01-02"


def test_what_has_no_form_in_a_query_is_refused() -> None:
    with pytest.raises(BadIntegration, match="'filter'"):
        with_query(BASE, {"filter": {"a": 1}})


@pytest.mark.parametrize(
    ("given", "base", "user"),
    [
        ("https://x.example/v1", "https://x.example/v1", None),
        ("https://ada:p%40ss@x.example:8443/v1", "https://x.example:8443/v1", ("ada", "p@ss")),
        ("https://ada@x.example", "https://x.example", ("ada", "")),
        ("", "", None),
    ],
    ids=["none", "both", "user", "empty"],
)
def test_a_user_is_taken_out_of_an_address(given: str, base: str, user: object) -> None:
    assert take_user(given) == (base, user)
