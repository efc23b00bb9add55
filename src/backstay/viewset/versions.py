"""Optimistic locking over HTTP: a version column, ``ETag`` and ``If-Match`` (RFC 9110 §13)."""

from __future__ import annotations

import re

__all__ = ["etag_of", "matches", "matches_weakly"]

_TAG = re.compile(r'\s*(W/)?("[^"]*")\s*(?:,|$)')


def etag_of(version: object) -> str:
    """The entity tag of one version of an item (RFC 9110 §8.8.3).

    Strong, since each change of the row changes the version, and an item has one representation.
    """
    # datetimes and hashes as versions may hold nothing that a tag must not (§8.8.3: no quotes).
    return '"' + str(version).replace('"', "'") + '"'


def matches(header: str, tag: str) -> bool:
    """Whether ``If-Match: header`` allows a change of what has this tag (RFC 9110 §13.1.1).

    Strong comparison: a weak tag never matches. ``*`` matches whatever there is.
    """
    return any(found == tag for weak, found in _tags(header) if not weak) or header.strip() == "*"


def matches_weakly(header: str, tag: str) -> bool:
    """Whether ``If-None-Match: header`` names this tag (RFC 9110 §13.1.2), weak ones included."""
    return any(found == tag for _, found in _tags(header)) or header.strip() == "*"


def _tags(header: str) -> list[tuple[bool, str]]:
    return [(bool(weak), tag) for weak, tag in _TAG.findall(header)]
