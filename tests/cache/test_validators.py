"""Entity tags are compared as RFC 9110 §13.1 says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.cache.validators import client_has_it, etag_of, names_tag

EARLIER, LATER = b"Sun, 06 Nov 1994 08:49:37 GMT", b"Mon, 07 Nov 1994 08:49:37 GMT"

tags = st.builds(
    lambda weak, text: (b"W/" if weak else b"") + b'"%b"' % text.encode("latin-1"),
    st.booleans(),
    st.text(st.characters(min_codepoint=0x23, max_codepoint=0x7E), max_size=8),
)


def test_a_tag_is_strong_and_another_for_every_other_body_and_kind() -> None:
    made = {
        etag_of(b"a"),
        etag_of(b"b"),
        etag_of(b""),
        etag_of(b"a", b"text/plain"),
        etag_of(b"a", b"text/html"),
    }
    assert len(made) == 5
    assert etag_of(b"a") == etag_of(b"a")
    for each in made:
        assert each.startswith(b'"')
        assert each.endswith(b'"')


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([b'"a"'], True),
        ([b'W/"a"'], True),
        ([b'"b", "a"'], True),
        ([b'"b"', b'"a"'], True),
        ([b'"b" , W/"a",'], True),
        ([b'"x,y", "a"'], True),
        ([b"*"], True),
        ([b" * "], True),
        ([b"*", b'"b"'], False),
        ([b'"b"'], False),
        ([b'"A"'], False),
        ([b"a"], False),
        ([b'"a'], False),
        ([b'"b" "a"'], False),
        ([b'w/"a"'], False),
        ([b""], False),
        ([], False),
    ],
)
def test_a_list_names_a_tag_or_does_not(values: list[bytes], named: bool) -> None:
    assert names_tag(values, b'"a"') is named


def test_a_weak_tag_of_the_answer_is_compared_weakly_as_well() -> None:
    assert names_tag([b'"a"'], b'W/"a"')


@given(st.lists(tags, min_size=1, max_size=5), tags)
def test_a_list_names_just_the_tags_in_it(listed: list[bytes], etag: bytes) -> None:
    opaque = {each.removeprefix(b"W/") for each in listed}
    assert names_tag([b", ".join(listed)], etag) is (etag.removeprefix(b"W/") in opaque)


@given(st.lists(st.binary(max_size=40), max_size=3))
def test_no_list_is_too_much(values: list[bytes]) -> None:
    names_tag(values, b'"a"')


def test_an_endless_list_takes_no_endless_time() -> None:
    assert not names_tag([b'"b",' * 5000 + b"x"], b'"a"')
    assert not names_tag([b", " * 20000 + b"x"], b'"a"')


@pytest.mark.parametrize(
    ("since", "modified", "has_it"),
    [
        (LATER, EARLIER, True),
        (EARLIER, EARLIER, True),
        (EARLIER, LATER, False),
        (b"yesterday", EARLIER, False),
        (LATER, None, False),
        (LATER, b"once", False),
    ],
)
def test_without_tags_the_time_of_the_last_change_counts(
    since: bytes, modified: bytes | None, has_it: bool
) -> None:
    answer = [(b"etag", b'"a"'), *([] if modified is None else [(b"last-modified", modified)])]
    assert client_has_it([(b"if-modified-since", since)], answer) is has_it


def test_a_tag_that_differs_counts_more_than_a_time_that_does_not() -> None:
    request = [(b"if-none-match", b'"b"'), (b"if-modified-since", LATER)]
    assert not client_has_it(request, [(b"etag", b'"a"'), (b"last-modified", EARLIER)])


def test_an_answer_without_a_tag_is_not_what_the_client_has() -> None:
    assert not client_has_it([(b"if-none-match", b"*")], [])
