"""Titles of problems: the phrases of the standard, and an app's own in the client's language."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final

from backstay.errors import BadPattern

__all__ = ["Titles", "phrase_of"]

_PHRASES: Final[Mapping[int, str]] = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
"""As RFC 9110 §15.5 has them: older Pythons know those of the RFCs before it."""

_OWN: Final = "en"
"""The language of the standard's phrases."""

_TAG: Final = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*")
_RANGE: Final = re.compile(
    r"\s*(\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)\s*(?:;\s*[qQ]\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?"
)
_MOST_RANGES: Final = 50
"""That many languages of a client are looked at; browsers send a handful."""


def phrase_of(status: int) -> str:
    """What a status code means, in the words of RFC 9110; ``Status 799`` if nobody has said."""
    if (own := _PHRASES.get(status)) is not None:
        return own
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # in nobody's registry, and allowed all the same
        return f"Status {status}"


class Titles:
    """An app's own titles, by language and status code.

    Args:
        titles: ``{"de": {404: "Nicht gefunden"}}``: language tags (RFC 5646), and under each the
            titles it has. English falls back to the standard's phrases, and so does a status
            that the client's languages have no title for.

    Raises:
        BadPattern: a language tag, a status code or a title that is none.
    """

    def __init__(self, titles: Mapping[str, Mapping[int, str]]) -> None:
        if not isinstance(titles, Mapping):
            raise BadPattern(f"titles= is a mapping of languages to titles; got {titles!r:.80}")
        self._by_status: dict[int, dict[str, tuple[str, str]]] = {}
        for language, by_status in titles.items():
            if not isinstance(language, str) or not _TAG.fullmatch(language):
                raise BadPattern(
                    f"titles are by language tags such as 'de' or 'pt-BR'; got {language!r}"
                )
            if not isinstance(by_status, Mapping):
                raise BadPattern(
                    f"titles[{language!r}] is a mapping of status codes to titles; "
                    f"got {by_status!r}"
                )
            for status, title in by_status.items():
                if not isinstance(status, int) or not 400 <= status <= 599:
                    raise BadPattern(
                        f"titles[{language!r}] are by status codes from 400 to 599; got {status!r}"
                    )
                if not isinstance(title, str) or not title.strip():
                    raise BadPattern(
                        f"titles[{language!r}][{int(status)}] is a text; got {title!r}"
                    )
                self._by_status.setdefault(int(status), {})[language.lower()] = (language, title)

    def choose(self, status: int, accept_language: str) -> tuple[str, str]:
        """The language tag and the title that suit a client best.

        Args:
            status: the status code.
            accept_language: the request's header (RFC 9110 §12.5.4), empty if it has none. It is
                matched as RFC 4647 §3.4 looks up, and a range also takes a longer tag:
                ``de-AT`` is served by ``de``, and ``de`` by ``de-AT``.
        """
        known = {_OWN: (_OWN, phrase_of(status)), **self._by_status.get(status, {})}
        ranges = list(_ranges(accept_language))
        refused = {language for language, quality in ranges if quality == 0}
        wanted = [(language, quality) for language, quality in ranges if quality > 0]
        # sorted() keeps the client's order among equals.
        for language, _ in sorted(wanted, key=lambda each: -each[1]):
            if language == "*":
                break
            if (found := _look_up(language, known)) is not None and found not in refused:
                return known[found]
        return known[_OWN]


def _ranges(header: str) -> Iterator[tuple[str, float]]:
    """The language ranges of a header, lower case, with their qualities; nonsense is left out."""
    for each in header.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        if (found := _RANGE.fullmatch(each)) is not None:
            yield found[1].lower(), min(1.0, float(found[2])) if found[2] else 1.0


def _look_up(language: str, known: Mapping[str, object]) -> str | None:
    """The tag among ``known`` that a range names: itself, a longer one, or a shorter one."""
    for tag in known:
        if tag == language:
            return tag
    for tag in known:
        if tag.startswith(f"{language}-"):
            return tag
    shorter = language.rpartition("-")[0]
    return _look_up(shorter, known) if shorter else None
