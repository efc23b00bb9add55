"""The payment gateway: takes money, and gives it back."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP, sp
from examples.shop.integrations.circuits import circuit_breaker

__all__ = ["PaymentGateway"]

# No call takes longer than 1.6 s on a good day. Whoever waits no longer may still be charged, which
# is what the keys are for.
TIMEOUT_S = 2.0

circuit = circuit_breaker()


class PaymentGateway(EndpointsDeclaration):
    """Where cards are charged. What is asked twice under one key is done once."""

    integration = IntegrationHTTP(
        "Payment gateway",
        doc="Charges cards, and gives money back. `Idempotency-Key` names a charge: the same key "
        "is charged once, and a refund names the charge by it.",
    )

    class Schema:
        class NewCharge(BaseModel):
            order: int
            amount_cents: int = Field(gt=0)
            card: str = Field(description="A token of the gateway's.", repr=False)

        class Charge(BaseModel):
            id: str
            is_replay: bool = Field(description="It was made before, under the same key.")

        class Refund(BaseModel):
            refunded: bool = Field(description="`false`: there had been no charge.")

    class SchemaError:
        class http402(BaseModel):
            """The card is declined. An answer as good as any other."""

            error: str

        class http504(BaseModel):
            """The card's bank does not answer. The gateway itself is well."""

            error: str

    @integration.endpoint(
        HTTPMethod.post,
        "/charges",
        version="2026-05-01",
        docurl="https://gateway.example/docs/charges",
        idempotency_key=True,
    )
    @circuit
    # So many at a time, and as many again wait: one hanging gateway must not take all 50 places of
    # a worker, which has parcels and letters to see to.
    @sp.Bulkhead(20, max_queue=20, max_wait=TIMEOUT_S)
    @sp.Timeout(TIMEOUT_S)
    async def charge(api: ApiHTTP, charge: Schema.NewCharge) -> Schema.Charge | SchemaError.http402:
        """Take money from a card."""
        answer = await api.send(body=charge)
        if answer.is_error:
            return answer  # read by its status, as any other
        found: Any = {**answer.json(), "is_replay": "Idempotent-Replayed" in answer.headers}
        return found

    @integration.endpoint(
        HTTPMethod.post,
        "/refunds",
        version="2026-05-01",
        docurl="https://gateway.example/docs/refunds",
        idempotency_key=True,
    )
    @circuit
    @sp.Bulkhead(5, max_queue=20, max_wait=TIMEOUT_S)
    @sp.Timeout(TIMEOUT_S)
    async def refund(api: ApiHTTP, order: int) -> Schema.Refund:
        """Undo the charge made under the same key, and prevent one that is still on its way."""
        return await api.send(body={"order": order})
