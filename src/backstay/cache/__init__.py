"""What was made once is not made again for a while: ``ctx.cache``, ``@cached``, ``@cache_redis``.

``add_cache(app)`` switches it on. May import the state's stores and what is below; knows nothing
of jobs, tasks, widgets or view sets. A back end stands behind ``CacheStore`` and proves itself
with ``backstay.testing.cache_conformance``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from backstay.cache.cache import Cache
from backstay.cache.cached_function import cached
from backstay.cache.memory import MemoryStore
from backstay.cache.outcome import Fill, Outcome
from backstay.cache.port import CacheStore

if TYPE_CHECKING:
    from backstay.cache.installation import add_cache
    from backstay.cache.responses import cache_redis, cache_response

__all__ = [
    "Cache",
    "CacheStore",
    "Fill",
    "MemoryStore",
    "Outcome",
    "add_cache",
    "cache_redis",
    "cache_response",
    "cached",
]

# Only where an app is made is FastAPI needed.
_LATER = {
    "add_cache": "backstay.cache.installation",
    "cache_redis": "backstay.cache.responses",
    "cache_response": "backstay.cache.responses",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_LATER[name]), name)
    return found


def __dir__() -> list[str]:
    return [*__all__]
