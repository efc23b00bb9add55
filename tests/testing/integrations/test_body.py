"""Bodies on tapes can be read by people, and come back as they were."""

import json
import math
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import BadIntegration
from backstay.testing.integrations.body import read_body, write_body

JSON = "application/json"


@pytest.mark.parametrize(
    ("content", "content_type", "body"),
    [
        (b"", JSON, {}),
        (b'{"a": [1, 1.5, null]}', JSON, {"json": {"a": [1, 1.5, None]}}),
        (b'{"a": 1}', "application/problem+json; charset=utf-8", {"json": {"a": 1}}),
        (b'{"a": 1}', "text/html", {"json": {"a": 1}}),
        (b'{"a": 1}', "", {"json": {"a": 1}}),
        (b"{broken", JSON, {"text": "{broken"}),
        (b'{"a": NaN}', JSON, {"text": '{"a": NaN}'}),
        (b'{"a": 0.12345678901234567890123}', JSON, {"text": '{"a": 0.12345678901234567890123}'}),
        (b'{"a": 1e999}', JSON, {"text": '{"a": 1e999}'}),
        (b"<a/>", "text/xml", {"text": "<a/>"}),
        ("é".encode("latin-1"), "text/plain; charset=latin-1", {"text": "é"}),
        ("é".encode(), "text/plain; charset=nonsense", {"text": "é"}),
        (b"\xff\xfe", "text/plain", {"base64": "//4="}),
        (b"a\0b", "text/plain", {"base64": "YQBi"}),
        (
            b"a=1&b=&a=x%20y",
            "application/x-www-form-urlencoded",
            {"form": [["a", "1"], ["a", "x y"], ["b", ""]]},
        ),
    ],
    ids=[
        "empty",
        "json",
        "problem",
        "mislabelled",
        "unlabelled",
        "broken",
        "nan",
        "exact",
        "huge",
        "xml",
        "latin",
        "unknown_charset",
        "bytes",
        "zero",
        "form",
    ],
)
def test_bodies_are_written_for_people_and_come_back(
    content: bytes, content_type: str, body: dict[str, Any]
) -> None:
    assert write_body(content, content_type) == body
    back = read_body(body, content_type)
    if "json" in body:
        assert json.loads(back) == json.loads(content)
    elif "form" in body:
        assert httpx.QueryParams(back.decode()) == httpx.QueryParams(content.decode())
    else:
        assert back == content


@given(st.binary(max_size=200), st.sampled_from([JSON, "text/plain", "", "image/png"]))
def test_whatever_came_comes_back(content: bytes, content_type: str) -> None:
    body = write_body(content, content_type)
    back = read_body(json.loads(json.dumps(body)), content_type)
    if "json" in body:
        assert json.loads(back) == json.loads(content)
    else:
        assert back == content


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers()


@given(st.recursive(numbers | st.text() | st.none() | st.booleans(), st.lists, max_leaves=9))
def test_json_keeps_its_values(value: Any) -> None:
    content = json.dumps([value]).encode()
    assert json.loads(read_body(write_body(content, JSON), JSON)) == [value]


def test_parts_of_a_form_are_told_apart_and_their_boundary_is_not_written() -> None:
    def sent() -> tuple[bytes, str]:
        request = httpx.Request(
            "POST",
            "http://a",
            data={"title": "é", "card": '{"n": 1}'},
            files={"photo": ("ä.png", b"\x89PNG\r\n--x\r\n", "image/png")},
        )
        return request.read(), request.headers["content-type"]

    bodies = [write_body(*sent()) for _ in range(2)]
    assert bodies[0] == bodies[1]
    assert bodies[0] == {
        "parts": [
            {"name": "title", "text": "é"},
            {"name": "card", "json": {"n": 1}},
            {
                "name": "photo",
                "filename": "ä.png",
                "type": "image/png",
                "base64": "iVBORw0KLS14DQo=",
            },
        ]
    }


def test_a_broken_form_is_kept_as_it_is() -> None:
    content = b"--b\r\nno blank line\r\n--b--"
    assert write_body(content, "multipart/form-data; boundary=b") == {"text": content.decode()}
    assert write_body(b"hello", "multipart/form-data; boundary=b") == {"text": "hello"}


def test_a_body_that_nobody_can_send_is_refused() -> None:
    with pytest.raises(BadIntegration, match="nobody can send"):
        read_body({"pieces": []}, "")


def test_a_body_that_was_cut_is_as_long_as_it_was() -> None:
    assert read_body({"text": "ab", "cut": True}, "") == b"ab"
    assert read_body({"cut": True}, "") == b""


def test_half_of_a_pair_comes_back() -> None:
    assert json.loads(read_body({"json": "\ud800"}, JSON)) == "\ud800"
    assert math.isclose(json.loads(read_body({"json": 0.1}, JSON)), 0.1)
