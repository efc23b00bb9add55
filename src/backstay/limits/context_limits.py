"""``ctx.limits``: limits for what is no request, or only a part of one."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import HTTPConnection

from backstay.context import Context
from backstay.errors import BadLimit, ContextClosed, RateLimited
from backstay.limits.answer_headers import retry_after_s
from backstay.limits.app_limits import AppLimits
from backstay.limits.port import Verdict
from backstay.limits.rate_limit import RateLimit
from backstay.limits.subject import subject_of, subject_of_user
from backstay.web.exchange import Exchange

__all__ = ["ContextLimits"]

_EVERYBODY = "all"


class ContextLimits:
    """What ``ctx.limits`` is.

    Every limit here has a name: it is one of ``add_limits(app, named={"exports": "10/hour"})``,
    or a ``rate_limit("10/hour", name="exports")``, whose ``by`` counts where there is a request.

    Args:
        app_limits: the app's.
        named: limits by their names.
        ctx: the piece of work.
    """

    def __init__(self, app_limits: AppLimits, named: Mapping[str, RateLimit], ctx: Context) -> None:
        self._app_limits = app_limits
        self._named = named
        self._ctx = ctx

    async def hit(
        self, limit: str | RateLimit, subject: str | None = None, *, cost: int = 1
    ) -> Verdict:
        """Count something, or stop here if there has been too much of it.

        Args:
            limit: its name, or itself.
            subject: who is counted. ``None``: in a request, whoever the limit says sends it;
                elsewhere the user if the work has one, else everybody together.
            cost: how much it is, at least 1.

        Raises:
            RateLimited: there is no room for that much; ``retry_after_s`` says when there is.
            LimitsUnavailable: the counts are out of reach, and the limit fails closed.
            BadLimit: there is no limit of that name.
        """
        found = self._find(limit)
        verdict = await self._app_limits.limiter.hit(
            found.key(await self._subject(found, subject)),
            found.limits,
            cost=_at_least_one(cost),
            strategy=found.strategy,
            fail=found.fail,
        )
        if not verdict.allowed:
            raise RateLimited(retry_after_s=retry_after_s(verdict))
        return verdict

    async def check(
        self, limit: str | RateLimit, subject: str | None = None, *, cost: int = 1
    ) -> Verdict:
        """Whether there is room for something. Nothing is counted, or raised if there is none.

        By the time it is counted there may not be, any more. For the rest it is as ``hit``.
        """
        found = self._find(limit)
        return await self._app_limits.limiter.check(
            found.key(await self._subject(found, subject)),
            found.limits,
            cost=_at_least_one(cost),
            strategy=found.strategy,
            fail=found.fail,
        )

    async def clear(self, limit: str | RateLimit, subject: str | None = None) -> None:
        """Forget what was counted: after a successful login, say. Arguments are as for ``hit``.

        Raises:
            LimitsUnavailable: the store of the counts is out of reach.
        """
        found = self._find(limit)
        await self._app_limits.limiter.clear(
            found.key(await self._subject(found, subject)), found.limits, strategy=found.strategy
        )

    def _find(self, limit: str | RateLimit) -> RateLimit:
        if isinstance(limit, RateLimit):
            if limit.name is None or limit.scope != "shared":
                raise BadLimit(
                    f"{limit!r} counts for the route it stands at, and there is none here; give it "
                    "a name, by which it is known everywhere: rate_limit(..., name='exports')"
                )
            return limit
        if limit not in self._named:
            known = ", ".join(self._named) or "none"
            raise BadLimit(
                f"no limit is called {limit!r}; add_limits(app, named={{{limit!r}: '10/hour'}}) "
                f"makes one. There are: {known}"
            )
        return self._named[limit]

    async def _subject(self, limit: RateLimit, subject: str | None) -> str:
        if subject is not None:
            return f"by:{subject}"
        by = self._app_limits.by if limit.by is None else limit.by
        work = self._ctx.work
        if isinstance(work, Exchange) and work.scope is not None:
            return await subject_of(HTTPConnection(work.scope), by, work)
        try:
            user = self._ctx.user
        except ContextClosed:
            user = None  # nobody asked who it was, and now it is too late
        return _EVERYBODY if user is None else subject_of_user(user, by)


def _at_least_one(cost: object) -> int:
    if isinstance(cost, bool) or not isinstance(cost, int) or cost < 1:
        raise BadLimit(f"cost={cost!r} is to be a whole number, at least 1")
    return cost
