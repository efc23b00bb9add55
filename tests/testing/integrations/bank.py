"""An integration with a bit of everything, for the tests beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP, sp
from backstay.integration.http.paging.page_rules import NextUrl
from backstay.integration.http.paging.pages import pages

__all__ = ["Bank", "Desk"]


async def last_known_rate(api: ApiHTTP, currency: str) -> dict[str, Any]:
    return {"currency": currency, "rate": 0.0}


class Desk(StrEnum):
    north = "north"
    south = "south"


class Bank(EndpointsDeclaration):
    integration = IntegrationHTTP("Bank", doc="Moves money.")

    class Schema:
        class Charge(BaseModel):
            id: int
            amount: int = Field(alias="sum")
            desk: Desk | None = None

        class Rate(BaseModel):
            currency: str
            rate: float

        class Row(BaseModel):
            number: int

    class SchemaError:
        class http404(BaseModel):
            error: str

        class http4xx(BaseModel):
            reason: str

    @integration.endpoint(HTTPMethod.post, "/charges/{account}", version="v2", docurl="https://d")
    async def charge(
        api: ApiHTTP, account: str, amount: int, note: str = ""
    ) -> Schema.Charge | SchemaError.http404 | SchemaError.http4xx:
        """Takes money."""
        return await api.send(body={"amount": amount, "note": note})

    @integration.endpoint(HTTPMethod.get, "/rates/{currency}")
    @sp.Fallback(last_known_rate)
    @sp.RetryPattern(max_attempts=3, delay=0)
    @sp.CircuitBreaker(fail_threshold=3)
    async def rate(api: ApiHTTP, currency: str) -> Schema.Rate:
        response = await api.client.get(api.url.geturl())
        response.raise_for_status()
        return {"currency": currency, "rate": response.json()["value"]}

    @integration.endpoint(HTTPMethod.get, "/charges")
    @sp.RetryPattern(max_attempts=3, delay=0)
    async def charges(api: ApiHTTP, **query: Any) -> list[Schema.Charge]:
        response = await api.send(query=query)
        response.raise_for_status()
        return response

    @integration.endpoint(HTTPMethod.get, "/rows")
    async def rows(api: ApiHTTP) -> AsyncIterator[Schema.Row]:
        async with api.stream() as response:
            async for line in response.aiter_lines():
                yield {"number": int(line)}

    @integration.endpoint(HTTPMethod.get, "/rates")
    @sp.Hedge(delay=0.02)
    async def rates(api: ApiHTTP) -> Any:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/history")
    async def history(api: ApiHTTP) -> AsyncIterator[Schema.Row]:
        async for page in pages(api, NextUrl("next")):
            for each in page.json()["rows"]:
                yield each

    @integration.endpoint(HTTPMethod.post, "/anything/{where}")
    async def anything(api: ApiHTTP, where: str, **options: Any) -> Any:
        return await api.send(**options)
