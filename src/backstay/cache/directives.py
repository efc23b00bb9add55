"""``Cache-Control`` as it is written by servers and by clients (RFC 9111 §5.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["directives_of", "http_time", "lifetime_of"]

_DIRECTIVE = re.compile(
    r"""(?P<name>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)
        (?:=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,;"]*)))?[^,]*""",
    re.VERBOSE,
)

_FOREVER_S = 2**31
"""What a larger number means (RFC 9111 §1.2.2)."""


def directives_of(values: Iterable[str]) -> Mapping[str, str | None]:
    """The directives in all ``Cache-Control`` fields of a message, names in lower case.

    ``None`` stands for a directive without an argument. Of one that comes several times the first
    counts (RFC 9111 §4.2.1); what makes no sense is passed over.
    """
    found: dict[str, str | None] = {}
    for value in values:
        for match in _DIRECTIVE.finditer(value):
            argument = match["plain"] if match["quoted"] is None else match["quoted"]
            found.setdefault(match["name"].lower(), argument)
    return found


def lifetime_of(directives: Mapping[str, str | None], *, shared: bool) -> float | None:
    """For how many seconds an answer says it is good; ``None`` if it does not say.

    Args:
        directives: the answer's.
        shared: whether several people may be given it, so that ``s-maxage`` comes first.
    """
    for name in ("s-maxage", "max-age") if shared else ("max-age",):
        if name in directives:
            argument = directives[name] or ""
            # What is no number is taken for "not good any more" (RFC 9111 §4.2.1).
            if not (argument.isascii() and argument.isdigit()):
                return 0.0
            return float(min(int(argument[:20]), _FOREVER_S))
    return None


def http_time(value: str) -> datetime | None:
    """The moment that a date of HTTP's names (RFC 9110 §5.6.7), ``None`` if it is none."""
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
