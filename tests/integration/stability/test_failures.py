"""What counts as a failure is every error, or what was named."""

from typing import Any

import pytest

from backstay.errors import (
    AddressRefused,
    BadAnswer,
    BadIntegration,
    BulkheadFull,
    CircuitBreakerError,
    StabilityTimeoutError,
    UpstreamError,
)
from backstay.integration.outgoing import OutgoingCall, current_call
from backstay.integration.stability.failures import Failures
from tests.integration.stability.test_answers import Answer, Failed


def test_every_error_counts_but_refusals() -> None:
    failures = Failures()
    assert failures.has_error(TimeoutError())
    assert failures.has_error(StabilityTimeoutError("x"))
    assert not failures.has_error(BulkheadFull("x"))
    assert not failures.has_result(Answer(status_code=500))


def test_named_types_count_instead() -> None:
    failures = Failures((OSError, BulkheadFull))
    assert failures.has_error(ConnectionError())
    assert failures.has_error(BulkheadFull("x"))
    assert not failures.has_error(ValueError())


def test_named_statuses_count_in_answers_and_in_errors_that_have_one() -> None:
    failures = Failures([500, 503])
    assert failures.has_result(Answer(status_code=503))
    assert not failures.has_result(Answer(status_code=404))
    assert failures.has_error(Failed(response=Answer(status_code=500)))
    assert not failures.has_error(Failed(response=Answer(status_code=404)))
    assert failures.has_error(OSError())


def test_functions_are_asked_about_results() -> None:
    failures = Failures(lambda result: result is None)
    assert failures.has_result(None)
    assert not failures.has_result(0)


@pytest.mark.parametrize("bad", [42, "503", (), [None], KeyboardInterrupt, True], ids=str)
def test_what_cannot_count_is_refused(bad: Any) -> None:
    with pytest.raises(BadIntegration):
        Failures(bad)


def test_refusals_count_where_that_is_asked_for() -> None:
    assert Failures(refusals=True).has_error(BulkheadFull("x"))
    assert Failures(503, refusals=True).has_error(BulkheadFull("x"))
    assert not Failures(OSError, refusals=True).has_error(BulkheadFull("x"))


def test_errors_of_integrations_go_by_what_the_other_side_answered() -> None:
    failures = Failures([503])
    assert failures.has_error(UpstreamError("x", answered=503))
    assert not failures.has_error(UpstreamError("x", answered=404))
    assert not failures.has_error(BadAnswer("x", answered=200))
    assert failures.has_error(BadAnswer("x"))


def test_in_endpoints_a_result_has_the_status_of_the_last_answer() -> None:
    failures = Failures(503)
    outgoing = OutgoingCall(object(), "bank.pay", "GET")
    token = current_call.set(outgoing)
    assert not failures.has_result({"error": "busy"})
    outgoing.answered(503)
    assert failures.has_result({"error": "busy"})
    assert not failures.has_result(Answer(status_code=200))
    assert failures.status_of({}) == 503
    current_call.reset(token)
    assert not failures.has_result({"error": "busy"})


def test_what_counts_can_be_shown() -> None:
    def is_none(result: object) -> bool:
        return result is None

    names = Failures([OSError, 503, is_none]).names
    assert names[:2] == ["OSError", "503"]
    assert names[2].endswith("is_none")


@pytest.mark.parametrize(
    "error",
    [AddressRefused("private"), BadIntegration("no JSON"), CircuitBreakerError("open")],
    ids=["address", "declaration", "refused"],
)
def test_what_this_side_did_wrong_says_nothing_of_the_other(error: Exception) -> None:
    assert not Failures().has_error(error)
    assert Failures(type(error)).has_error(error)
