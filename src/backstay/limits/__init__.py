"""Rate limits: how often somebody may ask.

Holds limits, whoever is counted by them, and the stores of the counts. May know the library
``limits``, ``backstay.db``, ``backstay.web`` and the ground; knows no way of logging in, only who
the app's verifier says it is. ``rate_limit`` is a dependency; ``add_limits(app)`` says where counts
are kept. Needs the extra ``limits``.
"""

from backstay.limits.installation import add_limits
from backstay.limits.limit import read_limits
from backstay.limits.limiter import Limiter
from backstay.limits.rate_limit import RateLimit, rate_limit

__all__ = ["Limiter", "RateLimit", "add_limits", "rate_limit", "read_limits"]
