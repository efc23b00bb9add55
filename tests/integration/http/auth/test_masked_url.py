"""A key in a query is sent, and not shown."""

from __future__ import annotations

from types import ModuleType

import pytest

from backstay.integration.http.auth.masked_url import with_key
from tests.integration.http.auth_client import BOTH


@BOTH
@pytest.mark.parametrize(
    ("url", "path", "shown"),
    [
        ("https://a.test/x", b"/x?key=h%26+2", "https://a.test/x?key=***"),
        ("https://a.test", b"/?key=h%26+2", "https://a.test?key=***"),
        ("https://a.test/x?b=%20c", b"/x?b=%20c&key=h%26+2", "https://a.test/x?b=%20c&key=***"),
        ("https://a.test:8/x#f", b"/x?key=h%26+2", "https://a.test:8/x?key=***#f"),
    ],
)
def test_what_is_sent_has_the_key_and_what_is_shown_has_not(
    module: ModuleType, url: str, path: bytes, shown: str
) -> None:
    masked = with_key(module, module.URL(url), "key", "h& 2")
    assert masked.raw_path == path
    assert str(masked) == shown
    assert repr(masked) == f"URL({shown!r})"
    assert f"{masked}" == shown
    assert isinstance(masked, module.URL)


@BOTH
def test_a_key_that_is_there_already_is_sent_and_not_shown(module: ModuleType) -> None:
    masked = with_key(module, module.URL("https://a.test/?a=1&k%65y=mi%6Ee&b"), "key", "other")
    assert masked.raw_path == b"/?a=1&k%65y=mi%6Ee&b"
    assert str(masked) == "https://a.test/?a=1&k%65y=***&b"


@BOTH
def test_what_was_shown_is_not_sent(module: ModuleType) -> None:
    shown = str(with_key(module, module.URL("https://a.test/?a=1"), "key", "h2"))
    assert with_key(module, module.URL(shown), "key", "h2").raw_path == b"/?a=1&key=h2"
