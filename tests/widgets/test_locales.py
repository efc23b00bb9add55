"""The language to answer in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.widgets.locales import negotiate

TAGS = st.from_regex(r"[a-z]{2,3}(-[A-Za-z]{2,4}){0,2}", fullmatch=True)


@pytest.mark.parametrize(
    ("asked", "supported", "found"),
    [
        ("fr", ["en", "fr"], "fr"),
        ("fr-CA", ["en", "fr"], "fr"),
        ("FR-ca", ["en", "fr-CA"], "fr-CA"),
        ("fr_CA", ["en", "fr-CA"], "fr-CA"),
        ("pt-BR", ["en", "pt_BR"], "pt_BR"),
        ("zh-Hant-CN-x-private1-private2", ["zh-Hant", "zh"], "zh-Hant"),
        ("zh-Hant-x-private", ["zh-Hant"], "zh-Hant"),
        ("fr", ["en", "fr-CH"], "fr-CH"),
        ("fr-CA", ["en", "fr-CH"], "fr-CH"),
        ("da", ["en", "fr"], "en"),
        ("frr", ["fr"], "en"),
        ("", ["fr"], "en"),
        (None, ["fr"], "en"),
        (None, None, "en"),
        ("da-DK", None, "da-DK"),
        ("da", [], "en"),
    ],
)
def test_the_best_of_what_there_is_for_what_was_asked(
    asked: str | None, supported: list[str] | None, found: str
) -> None:
    assert negotiate(asked, supported, "en") == found


@given(asked=st.text(max_size=30), supported=st.lists(TAGS, max_size=4))
def test_whatever_is_asked_the_answer_is_supported_or_the_default(
    asked: str, supported: list[str]
) -> None:
    assert negotiate(asked, supported, "default") in {*supported, "default"}


@given(supported=st.lists(TAGS, min_size=1, unique_by=str.lower))
def test_what_is_supported_gets_itself(supported: list[str]) -> None:
    for tag in supported:
        assert negotiate(tag, supported, "default") == tag
