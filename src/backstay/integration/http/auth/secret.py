"""A secret that is given as a text, or as a function that knows it at the time."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from backstay.errors import BadIntegration

__all__ = ["HasSecret", "Secret", "check_secret", "reveal"]


class HasSecret(Protocol):
    """Such as pydantic's ``SecretStr``."""

    def get_secret_value(self) -> str:
        """The text."""


Secret = str | HasSecret | Callable[[], str | HasSecret | Awaitable[str | HasSecret]]
"""A function, async or not, is asked for each request; it keeps what is dear by itself."""

_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")  # RFC 9110 §5.5, ASCII only


def check_secret(secret: Secret, what: str) -> None:
    """Refuse what could never be sent, as early as it can be seen.

    Args:
        secret: the secret.
        what: how to call it in messages.

    Raises:
        BadIntegration: it is no text that a header could hold. The message does not show it.
    """
    if not _is_function(secret):
        _read(secret, what)


async def reveal(secret: Secret, what: str) -> str:
    """The secret's text.

    Args:
        secret: the secret; a function is called, and its own errors are raised.
        what: how to call it in messages.

    Raises:
        BadIntegration: it is no text that a header could hold.
    """
    value: Any = secret
    if _is_function(value):
        value = value()
        if inspect.isawaitable(value):
            value = await value
    return _read(value, what)


def _is_function(secret: object) -> bool:
    return callable(secret) and not hasattr(secret, "get_secret_value")


def _read(value: Any, what: str) -> str:
    get = getattr(value, "get_secret_value", None)
    text = value if get is None else get()
    if not isinstance(text, str):
        raise BadIntegration(
            f"{what} is a text, or a function that returns one; got a {type(text).__qualname__}"
        )
    if not text:
        raise BadIntegration(f"{what} is empty; is its setting there?")
    if not _HEADER_VALUE.fullmatch(text):
        raise BadIntegration(
            f"{what} ({len(text)} characters) has some that no header may hold, such as a line "
            "break at its end; strip it"
        )
    return text
