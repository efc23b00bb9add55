"""Pages come one by one from a real server, each when it is wanted, and never from elsewhere."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import httpx2
import pytest
from pydantic import BaseModel

from backstay.errors import BadAnswer, BadIntegration, UpstreamBusy, UpstreamError
from backstay.integration.http.paging.page_rules import (
    Cursor,
    LinkHeader,
    NextUrl,
    Offset,
    PageNumber,
)
from backstay.integration.http.paging.pages import pages
from tests.integration.upstream import Line, Received, Upstream, answer, json_answer
from tests.integration.upstreams.api import api_of
from tests.integration.upstreams.behaviour import busy, echo, redirect
from tests.support import async_test


def linked(body: Any, *links: str) -> bytes:
    return json_answer(body, headers=[("Link", each) for each in links])


async def numbered(line: Line, request: Received) -> None:
    """Three pages of two numbers each, and empty ones behind them."""
    number = int(httpx.URL(request.target).params["page"])
    await line.send(json_answer([number * 2, number * 2 + 1] if number <= 3 else []))


async def bodies(responses: AsyncIterator[Any]) -> list[Any]:
    return [each.json() async for each in responses]


@async_test
async def test_numbered_pages_come_until_one_is_empty() -> None:
    async with Upstream(numbered) as upstream, api_of(upstream.url) as api:
        assert await bodies(pages(api, PageNumber())) == [[2, 3], [4, 5], [6, 7], []]
        assert [each.target for each in upstream.requests] == [
            f"/items?page={number}" for number in (1, 2, 3, 4)
        ]
        assert upstream.connections == 1


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
@async_test
async def test_several_link_headers_with_relative_links_are_followed(module: Any) -> None:
    script = {
        "/v1/items": linked([1], "</v1/items>; rel=first", '<more?page=2>; rel="next"'),
        "/v1/more": linked([2], "</v1/items>; rel=prev"),
    }
    async with Upstream(script) as upstream:
        async with api_of(f"{upstream.url}/v1", module=module) as api:
            assert await bodies(pages(api, LinkHeader(), query={"kind": "new"})) == [[1], [2]]
        assert [each.target for each in upstream.requests] == [
            "/v1/items?kind=new",
            "/v1/more?page=2",
        ]


@async_test
async def test_no_page_is_asked_for_before_it_is_wanted() -> None:
    async with Upstream(numbered) as upstream, api_of(upstream.url) as api:
        responses = pages(api, PageNumber())
        assert upstream.requests == []
        await anext(responses)
        assert len(upstream.requests) == 1
        await anext(responses)
        assert len(upstream.requests) == 2
        await responses.aclose()  # type: ignore[attr-defined]
        assert len(upstream.requests) == 2
        await api.send(query={"page": 1})
        assert upstream.connections == 1


@async_test
async def test_an_offset_grows_by_what_came_and_not_by_what_was_asked_for() -> None:
    everything = list(range(7))

    async def capped(line: Line, request: Received) -> None:
        params = httpx.URL(request.target).params
        start = int(params["offset"])
        count = min(int(params["limit"]), 3)
        found = everything[start : start + count]
        await line.send(json_answer({"items": found, "total": len(everything)}))

    async with Upstream(capped) as upstream, api_of(upstream.url) as api:
        found = await bodies(pages(api, Offset(total="total")))
        assert [item for each in found for item in each["items"]] == everything
        assert len(upstream.requests) == 3


@async_test
async def test_a_cursor_is_sent_back_as_it_came_with_the_rest_of_the_query() -> None:
    class Filter(BaseModel):
        kind: str
        size: int | None = None

    script = [
        json_answer({"items": [1], "meta": {"next": "a+/=&?b"}}),
        json_answer({"items": [2], "meta": {"next": None}}),
    ]
    async with Upstream(script) as upstream, api_of(upstream.url) as api:
        rule = Cursor("after", "meta.next")
        assert len(await bodies(pages(api, rule, query=Filter(kind="new")))) == 2
        assert upstream.requests[0].query == "kind=new"
        sent = dict(httpx.URL(upstream.last.target).params)
        assert sent == {"kind": "new", "after": "a+/=&?b"}


@async_test
async def test_the_query_says_where_to_begin() -> None:
    async with Upstream(numbered) as upstream, api_of(upstream.url) as api:
        assert await bodies(pages(api, PageNumber(), query={"page": 3})) == [[6, 7], []]


@async_test
async def test_headers_go_with_every_page() -> None:
    async with Upstream(numbered) as upstream, api_of(upstream.url) as api:
        await bodies(pages(api, PageNumber(), headers={"X-Tenant": "blue"}))
        assert {each.header("x-tenant") for each in upstream.requests} == {"blue"}


ELSEWHERE = [
    "https://evil.example/items",
    "//evil.example/items",
    "http://127.0.0.1:1/items",
    "https://127.0.0.1:{port}/items",
    "http://localhost:{port}/items",
    "http://127.0.0.1:{port}@evil.example/",
    "http://user:password@127.0.0.1:{port}/items",
    "http://127.0.0.1:{port}\\@evil.example/",
    "http://127.0.0.1.evil.example:{port}/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://[::1/items",
    "http://127.0.0.1:{port}:80/",
    "http://127.0.0.1:99999/",
    "/items\x00",
    "/" + "a" * 20_000,
]


@pytest.mark.parametrize("number", range(len(ELSEWHERE)))
@async_test
async def test_a_next_page_elsewhere_is_not_asked_for(number: int) -> None:
    async with Upstream() as upstream, api_of(upstream.url) as api:
        target = ELSEWHERE[number].replace("{port}", str(upstream.port))
        upstream.script = json_answer({"next": target})
        responses = pages(api, NextUrl("next"))
        await anext(responses)
        with pytest.raises(BadAnswer) as raised:
            await anext(responses)
        assert "password" not in str(raised.value)
        assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    "target",
    ["/../b?x=1#there", "b", "?page=2", "http://127.0.0.1:{port}", "HTTP://127.0.0.1:{port}/b"],
)
@async_test
async def test_every_form_of_a_url_on_the_same_origin_will_do(target: str) -> None:
    async with Upstream() as upstream, api_of(upstream.url) as api:
        target = target.replace("{port}", str(upstream.port))
        upstream.script = [json_answer({"next": target}), json_answer({})]
        assert len(await bodies(pages(api, NextUrl("next")))) == 2
        assert upstream.connections == 1


@async_test
async def test_another_origin_may_be_trusted_by_its_name() -> None:
    async with Upstream(json_answer([2])) as other, Upstream() as upstream:
        upstream.script = linked([1], f"<{other.url}/items?page=2>; rel=next")
        async with api_of(upstream.url) as api:
            assert await bodies(pages(api, LinkHeader(), origins=[other.url])) == [[1], [2]]
        assert other.last.target == "/items?page=2"


@async_test
async def test_relative_links_of_a_trusted_origin_stay_there() -> None:
    async with Upstream() as other, Upstream() as upstream:
        upstream.script = linked([1], f"<{other.url}/more>; rel=next")
        other.script = [linked([2], "</last>; rel=next"), json_answer([3])]
        async with api_of(upstream.url) as api:
            assert await bodies(pages(api, LinkHeader(), origins=[other.url])) == [[1], [2], [3]]
        assert [each.target for each in other.requests] == ["/more", "/last"]


@async_test
async def test_pages_that_lead_back_are_an_error() -> None:
    script = [json_answer({"next": "/b"}), json_answer({"next": "/items"})]
    async with Upstream(script) as upstream, api_of(upstream.url) as api:
        with pytest.raises(BadAnswer, match="there before"):
            await bodies(pages(api, NextUrl("next")))
        assert len(upstream.requests) == 2


@async_test
async def test_a_cursor_that_comes_twice_is_an_error() -> None:
    async with Upstream(json_answer({"next_cursor": "same"})) as upstream:
        async with api_of(upstream.url) as api:
            with pytest.raises(BadAnswer, match="there before"):
                await bodies(pages(api, Cursor()))
        assert len(upstream.requests) == 2


@async_test
async def test_more_pages_than_may_be_are_an_error_after_those_that_may() -> None:
    async with Upstream(json_answer([1])) as upstream, api_of(upstream.url) as api:
        responses = pages(api, PageNumber(), max_pages=3)
        assert [(await anext(responses)).json() for _ in range(3)] == [[1], [1], [1]]
        with pytest.raises(BadAnswer, match="more than 3 pages; .*max_pages="):
            await anext(responses)
        assert len(upstream.requests) == 3
        assert len(await bodies(pages(api, PageNumber(), max_pages=2, beyond="stop"))) == 2


@async_test
async def test_as_many_pages_as_may_be_are_no_error() -> None:
    async with Upstream(numbered) as upstream, api_of(upstream.url) as api:
        assert len(await bodies(pages(api, PageNumber(), max_pages=4))) == 4
        assert len(await bodies(pages(api, PageNumber(), max_pages=None))) == 4


@async_test
async def test_an_error_on_the_way_is_raised_with_its_status_and_model() -> None:
    script = [json_answer([1]), json_answer({"reason": "gone"}, 404)]
    async with Upstream(script) as upstream, api_of(upstream.url) as api:
        responses = pages(api, PageNumber())
        assert (await anext(responses)).json() == [1]
        with pytest.raises(UpstreamError) as raised:
            await anext(responses)
        assert raised.value.answered == 404
        assert raised.value.error.reason == "gone"  # type: ignore[attr-defined]


@async_test
async def test_a_busy_upstream_is_an_error_that_says_when() -> None:
    async with Upstream(busy("7")) as upstream, api_of(upstream.url) as api:
        with pytest.raises(UpstreamBusy) as raised:
            await bodies(pages(api, LinkHeader()))
        assert raised.value.retry_after_s == 7


@async_test
async def test_a_status_that_the_endpoint_handles_is_the_last_page() -> None:
    script = [json_answer([1]), json_answer({"reason": "no such page"}, 404)]
    async with Upstream(script) as upstream:
        async with api_of(upstream.url, handled=frozenset({404})) as api:
            statuses = [each.status_code async for each in pages(api, PageNumber())]
    assert statuses == [200, 404]


@async_test
async def test_a_redirect_is_no_page() -> None:
    async with Upstream(redirect("/elsewhere")) as upstream, api_of(upstream.url) as api:
        with pytest.raises(BadAnswer, match="answered 302, which leads elsewhere"):
            await bodies(pages(api, LinkHeader()))


@async_test
async def test_empty_pages_on_the_way_are_passed_through() -> None:
    script = [
        linked([1], "</items?page=2>; rel=next"),
        answer(b"", "204 No Content", [("Link", "</items?page=3>; rel=next")], length=None),
        linked([], "</items?page=4>; rel=next"),
        linked([4]),
    ]
    async with Upstream(script) as upstream, api_of(upstream.url) as api:
        found = [each.content async for each in pages(api, LinkHeader())]
    assert found == [b"[1]", b"", b"[]", b"[4]"]


@async_test
async def test_a_rule_of_ones_own_is_two_methods() -> None:
    class Countdown:
        def begin(self) -> dict[str, Any]:
            return {"left": 2}

        def after(self, page: Any, asked: Any) -> dict[str, Any] | None:
            return {"left": asked["left"] - 1} if asked["left"] else None

    async with Upstream(echo) as upstream, api_of(upstream.url) as api:
        await bodies(pages(api, Countdown()))
        assert [each.query for each in upstream.requests] == ["left=2", "left=1", "left=0"]


@pytest.mark.parametrize(
    "options",
    [
        {"max_pages": 0},
        {"beyond": "ignore"},
        {"origins": ["evil.example"]},
        {"origins": ["ftp://evil.example"]},
        {"origins": ["http://user@evil.example"]},
        {"origins": ["http://[::1"]},
    ],
    ids=str,
)
@async_test
async def test_options_that_make_no_sense_are_refused_before_anything_is_sent(options: Any) -> None:
    async with Upstream() as upstream, api_of(upstream.url) as api:
        with pytest.raises(BadIntegration):
            await bodies(pages(api, LinkHeader(), **options))
        assert upstream.requests == []
