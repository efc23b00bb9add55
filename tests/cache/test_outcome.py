"""What goes into the cache and comes out of it is data that nobody changes."""

from dataclasses import FrozenInstanceError

import pytest

from backstay.cache import Fill, Outcome


def test_a_fill_leaves_to_the_caller_what_it_does_not_say() -> None:
    fill = Fill(b"1")
    assert (fill.ttl_s, tuple(fill.tags)) == (None, ())


def test_neither_can_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Fill(b"1").value = b"2"  # type: ignore[misc]  # that is what is tried
    with pytest.raises(FrozenInstanceError):
        Outcome(b"1", "HIT", 0, 1).status = "MISS"  # type: ignore[misc]  # as above
