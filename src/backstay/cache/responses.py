"""``@cache_redis``: a route's answers, made once and given again for a while."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from backstay.cache.asking import Asking
from backstay.cache.handler_signature import HandlerSignature
from backstay.cache.policy import KEPT_STATUSES, Policy, TagMaker
from backstay.cache.whereabouts import Whereabouts
from backstay.calls import is_async_callable

__all__ = ["cache_redis", "cache_response"]

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])


def cache_redis(
    cache_class: Any = None,
    cache_ttl: float | timedelta = 60.0,
    cache: bool = True,
    *,
    public: bool = False,
    vary: Iterable[str] = (),
    tags: Iterable[str | TagMaker] = (),
    stale: float | timedelta = 0,
    early: bool = False,
    key: Callable[[Request], str] | None = None,
    max_age: float | timedelta | None = None,
    private_max_age: float | timedelta = 0,
    statuses: Collection[int] = KEPT_STATUSES,
    revalidate: bool | None = None,
) -> Callable[[HandlerT], HandlerT]:
    """Keep the answers of a GET handler of FastAPI's, and give them again for a while.

    Put it between the route's decorator and the handler, which may be sync or async and needs no
    parameter for it. What is kept is what is sent: after ``response_model``, to the byte, with
    status and headers. The route's dependencies run for every request, so that who may not see
    the answer does not get it from here, either; of those who ask at once, one runs the handler.

    An answer is given to whoever asks the same: scheme, host, path, query (in any order of names),
    ``Accept``, and every header and cookie that the handler or a dependency declares; and, unless
    ``public``, with the same credentials: ``Authorization``, cookies, what the route's security
    schemes name, what proxies tell of users, and whom the app's verifier found. Keys are digests
    of all that.

    Not kept: answers that set a cookie, say ``no-store``, ``no-cache`` or (if ``public``)
    ``private``, have another status, are streams or have a background task of their own, or vary
    on something that is not in ``vary``; answers to requests that take a body or say ``no-store``;
    and what is raised. ``Cache-Control: max-age`` and ``Expires`` of the handler's may shorten the
    time. If the store is out of reach the handler runs as if this were not here.

    Every answer says ``X-Cache``: ``HIT``, ``MISS``, ``STALE`` or ``BYPASS``; those that may be
    kept also have an ``ETag``, to which 304 is the answer if the client names it, and
    ``Cache-Control``, ``Vary`` and ``Age``. ``BackgroundTasks`` of the handler run when it does:
    not on a hit.

    Args:
        cache_class: a client of ``redis.asyncio``, a ``Cache``, cashews' ``Cache``, or anything
            else that ``Cache`` takes. ``None`` (or ``True``): the app's, of ``add_cache(app)``; if
            it has none, nothing is kept.
        cache_ttl: for how long, in seconds or as a ``timedelta``.
        cache: ``False`` leaves the handler as it is.
        public: everybody who asks the same gets the same answer.
        vary: headers that the answer depends on without the handler declaring them, such as
            ``["Accept-Language"]``.
        tags: by which ``Cache.invalidate`` reaches the answers: texts, templates such as
            ``"product:{item_id}"`` over the parameters of handler and path, and functions of the
            request that give one or several.
        stale: for how long, after that, an answer may be given while it is made anew: in a request
            of its own, through middleware and dependencies (RFC 5861 §3).
        early: answers are given before routing, with no middleware and no dependency asked. Only
            with ``public=True``, on routes without security schemes, in apps with ``add_cache``.
            Requests with an ``Origin`` go the usual way.
        key: a function of the request that gives a text to stand for path and query.
        max_age: for how long browsers and proxies may use a public answer without asking. ``None``:
            as long as it is kept; or not at all if it has tags, for they do not hear of
            invalidation.
        private_max_age: the same of private answers and the client's own browser.
        statuses: of answers that are kept. Of others than these, such as 404, it takes a
            ``Response``: what is raised is not kept.
        revalidate: whether ``Cache-Control: no-cache`` of a client has the answer made anew.
            ``None``: of private answers only. Anybody could keep a server busy with the others.

    Raises:
        BadCache: an option makes no sense; or, at the app's start, ``early`` for a route with a
            security scheme.
    """
    if not cache or cache_class is False:
        return _as_it_is
    policy = Policy.of(
        ttl=cache_ttl,
        stale=stale,
        public=public,
        early=early,
        vary=vary,
        tags=tags,
        key=key,
        max_age=max_age,
        private_max_age=private_max_age,
        statuses=statuses,
        revalidate=revalidate,
    )
    whereabouts = Whereabouts(None if cache_class is True else cache_class)

    def decorate(handler: HandlerT) -> HandlerT:
        bare = inspect.unwrap(handler)
        if inspect.isgeneratorfunction(bare) or inspect.isasyncgenfunction(bare):
            return handler  # what it yields is streamed
        around = sys._getframe(1).f_locals
        return _wrapped(handler, policy, whereabouts, around)  # type: ignore[return-value]  # async, and called as the other is

    return decorate


cache_response = cache_redis
"""The same, for those whose cache is not in Redis."""


def _as_it_is(handler: HandlerT) -> HandlerT:
    return handler


def _wrapped(
    handler: Callable[..., Any],
    policy: Policy,
    whereabouts: Whereabouts,
    around: Mapping[str, Any],
) -> Callable[..., Awaitable[Any]]:
    """The handler with its answers kept."""
    is_async = is_async_callable(handler) or inspect.iscoroutinefunction(inspect.unwrap(handler))
    names = HandlerSignature.of(handler, around)
    asking = Asking(handler, policy, whereabouts, is_async=is_async)

    @functools.wraps(handler)
    async def answer(*args: Any, **arguments: Any) -> Any:
        request, response = arguments.get(names.request), arguments.get(names.response)
        for name in names.hidden:
            arguments.pop(name, None)

        async def call() -> Any:
            if is_async:
                return await handler(*args, **arguments)
            result = await run_in_threadpool(handler, *args, **arguments)
            return await result if inspect.isawaitable(result) else result

        if not (isinstance(request, Request) and isinstance(response, Response)):
            return await call()  # not FastAPI's call: a test's, say
        return await asking.answer(request, response, arguments, call)

    if not hasattr(handler, "__name__"):
        answer.__name__ = answer.__qualname__ = type(handler).__name__
    answer.__signature__ = names.signature  # type: ignore[attr-defined]  # which inspect looks for
    policy.mark(answer)
    whereabouts.mark(answer)
    return answer
