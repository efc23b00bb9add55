"""Answers that are kept for a while, and that they are not given any more once a table has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect
from sqlalchemy.orm import Mapper
from starlette.types import Scope

from backstay.cache.cache import Cache
from backstay.cache.responses import cache_redis
from backstay.cache.whereabouts import caches_of
from backstay.db.loading import Tree, loading_of
from backstay.db.relations import relations_of
from backstay.errors import BadViewSet
from backstay.web.exchange import Exchange

if TYPE_CHECKING:
    from backstay.context import Context
    from backstay.viewset.declaration import Declaration

__all__ = ["Keeping"]


class Keeping:
    """The tables behind one view set, as tags of what is kept.

    Every change through a view set invalidates whatever any view set of the app has kept about
    the same tables, in whichever cache.

    Attributes:
        shown: tags of what answers are made of.
        written: tags of what changes touch.
    """

    def __init__(self, view: Declaration) -> None:
        self._view = view
        mapper = inspect(view.db_model)
        tree = loading_of(view.db_model, view.pydantic_model).tree
        tables = dict.fromkeys(_tables(mapper, tree))
        self.shown = tuple(tables)
        owned = [_tag(each.target) for each in relations_of(view.db_model).values() if each.owned]
        self.written = tuple(
            dict.fromkeys([*(self.shown if view.deep_schema else ()), _tag(mapper), *owned])
        )

    def kept(self, endpoint: Callable[..., Any]) -> Callable[..., Any]:
        """A handler whose answers are kept, if the view set has a cache.

        Raises:
            BadViewSet: everybody would be given what only some may see.
        """
        view = self._view
        if view.cache_class is None or view.cache_class is False:
            return endpoint
        if view.cache_public and view.overrides("visible", "check_object"):
            raise BadViewSet(
                f"{type(view).__name__} shows each caller something else (visible or check_object), "
                "so its answers cannot be public; leave cache_public out"
            )
        return cache_redis(
            view.cache_class,
            view.cache_ttl,
            public=view.cache_public,
            early=view.cache_early,
            tags=self.shown,
        )(endpoint)

    async def invalidate(self, ctx: Context) -> None:
        """What this work changes is not to be answered from memory, once it is committed."""
        scope = getattr(ctx.work, "scope", None)
        for cache in () if scope is None else _caches(scope):
            await cache.invalidate(*self.written)

    async def invalidate_now(self, scope: Scope) -> None:
        """The same, of what is committed already."""
        for cache in _caches(scope):
            await cache.invalidate_now(*self.written)


def _caches(scope: Scope) -> Iterable[Cache]:
    """Every cache that answers of this app may be in."""
    found = dict.fromkeys(caches_of(scope["app"]).values())
    exchange = Exchange.of(scope)
    if exchange is not None and exchange.app.has("cache"):
        found[exchange.app.part("cache").cache] = None  # type: ignore[attr-defined]  # the part named "cache" is CachePart
    return found


def _tables(mapper: Mapper[Any], tree: Tree) -> Iterable[str]:
    yield _tag(mapper)
    for name, below in tree.items():
        yield from _tables(mapper.relationships[name].mapper, below)


def _tag(mapper: Mapper[Any]) -> str:
    return f"table:{mapper.local_table}"
