"""Errors of the shared connections come out as the state's, with its words."""

import pytest

from backstay.errors import (
    BackstayError,
    BadJob,
    BadState,
    LedgerMismatch,
    LedgerUnavailable,
    StateError,
    StateMismatch,
    StateUnavailable,
    UnknownJob,
)
from backstay.state.faults import as_state_errors


def raised(error: Exception) -> BaseException:
    with pytest.raises(Exception) as caught:
        with as_state_errors({"the ledger": "the state"}, raw=KeyError, where="the file x"):
            raise error
    return caught.value


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (BadJob, BadState),
        (LedgerMismatch, StateMismatch),
        (LedgerUnavailable, StateUnavailable),
        (UnknownJob, StateError),
    ],
)
def test_each_has_its_counterpart_and_is_its_cause(
    theirs: type[BackstayError], ours: type[StateError]
) -> None:
    error = theirs("the ledger is away")
    found = raised(error)
    assert type(found) is ours
    assert str(found) == "the state is away"
    assert found.__cause__ is error


def test_the_driver_s_own_are_wrapped() -> None:
    found = raised(KeyError("x"))
    assert type(found) is StateUnavailable
    assert "the file x did not do it: KeyError" in str(found)


def test_the_state_s_own_and_what_is_nobody_s_pass() -> None:
    for error in (BadState("no"), ZeroDivisionError()):
        assert raised(error) is error
