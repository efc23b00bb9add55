"""``base_pattern(app)``: one call that turns a FastAPI app into a service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, FastAPI
from pydantic import SecretStr

from backstay.app import Backstay
from backstay.errors import AlreadyInstalled, BadPattern
from backstay.pattern.guards import Guards, add_guards
from backstay.pattern.health import Health, HealthCheck, read_checks
from backstay.pattern.health_checks import checks_of
from backstay.pattern.health_routes import add_health_routes
from backstay.pattern.integrations import (
    DocumentedIntegration,
    read_integration_docs,
    read_integrations,
    use_integrations,
)
from backstay.pattern.part import PatternPart
from backstay.pattern.project import description_of, version_of
from backstay.pattern.routers import COMMON_TAG, add_tags, include, read_routers
from backstay.pattern.secret_key import read_secret_key, use_secret_key
from backstay.web.allowed_hosts import read_hosts
from backstay.web.body_limits import BodyBounds
from backstay.web.cors import read_origins
from backstay.web.installation import install
from backstay.web.problem_titles import Titles
from backstay.web.security_headers import read_security_headers

if TYPE_CHECKING:
    from backstay.db.manager import MainDatabaseManager
    from backstay.integration.page.installation import Access

__all__ = ["base_pattern"]


def base_pattern(
    app: FastAPI,
    routers: Iterable[APIRouter] | None = None,
    timezone: tzinfo | str | None = None,
    cache_status: bool | None = None,
    debug: bool | None = None,
    base_dir: str | Path | None = None,
    database_manager: MainDatabaseManager | None = None,
    secret_key: str | SecretStr | None = None,
    origins: Iterable[str] | None = None,
    useintegration: Iterable[DocumentedIntegration] | None = None,
    *,
    trusted_proxies: Iterable[str] | None = None,
    allowed_hosts: Iterable[str] | None = None,
    titles: Mapping[str, Mapping[int, str]] | None = None,
    max_body_bytes: int | None = 10 * 2**20,
    body_timeout_s: float | None = 30.0,
    security_headers: Mapping[str, str | None] | bool = True,
    hsts: bool | int | str = False,
    health: bool = True,
    checks: Mapping[str, HealthCheck | Callable[[], Awaitable[object]]] | None = None,
    problem_details: bool = True,
    timing: bool | None = None,
    version: str | None = None,
    settings: Mapping[str, Any] | object | None = None,
    integration_docs: Access = None,
) -> Backstay:
    """Turn an app into a service that can be operated. One call, where the app is made.

    Everything may be left away, and ``None`` leaves alone what it is about. What is given is
    looked over first: if something will not do, the app is as it was. Middlewares, routes and
    parts (``add_tasks`` and its like) may be added before and after.

    Args:
        app: the FastAPI app you serve.
        routers: are included, and their view sets (``router.views``) documented.
        timezone: the zone the service thinks in: a ``zoneinfo.ZoneInfo``, one of pytz's, or a
            name. ``None``: as ``app.state.TIMEZONE`` says, else UTC.
        cache_status: ``app.state.CACHE_STATUS``, for code that asks.
        debug: development: errors with their traceback, a log line for each request, weak
            secret keys. ``None``: as ``FastAPI(debug=)`` says.
        base_dir: the project's directory. Its ``README.md`` becomes the documentation's
            description, if the app has none; ``version.toml`` or ``pyproject.toml`` says the version.
        database_manager: the app's database, as ``add_database(app, manager)`` takes it.
        secret_key: what tokens, cursors and sealed arguments are secured with; several, separated
            by commas, the newest first.
        origins: whose pages may read answers, with credentials (``["https://shop.example"]``), or
            ``["*"]``: everybody's, without. ``None``: nobody's but the service's own.
        useintegration: declared integrations, as ``app.state.USEINTEGRATION``. Their connections
            are closed with the app (``add_integrations``), and ``/docintegration`` shows them.
        trusted_proxies: addresses and networks whose word about a client's address counts.
            ``None``: nobody's.
        allowed_hosts: names the service answers to (``["shop.example", "*.shop.example"]``); others
            get 400, except from the ``/livez`` and ``/readyz`` that are added here. ``None``: any.
        titles: of problems, by language and status: ``{"de": {404: "Nicht gefunden"}}``.
        max_body_bytes: how large a request's body may be; 413 beyond. A route may say otherwise:
            ``body_limits``, or FastAPI's ``max_body_size``.
        body_timeout_s: seconds that a body may take, besides a second for each 1000 bytes; 408
            beyond.
        security_headers: ``True``: those of ``read_security_headers``; a mapping changes them.
        hsts: ``Strict-Transport-Security``: a year, or so many seconds, or the value.
        health: whether ``/healthcheck``, ``/livez`` and ``/readyz`` are added.
        checks: what readiness asks besides the app's parts: by name, async functions (which fail
            by raising or returning ``False``) or ``HealthCheck`` objects.
        problem_details: whether all errors are answered in one format (``add_problem_details``).
        timing: whether answers say how long they took (``X-Process-Time``, ``Server-Timing``).
            ``None``: in debug mode. Times tell strangers what an endpoint did.
        version: the app's. ``None``: what ``base_dir`` says, else as it is.
        settings: as for ``install``.
        integration_docs: who may see ``/docintegration``, which is there if ``useintegration`` is
            given. ``None``: everybody in debug mode, otherwise nobody; ``True``: everybody; a
            dependency: whom it lets pass; ``False``: there is no such page.

    Returns:
        The app's ``Backstay``.

    Raises:
        AlreadyInstalled: it was called for this app; or the app has another database, or
            ``settings`` came too late.
        BadPattern: something that is given could never work, or not safely.
        WeakSecret: ``secret_key`` is weak, outside of debug mode.
        TypeError: ``app``, a router or an integration is something else.
        RuntimeError: the app has started.
        MissingExtra: what something needs is not installed.
    """
    if not isinstance(app, FastAPI):
        raise TypeError(
            f"base_pattern() needs a FastAPI app, got {app!r} of type {type(app).__qualname__}"
        )
    if app.middleware_stack is not None:
        raise RuntimeError(
            "base_pattern(app) came after the app had started; call it where the app is made"
        )
    for what, switch in (("debug", debug), ("cache_status", cache_status), ("timing", timing)):
        if switch is not None and not isinstance(switch, bool):
            raise BadPattern(f"{what}= is True, False or None; got {switch!r}")
    for what, switch in (("health", health), ("problem_details", problem_details)):
        if not isinstance(switch, bool):
            raise BadPattern(f"{what}= is True or False; got {switch!r}")
    if version is not None and not (isinstance(version, str) and version.strip()):
        raise BadPattern(f'version= is a text, such as "1.10"; got {version!r}')
    in_debug = app.debug if debug is None else debug
    found_routers = read_routers(routers)
    zone = _read_zone(timezone)
    project = None if base_dir is None else _read_directory(base_dir)
    key = read_secret_key(secret_key, debug=in_debug)
    integrations = read_integrations(useintegration)
    docs = read_integration_docs(integration_docs)
    proxies = _read_proxies(trusted_proxies)
    guards = Guards(
        origins=read_origins(origins),
        hosts=read_hosts(allowed_hosts),
        headers=read_security_headers(security_headers, hsts=hsts),
        bounds=BodyBounds(max_bytes=max_body_bytes, timeout_s=body_timeout_s),
        timing=in_debug if timing is None else timing,
        log=in_debug,
    )
    own_checks = read_checks(checks or {})
    _check_manager(database_manager)
    if titles is not None:
        Titles(titles)  # looked over now: they are used when all else is done
    found_version = version_of(project) if version is None and project is not None else version
    description = None if project is None or app.description else description_of(project)

    backstay = install(app) if settings is None else install(app, settings=settings)
    if backstay.has(PatternPart.attribute):
        raise AlreadyInstalled(
            "base_pattern(app) was called for this app already; call it once, with everything"
        )
    if database_manager is not None:
        _use_database(app, backstay, database_manager)
    if debug is not None:
        app.debug = app.state.DEBUG = debug
    if zone is not None or getattr(app.state, "TIMEZONE", None) is None:
        app.state.TIMEZONE = UTC if zone is None else zone
    if cache_status is not None:
        app.state.CACHE_STATUS = cache_status
    if key is not None:
        use_secret_key(app, backstay, key)
    if useintegration is not None:
        app.state.USEINTEGRATION = integrations
    if found_version is not None:
        app.version = found_version
    if description is not None:
        app.description = description
    if proxies:
        backstay.trusted_proxies = proxies
    add_guards(app, backstay, guards)
    part = PatternPart(Health({**checks_of(backstay), **own_checks}, backstay.clock))
    backstay.add(part)
    include(app, found_routers)
    if useintegration is not None:
        use_integrations(app, integrations, docs=docs)
    if health:
        add_health_routes(app, part)
        add_tags(app, [COMMON_TAG])
    if problem_details:
        from backstay.web.error_handlers import add_problem_details

        add_problem_details(app, titles=titles)
    return backstay


def _read_zone(timezone: tzinfo | str | None) -> tzinfo | None:
    if timezone is None or isinstance(timezone, tzinfo):
        return timezone
    if not isinstance(timezone, str):
        raise BadPattern(
            f"timezone= is a ZoneInfo, a zone of pytz's or a name; got {timezone!r} of type "
            f"{type(timezone).__qualname__}"
        )
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadPattern(
            f"timezone={timezone!r}: there is no zone of that name; write one such as "
            "'Europe/Berlin', and install tzdata where the system has no zones"
        ) from error


def _read_directory(base_dir: str | Path) -> Path:
    found = Path(base_dir)
    if not found.is_dir():
        raise BadPattern(
            f"base_dir={str(base_dir)!r} is no directory; give that of the project, such as "
            "Path(__file__).parent"
        )
    return found


def _read_proxies(given: Iterable[str] | None) -> tuple[Any, ...]:
    proxies = [given] if isinstance(given, str) else list(given or ())
    if not proxies:
        return ()
    from backstay.web.client_address import read_networks

    return tuple(read_networks(proxies))


def _check_manager(manager: object) -> None:
    if manager is None:
        return
    from backstay.db.manager import MainDatabaseManager

    if not isinstance(manager, MainDatabaseManager):
        raise BadPattern(
            f"database_manager= is a MainDatabaseManager; got one of type "
            f"{type(manager).__qualname__}: MainDatabaseManager(url) makes one, and "
            "add_database(app, url) does without"
        )


def _use_database(app: FastAPI, backstay: Backstay, manager: MainDatabaseManager) -> None:
    from backstay.db.installation import add_database
    from backstay.db.part import DatabasePart

    if not backstay.has(DatabasePart.attribute):
        add_database(app, manager)
    else:
        part = backstay.part(DatabasePart.attribute)
        assert isinstance(part, DatabasePart)
        if part.database is not manager.database:
            raise AlreadyInstalled(
                f"the app has the database {part.database.url} already, and database_manager= is "
                f"for {manager.database.url}; give it to one of add_database() and base_pattern()"
            )
    app.state.DATABASE_MANAGER = manager
