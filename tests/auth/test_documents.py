"""Fetching documents; how they fail for who wants keys is in test_keys."""

from __future__ import annotations

import httpx2
import pytest

from backstay.auth.documents import Unfetchable, fetch_document, open_client
from tests.auth.issuer import Issuer, answer
from tests.support import async_test


@async_test
async def test_a_document_is_a_json_object_and_how_long_it_holds() -> None:
    async with Issuer() as issuer, httpx2.AsyncClient() as client:
        issuer.headers = {"cache-control": "max-age=77"}
        found = await fetch_document(client, issuer.jwks_uri)
        assert found.members == issuer.key_set()
        assert found.max_age_s == 77


@pytest.mark.parametrize(
    ("status", "answered"), [(404, True), (401, True), (500, False), (204, True)]
)
@async_test
async def test_a_server_that_fails_is_told_from_one_that_has_no_such_document(
    status: int, answered: bool
) -> None:
    async with Issuer() as issuer, httpx2.AsyncClient() as client:
        issuer.answers["/x"] = answer({}, status)
        with pytest.raises(Unfetchable, match=f"answered {status}") as caught:
            await fetch_document(client, f"{issuer.origin}/x")
        assert caught.value.answered is answered


@async_test
async def test_a_body_without_end_is_given_up_when_it_is_too_long() -> None:
    async with Issuer() as issuer, httpx2.AsyncClient() as client:
        # No length is announced, so only counting helps.
        issuer.answers["/x"] = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b" " * 2_000_000
        with pytest.raises(Unfetchable, match="more than 262144 bytes"):
            await fetch_document(client, f"{issuer.origin}/x")


@async_test
async def test_a_client_that_follows_redirects_by_itself_does_not_here() -> None:
    async with Issuer() as other, Issuer() as issuer:
        async with httpx2.AsyncClient(follow_redirects=True) as client:
            issuer.answers["/x"] = answer({}, 302, {"location": other.jwks_uri})
            with pytest.raises(Unfetchable, match="another host"):
                await fetch_document(client, f"{issuer.origin}/x")
        assert other.requests == []


@async_test
async def test_a_client_made_here_is_closed_here() -> None:
    async with open_client("http://localhost/", None) as client:
        pass
    assert client.is_closed
