"""By which names a service is meant in tokens."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ["read_audience"]


def read_audience(audience: str | Collection[str]) -> frozenset[str]:
    """The names under which tokens may be meant for this service (RFC 7519 §4.1.3, RFC 8707 §2).

    A URL counts with and without a slash at its end: clients disagree on how to write the one of a
    service at the root of its host, and both are the same place. All else is compared exactly.

    Args:
        audience: one name or several; the URL of the service as clients know it is the usual one.

    Raises:
        TypeError: it is neither a string nor a collection of strings.
        ValueError: it is empty: then every token that the issuer makes for anybody would do.
    """
    names = [audience] if isinstance(audience, str) else audience
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"audience is a string or a list of strings; got {audience!r}")
    if not names or not all(names):
        raise ValueError(
            f"audience must not be empty; got {audience!r}: without it every token that the issuer "
            "makes for anybody would be good here. Give the URL of this service"
        )
    accepted = set(names)
    for name in names:
        if name.startswith(("https://", "http://")):
            bare = name.removesuffix("/")
            accepted |= {bare, f"{bare}/"}
    return frozenset(accepted)
