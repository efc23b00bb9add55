"""For tests of services built on backstay, and for its own: no test has to sleep.

May know every door. Nothing else may import it.
"""

from backstay.testing.fake_clock import FakeClock
from backstay.testing.running_app import RunningApp, running

__all__ = ["FakeClock", "RunningApp", "running"]
