"""The ledger is out of reach: said once, and once when it is back."""

import pytest

from backstay.errors import LedgerUnavailable
from backstay.jobs.outage import Outage


def test_an_outage_is_told_once_however_many_notice_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "backstay.jobs")
    outage = Outage()
    outage.over()
    assert caplog.messages == []
    for _ in range(3):
        outage.noticed(LedgerUnavailable("gone"))
    outage.over()
    outage.over()
    outage.noticed(LedgerUnavailable("gone again"))
    assert [message.split(";")[0] for message in caplog.messages] == [
        "the ledger is out of reach",
        "the ledger is back",
        "the ledger is out of reach",
    ]
