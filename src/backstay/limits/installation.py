"""``add_limits(app)``: where limits are counted, and what happens when that is impossible."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Depends, FastAPI
from starlette.routing import Route

from backstay.app import Backstay
from backstay.clock import Clock
from backstay.errors import BadLimit
from backstay.ledger.opening import DEFAULT_URL
from backstay.limits.app_limits import AppLimits
from backstay.limits.limiter import Fail, Limiter, check_fail
from backstay.limits.opening import new_store
from backstay.limits.part import LimitsPart
from backstay.limits.rate_limit import RateLimit, rate_limit
from backstay.limits.subject import By, check_by
from backstay.web.installation import install

__all__ = ["add_limits"]


def add_limits(
    app: FastAPI,
    storage: Any = None,
    *,
    default: str | RateLimit | None = None,
    named: Mapping[str, str | RateLimit] | None = None,
    fail: Fail = "open",
    by: By = "user",
    headers: bool = True,
    legacy_headers: bool = False,
    clock: Clock | None = None,
    key_prefix: str = "backstay",
    timeout_s: float = 0.25,
    retry_after_s: float = 1.0,
    prune_every_s: float = 60.0,
) -> LimitsPart:
    """Say how an app's limits are counted. One line, once, where the app is made.

    ``rate_limit`` works without it: then each process counts for itself, in memory.

    Args:
        app: the FastAPI app you serve.
        storage: ``"memory"`` (one process), ``"redis://…"`` or a client of ``redis.asyncio``,
            a database's URL, ``Database`` or manager (any number of processes). ``None``: the
            setting ``BACKSTAY_LIMITS``, else the app's own database, else memory.
        default: a limit for each route that has none of its own. Say it before the app gets its
            routes. What FastAPI gives no dependencies (mounted apps, static files) it does not
            reach.
        named: limits for ``ctx.limits``, by their names.
        fail: what happens while the storage is out of reach: ``"open"`` has each process count by
            itself, ``"closed"`` answers with 503. A limit may say otherwise for itself.
        by: who is counted by limits that do not say; as for ``rate_limit``.
        headers: whether answers carry ``RateLimit-Policy`` and ``RateLimit``.
        legacy_headers: whether they carry ``X-RateLimit-Limit``, ``-Remaining`` and ``-Reset``,
            too.
        clock: ``None``: the app's.
        key_prefix: in front of every name in Redis, and with an underscore of the tables'.
        timeout_s: seconds that a store gets for an answer.
        retry_after_s: seconds for which a store that fails again and again is left alone.
        prune_every_s: seconds between two rounds of removing old counts from a database.

    Returns:
        The part: its ``limiter`` is for what runs outside of any piece of work.

    Raises:
        AlreadyInstalled: the app has limits.
        BadLimit: an option makes no sense, or the app has routes that ``default`` would not reach.
        MissingExtra: what the storage needs is not installed.
    """
    backstay = install(app)
    for what, value in (
        ("timeout_s", timeout_s),
        ("retry_after_s", retry_after_s),
        ("prune_every_s", prune_every_s),
    ):
        if isinstance(value, bool) or not (isinstance(value, int | float) and 0 < value < 1e9):
            raise BadLimit(f"{what}={value!r} is to be a number of seconds, more than 0")
    fail, by, time = check_fail(fail), check_by(by), clock or backstay.clock
    if storage is None:
        storage = backstay.settings.get("BACKSTAY_LIMITS")
    given = None if storage is None else new_store(storage, clock=time, key_prefix=key_prefix)

    def make() -> AppLimits:
        # Asked on first use: the app's database may be switched on after its limits.
        store = given
        if store is None:
            where = _database_of(app, backstay)
            store = new_store(
                "memory" if where is None else where, clock=time, key_prefix=key_prefix
            )
        limiter = Limiter(
            store, clock=time, fail=fail, timeout_s=timeout_s, retry_after_s=retry_after_s
        )
        return AppLimits(limiter, by=by, headers=headers, legacy_headers=legacy_headers)

    part = LimitsPart(
        backstay,
        make,
        named={name: _named(name, each) for name, each in (named or {}).items()},
        prune_every_s=prune_every_s,
    )
    usual = None if default is None else _usual(default, app)
    backstay.add(part)
    if usual is not None:
        app.router.dependencies.append(Depends(usual))
    return part


def _database_of(app: FastAPI, backstay: Backstay) -> Any:
    """The database of an app, ``None`` if it has named none: the file that durable tasks make where
    nobody has said anything is theirs alone.
    """
    if not backstay.has("db"):
        return getattr(app.state, "DATABASE_MANAGER", None)
    database = backstay.part("db").database  # type: ignore[attr-defined]  # the part named "db" is DatabasePart
    return None if database.url == DEFAULT_URL else database


def _named(name: str, limit: str | RateLimit) -> RateLimit:
    if isinstance(limit, RateLimit):
        if limit.scope != "shared":
            raise BadLimit(f"named={{{name!r}: {limit!r}}}: what is used by name is given one")
        return limit
    return rate_limit(limit, name=name)


def _usual(default: str | RateLimit, app: FastAPI) -> RateLimit:
    late = [
        each for each in app.routes if type(each) is not Route
    ]  # FastAPI's own pages are Routes
    if late:
        raise BadLimit(
            f"add_limits(app, default={default!r}) came after routes that it would not reach "
            f"({getattr(late[0], 'path', late[0])!r} is the first); say it right after app = "
            "FastAPI(), or name the limit where they are made"
        )
    found = rate_limit(default) if isinstance(default, str) else default
    return found.as_default()
