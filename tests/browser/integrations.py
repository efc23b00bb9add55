"""An app with integrations of every kind, for the page about them; and what they call."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from enum import StrEnum
from random import Random
from types import SimpleNamespace
from typing import Annotated, Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from backstay.clock import SystemClock
from backstay.integration import (
    ApiHTTP,
    EndpointsDeclaration,
    HTTPMethod,
    IntegrationHTTP,
    sp,
)
from backstay.integration.http.statistics import SLOT_S, SLOTS, CallStatistics
from backstay.pattern import base_pattern

__all__ = [
    "EVIL",
    "Evil",
    "Payments",
    "Silent",
    "Translate",
    "Upstream",
    "foreign",
    "many",
    "shop",
    "with_history",
]

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Upstream:
    """What is called. It answers, or it fails; ``fails`` may be changed at any time."""

    def __init__(self) -> None:
        self.fails = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        status, body = (503, {"error": "down"}) if self.fails else (200, {"text": "Hallo"})
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def as_it_was(api: ApiHTTP, text: str, from_lang: str = "en", to_lang: str = "de") -> Any:
    return {"text": text}


class Translate(EndpointsDeclaration):
    integration = IntegrationHTTP(
        "Google Translate",
        doc="Texts of the shop in the languages of its customers.\nPaid by the character.",
    )

    class Schema:
        class TranslateV2(BaseModel):
            """A text in another language."""

            text: str = Field(description="As the service wrote it.", max_length=5000)

        class Language(BaseModel):
            code: Annotated[str, Field(pattern="^[a-z]{2}$")]
            names: dict[str, str]

    class SchemaError:
        class http400(BaseModel):
            error: dict[str, Any]

        class http5xx(BaseModel):
            error: str

    @integration.endpoint(
        HTTPMethod.post,
        "/v1/translateHtml",
        version="v2",
        docurl="https://cloud.google.com/translate/docs/reference/rest",
    )
    @sp.CircuitBreaker(
        fail_threshold=2, reset_timeout=30, window=60, failure_on=(503, ConnectionError)
    )
    @sp.Timeout(5)
    async def translate(
        api: ApiHTTP, text: str, from_lang: str = "en", to_lang: str = "de"
    ) -> Schema.TranslateV2 | SchemaError.http400 | SchemaError.http5xx:
        """Translate a text.

        The markup in it stays as it is. Longer texts have to be cut into pieces by whoever calls;
        the service counts what it is sent, not what it answers.
        """
        return await api.send(body={"text": text})

    @integration.endpoint(HTTPMethod.get, "/v1/languages/{code}", version="v2")
    @sp.Timeout(2)
    async def language(
        api: ApiHTTP, code: str, a: int = 1, p: str = "", i: bool = False
    ) -> Schema.Language | None:
        """What the service knows of a language."""
        return await api.send()


class Currency(StrEnum):
    EUR = "EUR"
    USD = "USD"


class Party(BaseModel):
    name: str
    address: str | None = None
    owns: list[Party] = []


class Payments(EndpointsDeclaration):
    integration = IntegrationHTTP("Payment gateway", doc="Takes and returns customers' money.")

    class Schema:
        class Charge(BaseModel):
            id: str
            amount: Annotated[int, Field(gt=0, description="In cents.")]
            currency: Currency
            payer: Party
            captured_at: datetime | None = None
            history: list[tuple[datetime, str]] = []

    class SchemaError:
        class http402(BaseModel):
            reason: str

        class http409(BaseModel):
            charge_id: str

    @integration.endpoint(
        HTTPMethod.post, "/charges", version="2026-03", docurl="https://pay.example/docs#charges"
    )
    @sp.Fallback(as_it_was)
    @sp.RetryPattern(max_attempts=3)
    @sp.CircuitBreaker(fail_threshold=5, reset_timeout=20)
    @sp.Throttling(calls_per_second=50, max_wait=0.5)
    @sp.Bulkhead(20, max_queue=100)
    @sp.Timeout(3)
    async def charge(
        api: ApiHTTP, order_id: str, amount: int, currency: Currency = Currency.EUR
    ) -> Schema.Charge | SchemaError.http402 | SchemaError.http409:
        """Take money for an order, once."""
        return await api.send(body={"order": order_id})

    @integration.endpoint(HTTPMethod.put, "/charges/{charge_id}/note", version="2026-03")
    async def note(api: ApiHTTP, charge_id: str, text: str) -> Schema.Charge:
        """Say what a charge is for."""
        return await api.send()

    @integration.endpoint(HTTPMethod.patch, "/charges/{charge_id}", version="2026-03")
    async def capture(api: ApiHTTP, charge_id: str) -> Schema.Charge:
        return await api.send()

    @integration.endpoint(HTTPMethod.delete, "/charges/{charge_id}", version="2026-03")
    @sp.RetryPattern(max_attempts=5)
    @sp.Timeout(3)
    async def refund(api: ApiHTTP, charge_id: str, *reasons: str, **more: Any) -> None:
        """Give it back."""
        await api.send()

    @integration.endpoint(HTTPMethod.get, "/events")
    async def events(api: ApiHTTP, since: datetime | None = None) -> AsyncIterator[Schema.Charge]:
        """Charges as they happen."""
        yield {}


class Evil(EndpointsDeclaration):
    """Everything that somebody else's text may try."""

    integration = IntegrationHTTP(EVIL, doc=EVIL)

    class Schema:
        class Answer(BaseModel):
            """<img src=x onerror="document.title='owned'">"""

            field: str = Field(default=EVIL, description=EVIL, alias=EVIL)

    @integration.endpoint(
        HTTPMethod.get, f"/{EVIL}", version=EVIL, docurl="javascript:document.title='owned'"
    )
    @sp.Timeout(1)
    async def ask(api: ApiHTTP, q: str = EVIL) -> Schema.Answer:
        """<img src=x onerror="document.title='owned'">"""

    @integration.endpoint(HTTPMethod.get, "/data", docurl="data:text/html,<script>1</script>")
    async def data(api: ApiHTTP) -> Any:
        """Another scheme."""


class Silent(EndpointsDeclaration):
    integration = IntegrationHTTP("Warehouse", doc="Nothing is declared here yet.")


def many(count: int) -> EndpointsDeclaration:
    """One with so many endpoints."""
    integration = IntegrationHTTP("Everything", doc="A large service.")

    class Thing(BaseModel):
        id: int
        name: str
        parts: list[Party]

    def declare(number: int) -> Any:
        async def endpoint(api: ApiHTTP, id: int, name: str = "") -> Thing:
            """One of many."""
            raise NotImplementedError

        endpoint.__name__ = f"thing_{number}"
        endpoint.__annotations__ = {"api": ApiHTTP, "id": int, "name": str, "return": Thing}
        around = sp.RetryPattern()(sp.CircuitBreaker()(sp.Timeout()(endpoint)))
        return integration.endpoint(HTTPMethod.get, f"/things/{number}/{{id}}", "v1")(around)

    body = {f"thing_{number}": declare(number) for number in range(count)}
    made = type("Everything", (EndpointsDeclaration,), {"integration": integration, **body})
    return made("https://things.example")


def with_history(instance: EndpointsDeclaration, *names: str, seed: int, error: float) -> None:
    """Let it look as if endpoints had been called for the last quarter of an hour.

    Args:
        instance: of a declaration; its statistics stand still from now on.
        names: the endpoints'.
        seed: of the chance in it.
        error: the share of calls that failed.
    """
    random, clock = Random(seed), _Hand()
    instance.statistics = statistics = CallStatistics(clock)
    for slot in range(SLOTS):
        clock.now_s = slot * SLOT_S
        storm = 0.35 < slot / SLOTS < 0.5
        for _ in range(int(random.gauss(14, 4) * (0.4 if storm else 1))):
            failed = random.random() < (0.7 if storm and error else error)
            for name in names:
                statistics.record(
                    name,
                    duration_s=random.lognormvariate(-0.5 if storm else -2.2, 0.5),
                    outcome="failed" if failed else "ok",
                    status=503 if failed else 200,
                    attempts=1,
                )


class _Hand(SystemClock):
    """A clock whose hand is moved."""

    now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s


def shop(integrations: list[Any], **options: Any) -> FastAPI:
    """The app: the page, and a route that calls the first integration."""
    app = FastAPI(title="Shop")

    @app.get("/translate")
    async def translate() -> str:
        try:
            return str(await integrations[0].translate("hello"))
        except Exception as error:
            return type(error).__name__

    base_pattern(app, useintegration=integrations, **{"debug": True, **options})
    return app


def foreign() -> Any:
    """Another library's integration: it has no more than what everyone has."""
    docs = {
        "name": "OldWay",
        "docstring": "Declared with the library before.",
        "methods": [
            {
                "name": "ping",
                "docstring": "Says pong.",
                "annotations": {"a": "int", "return": "str"},
                "path": "/ping/{a}",
                "httpmethod": "GET",
                "version": "v0",
                "docurl": "",
            }
        ],
    }
    service = SimpleNamespace(name="Old way", docs=docs)
    return SimpleNamespace(integration=service, base_url="https://user:pass@old.example/api?key=1")
