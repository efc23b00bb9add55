"""``rate_limit("10/minute")``: a dependency that lets so many requests pass, and no more."""

# No "from __future__ import annotations": FastAPI reads those of ``__call__``, and for an object
# it does not know in which module to look up what a text would name.

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final, Literal

from starlette.requests import HTTPConnection

from backstay.errors import BadLimit, RateLimited
from backstay.limits.answer_headers import Policy, legacy_headers, retry_after_s
from backstay.limits.app_limits import AppLimits, limits_of
from backstay.limits.limit import Limit, as_text, read_limits
from backstay.limits.limited_route import LimitedRoutes
from backstay.limits.limiter import Fail, check_fail
from backstay.limits.port import Strategy, Verdict
from backstay.limits.subject import By, check_by, outcome_of, subject_of
from backstay.web.dependencies import exchange_of
from backstay.web.exchange import Exchange

__all__ = ["RateLimit", "rate_limit"]

Scope = Literal["route", "shared"]

_LINE: Final = "backstay.limits.add_limits(app)"
_HOW_MANY: Final = "backstay.limits.how_many"
"""Where the ASGI scope counts the limits that a request has come past."""

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}"
_LONGEST: Final = 256
"""Characters of a subject; keys that clients have a say in should not fill the memory."""

_OLD: Final = b"x-ratelimit-"


class RateLimit:
    """What ``rate_limit`` makes. Two of them share nothing, unless they have the same name.

    Attributes:
        limits: the shortest window first.
        name: by which counts are one in all processes, and which headers show; ``None``: the
            place where it stands says which they are.
        by: who is counted; ``None``: as ``add_limits`` says.
        strategy: how windows move on.
        fail: what happens while the counts are out of reach; ``None``: as ``add_limits`` says.
        scope: ``"route"``: each route counts by itself. ``"shared"``: all count together.
        is_default: it stands aside where a route has limits of its own.
    """

    def __init__(
        self,
        limits: tuple[Limit, ...],
        *,
        by: By | None = None,
        name: str | None = None,
        cost: int | Callable[[HTTPConnection], Any] = 1,
        fail: Fail | None = None,
        exempt: Callable[[HTTPConnection], Any] | None = None,
        scope: Scope = "route",
        strategy: Strategy = Strategy.MOVING,
        is_default: bool = False,
    ) -> None:
        self.limits = limits
        self.name = name
        self.by = by
        self.strategy = strategy
        self.fail = fail
        self.scope = scope
        self.is_default = is_default
        self._cost = cost
        self._exempt = exempt
        self._routes = LimitedRoutes()
        self._policies: dict[int, Policy] = {}

    async def __call__(self, connection: HTTPConnection) -> None:
        """Count a request, as FastAPI's dependency.

        Raises:
            RateLimited: there were too many.
            LimitsUnavailable: the counts are out of reach, and ``fail`` is ``"closed"``.
            NotInstalled: backstay is not switched on for the app.
        """
        scope = connection.scope
        if self.is_default and self._stands_aside(scope):
            return
        order = scope.get(_HOW_MANY, 0)
        scope[_HOW_MANY] = order + 1
        if self._exempt is not None and await outcome_of(self._exempt(connection)):
            return
        exchange = Exchange.of(scope) or exchange_of(connection, _LINE)
        app_limits = limits_of(exchange.app)
        by = app_limits.by if self.by is None else self.by
        subject = await subject_of(connection, by, exchange)
        cost = self._cost
        verdict = await app_limits.limiter.hit(
            self.key(subject, self._place(scope, order)),
            self.limits,
            cost=cost if isinstance(cost, int) else _checked(await outcome_of(cost(connection))),
            strategy=self.strategy,
            fail=self.fail,
        )
        if not verdict.allowed:
            raise self._refused(exchange, app_limits, verdict, order)
        if app_limits.headers:
            exchange.add_headers(self._policy(order).headers(verdict.counts))
            if app_limits.legacy_headers:
                _add_legacy(exchange, verdict)

    def key(self, subject: str, place: str = "") -> str:
        """Which count it is: who does what.

        Args:
            subject: who, as ``subject_of`` says it.
            place: the route, if each counts by itself.
        """
        if len(subject) > _LONGEST:
            subject = blake2b(subject.encode(errors="surrogatepass"), digest_size=16).hexdigest()
        return f"{self.name or ''}|{place}|{self._text}|{subject}"

    def as_default(self) -> "RateLimit":
        """The same for all routes that have no other."""
        return RateLimit(
            self.limits,
            by=self.by,
            name=self.name,
            cost=self._cost,
            fail=self.fail,
            exempt=self._exempt,
            scope=self.scope,
            strategy=self.strategy,
            is_default=True,
        )

    @cached_property
    def _text(self) -> str:
        return as_text(self.limits)

    def _place(self, scope: Mapping[str, Any], order: int) -> str:
        """Of a limit without a name also which of the route's limits it is, from the outside in."""
        if self.scope == "shared":
            return ""
        identity = self._routes.of(scope).identity
        return identity if self.name is not None else f"{order} {identity}"

    def _stands_aside(self, scope: Mapping[str, Any]) -> bool:
        return any(
            isinstance(each, RateLimit) and not each.is_default
            for each in self._routes.of(scope).calls
        )

    def _policy(self, order: int) -> Policy:
        policy = self._policies.get(order)
        if policy is None:
            name = self.name or ("default" if order == 0 else f"default-{order + 1}")
            policy = self._policies[order] = Policy(name, self.limits)
        return policy

    def _refused(
        self, exchange: Exchange, app_limits: AppLimits, verdict: Verdict, order: int
    ) -> RateLimited:
        headers: dict[str, str] = {}
        if app_limits.headers:
            policy = self._policy(order)
            headers = {
                "RateLimit-Policy": policy.policy,
                "RateLimit": policy.standing(verdict.counts),
            }
            if app_limits.legacy_headers:
                _drop_legacy(exchange)
                headers |= legacy_headers(verdict, exchange.app.clock.now())
        return RateLimited(retry_after_s=retry_after_s(verdict), headers=headers)

    def __repr__(self) -> str:
        name = "" if self.name is None else f", name={self.name!r}"
        return f"rate_limit({self._text!r}{name})"


def rate_limit(
    limits: str,
    *,
    by: By | None = None,
    name: str | None = None,
    cost: int | Callable[[HTTPConnection], Any] = 1,
    fail: Fail | None = None,
    exempt: Callable[[HTTPConnection], Any] | None = None,
    scope: Scope | None = None,
    strategy: Literal["moving", "sliding", "fixed"] = "moving",
) -> RateLimit:
    """Let so many requests pass, and answer the others with 429.

    A dependency for routes, routers and apps::

        @app.get("/search", dependencies=[Depends(rate_limit("10/minute;100/hour"))])
        async def search() -> list[Hit]: ...

    Answers carry ``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-10);
    a 429 has ``Retry-After`` besides. A request that is refused is not counted.

    Args:
        limits: as ``read_limits`` understands them. All of them hold.
        by: who is counted. ``"user"``: whoever the app's verifier says it is, and the address if
            that is nobody. ``"ip"``: the address, as ``client_address`` finds it; of IPv6 the
            network of 64 bits. ``"api_key"``: the API key that a user came with, each by itself.
            A function of the request, sync (and quick) or async: its text; ``None`` means the
            address. ``None``: what ``add_limits`` says, ``"user"`` without.
        name: for headers; and limits of the same name and numbers are one limit, in every process
            and wherever they stand.
        cost: how much a request is worth, at least 1; or a function that says so (0: nothing).
        fail: what happens while the counts are out of reach: ``"open"`` has each process count by
            itself, ``"closed"`` answers with 503. ``None``: what ``add_limits`` says, ``"open"``
            without.
        exempt: a function of the request; it is not counted if that says so.
        scope: ``"route"``: each route it stands at counts by itself. ``"shared"``: they count
            together, which needs a name. ``None``: ``"shared"`` with a name, else ``"route"``.
        strategy: ``"moving"``: never more in any window. ``"sliding"``: nearly that, from two
            counts. ``"fixed"``: windows begin at zero.

    Raises:
        BadLimit: it could never work; the message says why.
        MissingExtra: the library ``limits`` is not installed.
    """
    found = read_limits(limits)
    if name is not None and not (isinstance(name, str) and re.fullmatch(_NAME, name)):
        raise BadLimit(
            f"name={name!r} stands in headers: letters, digits, '_', '.', ':' and '-', 64 at most"
        )
    if scope not in (None, "route", "shared"):
        raise BadLimit(f'scope={scope!r} is neither "route" nor "shared"')
    if scope == "shared" and name is None:
        raise BadLimit('scope="shared" needs name=: by it all processes know which counts are one')
    if strategy not in tuple(Strategy):
        raise BadLimit(f"strategy={strategy!r}: it is one of {', '.join(Strategy)}")
    if not callable(cost) and (_checked(cost) < 1 or cost > found[0].amount):
        raise BadLimit(f"cost={cost!r} never fits into {limits!r}; it is at least 1, and no more")
    if exempt is not None and not callable(exempt):
        raise BadLimit(f"exempt={exempt!r} is to be a function of the request")
    return RateLimit(
        found,
        by=None if by is None else check_by(by),
        name=name,
        cost=cost,
        fail=None if fail is None else check_fail(fail),
        exempt=exempt,
        scope=scope or ("route" if name is None else "shared"),
        strategy=Strategy(strategy),
    )


def _checked(cost: object) -> int:
    if isinstance(cost, bool) or not isinstance(cost, int) or cost < 0:
        raise BadLimit(f"a cost is a whole number that is not negative; got {cost!r}")
    return cost


def _add_legacy(exchange: Exchange, verdict: Verdict) -> None:
    """Of several limits only the one that has least left: these headers have room for one."""
    for key, value in exchange.more_headers or ():
        if key == b"x-ratelimit-remaining" and int(value) <= verdict.remaining:
            return
    _drop_legacy(exchange)
    found = legacy_headers(verdict, exchange.app.clock.now())
    exchange.add_headers(
        [(key.encode("ascii"), each.encode("ascii")) for key, each in found.items()]
    )


def _drop_legacy(exchange: Exchange) -> None:
    exchange.more_headers = [
        pair for pair in exchange.more_headers or () if not pair[0].startswith(_OLD)
    ]
