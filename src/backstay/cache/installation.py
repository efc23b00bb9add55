"""``add_cache(app)``: what was made once is not made again for a while, as ``ctx.cache``."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

from starlette.applications import Starlette

from backstay.app import Backstay
from backstay.cache.cache import Cache
from backstay.cache.part import CachePart
from backstay.cache.port import CacheStore
from backstay.web.installation import install

__all__ = ["add_cache"]


def add_cache(
    app: Starlette,
    where: str | CacheStore | Cache | Any = None,
    *,
    namespace: str = "backstay",
    max_bytes: int = 64 * 1024 * 1024,
    default_ttl: float | timedelta = 300.0,
    stale_s: float = 0.0,
    flight_timeout_s: float = 10.0,
    across: bool = False,
    op_timeout_s: float = 0.25,
    retry_after_s: float = 1.0,
) -> Cache:
    """Switch ``ctx.cache`` on for an app. One line, once, where the app is made.

    Args:
        app: the FastAPI app you serve.
        where: ``None``: what the setting ``BACKSTAY_CACHE`` says, else this process's memory.
            ``"memory://"``, ``"sqlite:///cache.db"`` (one machine), ``"postgresql://…"`` or
            ``"redis://…"`` (any number); a client of ``redis.asyncio``, cashews' ``Cache``, a
            ``CacheStore``. Or a ``Cache``, which has its options already.
        namespace: as for ``Cache``, like all that follows.
        max_bytes: as for ``Cache``.
        default_ttl: as for ``Cache``.
        stale_s: as for ``Cache``.
        flight_timeout_s: as for ``Cache``.
        across: as for ``Cache``.
        op_timeout_s: as for ``Cache``.
        retry_after_s: as for ``Cache``.

    Returns:
        The cache, for what runs outside of any piece of work. It is opened and closed with the
        app.

    Raises:
        AlreadyInstalled: the app has one.
        BadCache: ``where`` is none of these, or an option makes no sense.
        MissingExtra: the store's driver is not installed.
    """
    backstay = install(app)
    if where is None:
        where = backstay.settings.get("BACKSTAY_CACHE")
    cache = (
        where
        if isinstance(where, Cache)
        else Cache(
            where,
            namespace=namespace,
            max_bytes=max_bytes,
            clock=backstay.clock,
            default_ttl=default_ttl,
            stale_s=stale_s,
            flight_timeout_s=flight_timeout_s,
            across=across,
            op_timeout_s=op_timeout_s,
            retry_after_s=retry_after_s,
        )
    )
    # First: others may still want to invalidate something at their end.
    backstay.add(
        CachePart(cache, partial(_look_over, app, backstay), partial(_close_others, app)),
        first=True,
    )
    return cache


def _look_over(app: Starlette, backstay: Backstay) -> None:
    from backstay.cache.starting import early_answers_of  # FastAPI's routes, which are there by now

    backstay.early = early_answers_of(app)


async def _close_others(app: Starlette) -> None:
    from backstay.cache.whereabouts import close_caches

    await close_caches(app)
