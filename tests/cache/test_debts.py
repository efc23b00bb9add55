"""What could not be done is owed until it was, and meanwhile not trusted."""

from backstay.cache.debts import Debts


def test_nothing_is_owed_at_first() -> None:
    debts = Debts()
    assert not debts
    assert not debts.includes("k", ["t"])


def test_what_is_owed_is_not_trusted_until_it_is_settled() -> None:
    debts = Debts()
    number = debts.owe(tags=["t"], entries=["k"])
    assert debts.includes("k", [])
    assert debts.includes("x", ["y", "t"])
    assert not debts.includes("x", ["y"])
    debts.settled(number, tags=["t"], entries=["k"])
    assert not debts


def test_a_wish_that_came_later_is_not_settled_by_what_was_done_before() -> None:
    debts = Debts()
    first = debts.owe(tags=["t"])
    second = debts.owe(tags=["t"])
    debts.settled(first, tags=["t"])
    assert debts.includes("k", ["t"])
    debts.settled(second, tags=["t"])
    assert not debts


def test_everything_owed_is_nothing_trusted() -> None:
    debts = Debts()
    debts.owe(tags=["t"])
    number = debts.owe_everything()
    later = debts.owe(tags=["u"])
    assert debts.includes("any", [])
    debts.settled_everything(number)
    assert not debts.includes("any", ["t"])
    assert debts.includes("any", ["u"])
    debts.settled(later, tags=["u"])
    assert not debts


def test_too_many_debts_are_one() -> None:
    debts = Debts()
    number = debts.owe(tags=[str(each) for each in range(10_001)])
    assert debts.everything == number
    assert not debts.tags
    assert debts.includes("any", [])
