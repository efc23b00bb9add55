"""Headers that no request may have are refused, and what is in them is not told."""

from __future__ import annotations

import logging
import traceback

import pytest

from backstay.errors import BadIntegration
from backstay.integration.http.credentials import Credentials
from backstay.integration.http.watching import Sending
from tests.attacks.integration.victim import SECRET, Victim
from tests.integration.upstream import Upstream
from tests.support import async_test


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Key", f"{SECRET}\n"),
        ("X-Key", f"{SECRET}\r\nX-Evil: 1"),
        ("X-Key", f" {SECRET}\0"),
        ("X-Key\r\nX-Evil", SECRET),
        ("", SECRET),
    ],
    ids=["end", "lines", "null", "name", "no_name"],
)
@async_test
async def test_a_secret_that_no_header_may_hold_is_told_nowhere(
    name: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with Upstream() as up, Victim(up.url, headers={name: value}) as victim:
        with pytest.raises(BadIntegration, match="header") as caught:
            await victim.any()
    told = traceback.TracebackException.from_exception(caught.value).format()
    assert SECRET not in "".join(told) + caplog.text
    assert up.requests == []


def test_what_goes_along_is_not_shown() -> None:
    sending = Sending(
        ("https", "a", 443), {"X-Key": SECRET}, credentials=Credentials({"KEY": SECRET})
    )
    assert SECRET not in repr(sending)
