"""Entity tags of versions, and what headers that name them allow."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from backstay.viewset.versions import etag_of, matches, matches_weakly


def test_a_version_is_a_strong_tag() -> None:
    assert etag_of(3) == '"3"'
    assert etag_of(datetime(2026, 1, 2, tzinfo=UTC)) == '"2026-01-02 00:00:00+00:00"'


def test_if_match_takes_one_of_several_tags_or_a_star() -> None:
    assert matches('"3"', '"3"')
    assert matches('"1", "3"', '"3"')
    assert matches(" * ", '"3"')


def test_if_match_compares_strongly() -> None:
    assert not matches('W/"3"', '"3"')
    assert not matches('"4"', '"3"')
    assert not matches("3", '"3"')
    assert not matches("", '"3"')


def test_if_none_match_compares_weakly() -> None:
    assert matches_weakly('W/"3"', '"3"')
    assert matches_weakly('"x", W/"3"', '"3"')
    assert not matches_weakly('"4"', '"3"')


@given(st.text())
def test_whatever_a_version_is_its_tag_matches_itself(version: str) -> None:
    assert matches(etag_of(version), etag_of(version))


@given(st.text(), st.integers())
def test_no_header_that_names_something_else_matches(header: str, version: int) -> None:
    tag = etag_of(version)
    if tag not in header and header.strip() != "*":
        assert not matches(header, tag)
        assert not matches_weakly(header, tag)
