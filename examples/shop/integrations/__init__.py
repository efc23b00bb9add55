"""The companies the shop depends on: what it asks of them, and how it bears that they fail.

One file a company. Each says what is sent and what may be answered, where that is documented, and
with what patience it is asked. The patterns stand in one order everywhere, see ``sp``::

    circuit breaker   whoever is down is left alone; what was to be asked waits
    throttling        what the contract allows a second
    bulkhead          calls at a time, so that one who is slow does not take all the worker's places
    time-out          seconds for one call

There is no ``RetryPattern`` where durable jobs call: the job is what tries again. Its attempts are in
the ledger and outlive the worker; retries inside would multiply with them, 8 attempts of 3 calls
each, at the very time at which the other side drowns. Only ``Mail.welcome`` has one, for nobody else
tries that again.

Knows nothing of the shop: no tables, no jobs, no settings but the addresses.
"""

from examples.shop.integrations.analytics import Analytics
from examples.shop.integrations.mail import Mail
from examples.shop.integrations.parcel_service import ParcelService
from examples.shop.integrations.partners import Partners
from examples.shop.integrations.payment_gateway import PaymentGateway

__all__ = ["Analytics", "Mail", "ParcelService", "Partners", "PaymentGateway"]
