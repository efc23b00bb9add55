"""Redirects to somebody else: nothing that is secret goes there, and all else does."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import SecretStr

from tests.attacks.integration.victim import SECRET, Victim
from tests.integration.upstream import Upstream, answer, json_answer
from tests.support import async_test


@pytest.mark.parametrize(
    ("credentials", "value"),
    [
        (SECRET, SECRET),
        (SecretStr(SECRET), SECRET),
        (SECRET.encode(), SECRET),
        ({"inner": [SECRET]}, SECRET),
        (SECRET, base64.b64encode(f"user:{SECRET}".encode()).decode()),
        (SECRET, f"Basic {base64.b64encode(f'{SECRET}:'.encode()).decode()}"),
    ],
    ids=["text", "secret_str", "bytes", "nested", "base64", "basic"],
)
@async_test
async def test_credentials_of_any_form_stay_home(credentials: Any, value: str) -> None:
    async with Upstream(json_answer(1)) as other:
        there = answer(status=307, headers=[("Location", f"{other.url}/there")])
        async with (
            Upstream(there) as up,
            Victim(up.url, {"K": credentials}, follow_redirects=True) as victim,
        ):
            assert await victim.any(headers={"X-Proof": value, "X-Other": "goes"}) == 1
    assert up.last.header("x-proof") == value
    assert other.last.header("x-proof") is None
    assert other.last.header("x-other") == "goes"


@async_test
async def test_a_short_credential_takes_no_part_of_the_request_itself_away() -> None:
    async with Upstream(json_answer(1)) as other:
        there = answer(status=307, headers=[("Location", f"{other.url}/there")])
        async with (
            Upstream(there) as up,
            Victim(up.url, {"region": "1"}, follow_redirects=True) as victim,
        ):
            assert await victim.any() == 1
    assert other.last.header("host") == f"127.0.0.1:{other.port}"
