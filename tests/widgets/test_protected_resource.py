"""How clients find out where to get a token."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.client.auth.utils import (
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
)
from mcp.shared.auth import ProtectedResourceMetadata

from backstay.widgets.guards import Denied
from backstay.widgets.protected_resource import (
    MetadataEndpoint,
    challenge,
    metadata,
    metadata_path,
    metadata_url,
    tool_challenge,
)
from tests.support import async_test

RESOURCE = "https://shop.example.com/mcp"
URL = "https://shop.example.com/.well-known/oauth-protected-resource/mcp"
ISSUER = "https://id.example.com/tenants/7"

NO_TOKEN = Denied(401, None, "An access token is required.", ("orders", "photos"))
BAD_TOKEN = Denied(401, "invalid_token", "The access token is not valid.")
TOO_LITTLE = Denied(403, "insufficient_scope", "It does not allow: b", ("a", "b"), ("b",))


def test_the_metadata_says_what_the_standard_asks_for() -> None:
    assert metadata(
        RESOURCE, [ISSUER], ["orders"], name="Shop", documentation="https://shop.example.com/docs"
    ) == {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["orders"],
        "resource_name": "Shop",
        "resource_documentation": "https://shop.example.com/docs",
    }


def test_what_is_not_known_is_left_out() -> None:
    assert set(metadata(RESOURCE, [ISSUER])) == {
        "resource",
        "authorization_servers",
        "bearer_methods_supported",
    }


def test_the_sdk_reads_the_metadata() -> None:
    found = ProtectedResourceMetadata.model_validate(metadata(RESOURCE, [ISSUER], ["orders"]))
    assert str(found.resource) == RESOURCE
    assert [str(each) for each in found.authorization_servers] == [ISSUER]


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("https://a.example", "/.well-known/oauth-protected-resource"),
        ("https://a.example/", "/.well-known/oauth-protected-resource"),
        ("https://a.example/mcp", "/.well-known/oauth-protected-resource/mcp"),
        ("https://a.example/mcp/", "/.well-known/oauth-protected-resource/mcp/"),
        ("https://a.example/x/y/mcp", "/.well-known/oauth-protected-resource/x/y/mcp"),
        ("http://localhost:8000/mcp", "/.well-known/oauth-protected-resource/mcp"),
    ],
)
def test_the_well_known_part_goes_between_host_and_path(resource: str, path: str) -> None:
    assert metadata_path(resource) == path
    host = re.match(r"https?://[^/]+", resource)
    assert host is not None
    assert metadata_url(resource) == host[0] + path


@pytest.mark.parametrize(
    "resource",
    ["", "/mcp", "http://shop.example.com/mcp", f"{RESOURCE}?a=b", f"{RESOURCE}#a", "shop"],
)
def test_a_resource_is_known_by_a_safe_and_plain_url(resource: str) -> None:
    with pytest.raises(ValueError, match="the URL of a resource"):
        metadata_path(resource)
    with pytest.raises(ValueError, match="the URL of a resource"):
        metadata(resource, [ISSUER])


@pytest.mark.parametrize(
    ("issuers", "error", "message"),
    [
        (ISSUER, TypeError, "list of URLs"),
        ([], ValueError, "nobody could get a token"),
        (["id.example.com"], ValueError, "an issuer"),
        ([5], TypeError, "an issuer"),
    ],
)
def test_there_is_somebody_to_get_tokens_from(
    issuers: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        metadata(RESOURCE, issuers)


@pytest.mark.parametrize(
    ("denied", "header"),
    [
        (NO_TOKEN, f'Bearer scope="orders photos", resource_metadata="{URL}"'),
        (
            BAD_TOKEN,
            (
                'Bearer error="invalid_token", error_description="The access token is not valid.", '
                f'resource_metadata="{URL}"'
            ),
        ),
        (
            TOO_LITTLE,
            (
                'Bearer error="insufficient_scope", error_description="It does not allow: b", '
                f'scope="a b", resource_metadata="{URL}"'
            ),
        ),
    ],
)
def test_the_challenge_says_what_is_wrong_and_where_to_go(denied: Denied, header: str) -> None:
    assert challenge(denied, URL) == header


def test_a_challenge_may_have_nothing_to_say() -> None:
    assert challenge(Denied(401, None, "An access token is required."), None) == "Bearer"


@pytest.mark.parametrize("denied", [NO_TOKEN, TOO_LITTLE])
def test_the_sdk_reads_the_challenge(denied: Denied) -> None:
    response = httpx2.Response(denied.status, headers={"www-authenticate": challenge(denied, URL)})
    assert extract_resource_metadata_from_www_auth(response) == URL
    assert extract_scope_from_www_auth(response) == " ".join(denied.scopes)


@given(st.text(), st.text())
def test_no_text_ends_the_header_or_its_quotes(description: str, path: str) -> None:
    header = challenge(Denied(401, "invalid_token", description), f"https://a.example/{path}")
    assert re.fullmatch(
        r'Bearer error="invalid_token", error_description="[\x20-\x21\x23-\x5b\x5d-\x7e]*", '
        r'resource_metadata="[\x21\x23-\x5b\x5d-\x7e]*"',
        header,
    )


def test_chatgpt_is_given_an_error_even_if_there_was_no_token() -> None:
    assert tool_challenge(NO_TOKEN, URL) == {
        "mcp/www_authenticate": [
            (
                'Bearer error="invalid_token", error_description="An access token is required.", '
                f'scope="orders photos", resource_metadata="{URL}"'
            )
        ]
    }
    assert tool_challenge(TOO_LITTLE, URL) == {"mcp/www_authenticate": [challenge(TOO_LITTLE, URL)]}


DOCUMENT = metadata(RESOURCE, [ISSUER], ["orders"], name="Läden")


@async_test
async def test_scripts_of_any_origin_may_read_the_metadata() -> None:
    transport = httpx2.ASGITransport(MetadataEndpoint(DOCUMENT))
    async with httpx2.AsyncClient(transport=transport, base_url="https://a.example") as client:
        answer = await client.get("/x", headers={"Origin": "https://inspector.example"})
        assert answer.status_code == 200
        assert answer.json() == DOCUMENT
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "max-age=" in answer.headers["cache-control"]

        asked_first = await client.options(
            "/x",
            headers={
                "Origin": "https://inspector.example",
                "Access-Control-Request-Method": "GET",
                "Access-Control-Request-Headers": "mcp-protocol-version",
            },
        )
        assert asked_first.status_code == 204
        assert asked_first.headers["access-control-allow-origin"] == "*"
        assert "GET" in asked_first.headers["access-control-allow-methods"]
        assert asked_first.headers["access-control-allow-headers"] == "*"


@async_test
async def test_head_has_no_body_and_nothing_can_be_sent_to_the_metadata() -> None:
    transport = httpx2.ASGITransport(MetadataEndpoint(DOCUMENT))
    async with httpx2.AsyncClient(transport=transport, base_url="https://a.example") as client:
        head = await client.head("/x")
        assert head.status_code == 200
        assert head.content == b""
        assert int(head.headers["content-length"]) == len(
            json.dumps(DOCUMENT, ensure_ascii=False).encode()
        )
        refused = await client.post("/x", json={})
        assert refused.status_code == 405
        assert refused.headers["allow"] == "GET, HEAD, OPTIONS"


@async_test
async def test_other_protocols_have_no_metadata() -> None:
    async def nothing(*_: Any) -> Any:
        raise AssertionError("nothing is read or sent")

    with pytest.raises(RuntimeError, match="not websocket"):
        await MetadataEndpoint(DOCUMENT)({"type": "websocket"}, nothing, nothing)
