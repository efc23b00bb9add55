"""One request for an answer that may have been made before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from backstay.appstate import CACHE_STATUS
from backstay.cache.answer import Answer, Headers, Sent
from backstay.cache.cache import Cache
from backstay.cache.directives import directives_of
from backstay.cache.early import Line, Spot
from backstay.cache.keeping import Kept, keep
from backstay.cache.outcome import Fill, Outcome
from backstay.cache.policy import Policy
from backstay.cache.principal import who_asks
from backstay.cache.question import digest_of, headers_named, sorted_by_name
from backstay.cache.replay import Replay, door_of, replayed
from backstay.cache.served_route import ServedRoute, ServedRoutes
from backstay.cache.starting import check_tags
from backstay.cache.whereabouts import Whereabouts
from backstay.errors import BadCache

__all__ = ["Asking"]

Call = Callable[[], Awaitable[Any]]

_X_CACHE = "x-cache"
_EARLY_ALWAYS = frozenset((b"host", b"accept"))


class Asking:
    """Answers the requests of one handler.

    Args:
        handler: the handler.
        policy: on which terms its answers are kept.
        whereabouts: where.
        is_async: whether the handler is.
    """

    def __init__(
        self,
        handler: Callable[..., Any],
        policy: Policy,
        whereabouts: Whereabouts,
        *,
        is_async: bool,
    ) -> None:
        self._policy = policy
        self._whereabouts = whereabouts
        self._routes = ServedRoutes(
            partial(_read, policy=policy, handler=handler, is_async=is_async)
        )

    async def answer(
        self, request: Request, response: Response, arguments: Mapping[str, Any], call: Call
    ) -> Any:
        """What FastAPI is given in place of the handler's result.

        Args:
            request: the request.
            response: whose status and headers FastAPI merges into results.
            arguments: what the handler is called with.
            call: runs it.
        """
        scope = request.scope
        method = scope["method"]
        if method not in {"GET", "HEAD"}:
            return await call()
        cache, route = self._whereabouts.cache_for(request), self._routes.of(scope)
        if cache is None or route is None:
            return await call()
        policy = self._policy
        if CACHE_STATUS() is False or CACHE_STATUS(scope.get("app")) is False:
            return _bypassed(await call(), response)
        who = () if policy.public else await who_asks(request)
        if who is None or route.is_open:
            return _bypassed(await call(), response)
        key = self._key(request, route, who)
        tags = policy.tags_of(request, arguments)
        visit = _Visit(policy, route, cache, request, response, key, tags, call)
        replay = Replay.of(scope)
        if replay is not None:
            return await visit.again(replay)
        wishes = directives_of(
            [
                value.decode("latin-1")
                for name, value in scope["headers"]
                if name == b"cache-control"
            ]
        )
        if method == "HEAD" or "no-store" in wishes:
            return await visit.look()
        if policy.revalidate and "no-cache" in wishes:
            await cache.delete(key)
        return await visit.fill()

    def _key(self, request: Request, route: ServedRoute, who: tuple[str, ...]) -> str:
        scope, policy = request.scope, self._policy
        asked: tuple[Any, ...] = (
            (scope["path"], sorted_by_name(request.query_params.multi_items()))
            if policy.key is None
            else (_text(policy.key(request)),)
        )
        headers = headers_named(scope["headers"], route.headers)
        server = () if any(name == b"host" for name, _ in headers) else str(scope.get("server"))
        cookies = [(name, request.cookies.get(name)) for name in route.cookies]
        digest = digest_of(
            "1",
            "public" if policy.public else "private",
            scope.get("scheme", ""),
            server,
            scope.get("root_path", ""),
            route.name,
            route.kind,
            asked,
            headers,
            cookies,
            who,
        )
        return f"{route.name}:{digest}"


def _text(key: object) -> str:
    """Raises: BadCache: it is no text, so that others might have the same."""
    if not isinstance(key, str):
        raise BadCache(
            f"the function in key= gave {key!r} of type {type(key).__qualname__}; it has to give "
            "a text that is another for every other answer"
        )
    return str.__str__(key)


def _read(
    route: Any, *, policy: Policy, handler: Callable[..., Any], is_async: bool
) -> ServedRoute:
    check_tags(policy, route)
    return ServedRoute.of(route, policy, handler, is_async=is_async)


class _Visit:
    """One request, and what came of it."""

    def __init__(
        self,
        policy: Policy,
        route: ServedRoute,
        cache: Cache,
        request: Request,
        response: Response,
        key: str,
        tags: tuple[str, ...],
        call: Call,
    ) -> None:
        self._policy = policy
        self._route = route
        self._cache = cache
        self._request = request
        self._response = response
        self._key = key
        self._tags = tags
        self._call = call
        # What dependencies have set is set for each request, on hits as well.
        self._own: Headers = list(response.headers.raw)
        self._made: Response | None = None
        self._whole = False

    async def fill(self) -> Response:
        """The answer that is there, or the handler's, which is kept."""
        scope = self._request.scope
        outcome = await self._cache.get_or_fill(
            self._key,
            self._produce,
            ttl_s=self._policy.ttl_s,
            stale_s=self._policy.stale_s,
            tags=self._tags,
            refresh=partial(replayed, scope, door_of(scope), self._key),
        )
        given = self._given(outcome)
        if given is None:
            if outcome.value is not None and outcome.status == "HIT":
                await self._cache.delete(self._key)  # somebody else has written there
            return _bypassed_response(self._made or await self._render())
        if self._policy.early and not self._route.is_guarded and outcome.status in {"HIT", "MISS"}:
            line = Line.of(scope)
            if line is not None:
                line.learn(scope, self._spot())
        return given

    async def look(self) -> Response:
        """The answer that is there, or the handler's, which is not kept."""
        outcome = await self._cache.lookup(self._key, self._tags)
        given = None if outcome is None else self._given(outcome)
        return given or _bypassed_response(await self._render())

    async def again(self, replay: Replay) -> Response:
        """The handler's answer, for whoever asked again to have it kept."""
        fill = await self._produce()
        assert self._made is not None
        if replay.key == self._key:
            replay.fill = fill
        return self._made

    async def _produce(self) -> Fill | None:
        made = await self._render()
        kept = self._kept(made)
        return None if kept is None else Fill(kept.answer.pack(), kept.ttl_s)

    async def _render(self) -> Response:
        """The handler's answer, exactly as FastAPI makes it of what it returned."""
        result = await self._call()
        self._whole = isinstance(result, Response)
        if isinstance(result, Response):
            self._made = result
        else:
            self._made = await self._route.render(self._request, self._response, result)
        return self._made

    def _kept(self, made: Response) -> Kept | None:
        return keep(
            made,
            self._policy,
            now=self._cache.clock.now(),
            vary=self._route.vary,
            known=self._route.headers,
            own=self._own,
            tags=self._tags,
            whole=self._whole,
        )

    def _given(self, outcome: Outcome) -> Response | None:
        """The answer to send; ``None`` if there is none that may be."""
        answer = None if outcome.value is None else Answer.unpack(outcome.value)
        if answer is None or (answer.never_stale and outcome.status == "STALE"):
            return None
        sent = answer.give(
            self._request.scope["headers"],
            cache=outcome.status,
            age_s=outcome.age_s,
            head=self._request.method == "HEAD",
            extra=self._own,
        )
        return _response_of(sent, public=self._policy.public)

    def _spot(self) -> Spot:
        route = self._route
        names = route.headers - _EARLY_ALWAYS
        if route.cookies:
            names |= {b"cookie"}
        return Spot(
            self._cache,
            self._key,
            self._tags,
            tuple(sorted(names)),
            route.takes_head,
            self._policy.revalidate,
        )


def _response_of(sent: Sent, *, public: bool) -> Response:
    status, headers, body = sent
    if public and any(name == b"set-cookie" for name, _ in headers):
        # A dependency's, for this client; a proxy must not give it to the next one.
        headers = [pair for pair in headers if pair[0] != b"cache-control"]
        headers.append((b"cache-control", b"private, max-age=0, must-revalidate"))
    response = Response(body, status)
    response.raw_headers = headers
    return response


def _bypassed_response(response: Response) -> Response:
    response.headers[_X_CACHE] = "BYPASS"
    return response


def _bypassed(result: Any, response: Response) -> Any:
    """A handler's result that FastAPI is to make an answer of."""
    if isinstance(result, Response):
        return _bypassed_response(result)
    response.headers[_X_CACHE] = "BYPASS"
    return result
