"""What goes with every answer is added once, and an answer's own headers win."""

from typing import Any

import pytest

from backstay.web.answer_headers import AnswerHeaders, is_page

JSON = (b"content-type", b"application/json")
HTML = (b"content-type", b"text/html; charset=utf-8")
ALWAYS = [(b"x-frame-options", b"DENY"), (b"vary", b"Origin")]


def added(
    own: list[tuple[bytes, bytes]], pages: list[tuple[bytes, bytes]] | None = None
) -> list[tuple[bytes, bytes]]:
    headers = list(own)
    for_pages = None if pages is None else lambda scope: pages
    AnswerHeaders(ALWAYS, for_pages).add({"path": "/"}, headers)
    assert headers[: len(own)] == own
    return headers[len(own) :]


def test_an_answer_gets_what_it_lacks() -> None:
    assert added([JSON]) == ALWAYS
    assert added([]) == ALWAYS


def test_a_header_of_its_own_wins() -> None:
    assert added([JSON, (b"x-frame-options", b"SAMEORIGIN")]) == [(b"vary", b"Origin")]


def test_what_it_varies_on_is_said_besides() -> None:
    assert added([(b"vary", b"Accept")]) == ALWAYS
    assert (b"vary", b"Origin") in added([(b"vary", b"Accept"), (b"x-frame-options", b"x")])
    assert (b"vary", b"Origin") not in added([(b"vary", b"Origin")])


def test_pages_get_more_which_wins_over_what_all_get() -> None:
    pages = [(b"x-frame-options", b"SAMEORIGIN"), (b"referrer-policy", b"same-origin")]
    assert added([HTML], pages) == [*pages, (b"vary", b"Origin")]
    assert added([JSON], pages) == ALWAYS
    assert added([(b"content-type", b"text/plain")], pages) == ALWAYS


def test_a_page_keeps_its_own() -> None:
    own = (b"x-frame-options", b"own")
    assert added([own, HTML], [(b"x-frame-options", b"page")]) == [(b"vary", b"Origin")]


def test_where_there_is_nothing_to_add_there_is_nothing_to_do() -> None:
    assert not AnswerHeaders([])
    assert AnswerHeaders(ALWAYS)
    assert AnswerHeaders([], lambda scope: [])


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"text/html", True),
        (b"Text/HTML; charset=utf-8", True),
        (b"application/xhtml+xml", True),
        (b"text/javascript", True),
        (b"application/pdf", True),
        (b"application/json", False),
        (b"application/problem+json", False),
        (b"text/plain", False),
        (b"image/svg+xml", False),
        (b"", False),
    ],
)
def test_a_page_is_known_by_its_type(content_type: bytes, expected: Any) -> None:
    assert is_page([(b"content-length", b"1"), (b"content-type", content_type)]) is expected
    assert not is_page([])
