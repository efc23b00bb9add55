"""An integration that attacks are played against: each endpoint passes on what it is given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from pydantic import BaseModel

from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP, NextUrl

__all__ = ["SECRET", "Victim"]

SECRET = "sEcReT-tOkEn-4711"


class Victim(EndpointsDeclaration):
    integration = IntegrationHTTP("Victim")

    class Schema:
        class Number(BaseModel):
            number: int

    class SchemaError:
        class http404(BaseModel):
            reason: str

    @integration.endpoint(HTTPMethod.get, "/number")
    async def number(api: ApiHTTP) -> Schema.Number | SchemaError.http404:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/numbers")
    async def numbers(api: ApiHTTP) -> list[Schema.Number]:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/text")
    async def text(api: ApiHTTP) -> str:
        return await api.send()

    @integration.endpoint(HTTPMethod.post, "/any")
    async def post(api: ApiHTTP, body: Any = None) -> Any:
        return await api.send(body=body)

    @integration.endpoint(HTTPMethod.get, "/any")
    async def any(
        api: ApiHTTP,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        return await api.send(headers=headers, query=query)

    @integration.endpoint(HTTPMethod.get, "/files/{name}")
    async def one(api: ApiHTTP, name: str) -> Any:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/files/{path:path}")
    async def deep(api: ApiHTTP, path: str) -> Any:
        return await api.send()

    @integration.endpoint(HTTPMethod.get, "/pages")
    async def pages(api: ApiHTTP) -> AsyncIterator[Any]:
        async for page in api.pages(NextUrl("next")):
            yield page.json()
