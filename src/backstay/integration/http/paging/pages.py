"""One page after the other, each when it is wanted."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from typing import Any, Final, Literal, Protocol, cast
from urllib.parse import ParseResult, SplitResult, urljoin, urlparse, urlsplit

from pydantic import BaseModel

from backstay.addresses import DEFAULT_PORTS, origin_of
from backstay.errors import BadAnswer, BadIntegration
from backstay.integration.http.answer_rules import AnswerRules
from backstay.integration.http.endpoint import Endpoint
from backstay.integration.http.paging.page_rules import Page, PageRule
from backstay.integration.http.url import with_query

__all__ = ["PagedApi", "pages"]

_MOST_URL: Final = 16_384


class PagedApi(Protocol):
    """What is needed of an ``ApiHTTP``, a dataclass."""

    @property
    def url(self) -> ParseResult:
        """Of the first page."""

    @property
    def endpoint(self) -> Endpoint:
        """What is called."""

    @property
    def rules(self) -> AnswerRules:
        """Which answers are errors."""

    @property
    def send(self) -> Callable[..., Awaitable[Any]]:
        """Asks for one page."""


async def pages(
    api: PagedApi,
    rule: PageRule,
    *,
    query: Mapping[str, Any] | BaseModel | None = None,
    max_pages: int | None = 1000,
    beyond: Literal["raise", "stop"] = "raise",
    origins: Collection[str] = (),
    **send_options: Any,
) -> AsyncIterator[Any]:
    """Ask for a page, and for the next one when that is wanted.

    Nothing is under way while a page is looked at: whoever stops early leaves nothing open. An answer
    whose status the endpoint handles itself is the last page.

    Args:
        api: of an endpoint, best one that yields.
        rule: how pages hang together: ``LinkHeader()``, ``NextUrl("paging.next")``, ``PageNumber()``,
            ``Offset()``, ``Cursor()``, or a ``PageRule`` of one's own.
        query: of the first page. What it says of the rule's own parameters is where to begin.
        max_pages: no more than so many. ``None`` for no bound.
        beyond: what happens if there are more: ``"raise"`` an error, after the last page that may be
            had, or ``"stop"``.
        origins: where pages may be besides the endpoint's own origin, such as
            ``["https://eu.example.com"]``. What proves who is calling is sent there, too.
        send_options: as of ``api.send``; the same for each page.

    Yields:
        The client's responses.

    Raises:
        UpstreamError: a page is an error.
        BadAnswer: a page does not say where the next one is, leads back to one that was there before or
            to another origin, or there are more than ``max_pages``.
        BadIntegration: an option makes no sense.
    """
    if max_pages is not None and max_pages < 1:
        raise BadIntegration(f"pages(max_pages=) is 1 or more, or None; got {max_pages!r}")
    if beyond not in {"raise", "stop"}:
        raise BadIntegration(f'pages(beyond=) is "raise" or "stop"; got {beyond!r}')
    label = api.endpoint.label
    allowed = [_read_origin(each) for each in origins]
    asked = {**rule.begin(), **_plain(query)}
    start = api.url.geturl()
    url = with_query(start, asked)
    seen: set[str] = set()
    while True:
        seen.add(url)
        response = await dataclasses.replace(cast("Any", api), url=urlparse(url)).send(
            **send_options
        )
        status = response.status_code
        if api.rules.is_error(status):
            raise api.rules.refusal(status, response)
        page = Page(response, label)
        yield response
        if status >= 300:
            return
        step = rule.after(page, asked)
        if step is None:
            return
        if isinstance(step, str):
            url = _next_url(page, step, api.url, url, allowed)
        else:
            asked = {**asked, **step}
            url = with_query(start, asked)
        if url in seen:
            raise page.bad("a next page that was there before, so that they would never end")
        if max_pages is not None and len(seen) >= max_pages:
            if beyond == "stop":
                return
            raise BadAnswer(
                f"{label} has more than {max_pages} pages; ask for fewer things, raise max_pages=, "
                'or say beyond="stop"',
                endpoint=label,
                answered=status,
            )
        del response, page


def _plain(query: Mapping[str, Any] | BaseModel | None) -> Mapping[str, Any]:
    if isinstance(query, BaseModel):
        return query.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: value for name, value in (query or {}).items() if value is not None}


def _next_url(
    page: Page, target: str, own: ParseResult, asked: str, allowed: Collection[SplitResult]
) -> str:
    """The whole URL of the next page, on an origin that may be asked.

    What stands before the path is written anew, from what was configured: how a client reads odd
    characters there does not matter.
    """
    target = target.strip()
    if len(target) > _MOST_URL or any(ord(each) < 32 or ord(each) == 127 for each in target):
        raise page.bad("no URL where that of the next page should be")
    try:
        url = urljoin(str(getattr(page.response, "url", None) or asked), target)
        parts, origin = urlsplit(url), origin_of(url)
    except ValueError:
        raise page.bad("no URL where that of the next page should be") from None
    for each in (urlsplit(own.geturl()), *allowed):
        if "@" not in parts.netloc and origin == origin_of(each.geturl()):
            return SplitResult(each.scheme, each.netloc, parts.path, parts.query, "").geturl()
    host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"[:200]
    raise page.bad(
        f"its next page elsewhere, at {host!r}, where what proves who is calling would be sent, too; "
        "if it is to be trusted, name it in pages(origins=)"
    )


def _read_origin(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        if (
            parts.scheme in DEFAULT_PORTS
            and parts.hostname
            and parts.port != 0
            and "@" not in parts.netloc
        ):
            return parts
    except ValueError:
        pass
    raise BadIntegration(
        f"pages(origins=) are origins such as 'https://eu.example.com'; got {text!r}"
    )
