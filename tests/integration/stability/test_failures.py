"""What counts as a failure is every error, or what was named."""

from typing import Any

import pytest

from backstay.errors import BadIntegration, BulkheadFull, StabilityTimeoutError
from backstay.integration.failures import Failures
from tests.integration.test_answers import Answer, Failed


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
