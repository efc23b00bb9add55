"""Errors for what another service answered, with what it asks of whoever comes again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backstay.errors import UpstreamBusy, UpstreamError

__all__ = ["BUSY", "upstream_error"]

BUSY: Final = frozenset({429, 503})
"""Statuses that say "later" (RFC 6585 §4, RFC 9110 §15.6.4)."""


def upstream_error(
    message: str,
    *,
    endpoint: str,
    answered: int,
    headers: Mapping[str, str] | None,
    error: Any = None,
    body: str = "",
) -> UpstreamError:
    """``UpstreamBusy`` for what says "later", else ``UpstreamError``.

    Args:
        message: what happened.
        endpoint: what was called, for people.
        answered: the status; 0 where nobody knows.
        headers: of the answer, ``None`` if there is none.
        error: the body as a model, ``None`` if it fits none.
        body: its beginning.
    """
    kind = UpstreamBusy if answered in BUSY else UpstreamError
    return kind(
        message,
        endpoint=endpoint,
        answered=answered,
        error=error,
        body=body,
        retry_after_s=None if headers is None else _retry_after_s(headers),
    )


def _retry_after_s(headers: Mapping[str, str]) -> int | None:
    """Whole seconds; a date is left to patterns, which know what time it is."""
    value = headers.get("retry-after")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value[:9])  # longer ones are for ever anyway
    return None
