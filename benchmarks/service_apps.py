"""The apps that ``benchmarks.service`` serves: one route, ``GET /x``, guarded more and more."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from fastapi import Depends, FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware

from backstay.auth import BaseAuthJWT, jwt_auth
from backstay.db import MainDatabaseManager
from backstay.events import add_events
from backstay.limits import rate_limit
from backstay.pattern import base_pattern
from backstay.telemetry import add_telemetry
from benchmarks.served import ANSWER, plain

__all__ = ["SERVICE_APPS", "app_from_environment", "guarded"]

SECRET_KEY = "Zb7eXw9sQ1kLm4Vt0Rc6Ty3Hn8Uj5Pa2DgFo"
"""Of a service that nobody else reaches."""


class AuthJWT(BaseAuthJWT):
    async def check_auth(self, username: str, password: str) -> bool:
        return True


def full(app: FastAPI) -> FastAPI:
    """With everything that ``base_pattern`` can be given."""
    folder = Path(tempfile.mkdtemp(prefix="backstay-bench-"))
    (folder / "version.toml").write_text('version = "1.0.0"\n')
    base_pattern(
        app,
        timezone="Europe/Berlin",
        cache_status=True,
        debug=False,
        base_dir=folder,
        database_manager=MainDatabaseManager(f"sqlite:///{folder}/bench.db"),
        secret_key=SECRET_KEY,
        origins=["https://app.example"],
        useintegration=[],
    )
    return app


def by_hand() -> FastAPI:
    """The usual way: Starlette's CORS, and a function middleware for an id and a few headers."""
    app = plain()

    @app.middleware("http")
    async def add_headers(request: Request, call_next: RequestResponseEndpoint) -> Response:
        request_id = request.headers.get("x-request-id") or uuid.uuid4().hex
        response = await call_next(request)
        response.headers["X-Request-ID"] = request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Content-Security-Policy"] = "default-src 'none'"
        return response

    app.add_middleware(
        CORSMiddleware, allow_origins=["https://app.example"], allow_credentials=True
    )
    return app


def patterned() -> FastAPI:
    return full(plain())


def with_metrics() -> FastAPI:
    app = patterned()
    add_telemetry(app)
    return app


def with_events() -> FastAPI:
    app = patterned()
    add_events(app)
    return app


def limited() -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/x", dependencies=[Depends(rate_limit("1000000/second", by="ip"))])
    async def x() -> dict[str, bool]:
        return ANSWER

    return full(app)


def guarded() -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/x", dependencies=[Depends(jwt_auth)])
    async def x() -> dict[str, bool]:
        return ANSWER

    full(app)
    AuthJWT.mount_auth(app)
    return app


async def _let_pass() -> None: ...


def unguarded() -> FastAPI:
    """What ``guarded`` is compared with: a dependency that asks nobody."""
    app = FastAPI(openapi_url=None)

    @app.get("/x", dependencies=[Depends(_let_pass)])
    async def x() -> dict[str, bool]:
        return ANSWER

    return full(app)


SERVICE_APPS: dict[str, Callable[[], FastAPI]] = {
    "plain": plain,
    "plain, a second process": plain,
    "the usual middlewares by hand": by_hand,
    "base_pattern": patterned,
    "base_pattern, asked by another site's page": patterned,
    "base_pattern, a metrics page and spans": with_metrics,
    "base_pattern, events kept": with_events,
    "base_pattern, a dependency": unguarded,
    "base_pattern, rate_limit": limited,
    "base_pattern, jwt_auth": guarded,
}


def app_from_environment() -> FastAPI:
    """The app named in ``BENCH_APP``, for ``uvicorn --factory``."""
    return SERVICE_APPS[os.environ["BENCH_APP"]]()
