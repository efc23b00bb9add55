"""An answer comes out of the cache as it went in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.cache.answer import Answer

words = st.binary(max_size=20).map(lambda word: word.replace(b"\0", b"-"))
answers = st.builds(
    Answer,
    st.integers(200, 599),
    st.lists(st.tuples(words, words), max_size=5),
    st.binary(max_size=200),
    st.lists(st.text(max_size=10).map(lambda text: text.replace("\0", "-")), max_size=3).map(tuple),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(answers)
def test_what_is_packed_is_what_is_unpacked(answer: Answer) -> None:
    assert Answer.unpack(answer.pack()) == answer


def test_an_empty_tag_is_a_tag() -> None:
    answer = Answer(200, [], b"", ("",))
    assert Answer.unpack(answer.pack()) == answer


@given(st.binary(max_size=40))
def test_foreign_bytes_are_no_answer(raw: bytes) -> None:
    assert Answer.unpack(raw) is None


@given(answers, st.integers(0, 300))
def test_a_part_of_an_answer_is_none_or_has_less_body(answer: Answer, length: int) -> None:
    raw = answer.pack()
    found = Answer.unpack(raw[:length])
    if found is not None:
        assert found.headers == answer.headers
        assert answer.body.startswith(found.body)


def test_an_answer_of_another_version_is_none() -> None:
    raw = bytearray(Answer(200, [], b"").pack())
    raw[2] += 1
    assert Answer.unpack(bytes(raw)) is None


def an_answer(status: int = 200, **options: object) -> Answer:
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"4"),
        (b"etag", b'"a"'),
        (b"cache-control", b"public, max-age=9"),
        (b"vary", b"Accept"),
        (b"x-mine", b"1"),
    ]
    return Answer(status, headers, b"body", **options)  # type: ignore[arg-type]  # options of a test's


def test_it_is_given_whole_with_its_age_and_where_it_comes_from() -> None:
    status, headers, body = an_answer().give([], cache="HIT", age_s=7.9)
    assert (status, body) == (200, b"body")
    assert headers[-2:] == [(b"age", b"7"), (b"x-cache", b"HIT")]


def test_what_was_made_just_now_has_no_age() -> None:
    _, headers, _ = an_answer().give([], cache="MISS")
    assert b"age" not in dict(headers)


def test_head_is_answered_with_the_headers_of_get_and_no_body() -> None:
    status, headers, body = an_answer().give([], cache="HIT", head=True)
    assert (status, body) == (200, b"")
    assert dict(headers)[b"content-length"] == b"4"


def test_what_the_client_has_is_answered_with_304_and_what_it_needs_to_go_on() -> None:
    request = [(b"if-none-match", b'"a"')]
    status, headers, body = an_answer().give(
        request, cache="HIT", age_s=1, extra=[(b"set-cookie", b"s=1"), (b"vary", b"X")]
    )
    assert (status, body) == (304, b"")
    assert headers == [
        (b"etag", b'"a"'),
        (b"cache-control", b"public, max-age=9"),
        (b"vary", b"Accept"),
        (b"set-cookie", b"s=1"),
        (b"age", b"1"),
        (b"x-cache", b"HIT"),
    ]


def test_another_status_than_200_is_no_matter_of_conditions() -> None:
    status, _, body = an_answer(203).give([(b"if-none-match", b"*")], cache="HIT")
    assert (status, body) == (203, b"body")


@pytest.mark.parametrize(("whole", "added"), [(False, [b"2", b"3"]), (True, [])])
def test_headers_of_this_request_are_added_unless_the_handler_made_the_response(
    whole: bool, added: list[bytes]
) -> None:
    extra = [(b"x-limit", b"2"), (b"x-limit", b"3"), (b"x-mine", b"0")]
    _, headers, _ = an_answer(whole=whole).give([], cache="HIT", extra=extra)
    assert [value for name, value in headers if name == b"x-limit"] == added
    assert [value for name, value in headers if name == b"x-mine"] == [b"1"]


def test_giving_it_changes_nothing_of_it() -> None:
    answer = an_answer()
    before = answer.pack()
    answer.give([], cache="HIT", extra=[(b"x", b"y")])[1].append((b"z", b"z"))
    assert answer.pack() == before
