"""Arguments lead to the endpoint's path and nowhere else, and add no line to a request."""

from __future__ import annotations

import pytest

from backstay.errors import AddressRefused
from tests.attacks.integration.victim import Victim
from tests.integration.upstream import Upstream, json_answer
from tests.support import async_test


@pytest.mark.parametrize("name", ["", ".", ".."], ids=["empty", "dot", "dots"])
@async_test
async def test_what_leads_out_of_a_path_is_refused(name: str) -> None:
    async with Upstream(json_answer(1)) as up, Victim(up.url) as victim:
        with pytest.raises(AddressRefused):
            await victim.one(name)
        for deep in (name, f"a/{name}/b", f"{name}/a", f"a/{name}"):
            with pytest.raises(AddressRefused):
                await victim.deep(deep)
    assert up.requests == []


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("%2e%2e", "%252e%252e"),
        ("..%2f..", "..%252f.."),
        ("a/../b", "a%2F..%2Fb"),
        ("..\\..", "..%5C.."),
        ("\u2024\u2024", "%E2%80%A4%E2%80%A4"),
        ("\uff0e\uff0e", "%EF%BC%8E%EF%BC%8E"),
        ("x HTTP/1.1\r\nX-Evil: 1\r\n\r\n", "x%20HTTP%2F1.1%0D%0AX-Evil%3A%201%0D%0A%0D%0A"),
        ("\0", "%00"),
        ("?admin=1#x;y", "%3Fadmin%3D1%23x%3By"),
        ("@evil.example", "%40evil.example"),
        ("//evil.example/", "%2F%2Fevil.example%2F"),
    ],
    ids=[
        *("encoded", "slash", "slashes", "backslash", "one_dot_leader", "full_width", "lines"),
        *("null", "query", "userinfo", "authority"),
    ],
)
@async_test
async def test_an_argument_is_one_segment_of_the_path(name: str, sent: str) -> None:
    async with Upstream(json_answer(1)) as up, Victim(up.url) as victim:
        await victim.one(name)
    assert [each.target for each in up.requests] == [f"/files/{sent}"]


@async_test
async def test_a_query_stays_in_its_parameter() -> None:
    async with Upstream(json_answer(1)) as up, Victim(up.url) as victim:
        await victim.any(query={"a&b=1": "c&d=2#e\r\nX: y"})
    assert up.last.target == "/any?a%26b%3D1=c%26d%3D2%23e%0D%0AX%3A+y"
    assert up.last.header("x") is None
