"""What may be kept is kept, for as long as it may be (RFC 9111 §3)."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse

from backstay.cache.keeping import Kept, keep
from backstay.cache.policy import Policy
from backstay.cache.validators import etag_of

NOW = datetime(2027, 1, 1, tzinfo=UTC)
KNOWN = frozenset((b"host", b"accept", b"x-tenant"))


def kept(
    response: Response,
    own: tuple[tuple[bytes, bytes], ...] = (),
    whole: bool = False,
    **options: Any,
) -> Kept | None:
    return keep(
        response,
        Policy.of(**{"ttl": 60, "public": True, **options}),
        now=NOW,
        vary=["accept"],
        known=KNOWN,
        own=list(own),
        tags=("t",),
        whole=whole,
    )


class Own(Response):
    """Sends something else than its body."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    "make",
    [
        lambda: StreamingResponse(iter(["a"])),
        lambda: FileResponse(__file__),
        lambda: Own(b"a"),
        lambda: Response(b"a", background=BackgroundTask(print)),
        lambda: Response(b"a", 404),
        lambda: Response(b"a", 500),
        lambda: Response(b"a", 206),
        lambda: RedirectResponse("/x"),
        lambda: Response(b"a", headers={"Set-Cookie": "a=b"}),
        lambda: Response(b"a", headers={"Cache-Control": "no-store"}),
        lambda: Response(b"a", headers={"Cache-Control": "max-age=9, No-Cache"}),
        lambda: Response(b"a", headers={"Cache-Control": 'private="x"'}),
        lambda: Response(b"a", headers={"Cache-Control": "max-age=0"}),
        lambda: Response(b"a", headers={"Cache-Control": "max-age=9, s-maxage=0"}),
        lambda: Response(b"a", headers={"Cache-Control": "max-age=x"}),
        lambda: Response(b"a", headers={"Expires": "0"}),
        lambda: Response(b"a", headers={"Expires": "Thu, 31 Dec 2026 00:00:00 GMT"}),
        lambda: Response(b"a", headers={"Vary": "*"}),
        lambda: Response(b"a", headers={"Vary": "Accept, X-Other"}),
        lambda: Response(b"a", headers={"X-A": "a\0b"}),
    ],
    ids=[
        "stream",
        "file",
        "own-class",
        "background",
        "404",
        "500",
        "206",
        "307",
        "cookie",
        "no-store",
        "no-cache",
        "private",
        "max-age-0",
        "s-maxage-0",
        "max-age-x",
        "expires-0",
        "expired",
        "vary-all",
        "vary-unknown",
        "nul",
    ],
)
def test_this_is_not_kept(make: Callable[[], Response]) -> None:
    assert kept(make()) is None


@pytest.mark.parametrize("status", [200, 203, 204, 300, 301, 308])
def test_answers_of_success_are_kept(status: int) -> None:
    found = kept(Response(b"", status))
    assert found is not None
    assert found.answer.status == status


def test_other_statuses_are_kept_if_the_route_says_so() -> None:
    assert kept(Response(b"a", 404), statuses=[200, 404]) is not None


def test_a_private_answer_is_kept_where_nobody_else_gets_it() -> None:
    response = Response(b"a", headers={"Cache-Control": "private, max-age=9"})
    found = kept(response, public=False)
    assert found is not None
    assert found.ttl_s == 9
    assert dict(found.answer.headers)[b"cache-control"] == b"private, max-age=9"


@pytest.mark.parametrize(
    ("headers", "public", "ttl_s"),
    [
        ({}, True, 60),
        ({"Cache-Control": "max-age=9"}, True, 9),
        ({"Cache-Control": "max-age=900"}, True, 60),
        ({"Cache-Control": "max-age=9, s-maxage=5"}, True, 5),
        ({"Cache-Control": "max-age=9, s-maxage=5"}, False, 9),
        ({"Cache-Control": "public"}, True, 60),
        ({"Expires": "Fri, 01 Jan 2027 00:00:07 GMT"}, True, 7),
        ({"Expires": "0", "Cache-Control": "max-age=5"}, True, 5),
    ],
    ids=str,
)
def test_an_answer_may_shorten_its_time(
    headers: dict[str, str], public: bool, ttl_s: float
) -> None:
    found = kept(Response(b"a", headers=headers), public=public)
    assert found is not None
    assert found.ttl_s == ttl_s


def test_what_is_added_is_a_tag_what_clients_may_do_and_what_it_varies_on() -> None:
    found = kept(Response(b"a", media_type="text/plain", headers={"X-A": "1"}))
    assert found is not None
    assert dict(found.answer.headers) == {
        b"x-a": b"1",
        b"content-length": b"1",
        b"content-type": b"text/plain; charset=utf-8",
        b"etag": etag_of(b"a", b"text/plain; charset=utf-8"),
        b"cache-control": b"public, max-age=60",
        b"vary": b"Accept",
    }
    assert found.answer.tags == ("t",)
    assert found.answer.tells_age


def test_what_the_handler_says_itself_stays() -> None:
    headers = {"ETag": 'W/"v7"', "Cache-Control": "max-age=5", "Vary": "x-tenant, ACCEPT"}
    found = kept(Response(b"a", headers=headers))
    assert found is not None
    assert dict(found.answer.headers)[b"etag"] == b'W/"v7"'
    assert dict(found.answer.headers)[b"cache-control"] == b"max-age=5"
    assert dict(found.answer.headers)[b"vary"] == b"Accept, X-Tenant"


def test_what_must_be_asked_about_when_it_is_old_is_never_given_then() -> None:
    for word in ("must-revalidate", "proxy-revalidate"):
        found = kept(Response(b"a", headers={"Cache-Control": f"max-age=5, {word}"}))
        assert found is not None
        assert found.answer.never_stale


def test_headers_that_dependencies_set_are_not_kept_and_their_cookies_are_no_hindrance() -> None:
    own = ((b"set-cookie", b"s=1"), (b"x-limit", b"9"))
    response = Response(b"a", headers={"X-A": "1"})
    response.raw_headers += [*own, (b"x-limit", b"9")]
    found = kept(response, own)
    assert found is not None
    names = [name for name, _ in found.answer.headers]
    assert b"set-cookie" not in names
    assert names.count(b"x-limit") == 1, "the handler set it too"


def test_what_dependencies_say_of_keeping_counts() -> None:
    own = ((b"cache-control", b"no-store"),)
    response = Response(b"a")
    response.raw_headers += own
    assert kept(response, own) is None


def test_a_response_that_the_handler_made_is_kept_as_it_is() -> None:
    found = kept(Response(b"a", headers={"X-Limit": "9"}), ((b"x-limit", b"9"),), whole=True)
    assert found is not None
    assert found.answer.whole
    assert dict(found.answer.headers)[b"x-limit"] == b"9"


def test_a_body_in_a_memoryview_is_kept_as_bytes() -> None:
    found = kept(Response(memoryview(b"abc")))
    assert found is not None
    assert found.answer.body == b"abc"
