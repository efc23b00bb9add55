"""An owner is itself, says its name, and keeps nothing alive."""

import weakref

from backstay.integration.http.owner import Owner


def test_two_of_the_same_name_are_two() -> None:
    one, other = Owner("a"), Owner("a")
    assert one != other
    assert len({one, other}) == 2
    assert repr(one) == "a"


def test_nobody_is_kept_alive_by_its_name() -> None:
    owner = Owner("a")
    gone = weakref.ref(owner)
    del owner
    assert gone() is None
