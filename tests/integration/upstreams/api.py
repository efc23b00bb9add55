"""An ``ApiHTTP`` for an upstream, as an endpoint's method would get it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any
from urllib.parse import urlparse

import httpx
from pydantic import BaseModel

from backstay.integration.http.api import ApiHTTP
from backstay.integration.http.endpoint import Endpoint
from backstay.integration.http.http_method import HTTPMethod

__all__ = ["Shop", "api_of"]


async def list_items(api: ApiHTTP) -> Any:
    """What is declared; never called here."""


class Shop:
    class SchemaError:
        class http404(BaseModel):
            reason: str


@asynccontextmanager
async def api_of(
    base_url: str,
    path: str = "/items",
    *,
    method: HTTPMethod = HTTPMethod.get,
    handled: frozenset[int] = frozenset(),
    module: ModuleType = httpx,
    **client_options: Any,
) -> AsyncIterator[ApiHTTP]:
    endpoint = Endpoint(
        list_items,
        "Shop",
        method,
        path,
        version="",
        docurl="",
        handled=handled,
        raise_errors=False,
        idempotent=False,
    )
    client_options.setdefault("verify", False)  # reading certificates takes longer than the tests
    async with module.AsyncClient(**client_options) as client:
        yield ApiHTTP(
            credentials=None,
            url=urlparse(base_url + path),
            version="",
            httpmethod=method.name,
            client=client,
            endpoint=endpoint,
            rules=endpoint.answers(Shop),
        )
