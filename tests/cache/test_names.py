"""Each key and each tag has a name of its own in a store, which every back end takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.cache.names import Names
from backstay.errors import BadCache

TEXTS = st.text(max_size=300) | st.text(
    st.sampled_from([*"a:#k", "\x00", "\n", "é", "\ud800", " "]), max_size=6
)


def test_short_names_can_be_read() -> None:
    names = Names("shop")
    assert names.entry("price:17") == "shop:k:price:17"
    assert names.tag("prices") == "shop:t:prices"


@given(TEXTS)
def test_every_name_is_printable_ascii_of_bounded_length(text: str) -> None:
    names = Names("shop")
    for name in (names.entry(text), names.tag(text), names.lock(text)):
        assert name.startswith("shop:")
        assert name.isascii()
        assert name.isprintable()
        assert len(name) <= 300


@given(TEXTS, TEXTS)
def test_two_texts_have_two_names(one: str, other: str) -> None:
    names = Names("shop")
    assert (names.entry(one) == names.entry(other)) is (one == other)
    assert (names.tag(one) == names.tag(other)) is (one == other)
    assert names.tag(one) != names.entry(other)


def test_a_text_cannot_pass_for_the_digest_of_another() -> None:
    names = Names("shop")
    digested = names.entry("é")
    assert digested.startswith("shop:k#")
    assert names.entry(digested.removeprefix("shop:k")) != digested


@pytest.mark.parametrize("namespace", ["", "a:b", "a b", "é", "a" * 65, None, "*"], ids=repr)
def test_a_namespace_is_a_plain_name(namespace: str) -> None:
    with pytest.raises(BadCache, match="no plain name"):
        Names(namespace)


@pytest.mark.parametrize("key", [None, 1, b"k"], ids=repr)
def test_what_is_no_text_is_refused(key: str) -> None:
    with pytest.raises(BadCache, match="a key of the cache is a str; got"):
        Names("shop").entry(key)
    with pytest.raises(BadCache, match="a tag of the cache is a str; got"):
        Names("shop").tag(key)
