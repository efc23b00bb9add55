"""``@cached``: a function whose results are kept."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from backstay.cache.arguments import Arguments
from backstay.cache.cache import Cache
from backstay.cache.outcome import Fill, Outcome
from backstay.cache.part import CachePart
from backstay.cache.results import Results
from backstay.cache.times import seconds_of
from backstay.calls import is_async_callable, name_of, require_function
from backstay.clock import SystemClock
from backstay.context import current_work

__all__ = ["CachedAsync", "CachedFunction", "cached"]

P = ParamSpec("P")
Rest = ParamSpec("Rest")
T = TypeVar("T")
Owner = TypeVar("Owner")

Tags = Sequence[str] | Callable[..., Sequence[str]]


# What makes the standard library (inspect) take an object for the function that it wraps, so that
# whoever asks whether that is async, FastAPI among them, hears the truth.
_FUNCTION_LIKE = ("__code__", "__defaults__", "__kwdefaults__")


class _Rules:
    """What one ``@cached`` says, and the function it says it of."""

    def __init__(
        self,
        func: Callable[..., Any],
        *,
        ttl: float | timedelta,
        cache: Cache | None,
        key: Callable[..., Any] | None,
        tags: Tags,
        stale: float | timedelta,
    ) -> None:
        self.func = func
        self.ttl_s = seconds_of(ttl, "ttl")
        self.stale_s = seconds_of(stale, "stale", zero=True)
        if isinstance(tags, str):
            raise TypeError(f"tags= is several texts; got the one text {tags!r}: write [{tags!r}]")
        self._tags = tags
        self._cache = cache
        self._own: Cache | None = None
        self.is_method = False
        self.arguments = Arguments(func, key, SystemClock())
        self.results = Results(func)

    @property
    def cache(self) -> Cache:
        """The one given; else the app's, if this is one's work and it has one; else its own."""
        if self._cache is not None:
            return self._cache
        work = current_work.get()
        if work is not None and work.app.has("cache"):
            part = work.app.part("cache")
            if isinstance(part, CachePart):
                return part.cache
        if self._own is None:
            self._own = Cache()
        return self._own

    def key(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, bound: bool) -> str:
        """Of the function, of what it says that it returns, and of the arguments."""
        key = self.arguments.key(args, kwargs, bound=bound)
        version = self.results.version
        return f"{key}@{version}" if version else key

    def tags(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...]:
        """The call's own, by which it is invalidated, and those it was given."""
        given = self._tags(*args, **kwargs) if callable(self._tags) else self._tags
        return (key, *given)

    def refuse(self, found: Outcome, error: ValueError) -> None:
        """What was kept cannot be read: somebody else wrote it, or nobody can.

        Raises:
            TypeError: it was written just now.
        """
        if found.status in ("MISS", "BYPASS"):
            raise TypeError(
                f"what {name_of(self.func)}() returned can be written by its return annotation, "
                f"and not read again: {error}"
            ) from error


class _Cached(Generic[P, T]):
    """What both kinds have in common."""

    __wrapped__: Callable[..., Any]

    def __init__(self, rules: _Rules, owner: object | None = None) -> None:
        self._rules = rules
        self._owner = owner
        functools.update_wrapper(self, rules.func)  # type: ignore[arg-type]  # callable below
        for name in _FUNCTION_LIKE:
            if hasattr(rules.func, name):
                setattr(self, name, getattr(rules.func, name))

    def __set_name__(self, owner: type, name: str) -> None:
        # Now it is known that the first argument is whose method it is, however it is called.
        self._rules.is_method = True

    def __repr__(self) -> str:
        return f"<cached {name_of(self._rules.func)}>"

    def _call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], str, tuple[str, ...]]:
        """The arguments the function gets, and the key and the tags of the call."""
        bound = self._owner is not None
        if bound:
            args = (self._owner, *args)
        key = self._rules.key(args, kwargs, bound=bound or self._rules.is_method)
        return args, key, self._rules.tags(key, args, kwargs)


class CachedAsync(_Cached[P, T]):
    """An async function whose results are kept. Called, it is as before, only less often."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        rules = self._rules
        full, key, tags = self._call(args, kwargs)

        async def produce() -> Fill:
            return Fill(rules.results.dump(await rules.func(*full, **kwargs)))

        found = await rules.cache.get_or_fill(
            key, produce, ttl_s=rules.ttl_s, stale_s=rules.stale_s, tags=tags
        )
        assert found.value is not None  # produce always gives one
        try:
            result: T = rules.results.load(found.value)
        except ValueError as error:
            rules.refuse(found, error)
            return await rules.func(*full, **kwargs)  # type: ignore[no-any-return]  # that is T
        return result

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """The next call with these arguments runs the function; as ``Cache.invalidate``."""
        _, key, _ = self._call(args, kwargs)
        await self._rules.cache.invalidate(key)

    @overload
    def __get__(self, instance: None, owner: type) -> CachedAsync[P, T]: ...
    @overload
    def __get__(
        self: CachedAsync[Concatenate[Owner, Rest], T], instance: Owner, owner: type | None = None
    ) -> CachedAsync[Rest, T]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else type(self)(self._rules, instance)


class CachedFunction(_Cached[P, T]):
    """The same for a plain function, in any thread."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        rules = self._rules
        full, key, tags = self._call(args, kwargs)

        def produce() -> Fill:
            return Fill(rules.results.dump(rules.func(*full, **kwargs)))

        found = rules.cache.get_or_fill_blocking(
            key, produce, ttl_s=rules.ttl_s, stale_s=rules.stale_s, tags=tags
        )
        assert found.value is not None
        try:
            result: T = rules.results.load(found.value)
        except ValueError as error:
            rules.refuse(found, error)
            return rules.func(*full, **kwargs)  # type: ignore[no-any-return]  # that is T
        return result

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """The next call with these arguments runs the function; see ``invalidate_blocking``."""
        _, key, _ = self._call(args, kwargs)
        self._rules.cache.invalidate_blocking(key)

    @overload
    def __get__(self, instance: None, owner: type) -> CachedFunction[P, T]: ...
    @overload
    def __get__(
        self: CachedFunction[Concatenate[Owner, Rest], T],
        instance: Owner,
        owner: type | None = None,
    ) -> CachedFunction[Rest, T]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else type(self)(self._rules, instance)


class _Decorator:
    """What ``@cached(...)`` is, so that async functions stay async for type checkers."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    @overload
    def __call__(  # type: ignore[overload-overlap]  # an async function is one of the others, too
        self, func: Callable[P, Coroutine[Any, Any, T]]
    ) -> CachedAsync[P, T]: ...
    @overload
    def __call__(self, func: Callable[P, T]) -> CachedFunction[P, T]: ...
    def __call__(self, func: Callable[..., Any]) -> Any:
        require_function(func, "cached")
        if inspect.isasyncgenfunction(func) or inspect.isgeneratorfunction(func):
            raise TypeError(
                f"{name_of(func)}() yields its results one by one, and only what is returned can "
                "be kept; return a list"
            )
        rules = _Rules(func, **self._options)
        return CachedAsync(rules) if is_async_callable(func) else CachedFunction(rules)


def cached(
    ttl: float | timedelta,
    *,
    cache: Cache | None = None,
    key: Callable[..., Any] | None = None,
    tags: Tags = (),
    stale: float | timedelta = 0,
) -> _Decorator:
    """Keep what a function returns, by its arguments. ::

        @cached(ttl=60, tags=["rates"])
        async def rate(currency: str) -> Decimal: ...

        await rate("EUR")
        await rate.invalidate("EUR")

    Results are written by the function's return annotation (with pydantic) and made anew for each
    caller, so that nobody can change what others get; without an annotation they are JSON. What
    it raises is not kept. Of several calls with the same arguments at once, one runs.

    Arguments may be whatever has a text of its own: JSON, dates, UUIDs, decimals, enums, sets,
    bytes, dataclasses, pydantic models, and objects with a method ``__cache_key__()``. A method's
    results are kept for each object by itself, unless it has that method.

    A plain function reaches a cache in memory from anywhere, and one elsewhere from the worker
    threads that plain endpoints, dependencies and tasks run in.

    Args:
        ttl: seconds that a result is good, or a ``timedelta``.
        cache: where; ``None``: the app's (``add_cache``) in a piece of its work, else one in memory
            of the function's own.
        key: given the same arguments, returns what tells calls apart, in place of all of them.
        tags: by which results can be invalidated; or a function that gives them, given the same
            arguments.
        stale: for how many seconds after that a result may still be given while the function runs
            in the background: outside of the caller's piece of work, and of its context variables.

    Raises:
        BadCache: ``ttl`` or ``stale`` is no time.
        TypeError: the function is none, or yields. At calls: an argument has no text of its own,
            or the result is not what its annotation says.
    """
    return _Decorator({"ttl": ttl, "cache": cache, "key": key, "tags": tags, "stale": stale})
