"""Who is counted: the user, the address, the API key, or what a function of the app's says."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import IPv6Address, ip_network
from typing import Any, Final, Literal

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from backstay.context import User
from backstay.errors import AuthError, BadLimit
from backstay.web.client_address import client_address
from backstay.web.exchange import Exchange

__all__ = ["By", "address_group", "check_by", "outcome_of", "subject_of", "subject_of_user"]

By = Literal["user", "ip", "api_key"] | Callable[[HTTPConnection], Any]
"""Who is counted; a function gives a text, or ``None`` for the address."""

_KINDS: Final = ("user", "ip", "api_key")
_IPV6_BITS: Final = 64
"""What one customer of a provider's has for himself, at least (RFC 6177 §2)."""


def check_by(by: object) -> By:
    """Who is counted.

    Raises:
        BadLimit: it is neither ``"user"``, ``"ip"``, ``"api_key"`` nor a function.
    """
    if by == "user":
        return "user"
    if by == "ip":
        return "ip"
    if by == "api_key":
        return "api_key"
    if callable(by):
        return by
    raise BadLimit(f'by={by!r}: say "user", "ip", "api_key", or give a function of the request')


async def subject_of(connection: HTTPConnection, by: By, exchange: Exchange) -> str:
    """Who sends a request, as far as a limit is concerned.

    Credentials that are no good make nobody somebody else: such requests count for the address
    they come from, so that guessing them is limited like anything else.

    Args:
        connection: the request or WebSocket.
        by: what tells one from another.
        exchange: the request's.

    Raises:
        BadLimit: a function of the app's gave something that is no text.
    """
    if by == "ip":
        return _address(connection)
    if callable(by):
        found = await outcome_of(by(connection))
    else:
        try:
            user = await exchange.who(connection)
        except (AuthError, HTTPException):
            user = None
        return _address(connection) if user is None else subject_of_user(user, by)
    if found is None:
        return _address(connection)
    if not isinstance(found, str):
        raise BadLimit(
            f"the function {getattr(by, '__qualname__', by)!r} is to say who is counted, as a text "
            f"or None; it gave something of type {type(found).__qualname__}"
        )
    return f"by:{found}"


def subject_of_user(user: User, by: By = "user") -> str:
    """A user who is known. Each of his API keys has counts of its own, if that is asked for."""
    key = user.claims.get("api_key") if by == "api_key" else None
    return f"user:{user.subject}" if key is None else f"key:{key}"


def address_group(address: str | None) -> str:
    """What stands for an address, and for those whoever has it can take instead.

    Args:
        address: as ``client_address`` gives it.

    Returns:
        The address; of IPv6 the network of 64 bits it is in; one word for all that have none.
    """
    if address is None:
        return "ip:none"
    if ":" in address:
        with suppress(ValueError):  # some servers have names of their own for peers
            address = str(ip_network((IPv6Address(address), _IPV6_BITS), strict=False))
    return f"ip:{address}"


async def outcome_of(result: Any | Awaitable[Any]) -> Any:
    """What a function came to, which may be ``async def`` or ``def``."""
    return await result if inspect.isawaitable(result) else result


def _address(connection: HTTPConnection) -> str:
    return address_group(client_address(connection))
