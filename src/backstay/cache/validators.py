"""Entity tags, and whether a client has the answer already (RFC 9110 §8.8 and §13)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b

from backstay.cache.directives import http_time

__all__ = ["client_has_it", "etag_of", "names_tag"]

_TAG = rb'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rb"[\s,]*%b(?:[ \t]*,[\s,]*%b)*[\s,]*" % (_TAG, _TAG))
_ONE = re.compile(_TAG)


def etag_of(body: bytes, content_type: bytes = b"") -> bytes:
    """A strong entity tag (RFC 9110 §8.8.3): the same for the same bytes of the same kind alone."""
    return (
        b'"%b"' % blake2b(body, digest_size=16, person=_person(content_type)).hexdigest().encode()
    )


def _person(content_type: bytes) -> bytes:
    return blake2b(content_type, digest_size=16).digest() if content_type else b""


def names_tag(if_none_match: Iterable[bytes], etag: bytes) -> bool:
    """Whether ``If-None-Match`` names this tag, or any there may be (RFC 9110 §13.1.2).

    Compared weakly, as that says. A field that is no list of tags names none.

    Args:
        if_none_match: the values of all such fields.
        etag: as in the answer, quotes included.
    """
    ours = etag.removeprefix(b"W/")
    values = [value.strip() for value in if_none_match]
    if values == [b"*"]:
        return True
    for value in values:
        if value == etag:
            return True
        if _TAGS.fullmatch(value) and any(
            each.removeprefix(b"W/") == ours for each in _ONE.findall(value)
        ):
            return True
    return False


def client_has_it(
    request: Iterable[tuple[bytes, bytes]], answer: Iterable[tuple[bytes, bytes]]
) -> bool:
    """Whether 304 is the answer to a GET or HEAD that would be answered with 200.

    ``If-Modified-Since`` counts only without ``If-None-Match`` (RFC 9110 §13.1.3).

    Args:
        request: the request's headers, names in lower case.
        answer: the headers of the answer; of several of one name the last counts.
    """
    tags: list[bytes] = []
    since: list[bytes] = []
    for name, value in request:
        if name == b"if-none-match":
            tags.append(value)
        elif name == b"if-modified-since":
            since.append(value)
    if not (tags or since):
        return False
    ours_by_name = dict(answer)
    etag, last_modified = ours_by_name.get(b"etag"), ours_by_name.get(b"last-modified")
    if tags:
        return etag is not None and names_tag(tags, etag)
    if last_modified is None or len(since) != 1:
        return False
    theirs, ours = http_time(since[0].decode("latin-1")), http_time(last_modified.decode("latin-1"))
    return theirs is not None and ours is not None and ours <= theirs
