"""Names of scopes, as RFC 6749 §3.3 writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["read_scopes"]

# RFC 6749 §3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ), so no spaces, quotes, backslashes.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def read_scopes(scopes: Iterable[str] | None, what: str = "scopes") -> tuple[str, ...]:
    """A list of scopes that somebody wrote in code, each once and in the order written.

    Args:
        scopes: the names. ``None`` means none.
        what: how the caller calls the list, for messages.

    Raises:
        TypeError: it is one string, or something in it is no string.
        ValueError: a name has characters that no scope may have (RFC 6749 §3.3).
    """
    if scopes is None:
        return ()
    if isinstance(scopes, str | bytes) or not isinstance(scopes, Iterable):
        raise TypeError(f"{what} is a list of strings; got {scopes!r}: write [{scopes!r}]")
    names: dict[str, None] = {}
    for name in scopes:
        if not isinstance(name, str):
            raise TypeError(
                f"{what} is a list of strings; got {name!r} of type {type(name).__qualname__} in it"
            )
        if not _SCOPE.fullmatch(name):
            raise ValueError(
                f"{name!r} is no scope: it has to be printable ASCII without spaces, double quotes "
                "and backslashes (RFC 6749, 3.3); several scopes are several strings"
            )
        names[name] = None
    return tuple(names)
