"""Where metadata is looked for, and which addresses are never asked."""

import pytest

from backstay.auth.addresses import metadata_urls, read_url


@pytest.mark.parametrize("issuer", ["https://id.example.com", "https://id.example.com/"])
def test_an_issuer_without_a_path_has_two_places(issuer: str) -> None:
    assert metadata_urls(issuer) == [
        "https://id.example.com/.well-known/oauth-authorization-server",
        "https://id.example.com/.well-known/openid-configuration",
    ]


@pytest.mark.parametrize(
    "issuer", ["https://id.example.com:8443/a/b", "https://id.example.com:8443/a/b/"]
)
def test_the_path_of_an_issuer_goes_behind_the_well_known_part_or_before_it(issuer: str) -> None:
    assert metadata_urls(issuer) == [
        "https://id.example.com:8443/.well-known/oauth-authorization-server/a/b",
        "https://id.example.com:8443/.well-known/openid-configuration/a/b",
        "https://id.example.com:8443/a/b/.well-known/openid-configuration",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://id.example.com",
        "https://id.example.com:8443/a?b=c",
        "http://localhost:9000",
        "http://issuer.localhost",
        "http://127.0.0.1:9000/x",
        "http://127.3.2.1",
        "http://[::1]:9000",
    ],
)
def test_https_and_this_machine_may_be_asked(url: str) -> None:
    assert read_url(url, "it").geturl() == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "absolute URL"),
        ("id.example.com", "absolute URL"),
        ("/keys", "absolute URL"),
        ("https://", "absolute URL"),
        ("https:///keys", "absolute URL"),
        ("https://id.example.com:99999", "absolute URL"),
        ("https://[::1", "absolute URL"),
        ("https://id.example.com/a b", "absolute URL"),
        ("https://id.example.com/\r\nHost: x", "absolute URL"),
        ('https://id.example.com/"', "absolute URL"),
        ("https://exämple.com", "absolute URL"),
        ("http://id.example.com", "https://"),
        ("http://localhost.example.com", "https://"),
        ("http://127.0.0.1.example.com", "https://"),
        ("http://10.0.0.1", "https://"),
        ("http://0.0.0.0", "https://"),
        ("file://localhost/etc/passwd", "https://"),
        ("ftp://localhost/keys", "https://"),
        ("https://user@id.example.com", "without user"),
        ("https://user:hush@id.example.com", "without user"),
        ("https://id.example.com/#x", "without user and fragment"),
        ("http://localhost@evil.example.com/", "https://"),
    ],
)
def test_nothing_else_may_be_asked(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_url(url, "it")


def test_a_url_is_a_string() -> None:
    with pytest.raises(TypeError, match="it is a URL; got 5 of type int"):
        read_url(5, "it")  # type: ignore[arg-type]  # what is wrong with it


def test_an_issuer_has_no_query() -> None:
    with pytest.raises(ValueError, match="without query"):
        metadata_urls("https://id.example.com/?tenant=7")
