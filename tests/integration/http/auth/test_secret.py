"""Secrets as texts and as functions."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from backstay.errors import BadIntegration
from backstay.integration.http.auth.secret import check_secret, reveal
from tests.support import async_test


async def later() -> str:
    return "late"


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("plain", "plain"),
        (SecretStr("hidden"), "hidden"),
        (lambda: "called", "called"),
        (lambda: SecretStr("both"), "both"),
        (later, "late"),
        ("Token with words", "Token with words"),
    ],
    ids=["text", "SecretStr", "function", "function of SecretStr", "async function", "words"],
)
@async_test
async def test_a_secret_is_a_text_in_the_end(secret: Any, text: str) -> None:
    check_secret(secret, "it")
    assert await reveal(secret, "it") == text


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("", "it is empty; is its setting there"),
        (None, "got a NoneType"),
        (7, "got a int"),
        (b"bytes", "got a bytes"),
        ("hunter2\n", r"it \(8 characters\) has some that no header may hold"),
        ("hunter2\r\nX-Evil: 1", "no header may hold"),
        (" hunter2", "no header may hold"),
        ("h\xfcnter2", "no header may hold"),
    ],
    ids=["empty", "None", "int", "bytes", "line break", "header", "space", "not ASCII"],
)
@async_test
async def test_what_could_never_be_sent_is_refused_without_being_shown(
    secret: Any, told: str
) -> None:
    with pytest.raises(BadIntegration, match=told) as refused:
        check_secret(secret, "it")
    assert "nter2" not in str(refused.value)
    with pytest.raises(BadIntegration, match=told):
        await reveal(lambda: secret, "it")


@async_test
async def test_an_error_of_the_function_is_the_callers() -> None:
    def broken() -> str:
        raise LookupError("no vault")

    check_secret(broken, "it")
    with pytest.raises(LookupError, match="no vault"):
        await reveal(broken, "it")
