"""How other services say where the next page is.

Rules are values: one may stand in a class and serve many calls at once. Where none fits, anything
with the two methods of ``PageRule`` will do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from backstay.errors import BadAnswer, BadIntegration
from backstay.integration.http.paging.link_header import read_links

__all__ = [
    "Cursor",
    "LinkHeader",
    "NextUrl",
    "Offset",
    "Page",
    "PageNumber",
    "PageRule",
    "Place",
    "shown",
]

Place = str | Sequence[str | int]
"""Where something is in a body of JSON: ``"meta.next"``, ``"items.-1.id"``. Names with dots in them
are given one by one: ``("@odata.nextLink",)``. Empty for the body itself."""

Next = str | Mapping[str, Any] | None

_NO_BODY: Final[Any] = object()


class Page:
    """One page that came, as rules look at it.

    Args:
        response: the client's.
        label: what the endpoint is called in messages.
    """

    def __init__(self, response: Any, label: str) -> None:
        self.response = response
        self._label = label
        self._body: Any = _NO_BODY

    def find(self, place: Place) -> Any:
        """What is at a place of its body; ``None`` if nothing is, or if there is no body.

        Raises:
            BadAnswer: the body is no JSON.
        """
        found = self._read()
        for each in place.split(".") if isinstance(place, str) and place else place:
            found = _step(found, each)
        return found

    def items(self, place: Place) -> list[Any]:
        """The list at a place; nothing there is an empty one, as is a page without a body.

        Raises:
            BadAnswer: there is something else.
        """
        found = self.find(place)
        if found is None and (not place or self._read() is None or self._has(place)):
            return []
        if not isinstance(found, list):
            raise self.bad(f"no list of items at {shown(place)}")
        return found

    def number(self, place: Place) -> int | None:
        """The whole number at a place, also where it is a text; ``None`` if nothing is there.

        Raises:
            BadAnswer: there is something else.
        """
        found = self.find(place)
        if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 20:
            return int(found)
        if found is not None and (not isinstance(found, int) or isinstance(found, bool)):
            raise self.bad(f"{type(found).__name__} at {shown(place)}, where a number should be")
        return found

    def says_more(self, place: Place) -> bool | None:
        """Whether the ``true`` or ``false`` at a place says that there are more pages.

        Raises:
            BadAnswer: there is something else, and not nothing.
        """
        found = self.find(place)
        if found is not None and not isinstance(found, bool):
            raise self.bad(
                f"{type(found).__name__} at {shown(place)}, where true or false should be"
            )
        return found

    def bad(self, what: str) -> BadAnswer:
        """The error to raise for a page that has ``what``; never with the values found."""
        status = self.response.status_code
        return BadAnswer(
            f"{self._label} answered {status} with a page that has {what}",
            endpoint=self._label,
            answered=status,
        )

    def _read(self) -> Any:
        if self._body is _NO_BODY:
            content = self.response.content
            try:
                self._body = json.loads(content) if content.strip() else None
            except (ValueError, RecursionError) as error:
                raise self.bad(f"no JSON in it ({type(error).__name__})") from error
        return self._body

    def _has(self, place: Place) -> bool:
        """There is a ``null``, which is not nothing."""
        *way, last = place.split(".") if isinstance(place, str) else place
        container = self.find(way)
        return isinstance(container, Mapping) and last in container


class PageRule(Protocol):
    """Says how the pages of an answer hang together."""

    def begin(self) -> Mapping[str, Any]:
        """What is added to the query of the first page, unless it has that already."""

    def after(self, page: Page, asked: Mapping[str, Any]) -> Next:
        """Where the next page is.

        Args:
            page: the one that came.
            asked: the query that it was asked for with; of pages behind a URL, that of the first.

        Returns:
            A URL, absolute or relative to that of ``page``; or what is changed in the query; or
            ``None`` if this was the last one.

        Raises:
            BadAnswer: the page does not say.
        """


@dataclass(frozen=True)
class LinkHeader:
    """The header ``Link`` names the next page (RFC 8288), as GitHub and GitLab have it.

    Args:
        rel: what the next page is to a page.
    """

    rel: str = "next"

    def begin(self) -> Mapping[str, Any]:
        return {}

    def after(self, page: Page, asked: Mapping[str, Any]) -> Next:
        links = read_links(page.response.headers.get("link") or "")
        targets = links.targets(self.rel)
        if len(targets) > 1:
            raise page.bad(f"{len(targets)} links to a {self.rel} page, which differ")
        if targets:
            return targets[0]
        if not links.is_whole:
            # It may be the next page that cannot be read; going home early would lose the rest.
            raise page.bad("a Link header that cannot be read (RFC 8288)")
        return None


@dataclass(frozen=True)
class NextUrl:
    """The body has the URL of the next page; no text there, or nothing, is the end.

    Args:
        place: where, such as ``"paging.next"``.
    """

    place: Place

    def __post_init__(self) -> None:
        _require_place(self.place, "NextUrl(place)")

    def begin(self) -> Mapping[str, Any]:
        return {}

    def after(self, page: Page, asked: Mapping[str, Any]) -> Next:
        found = page.find(self.place)
        if found is None or found == "" or found is False:
            return None
        if not isinstance(found, str):
            raise page.bad(f"{type(found).__name__} at {shown(self.place)}, where a URL should be")
        return found


@dataclass(frozen=True)
class PageNumber:
    """Pages have numbers. The first empty one is the end, unless something says so before.

    A page that is shorter than ``size`` is not the end: services give less than they are asked for.

    Args:
        param: the number's name in the query.
        first: that of the first page.
        size_param: the name in the query of how many items a page has; ``None`` to not ask.
        size: how many are asked for.
        items: where the list of items is; empty, the default, if the body is that list.
        pages: where the body says how many pages there are; ``None`` if it does not.
        more: where it says ``true`` if there are more.

    Raises:
        BadIntegration: there is a ``size`` without ``size_param``, or the other way round.
    """

    param: str = "page"
    first: int = 1
    size_param: str | None = None
    size: int | None = None
    items: Place = ""
    pages: Place | None = None
    more: Place | None = None

    def __post_init__(self) -> None:
        if (self.size_param is None) != (self.size is None):
            raise BadIntegration(
                "PageNumber(size=) and PageNumber(size_param=) go together; got "
                f"size={self.size!r} and size_param={self.size_param!r}"
            )

    def begin(self) -> Mapping[str, Any]:
        number = {self.param: self.first}
        return number if self.size_param is None else {**number, self.size_param: self.size}

    def after(self, page: Page, asked: Mapping[str, Any]) -> Next:
        number = _whole(asked, self.param) + 1
        if self.more is not None and (more := page.says_more(self.more)) is not None:
            return {self.param: number} if more else None
        if self.pages is not None and (pages := page.number(self.pages)) is not None:
            return {self.param: number} if number < self.first + pages else None
        return {self.param: number} if page.items(self.items) else None


@dataclass(frozen=True)
class Offset:
    """Pages begin at a number of items. It grows by what came, which may be less than asked for.

    Args:
        param: the offset's name in the query.
        limit_param: the name of how many items are asked for.
        limit: how many; ``None`` to not ask.
        items: where the list of items is; empty if the body is that list.
        total: where the body says how many there are in all; ``None`` if it does not, so that an
            empty page is the end.

    Raises:
        BadIntegration: ``limit`` is less than 1.
    """

    param: str = "offset"
    limit_param: str = "limit"
    limit: int | None = 100
    items: Place = "items"
    total: Place | None = None

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise BadIntegration(f"Offset(limit=) is 1 or more, or None; got {self.limit!r}")

    def begin(self) -> Mapping[str, Any]:
        start = {self.param: 0}
        return start if self.limit is None else {**start, self.limit_param: self.limit}

    def after(self, page: Page, asked: Mapping[str, Any]) -> Next:
        count = len(page.items(self.items))
        if not count:
            return None
        offset = _whole(asked, self.param) + count
        if self.total is not None:
            total = page.number(self.total)
            if total is not None and offset >= total:
                return None
        return {self.param: offset}


@dataclass(frozen=True)
class Cursor:
    """The body has a mark to go on from; no mark is the end.

    Args:
        param: its name in the query.
        cursor: where it is, such as ``"meta.next_cursor"``, or ``"data.-1.id"`` where the last item
            is the mark.
        more: where the body says ``true`` if there are more; ``None`` if the mark alone tells.
    """

    param: str = "cursor"
    cursor: Place = "next_cursor"
    more: Place | None = None

    def __post_init__(self) -> None:
        _require_place(self.cursor, "Cursor(cursor=)")

    def begin(self) -> Mapping[str, Any]:
        return {}

    def after(self, page: Page, asked: Mapping[str, Any]) -> Next:
        more = None if self.more is None else page.says_more(self.more)
        if more is False:
            return None
        found = page.find(self.cursor)
        if found is None or found == "" or found is False:
            if more:
                raise page.bad(f"more behind it, and no cursor at {shown(self.cursor)}")
            return None
        if not isinstance(found, str | int) or isinstance(found, bool):
            raise page.bad(
                f"{type(found).__name__} at {shown(self.cursor)}, where a cursor should be"
            )
        return {self.param: found}


def shown(place: Place) -> str:
    """A place, for people."""
    return repr(place) if isinstance(place, str) else repr(".".join(map(str, place)))


def _step(found: Any, name: str | int) -> Any:
    if isinstance(found, Mapping):
        return found.get(name)
    if isinstance(found, list):
        try:
            return found[int(name)]
        except (ValueError, IndexError):
            return None
    return None


def _require_place(place: Place, where: str) -> None:
    if not place:
        raise BadIntegration(
            f"{where} says where in the body it is, such as 'paging.next'; got {place!r}"
        )


def _whole(asked: Mapping[str, Any], name: str) -> int:
    try:
        return int(asked[name])
    except (KeyError, TypeError, ValueError):
        raise BadIntegration(
            f"the query's {name!r} is where to begin, a whole number; got {asked.get(name)!r}"
        ) from None
