"""Requests on tapes are the same if what matters is, wherever the other side is."""

from typing import Any

import httpx
import httpx2
import pytest

from backstay.testing.integrations.exchange import (
    BASE,
    Exchange,
    Place,
    differences,
    nearest,
    request_of,
)
from backstay.testing.integrations.redaction import MASK, Redaction


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_a_request_says_what_matters_and_no_more(module: Any) -> None:
    request = module.Request(
        "post",
        "https://u:p@API.example.com:443/v1/a%20b?z=1&a=2&a=1#x",
        json={"back": "https://api.example.com/v1/done"},
        headers={"Accept": "x", "X-Other": "y"},
    )
    place = Place("https://u:p@API.example.com:443/v1")
    assert request_of(request, place, ["accept", "missing"]) == {
        "method": "POST",
        "url": f"{BASE}/a%20b",
        "query": [["a", "2"], ["a", "1"], ["z", "1"]],
        "headers": [["accept", "x"]],
        "body": {"json": {"back": f"{BASE}/done"}},
    }
    assert request_of(module.Request("GET", "http://other/x"), place, []) == {
        "method": "GET",
        "url": "http://other/x",
    }


def test_an_address_is_hidden_where_it_is_one_and_shown_again() -> None:
    place = Place("http://127.0.0.1:80")
    texts = ["http://127.0.0.1:8080", "http://127.0.0.1:80/a", "http://127.0.0.1.x", "x"]
    hidden = [texts[0], f"{BASE}/a", texts[2], "x"]
    assert place.hidden(texts) == hidden
    assert Place("https://a.b/c").shown(place.hidden({"next": texts[1]})) == {
        "next": "https://a.b/c/a"
    }
    assert Place("").hidden("http://a") == "http://a"


def exchange(endpoint: str = "Bank.charge", **request: Any) -> Exchange:
    return Exchange(endpoint, {"method": "GET", "url": BASE, **request}, {})


def test_what_is_ignored_does_not_tell_requests_apart() -> None:
    one = exchange(
        query=[["t", "1"], ["q", "x"]], body={"json": [{"id": 1, "n": {"t": 2}}], "cut": True}
    )
    other = exchange(
        query=[["t", "2"], ["q", "x"]], body={"json": [{"id": 1, "n": {"t": 3}}], "cut": True}
    )
    assert one.key() != other.key()
    assert one.key(["t"]) == other.key(["t"])
    assert one.key(["t", "q"]) != exchange(endpoint="Bank.rate").key(["t", "q"])
    forms = [exchange(body={"form": [["t", each]]}) for each in "ab"]
    assert forms[0].key(["t"]) == forms[1].key(["t"])
    parts = [exchange(body={"parts": [{"name": "t", "text": each}]}) for each in "ab"]
    assert parts[0].key(["t"]) == parts[1].key(["t"])
    assert parts[0].key() != parts[1].key()


def test_it_is_written_for_people_and_read_back() -> None:
    full = Exchange(
        "Bank.charge",
        {"query": [["a", "1"], ["a", "2"], ["b", ""]], "headers": [["x", "y: z"]], "method": "GET"},
        {"status": 200, "headers": [["x", "1"], ["x", "2"]], "body": {"form": [["a", "1"]]}},
        {"json": 1},
    )
    written = full.as_json()
    assert written["request"]["query"] == {"a": ["1", "2"], "b": ""}
    assert written["request"]["headers"] == ["x: y: z"]
    assert written["answer"]["headers"] == ["x: 1", "x: 2"]
    assert written["answer"]["body"] == {"form": {"a": "1"}}
    back = Exchange.from_json(written)
    assert vars(back) == vars(full)
    assert back.key() == full.key()


def test_secrets_are_removed_from_every_place() -> None:
    redaction = Redaction()
    redaction.learn_all({"key": "s3cr3t"})
    full = Exchange(
        "Bank.charge",
        {
            "method": "POST",
            "url": f"{BASE}/s3cr3t",
            "query": [["k", "s3cr3t"], ["api_key", "x"]],
            "headers": [["authorization", "x"], ["accept", "s3cr3t"]],
            "body": {
                "parts": [
                    {"name": "password", "text": "x"},
                    {"name": "s3cr3t", "filename": "s3cr3t.txt", "text": "s3cr3t"},
                ]
            },
        },
        {
            "status": 200,
            "url": "http://a/s3cr3t",
            "headers": [["x", "s3cr3t"]],
            "body": {"text": "a s3cr3t"},
            "message": "s3cr3t",
        },
        {"items": ["s3cr3t"]},
    )
    clean = full.redacted(redaction)
    assert "s3cr3t" not in str(clean.as_json())
    assert clean.request["url"] == f"{BASE}/{MASK}"
    assert clean.request["query"] == [["k", MASK], ["api_key", MASK]]
    assert clean.request["body"]["parts"][0] == {"name": "password", "text": MASK}
    assert clean.returned == {"items": [MASK]}
    assert "s3cr3t" in str(full.as_json())


def test_the_nearest_is_of_the_same_endpoint_and_differs_least() -> None:
    asked = exchange(body={"json": {"amount": 5, "note": "a"}})
    near = exchange(body={"json": {"amount": 6, "note": "a"}})
    far = exchange(body={"json": {"other": True}})
    elsewhere = exchange(endpoint="Bank.rate", body={"json": {"amount": 5, "note": "a"}})
    assert nearest(asked, [far, near, elsewhere]) is near
    assert nearest(asked, []) is None
    assert differences(asked, near) == ['-    "amount": 6,', '+    "amount": 5,']
    assert str(exchange(query=[["a", "1"]])) == f"Bank.charge: GET {BASE}?a=1"
