"""Keys differ where anything that was asked differs."""

from typing import Any
from urllib.parse import parse_qsl, urlencode

from hypothesis import given
from hypothesis import strategies as st

from backstay.cache.question import digest_of, headers_named, sorted_by_name

leaves = st.text(max_size=4) | st.binary(max_size=4)
trees = st.recursive(leaves, lambda children: st.lists(children, max_size=3).map(tuple))
pairs = st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=3)), max_size=6)


@given(st.lists(trees, max_size=4), st.lists(trees, max_size=4))
def test_only_the_same_parts_have_the_same_digest(one: list[Any], other: list[Any]) -> None:
    assert (digest_of(*one) == digest_of(*other)) is (one == other)


def test_text_and_bytes_and_borders_between_parts_are_told_apart() -> None:
    made = [
        digest_of("ab"),
        digest_of(b"ab"),
        digest_of("a", "b"),
        digest_of(("a", "b")),
        digest_of("a', 'b"),
        digest_of("\udc80"),
        digest_of(None),
        digest_of("None"),
    ]
    assert len(set(made)) == len(made)


def test_a_digest_shows_nothing_of_what_went_into_it() -> None:
    digest = digest_of("Bearer secret")
    assert len(digest) == 40
    assert int(digest, 16)
    assert "secret" not in digest


@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_names_means_nothing_and_that_of_their_values_does(
    query: list[tuple[str, str]], chance: Any
) -> None:
    by_name: dict[str, list[str]] = {}
    for name, value in query:
        by_name.setdefault(name, []).append(value)
    names = list(by_name)
    chance.shuffle(names)
    shuffled = [(name, value) for name in names for value in by_name[name]]
    assert sorted_by_name(shuffled) == sorted_by_name(query)


@given(pairs, pairs)
def test_queries_that_mean_something_else_are_something_else(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    def meaning(query: list[tuple[str, str]]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in query:
            found.setdefault(name, []).append(value)
        return found

    same = sorted_by_name(one) == sorted_by_name(other)
    assert same is (meaning(one) == meaning(other))


def test_names_written_another_way_are_the_same_names_in_their_order() -> None:
    one = parse_qsl("a=1&%61=2", keep_blank_values=True)
    other = parse_qsl("%61=2&a=1", keep_blank_values=True)
    assert sorted_by_name(one) != sorted_by_name(other)
    assert urlencode(sorted_by_name(one)) == "a=1&a=2"


def test_headers_are_picked_by_name_and_keep_the_order_of_their_values() -> None:
    headers = [(b"b", b"2"), (b"x", b"9"), (b"a", b"0"), (b"b", b"1")]
    assert headers_named(headers, frozenset((b"a", b"b"))) == [
        (b"a", b"0"),
        (b"b", b"2"),
        (b"b", b"1"),
    ]
