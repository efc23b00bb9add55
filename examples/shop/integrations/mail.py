"""The mail provider: sends what the shop writes."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, Field

from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP, sp
from examples.shop.integrations.circuits import DOWN, circuit_breaker

__all__ = ["Mail"]

# A letter may be late, but a worker's place is not to be held for one that takes longer.
TIMEOUT_S = 2.0

# What the contract allows. Who comes faster waits for a moment, then is refused; a job comes back.
PER_SECOND = 20

circuit = circuit_breaker()


class Mail(EndpointsDeclaration):
    """Where e-mail is sent from."""

    integration = IntegrationHTTP("Mail", doc="Sends e-mail, made of a template of the provider's.")

    class Schema:
        class NewMessage(BaseModel):
            to: str
            template: str
            order: int | None = Field(
                default=None, description="What it is about, if that is an order."
            )

        class Message(BaseModel):
            id: str

    class SchemaError:
        class http4xx(BaseModel):
            error: str

    @integration.endpoint(
        HTTPMethod.post,
        "/messages",
        version="v3",
        docurl="https://mail.example/api#messages",
        idempotency_key=True,
    )
    @circuit
    @sp.Throttling(PER_SECOND, max_wait=1)
    @sp.Bulkhead(10, max_queue=40, max_wait=TIMEOUT_S)
    @sp.Timeout(TIMEOUT_S)
    async def send(api: ApiHTTP, message: Schema.NewMessage) -> Schema.Message:
        """Send a message. For durable jobs, which try again by themselves."""
        return await api.send(body=message.model_dump(exclude_none=True))

    @integration.endpoint(
        HTTPMethod.post,
        "/messages",
        version="v3",
        docurl="https://mail.example/api#messages",
        idempotency_key=True,
    )
    # After a request, in its process: nobody would try again.
    @sp.RetryPattern(3, delay=timedelta(seconds=0.2), failure_on=DOWN)
    @circuit
    @sp.Throttling(PER_SECOND, max_wait=1)
    @sp.Bulkhead(5, max_queue=20, max_wait=TIMEOUT_S)
    @sp.Timeout(TIMEOUT_S)
    async def welcome(api: ApiHTTP, email: str) -> Schema.Message:
        """Greet a new reader of the newsletter."""
        return await api.send(body={"to": email, "template": "welcome"})
