"""Each rule finds the next page where it is, knows the last one, and says what it cannot read."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from backstay.errors import BadAnswer, BadIntegration
from backstay.integration.http.paging.page_rules import (
    Cursor,
    LinkHeader,
    NextUrl,
    Offset,
    Page,
    PageNumber,
    PageRule,
)


def page_of(body: Any = None, *, link: str | None = None, status: int = 200) -> Page:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if link is None else {"link": link}
    return Page(SimpleNamespace(content=content, headers=headers, status_code=status), "Shop.items")


def after(rule: PageRule, body: Any, **asked: Any) -> Any:
    return rule.after(page_of(body), {**rule.begin(), **asked})


def test_a_link_header_names_the_next_page() -> None:
    page = page_of(link='</items?page=1>; rel="prev", </items?page=3>; rel="next"')
    assert LinkHeader().after(page, {}) == "/items?page=3"
    assert LinkHeader(rel="prev").after(page, {}) == "/items?page=1"
    assert LinkHeader().after(page_of(link="</items>; rel=first"), {}) is None
    assert LinkHeader().after(page_of(), {}) is None
    assert LinkHeader().begin() == {}


@pytest.mark.parametrize("link", ["</a>; rel=next, </b>; rel=next", "/b; rel=next", "<"])
def test_a_link_header_that_leaves_it_open_is_no_end(link: str) -> None:
    with pytest.raises(BadAnswer, match=r"Shop\.items answered 200 with a page that has"):
        LinkHeader().after(page_of(link=link), {})


def test_a_next_page_that_can_be_read_is_enough() -> None:
    assert LinkHeader().after(page_of(link="nonsense, </b>; rel=next"), {}) == "/b"


# A rule, a body, and what is next.
ENDS: dict[str, tuple[PageRule, Any, Any]] = {
    "a URL": (NextUrl("paging.next"), {"paging": {"next": "/b"}}, "/b"),
    "no URL": (NextUrl("paging.next"), {"paging": {"next": None}}, None),
    "an empty URL": (NextUrl("next"), {"next": ""}, None),
    "a false URL": (NextUrl("next"), {"next": False}, None),
    "nothing about URLs": (NextUrl("paging.next"), {"items": []}, None),
    "a list without URLs": (NextUrl("paging.next"), [1], None),
    "a body that is empty": (NextUrl("next"), b"", None),
    "a name with dots": (NextUrl(("@odata.nextLink",)), {"@odata.nextLink": "/b"}, "/b"),
    "a place in a list": (NextUrl("links.1.href"), {"links": [{}, {"href": "/b"}]}, "/b"),
    "a place that a list has not": (NextUrl("links.5.href"), {"links": [{}]}, None),
    "a page with items": (PageNumber(), [1], {"page": 2}),
    "a page without items": (PageNumber(), [], None),
    "a page without a body": (PageNumber(), b" ", None),
    "a page with null for a body": (PageNumber(), None, None),
    "a page of zero": (PageNumber(first=0, items="data"), {"data": [1]}, {"page": 1}),
    "a page with null for items": (PageNumber(items="data"), {"data": None}, None),
    "a page that is not full": (PageNumber(size_param="size", size=50), [1], {"page": 2}),
    "the last of some pages": (PageNumber(pages="pages"), {"pages": 1}, None),
    "one of some pages": (PageNumber(pages="pages"), {"pages": "2"}, {"page": 2}),
    "the last of two from zero": (PageNumber(first=0, pages="n"), {"n": 1}, None),
    "no pages at all": (PageNumber(pages="pages"), {"pages": 0}, None),
    "no word about pages": (PageNumber(items="data", pages="pages"), {"data": [1]}, {"page": 2}),
    "more": (PageNumber(more="more"), {"more": True}, {"page": 2}),
    "no more": (PageNumber(more="more"), {"more": False, "data": [1]}, None),
    "no word about more": (PageNumber(items="data", more="more"), {"data": []}, None),
    "some items": (Offset(), {"items": [1, 2]}, {"offset": 2}),
    "no items": (Offset(), {"items": []}, None),
    "items that are all": (Offset(total="meta.total"), {"items": [1], "meta": {"total": 1}}, None),
    "items of more": (Offset(total="total"), {"items": [1], "total": 9}, {"offset": 1}),
    "no items of more": (Offset(total="total"), {"items": [], "total": 9}, None),
    "no word about how many": (Offset(total="total"), {"items": [1]}, {"offset": 1}),
    "a cursor": (Cursor(), {"next_cursor": "abc"}, {"cursor": "abc"}),
    "a number for a cursor": (Cursor("after"), {"next_cursor": 0}, {"after": 0}),
    "no cursor": (Cursor(), {"next_cursor": None}, None),
    "an empty cursor": (Cursor(), {"next_cursor": ""}, None),
    "nothing about cursors": (Cursor(cursor="meta.next"), {}, None),
    "the last item": (
        Cursor("starting_after", "data.-1.id", more="has_more"),
        {"data": [{"id": "a"}, {"id": "b"}], "has_more": True},
        {"starting_after": "b"},
    ),
    "the last item of all": (
        Cursor("starting_after", "data.-1.id", more="has_more"),
        {"data": [{"id": "b"}], "has_more": False},
        None,
    ),
    "the last item of none": (Cursor("after", "data.-1.id"), {"data": []}, None),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_page_tells_what_is_next(case: str) -> None:
    rule, body, expected = ENDS[case]
    assert after(rule, body) == expected


UNCLEAR: dict[str, tuple[PageRule, Any]] = {
    "no JSON": (NextUrl("next"), b"<html>"),
    "deep JSON": (NextUrl("next"), b"[" * 100_000),
    "not UTF-8": (NextUrl("next"), b'{"next": "\xff"}'),
    "a number for a URL": (NextUrl("next"), {"next": 5}),
    "an object for a URL": (NextUrl("next"), {"next": {"href": "/b"}}),
    "an object for the items": (PageNumber(), {"data": []}),
    "items by another name": (PageNumber(items="data"), {"items": [1]}),
    "a text for the items": (Offset(), {"items": "none"}),
    "a text for the number of pages": (PageNumber(pages="pages"), {"pages": "many"}),
    "a text for more": (PageNumber(more="more"), {"more": "yes"}),
    "a list for a cursor": (Cursor(), {"next_cursor": []}),
    "true for a cursor": (Cursor(), {"next_cursor": True}),
    "more and no cursor": (Cursor(more="more"), {"more": True}),
    "true for a total": (Offset(total="total"), {"items": [1], "total": True}),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_a_page_that_cannot_be_read_is_no_end_and_shows_no_values(case: str) -> None:
    rule, body = UNCLEAR[case]
    with pytest.raises(
        BadAnswer, match=r"^Shop\.items answered 200 with a page that has "
    ) as raised:
        after(rule, body)
    assert raised.value.endpoint == "Shop.items"
    assert raised.value.answered == 200


def test_the_first_page_is_asked_for_as_the_rule_says() -> None:
    assert PageNumber("p", first=0).begin() == {"p": 0}
    assert PageNumber(size_param="per_page", size=50).begin() == {"page": 1, "per_page": 50}
    assert Offset(limit=10).begin() == {"offset": 0, "limit": 10}
    assert Offset(limit=None).begin() == {"offset": 0}
    assert Cursor().begin() == {}


def test_numbers_go_on_from_what_was_asked() -> None:
    assert after(PageNumber(), [1], page="7") == {"page": 8}
    assert after(Offset(), {"items": [1, 2]}, offset=40) == {"offset": 42}
    with pytest.raises(BadIntegration, match="'page' is where to begin"):
        after(PageNumber(), [1], page="later")


def test_rules_that_could_never_work_are_refused() -> None:
    with pytest.raises(BadIntegration, match="size_param"):
        PageNumber(size=50)
    with pytest.raises(BadIntegration, match="1 or more"):
        Offset(limit=0)
    with pytest.raises(BadIntegration, match=r"paging\.next"):
        NextUrl("")
    with pytest.raises(BadIntegration, match="Cursor"):
        Cursor(cursor="")
