"""The beginning of an answer's body, for whoever looks for the cause of an error.

Services repeat what they refuse ("invalid key sk-…"), and errors end up in logs: what was secret in the
request is not shown.
"""

from __future__ import annotations

from typing import Any, Final

from backstay.integration.http.carried_secrets import secrets_of
from backstay.integration.http.watching import current_sending

__all__ = ["shown_body"]

_SHOWN: Final = 500
"""Characters that are kept."""
_READ: Final = 4 * _SHOWN
"""Characters that are looked at: a secret that is cut in two would be found by nobody."""
_LEAST: Final = 4
"""Characters of a secret: shorter ones stand in any text."""


def shown_body(answer: Any) -> str:
    """Of a response of httpx's kind; empty for ``None``, and for one that nobody can read."""
    if answer is None:
        return ""
    try:
        text = str(answer.text[:_READ])
        secrets = set(secrets_of(answer))
    except (
        Exception
    ):  # a body that was not read, or that nobody can decode; a response of its own kind
        return ""
    sending = current_sending.get()
    if sending is not None:
        secrets.update(sending.secrets)
    for each in sorted(secrets, key=len, reverse=True):
        if len(each) >= _LEAST:
            text = text.replace(each, "***")
    return text[:_SHOWN]
