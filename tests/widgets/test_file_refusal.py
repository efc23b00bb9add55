"""The error for files that are not taken."""

import pytest

from backstay.errors import BackstayError
from backstay.widgets.file_refusal import FileRefused


def test_it_is_caught_as_a_value_error_and_as_one_of_ours() -> None:
    for kind in (ValueError, BackstayError):
        with pytest.raises(kind, match="too large"):
            raise FileRefused("too large")


def test_a_client_over_http_would_hear_that_its_input_was_at_fault() -> None:
    assert FileRefused.status == 422
