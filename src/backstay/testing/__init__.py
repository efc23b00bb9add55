"""For tests of services built on backstay, and for its own: no test has to sleep.

May know every door. Nothing else may import it.
"""

from backstay.testing.durable import assert_enqueued, assert_not_enqueued, drain, enqueued
from backstay.testing.fake_clock import FakeClock
from backstay.testing.running_app import RunningApp, running

__all__ = [
    "FakeClock",
    "RunningApp",
    "assert_enqueued",
    "assert_not_enqueued",
    "drain",
    "enqueued",
    "running",
]
