"""Under which names things stand in a store."""

from __future__ import annotations

import hashlib
import re

from backstay.errors import BadCache

__all__ = ["Names"]

_MOST = 200


class Names:
    """Names of one namespace: ``shop:k:price:17`` for an entry, ``shop:t:prices`` for a tag.

    Keys that are long, or that not every back end would take as they are, are named by their
    SHA-256: ``shop:k#…``.

    Args:
        namespace: 1 to 64 letters, digits, dots, dashes and underscores.

    Raises:
        BadCache: it is none.
    """

    __slots__ = ("_entry", "_lock", "_tag", "namespace")

    def __init__(self, namespace: str) -> None:
        if not isinstance(namespace, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", namespace):
            raise BadCache(
                f"namespace={namespace!r} is no plain name: 1 to 64 letters, digits, dots, dashes "
                "and underscores"
            )
        self.namespace = namespace
        self._entry = f"{namespace}:k"
        self._tag = f"{namespace}:t"
        self._lock = f"{namespace}:l"

    def entry(self, key: str) -> str:
        """What a key's value stands under.

        Raises:
            BadCache: ``key`` is no text.
        """
        if type(key) is str and len(key) <= _MOST and key.isascii() and key.isprintable():
            return f"{self._entry}:{key}"
        return self._entry + _digested(key, "key")

    def tag(self, tag: str) -> str:
        """What a tag's generation stands under.

        Raises:
            BadCache: ``tag`` is no text.
        """
        if type(tag) is str and len(tag) <= _MOST and tag.isascii() and tag.isprintable():
            return f"{self._tag}:{tag}"
        return self._tag + _digested(tag, "tag")

    def lock(self, key: str) -> str:
        """What is locked while a key's value is made."""
        return self._lock + _digested(key, "key")


def _digested(text: object, what: str) -> str:
    if not isinstance(text, str):
        raise BadCache(
            f"a {what} of the cache is a str; got {text!r} of type {type(text).__qualname__}"
        )
    return "#" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
