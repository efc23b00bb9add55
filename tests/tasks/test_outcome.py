"""How a task ended, as a value."""

from backstay.tasks import Cancelled, Failed, Skipped, Succeeded


def test_only_success_is_ok() -> None:
    assert Succeeded(None).ok
    assert not Failed(ValueError()).ok
    assert not Cancelled("shutdown").ok
    assert not Skipped("the request failed").ok


def test_outcomes_are_values() -> None:
    assert Succeeded(3) == Succeeded(3)
    assert Cancelled("a") != Skipped("a")
    assert len({Succeeded(3), Succeeded(3), Skipped("a")}) == 2
