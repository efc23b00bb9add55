"""The stability patterns: decorators for functions, async or not, that call other services.

The recommended order, from the outside to the function; any other one counts soundly, too::

    @sp.Fallback(alternative)      # answers when all else has failed
    @sp.RetryPattern()             # each attempt passes all that follows
    @sp.Hedge()                    # a second attempt beside one that takes long
    @sp.CircuitBreaker()           # counts each attempt, refuses while the other side is down
    @sp.Throttling()               # attempts a second
    @sp.Bulkhead()                 # attempts at a time
    @sp.Timeout()                  # seconds that one attempt may take
    async def call(): ...
"""

from backstay.integration.stability.bulkhead import Bulkhead
from backstay.integration.stability.circuit_breaker import CircuitBreaker
from backstay.integration.stability.fallback import Fallback
from backstay.integration.stability.hedge import Hedge
from backstay.integration.stability.retry_pattern import RetryPattern
from backstay.integration.stability.throttling import Throttling
from backstay.integration.stability.timeout import Timeout

__all__ = [
    "Bulkhead",
    "CircuitBreaker",
    "Fallback",
    "Hedge",
    "RetryPattern",
    "Throttling",
    "Timeout",
]
