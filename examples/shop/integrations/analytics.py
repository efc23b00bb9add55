"""The statistics: nice to have."""

from __future__ import annotations

from pydantic import BaseModel, Field

from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP, sp
from examples.shop.integrations.circuits import circuit_breaker

__all__ = ["Analytics"]

# In the web process, beside requests: nothing there is to wait long for this.
TIMEOUT_S = 1.0

# They fail twice in five calls on a good day.
circuit = circuit_breaker(fail_threshold=8, fail_rate=0.9)


class Analytics(EndpointsDeclaration):
    """Where it is counted what happens in the shop."""

    integration = IntegrationHTTP("Analytics", doc="Counts what happens. Nobody waits for it.")

    class Schema:
        class Event(BaseModel):
            event: str
            order: int
            total_cents: int = Field(ge=0)

    class SchemaError:
        class http4xx(BaseModel):
            error: str

    @integration.endpoint(
        HTTPMethod.post,
        "/events",
        version="v2",
        docurl="https://analytics.example/events",
        idempotency_key=True,
    )
    @circuit
    # Few: rather than let events pile up in memory, they are kept in the database.
    @sp.Bulkhead(5, max_queue=50, max_wait=TIMEOUT_S)
    @sp.Timeout(TIMEOUT_S)
    async def track(api: ApiHTTP, event: Schema.Event) -> dict[str, object]:
        """Count an event."""
        return await api.send(body=event)
