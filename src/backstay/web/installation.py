"""``install(app)``: backstay around one FastAPI app."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount
from starlette.types import ASGIApp

from backstay.app import Backstay
from backstay.clock import Clock
from backstay.errors import AlreadyInstalled, BackstayError, NotInstalled
from backstay.log import configure_logging
from backstay.settings import Settings
from backstay.web.middleware import BackstayMiddleware
from backstay.web.problems import answer_error
from backstay.web.users import UserVerifier

__all__ = ["install", "installed", "mounted_apps"]

_DEFAULT_ENV_FILE = ".env"
_DEFAULT_HEADER = "X-Request-ID"
_MOST_LAYERS = 20
"""Middlewares around a mounted app that are looked through."""


def install(
    app: Starlette,
    *,
    settings: Mapping[str, Any] | object | None = None,
    env_file: str | Path | None = _DEFAULT_ENV_FILE,
    verify_user: UserVerifier | None = None,
    correlation_header: str = _DEFAULT_HEADER,
    json_logs: bool | None = None,
    clock: Clock | None = None,
    logger: logging.Logger | None = None,
) -> Backstay:
    """Put backstay around a FastAPI app. ``add_tasks(app)`` and its like do this by themselves.

    Call it yourself, before them, to choose options.

    Args:
        app: the FastAPI app. It must not have served or started yet.
        settings: values for ``ctx.settings`` that win over the environment, or a
            pydantic-settings model to use instead of it. ``None`` means environment and ``.env``.
        env_file: read when a setting is in neither; ``None`` reads none.
        verify_user: finds out ``ctx.user``. ``None`` leaves every request anonymous.
        correlation_header: carries the correlation id, both ways.
        json_logs: ``True`` or ``False`` sets up the process's logging with
            ``configure_logging`` (JSON lines or text). ``None`` leaves logging alone.
        clock: time for all parts; tests pass a ``FakeClock``. ``None`` means the machine's.
        logger: the logger under ``ctx.logger``. ``None`` means the one named ``"app"``.

    Returns:
        The app's ``Backstay``. A second call without options returns the same one.

    Raises:
        AlreadyInstalled: a second call with options; the first one's hold.
        TypeError: ``app`` is no Starlette or FastAPI application, or ``settings`` has no values.
        RuntimeError: ``app`` has started already.
    """
    if not isinstance(app, Starlette):
        raise TypeError(
            f"install() needs a FastAPI app, got {app!r} of type {type(app).__qualname__}"
        )
    given = any(each is not None for each in (settings, verify_user, json_logs, clock, logger))
    given = given or (env_file, correlation_header) != (_DEFAULT_ENV_FILE, _DEFAULT_HEADER)
    existing: Backstay | None = getattr(app.state, "backstay", None)
    if existing is not None:
        if given:
            raise AlreadyInstalled(
                "install(app, ...) came after backstay was installed (by add_tasks(app), say); "
                "call install with its options first"
            )
        return existing
    if app.middleware_stack is not None:
        raise RuntimeError(
            "install(app) came after the app had started; call it where the app is made"
        )

    def read_env_file() -> Mapping[str, Any]:
        values = {} if env_file is None else dotenv_values(env_file)
        return {name: value for name, value in values.items() if value is not None}

    backstay = Backstay(
        settings=Settings(settings, fallback=read_env_file), clock=clock, logger=logger
    )
    backstay.verifier = verify_user
    backstay.correlation_header = correlation_header
    backstay.app_state = app.state
    if json_logs is not None:
        configure_logging(as_json=json_logs)
    app.state.backstay = backstay
    build = app.build_middleware_stack

    def build_inside_backstay() -> ASGIApp:
        # Mounted apps are known by now. Each answers its own errors, so each has to be told how.
        for each in (app, *mounted_apps(app.routes)):
            each.exception_handlers.setdefault(BackstayError, answer_error)
        return BackstayMiddleware(build(), backstay, correlation_header)

    # add_middleware() would put us inside Starlette's ServerErrorMiddleware, whose 500s would
    # then lack the correlation id; this public method is where the outermost layer is chosen.
    app.build_middleware_stack = build_inside_backstay  # type: ignore[method-assign]  # on this one app only
    return backstay


def installed(app: Starlette) -> Backstay:
    """The ``Backstay`` of an app.

    Raises:
        NotInstalled: neither ``install(app)`` nor an ``add_…(app)`` was called.
    """
    backstay: Backstay | None = getattr(app.state, "backstay", None)
    if backstay is None:
        raise NotInstalled(
            f"backstay is not switched on for {app!r}: call backstay.web.install(app)"
        )
    return backstay


def mounted_apps(routes: list[BaseRoute]) -> list[Starlette]:
    """Every application mounted below ``routes``, at any depth, that is not built yet."""
    found: list[Starlette] = []
    for route in routes:
        if isinstance(route, Mount | Host):
            inner = _inside(route.app)
            if isinstance(inner, Starlette) and inner.middleware_stack is None:
                found.append(inner)
            found.extend(mounted_apps(list(route.routes or [])))
        elif (included := getattr(route, "original_router", None)) is not None:
            # Newer versions of FastAPI keep an included router as one route.
            found.extend(mounted_apps(included.routes))
    return found


def _inside(app: Any) -> Any:
    """The app inside the middlewares that a mount has put around it."""
    for _ in range(_MOST_LAYERS):
        if isinstance(app, Starlette) or not hasattr(app, "app"):
            break
        app = app.app
    return app
