"""Whoever packs and ships what was ordered. The shop's own shelves are in ``warehouse``."""

from __future__ import annotations

from pydantic import BaseModel, Field

from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP, sp
from examples.shop.integrations.circuits import circuit_breaker

__all__ = ["ParcelService"]

# They answer in a fifth of a second, or not at all.
TIMEOUT_S = 2.0

circuit = circuit_breaker()


class ParcelService(EndpointsDeclaration):
    """Where parcels are packed."""

    integration = IntegrationHTTP("Parcel service", doc="Packs and ships what was ordered.")

    class Schema:
        class Line(BaseModel):
            sku: str
            quantity: int = Field(ge=1)

        class Shipment(BaseModel):
            id: str

    class SchemaError:
        class http4xx(BaseModel):
            error: str

    @integration.endpoint(
        HTTPMethod.post,
        "/shipments",
        version="1.4",
        docurl="https://parcels.example/manual.pdf",
        idempotency_key=True,
    )
    @circuit
    @sp.Bulkhead(10, max_queue=40, max_wait=TIMEOUT_S)
    @sp.Timeout(TIMEOUT_S)
    async def ship(api: ApiHTTP, order: int, items: list[Schema.Line]) -> Schema.Shipment:
        """Have the goods of an order packed and sent."""
        return await api.send(body={"order": order, "items": items})
