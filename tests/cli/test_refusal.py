"""Why a command did not do what it was asked."""

from backstay.cli.refusal import FAILED, INTERRUPTED, MISUSED, OK, Refusal


def test_a_refusal_is_a_misuse_unless_it_says_otherwise() -> None:
    assert Refusal("no").code == MISUSED
    assert Refusal("no", code=FAILED).code == FAILED


def test_exit_codes_are_those_that_the_help_promises() -> None:
    assert (OK, FAILED, MISUSED, INTERRUPTED) == (0, 1, 2, 130)
