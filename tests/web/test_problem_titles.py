"""Titles in the language of the client."""

from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.errors import BadPattern
from backstay.web.problem_titles import Titles, phrase_of

TITLES = Titles(
    {
        "de": {404: "Nicht gefunden", 409: "Konflikt"},
        "pt-BR": {404: "Não encontrado"},
        "fr": {404: "Introuvable"},
    }
)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE", "de"),
        ("de-AT", "de"),
        ("de-AT-1996", "de"),
        ("pt", "pt-BR"),
        ("pt-PT", "pt-BR"),  # no one of Brazil is better off with English
        ("es", "en"),
        ("es, fr;q=0.3", "fr"),
        ("fr;q=0.3, de;q=0.8", "de"),
        ("fr;q=0.8, de;q=0.8", "fr"),
        ("en, de;q=0.5", "en"),
        ("en-US, en;q=0.9, de;q=0.8", "en"),
        ("de;q=0, fr;q=0.1", "fr"),
        ("de-AT, de;q=0", "en"),
        ("de;q=0", "en"),
        ("*", "en"),
        ("*;q=0.1, fr;q=0.9", "fr"),
        ("de ; q=0.4 , fr ; Q=0.5", "fr"),
        ("de;q=2", "en"),  # nonsense
        ("de;q=x, fr;q=0.1", "fr"),
        ("de;level=1", "en"),
        (",,;q=1,-,de", "de"),
        ("x" * 100_000, "en"),
        ("de" + ",es" * 10_000, "de"),
    ],
    ids=lambda each: each[:30],
)
def test_the_client_chooses(header: str, language: str) -> None:
    found, title = TITLES.choose(404, header)
    assert found == language
    assert (
        title
        == {
            "en": "Not Found",
            "de": "Nicht gefunden",
            "pt-BR": "Não encontrado",
            "fr": "Introuvable",
        }[language]
    )


def test_a_status_without_a_title_in_that_language_has_the_standards() -> None:
    assert TITLES.choose(500, "de") == ("en", "Internal Server Error")
    assert TITLES.choose(409, "fr, de;q=0.5") == ("de", "Konflikt")


def test_english_may_have_other_words() -> None:
    assert Titles({"en": {404: "Gone fishing"}}).choose(404, "de") == ("en", "Gone fishing")


@given(st.text(max_size=200), st.integers(400, 599))
def test_any_header_chooses_something(header: str, status: int) -> None:
    language, title = TITLES.choose(status, header)
    assert language in {"en", "de", "pt-BR", "fr"}
    assert title


@pytest.mark.parametrize(
    "titles",
    [
        {"": {404: "x"}},
        {"de\r\nX: y": {404: "x"}},
        {7: {404: "x"}},
        {"de": None},
        {"de": {"404": "x"}},
        {"de": {600: "x"}},
        {"de": {404: 7}},
        {"de": {404: " "}},
    ],
    ids=repr,
)
def test_what_could_never_be_a_title_is_refused(titles: Any) -> None:
    with pytest.raises(BadPattern):
        Titles(titles)


def test_phrases_are_those_of_the_present_standard() -> None:
    assert phrase_of(404) == HTTPStatus.NOT_FOUND.phrase
    assert phrase_of(422) == "Unprocessable Content"
    assert phrase_of(413) == "Content Too Large"
    assert phrase_of(799) == "Status 799"
