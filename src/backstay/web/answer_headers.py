"""What goes with every answer besides its own headers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = ["AnswerHeaders", "is_page"]

Header = tuple[bytes, bytes]

# What browsers show, or run, as a document or in one.
_PAGES = (
    b"text/html",
    b"application/xhtml",
    b"text/javascript",
    b"application/javascript",
    b"application/pdf",
)
_LONGEST_PAGE = max(map(len, _PAGES))
_DATA = b"application/json"
"""What most answers are."""


class AnswerHeaders:
    """Adds them, in as little time as possible: every request pays for it.

    Args:
        always: those that every answer has which does not bring its own; names in lower case.
            A ``vary`` is added to an answer's own.
        for_pages: more for answers that are pages, by the request's scope. They come first, so
            they win over those of ``always``. ``None``: none.
    """

    __slots__ = ("_always", "_for_pages", "_names")

    def __init__(
        self,
        always: Iterable[Header],
        for_pages: Callable[[Any], Sequence[Header]] | None = None,
    ) -> None:
        self._always = tuple(always)
        self._for_pages = for_pages
        # Those that make an answer worth a second look.
        self._names = {name for name, _ in self._always}
        if for_pages is not None:
            self._names.add(b"content-type")

    def __bool__(self) -> bool:
        return bool(self._always) or self._for_pages is not None

    def add(self, scope: Any, headers: list[Header]) -> None:
        """Add what is missing.

        Args:
            scope: of the request.
            headers: the answer's own, names in lower case; changed in place.
        """
        names = self._names
        for name, value in headers:
            if name in names and not (name == b"content-type" and value == _DATA):
                break
        else:
            headers += self._always
            return
        if self._for_pages is not None and is_page(headers):
            there = {name for name, _ in headers}
            headers += [pair for pair in self._for_pages(scope) if pair[0] not in there]
        there = {name for name, _ in headers}
        headers += [
            pair
            for pair in self._always
            if pair[0] not in there or (pair[0] == b"vary" and pair not in headers)
        ]


def is_page(headers: Iterable[Header]) -> bool:
    """Whether browsers show or run what has these headers, names in lower case."""
    for name, value in headers:
        if name == b"content-type":
            return value[:_LONGEST_PAGE].lower().startswith(_PAGES)
    return False
