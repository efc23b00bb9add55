"""``Ctx``: the context of a request as a parameter."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from backstay.context import Context
from backstay.errors import NotInstalled
from backstay.web.exchange import Exchange

__all__ = ["Ctx", "exchange_of", "get_context"]


def exchange_of(connection: HTTPConnection, line: str) -> Exchange:
    """The exchange of a request.

    Args:
        connection: the request or WebSocket.
        line: the line of code to name if backstay is not installed, such as ``"add_tasks(app)"``.

    Raises:
        NotInstalled: backstay is not installed around this request.
    """
    exchange = Exchange.of(connection.scope)
    if exchange is None:
        raise NotInstalled(
            f"{connection.scope['path']!r} uses a parameter of backstay's, but backstay is not "
            f"switched on for this app: add the line {line} where the app is made"
        )
    exchange.watch(connection.scope)
    return exchange


async def get_context(connection: HTTPConnection) -> Context:
    """The dependency behind ``Ctx``. Also asks the verifier, if there is one, who the user is."""
    exchange = exchange_of(connection, "backstay.web.install(app)")
    await exchange.identify(connection)
    return exchange.context


Ctx = Annotated[Context, Depends(get_context)]
"""The request's ``Context``, in any endpoint or dependency: ``async def f(ctx: Ctx)``."""
