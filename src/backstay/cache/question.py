"""What is asked, as the key that its answer is kept under.

Two requests have the same key only if everything that an answer may depend on is the same. Keys
are digests: neither what was asked nor a credential can be read from one.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

__all__ = ["digest_of", "headers_named", "sorted_by_name"]


def digest_of(*parts: object) -> str:
    """40 hexadecimal digits: the same for the same parts alone.

    Args:
        parts: texts, bytes, and tuples and lists of these, nested as they please: their ``repr``
            is another for every other.
    """
    return blake2b(
        repr(parts).encode("utf-8"), digest_size=20, person=b"backstay.answer"
    ).hexdigest()


def sorted_by_name(query: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """A query's parameters by name, as Starlette reads them.

    Those of one name stay in their order, which may mean something; that of names does not.
    """
    return sorted(query, key=_name)


def _name(pair: tuple[str, str]) -> str:
    return pair[0]


def headers_named(
    headers: Iterable[tuple[bytes, bytes]], names: frozenset[bytes]
) -> list[tuple[bytes, bytes]]:
    """The headers of these names: by name, those of one name in their order."""
    found = [(name, value) for name, value in headers if name in names]
    if len(found) > 1:
        found.sort(key=_header_name)
    return found


def _header_name(pair: tuple[bytes, bytes]) -> bytes:
    return pair[0]
