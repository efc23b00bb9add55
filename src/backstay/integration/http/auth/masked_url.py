"""A URL with a key in its query that is sent, and not shown."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any
from urllib.parse import quote_plus, unquote_plus

__all__ = ["with_key"]


def with_key(module: ModuleType, url: Any, name: str, key: str) -> Any:
    """The URL with ``name=key`` at the end of its query.

    Logs of clients, and messages of their errors, quote URLs as texts; as a text this one has
    ``***`` for the key.

    Args:
        module: whose URL it is.
        url: what has ``name`` already is sent as it is: other services name the next page with the
            key they were asked with.
        name: of the parameter.
        key: its value.
    """
    before = url.query.decode("ascii").split("&") if url.query else []
    # What was shown is nothing to send: somebody went on from this URL's text.
    sent = [each for each in before if not (_is_of(each, name) and each.endswith("=***"))]
    if not any(_is_of(each, name) for each in sent):
        sent.append(f"{quote_plus(name)}={quote_plus(key)}")
    shown = [f"{each.partition('=')[0]}=***" if _is_of(each, name) else each for each in sent]
    return _masked(module)(
        url.copy_with(query="&".join(sent).encode()),
        str(url.copy_with(query="&".join(shown).encode())),
    )


def _is_of(pair: str, name: str) -> bool:
    return unquote_plus(pair.partition("=")[0]) == name


@functools.cache
def _masked(module: ModuleType) -> Any:
    """The class for one client: made once."""

    class MaskedURL(module.URL):  # type: ignore[name-defined, misc]  # loaded late
        def __init__(self, sent: Any, shown: str) -> None:
            super().__init__(sent)
            self._shown = shown

        def __str__(self) -> str:
            return self._shown

        def __repr__(self) -> str:
            return f"URL({self._shown!r})"

    return MaskedURL
