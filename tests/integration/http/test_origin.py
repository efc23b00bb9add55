"""An origin is scheme, host and port, however it is written."""

from __future__ import annotations

import httpx
import httpx2
import pytest

from backstay.integration.http.origin import origin_of, origin_of_url


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://A.example/x?y", ("https", "a.example", 443)),
        ("http://a:80", ("http", "a", 80)),
        ("http://user:pass@[::1]:8080/", ("http", "::1", 8080)),
        ("", ("", "", None)),
    ],
    ids=["https", "port", "userinfo", "empty"],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: object) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("url", ["http://Example.com/x", "https://a:8443", "http://[::1]:8080/"])
def test_a_clients_url_has_the_same_origin_as_its_text(module: object, url: str) -> None:
    assert origin_of_url(module.URL(url)) == origin_of(url)  # type: ignore[attr-defined]  # one of the two
