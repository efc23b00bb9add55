"""An error says what was answered, and when to come again."""

from __future__ import annotations

import httpx
import pytest

from backstay.errors import UpstreamBusy, UpstreamError
from backstay.integration.http.upstream_errors import upstream_error


@pytest.mark.parametrize(
    ("status", "kind"), [(429, UpstreamBusy), (503, UpstreamBusy), (500, UpstreamError)]
)
def test_what_says_later_is_busy(status: int, kind: type[UpstreamError]) -> None:
    headers = httpx.Headers({"Retry-After": "7"})
    error = upstream_error("it is late", endpoint="Bank.pay", answered=status, headers=headers)
    assert type(error) is kind
    assert (error.answered, error.endpoint, error.retry_after_s) == (status, "Bank.pay", 7)


@pytest.mark.parametrize(
    "value", [None, "", "soon", "-1", "1.5", "Sat, 02 Jan 2027 00:00:00 GMT", "²"]
)
def test_what_is_no_number_of_seconds_is_left_to_others(value: str | None) -> None:
    headers = None if value is None else {"retry-after": value}
    error = upstream_error("it is late", endpoint="Bank.pay", answered=503, headers=headers)
    assert error.retry_after_s == UpstreamBusy.retry_after_s
