"""Secrets stay with whom they are for."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import pytest

from backstay.integration.http.auth.masked_url import with_key
from backstay.integration.http.carried_secrets import (
    CARRIED,
    CarriedSecrets,
    digest,
    secrets_of,
    stay_home,
)

HOME = ("https", "api.example.com", 443)


def request_to(url: str, *origins: tuple[str, str, int | None]) -> httpx.Request:
    carried = CarriedSecrets(frozenset(origins or (HOME,)), frozenset({"x-api-key"}), "p")
    return httpx.Request(
        "GET", url, headers={"X-API-Key": "hunter2", "X-Other": "1"}, extensions={CARRIED: carried}
    )


@pytest.mark.parametrize(
    "url", ["https://api.example.com/x", "https://API.example.com:443/y", "https://api.example.com"]
)
def test_at_home_they_stay_on_the_request(url: str) -> None:
    request = request_to(url)
    stay_home(request)
    assert request.headers["x-api-key"] == "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/",
        "http://api.example.com/",
        "https://api.example.com:8443/",
        "https://api.example.com.evil.com/",
        "https://api.example.com@evil.com/",
    ],
)
def test_elsewhere_they_are_taken_off_and_nothing_else_is(url: str) -> None:
    request = request_to(url)
    stay_home(request)
    assert "x-api-key" not in request.headers
    assert request.headers["x-other"] == "1"
    assert CARRIED not in request.extensions


def test_the_same_host_over_tls_is_home_and_not_the_other_way_round() -> None:
    request = request_to("https://api.example.com/", ("http", "api.example.com", 80))
    stay_home(request)
    assert "x-api-key" in request.headers


def test_a_request_that_carries_none_is_left_alone() -> None:
    request = httpx.Request("GET", "https://evil.example.com", headers={"X-API-Key": "own"})
    stay_home(request)
    assert request.headers["x-api-key"] == "own"


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_the_secrets_of_an_answers_request_are_those_it_was_sent_with(module: Any) -> None:
    request = module.Request("GET", "https://api.example.com/", headers={"X-API-Key": "Token ab c"})
    assert secrets_of(module.Response(401, request=request)) == frozenset()
    carried = CarriedSecrets(frozenset({HOME}), frozenset({"x-api-key", "gone"}), "p")
    request.extensions = {CARRIED: carried}
    request.url = with_key(module, module.URL("https://api.example.com/?a=1"), "key", "k 2&")
    assert secrets_of(module.Response(401, request=request)) == {"Token ab c", "c", "k 2&"}


def test_of_an_answer_to_nobody_knows_what_there_are_no_secrets() -> None:
    assert secrets_of(httpx.Response(401)) == secrets_of(object()) == frozenset()


def test_digests_tell_texts_apart_wherever_they_are_cut() -> None:
    assert digest("a", "b") == digest("a", "b")
    assert len({digest("a", "b"), digest("ab"), digest("a", "", "b"), digest("a\1b")}) == 4
