"""What every engine of the ledger has to prove, as a class of pytest tests.

Whoever writes an engine subclasses ``LedgerConformance`` in a test module and says how to make
one; the tests come along. ::

    pytest.register_assert_rewrite("backstay.testing.ledger_conformance")  # in a conftest.py

    from backstay.testing.ledger_conformance import LedgerConformance

    class TestMyLedger(LedgerConformance):
        def new_ledger(self, now):
            return MyLedger("my://" + fresh_database(), now=now)

        def same_ledger(self, ledger, now):      # optional, as are the rest
            return MyLedger(ledger.url, now=now)

Neither plug-ins nor fixtures of pytest are needed: each test is a function that runs an event loop
of its own, twenty seconds (``patience_s``) at most. Fixtures of the subclass (``autouse``) work as
in any class.
"""

from backstay.testing.ledger_conformance.claims import ClaimsOfJobs
from backstay.testing.ledger_conformance.families import Families
from backstay.testing.ledger_conformance.finishes import Finishes
from backstay.testing.ledger_conformance.inserts import Inserts
from backstay.testing.ledger_conformance.joins import Joins
from backstay.testing.ledger_conformance.keys import Keys
from backstay.testing.ledger_conformance.limits import Limits
from backstay.testing.ledger_conformance.upkeep import Upkeep
from backstay.testing.ledger_conformance.views import Views

__all__ = ["LedgerConformance"]


class LedgerConformance(
    Inserts, ClaimsOfJobs, Finishes, Keys, Limits, Families, Upkeep, Views, Joins
):
    """The promises of ``backstay.ledger.port.Ledger``, one test each.

    To override: ``new_ledger`` at least; ``same_ledger``, ``transaction`` and ``damage`` for the
    tests that need several processes, an application's transaction, or a row that is broken,
    which are skipped otherwise; ``clean_up`` for what has to be done after each test.
    """
