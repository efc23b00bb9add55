"""Users and passwords."""

from __future__ import annotations

from base64 import b64decode
from types import ModuleType
from typing import Any

import pytest
from pydantic import SecretStr

from backstay.errors import BadIntegration
from backstay.integration.http.auth.basic import BasicAuth
from tests.integration.http.auth_client import BOTH, auth_client
from tests.integration.upstream import Upstream
from tests.support import async_test


@BOTH
@pytest.mark.parametrize(
    ("user", "password", "sent"),
    [("u", "p:w", "u:p:w"), ("ü", SecretStr("ß"), "ü:ß"), ("sk_live", "", "sk_live:")],
    ids=["colon", "UTF-8", "no password"],
)
@async_test
async def test_both_are_sent(module: ModuleType, user: str, password: Any, sent: str) -> None:
    async with Upstream() as home:
        async with auth_client(module, BasicAuth(user, password)) as http:
            await http.get(home.url)
    scheme, _, text = (home.last.header("authorization") or "").partition(" ")
    assert (scheme, b64decode(text).decode()) == ("Basic", sent)


@pytest.mark.parametrize(
    ("user", "password", "told"),
    [
        ("a:b", "hunter2", "has a colon"),
        ("a", "hunter2\n", "has control characters"),
        ("a", None, "is a text; got a NoneType"),
        (7, "hunter2", "is a text; got a int"),
    ],
)
def test_what_cannot_be_sent_is_refused_without_being_shown(
    user: Any, password: Any, told: str
) -> None:
    with pytest.raises(BadIntegration, match=told) as refused:
        BasicAuth(user, password)
    assert "hunter2" not in str(refused.value)
