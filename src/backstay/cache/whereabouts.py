"""Which cache a route's answers are in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.routing import Host, Mount

from backstay.cache.cache import Cache
from backstay.cache.part import CachePart
from backstay.cache.served_route import routes_below
from backstay.web.exchange import Exchange

__all__ = ["Whereabouts", "caches_of", "close_caches"]

_ATTRIBUTE = "__backstay_cache_whereabouts__"
_STATE = "backstay_caches"

_Name: TypeAlias = tuple[str, str | int]


class Whereabouts:
    """Finds the cache for a request.

    Args:
        where: what ``Cache`` takes, or a ``Cache``; ``None``: the app's.

    Raises:
        BadCache: it is none of these.
    """

    def __init__(self, where: Any = None) -> None:
        is_made = where is not None and not isinstance(where, Cache)
        # Made now, so that what cannot be is said where it was written.
        self._cache: Cache | None = Cache(where) if is_made else where
        # Clients by identity: the cache holds them, so that no other object takes that.
        self._name: _Name = (
            "made" if is_made else "given",
            where if isinstance(where, str) else id(where),
        )

    def mark(self, handler: object) -> None:
        """Let ``caches_of`` find this on a handler."""
        setattr(handler, _ATTRIBUTE, self)

    def cache_for(self, request: Request) -> Cache | None:
        """The cache; ``None`` if it is the app's and it has none.

        The routes of one app that name one client share one cache.
        """
        if self._cache is None:
            return _cache_of_app(request)
        return self.among(_registry(request.app))

    def among(self, caches: dict[_Name, Cache]) -> Cache | None:
        """The cache that routes of one app share, which is added if it is the first."""
        return None if self._cache is None else caches.setdefault(self._name, self._cache)


def caches_of(app: Any) -> Mapping[_Name, Cache]:
    """The caches that routes of an app, and of those mounted below it, name. Not the app's own.

    Whoever has to invalidate something wherever it may be needs them all, also those that nobody
    has asked for in this process yet: others may have filled them.
    """
    return _registry(app)


async def close_caches(app: Any) -> None:
    """Finish what the caches that were made for clients are about, for the end of an app.

    Those that routes were given ready-made are closed by whoever made them.
    """
    for (kind, _), cache in list(_registry(app).items()):
        if kind == "made":
            await cache.close()


def _registry(app: Any) -> dict[_Name, Cache]:
    found: dict[_Name, Cache] | None = getattr(app.state, _STATE, None)
    if found is None:
        found = {}
        for each in _named_below(app):
            each.among(found)
        setattr(app.state, _STATE, found)
    return found


def _named_below(app: Any) -> Iterator[Whereabouts]:
    for route in routes_below(app):
        inner = getattr(route, "original_route", route)
        if isinstance(inner, Mount | Host):
            yield from _named_below(inner.app)
            continue
        found = getattr(getattr(route, "endpoint", None), _ATTRIBUTE, None)
        if isinstance(found, Whereabouts):
            yield found


def _cache_of_app(request: Request) -> Cache | None:
    exchange = Exchange.of(request.scope)
    if exchange is None or not exchange.app.has("cache"):
        return None
    part = exchange.app.part("cache")
    assert isinstance(part, CachePart)
    return part.cache
