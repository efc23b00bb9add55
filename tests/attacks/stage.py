"""One realistic service that attacks are played against, and what has to be true afterwards."""

from __future__ import annotations

import asyncio
import functools
import logging
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

import httpx
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI
from pwdlib import PasswordHash
from sqlalchemy import func, select

from backstay.auth import AuthPart, LoginThrottle, Passwords
from backstay.db import MainDatabaseManager
from backstay.events import add_events
from backstay.pattern import base_pattern
from backstay.telemetry import add_metrics
from backstay.testing import FakeClock, RunningApp, running
from backstay.web import install
from tests.attacks.premises import (
    GUARDED,
    PROFILE,
    SOCKET,
    ArticleRow,
    Base,
    CountingHasher,
    Person,
    Shopkeeping,
    article_routes,
    fill,
    partner_app,
    routes,
)
from tests.ledger.databases import quick_directory
from tests.recipes.servers import served
from tests.web.by_hand import ByHand

__all__ = [
    "GUARDED",
    "OTHER_SECRET",
    "PROFILE",
    "SECRET",
    "SOCKET",
    "Log",
    "Person",
    "Stage",
    "Standing",
    "assert_problem",
    "assert_refused",
    "bearer",
    "from_address",
    "no_internals",
    "service",
    "watched_log",
]

P = ParamSpec("P")
R = TypeVar("R")

SECRET = "Yk2p0n3ZsQ9vLr7wTgXc5bHd8mJf1aEuKiOo4qRtVyNw6BzS9hM2fUe0CjP7xWlD"
OTHER_SECRET = "q8WmZt4Lx0RcNv7YbJs2HdGf6KpUe1TaIo9MzQwXyVuB5nA3rEi8FkDlPjC6hSgO"

# What an answer has where it shows its inside.
_INSIDE = ("Traceback", 'File "', "site-packages", "backstay.", "sqlalchemy", "$argon2", "SELECT ")
_MEMBERS = {
    *("type", "title", "status", "detail", "instance", "error_id", "correlation_id", "datetime"),
    *("error", "error_description", "errors"),  # RFC 6749 §5.2; of forms that are none
}


@dataclass
class Stage:
    """The service while it runs.

    Attributes:
        app: the app.
        client: talks to it from 127.0.0.1, by the wire if ``service(wire=True)``.
        inside: the same without the wire, and ``inside.ctx`` for the app's own code.
        people: who may log in: ada the admin, bob the customer, eve who may do nothing.
        clock: the app's.
        reached: what the guarded endpoints noted when they ran: nothing, after an attack.
        hasher: counts how often a password was hashed to compare it.
        manager: the app's database.
        folder: where its file is, if it is SQLite's.
    """

    app: FastAPI
    client: httpx.AsyncClient
    inside: RunningApp
    people: dict[str, Person]
    clock: FakeClock
    reached: list[str]
    hasher: CountingHasher
    manager: MainDatabaseManager
    folder: Path

    @property
    def auth(self) -> AuthPart:
        found = self.app.state.auth_jwt
        assert isinstance(found, AuthPart)
        return found

    async def log_in(self, name: str, **fields: str) -> dict[str, Any]:
        """What ``/token`` answers to somebody who knows the password."""
        form = {"username": name, "password": f"{name} of the shop", **fields}
        answer = await self.client.post("/token", data=form)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def token(self, name: str, **fields: str) -> str:
        """An access token of somebody's."""
        return str((await self.log_in(name, **fields))["access_token"])

    async def refresh(self, refresh_token: str | bytes, **fields: Any) -> httpx.Response:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, **fields}
        return await self.client.post("/token", data=form)

    async def api_key(
        self, owner: str = "ada", scopes: Collection[str] = ("orders",), **options: Any
    ) -> str:
        """A new API key."""
        made = await self.auth.api_keys.create(owner, name="scanner", scopes=scopes, **options)
        return made.key

    async def send(self, route: str, **options: Any) -> httpx.Response:
        """A request to one of ``GUARDED``; to the one that writes, with something to write."""
        method, path = GUARDED[route]
        if (method, path) == ("POST", "/articles"):
            options.setdefault("json", {"title": "written by a stranger"})
        return await self.client.request(method, path, **options)

    async def connect(self, headers: Mapping[str, str] | list[tuple[str, str]]) -> int:
        """A WebSocket's handshake: 101 if it is taken, else the status it is refused with."""
        call = ByHand(
            self.app,
            SOCKET,
            kind="websocket",
            headers=headers,
            extensions={"websocket.http.response": {}},
        )
        call.give({"type": "websocket.disconnect", "code": 1000})
        await call.run()
        first = call.sent[0]
        return 101 if first["type"] == "websocket.accept" else int(first["status"])

    async def is_in(self, token: str) -> bool:
        """Whether a token counts, asked where that leaves no trace in ``reached``."""
        answer = await self.client.get("/check_protected", headers=bearer(token))
        assert answer.status_code in (200, 401), answer.text
        return answer.status_code == 200

    async def articles(self) -> int:
        async with self.manager.asession() as session:
            return int(await session.scalar(select(func.count()).select_from(ArticleRow)) or 0)

    async def assert_untouched(self) -> None:
        """No endpoint has run, and nothing was written or deleted."""
        assert self.reached == []
        assert await self.articles() == 1

    async def assert_nowhere(self, *secrets: str) -> None:
        """None of these is in a file of the database's, events, sessions and keys included."""
        await self.inside.ctx.events.flush()
        files = await asyncio.to_thread(
            lambda: b"".join(path.read_bytes() for path in sorted(self.folder.glob("shop.db*")))
        )
        assert b"backstay_" in files
        for secret in secrets:
            assert secret.encode() not in files


@asynccontextmanager
async def service(
    folder: Path | None = None,
    *,
    wire: bool = False,
    clock: FakeClock | None = None,
    url: str | None = None,
    secret_key: str | None = SECRET,
    terms: Mapping[str, Any] | None = None,
    client_limits: LoginThrottle | bool = False,
    fastapi: Mapping[str, Any] | None = None,
    **pattern: Any,
) -> AsyncIterator[Stage]:
    """The service, running.

    Args:
        folder: for its database, unless there is a ``url``. ``None``: one that is gone afterwards.
        wire: serve it by uvicorn on a free port; else requests go straight into it.
        clock: ``None``: one of its own, which stands still.
        url: of the database; two services may have the same one.
        secret_key: for ``base_pattern``.
        terms: attributes of the class below ``BaseAuthJWT``, such as ``KEYS``.
        client_limits: for ``mount_auth``; off, for most attacks try more than anybody may.
        fastapi: for ``FastAPI(...)``.
        pattern: for ``base_pattern(...)``.
    """
    with tempfile.TemporaryDirectory(dir=quick_directory()) as temporary:
        folder = Path(temporary) if folder is None else folder
        url = url or f"sqlite:///{folder / 'shop.db'}"
        manager = MainDatabaseManager(url, DEV_STATUS=True, base=Base)
        hasher = CountingHasher()
        passwords = Passwords(PasswordHash((hasher,)))
        people = {
            "ada": Person(["articles", "orders"], ["admin"]),
            "bob": Person(["orders"], []),
            "eve": Person([], []),
        }
        reached: list[str] = []
        try:
            await fill(manager, people, passwords)
            clock = clock or FakeClock()
            app = FastAPI(title="Shop", **(fastapi or {}))
            install(app, settings={}, env_file=None, clock=clock)
            base_pattern(
                app,
                routers=[routes(reached), article_routes()],
                debug=False,
                database_manager=manager,
                secret_key=secret_key,
                **{"origins": ["https://shop.example"], **pattern},
            )
            add_events(app)
            add_metrics(app)
            app.mount("/partners", partner_app(reached))
            declared = type("AuthJWT", (Shopkeeping,), dict(terms or {}))
            declared(people, passwords, manager).mount_auth(app, client_limits=client_limits)
            async with running(app, raise_app_exceptions=False) as inside:
                stage = Stage(app, inside, inside, people, clock, reached, hasher, manager, folder)
                if not wire:
                    yield stage
                else:
                    async with served(_Requests(app)) as stage.client:
                        yield stage
        finally:
            passwords.close()
            await manager.dispose()


class Standing:
    """Services that stay up for many attacks, in a thread of their own: ``with Standing() as …``."""

    def __init__(self) -> None:
        self._stages: dict[str, Stage] = {}

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal())
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def stage(self, name: str = "", **options: Any) -> Stage:
        """The service of that name; made with these options when it is asked for first."""
        if name not in self._stages:
            made = self._portal.wrap_async_context_manager(service(**options))
            self._stages[name] = self._stack.enter_context(made)
        found = self._stages[name]
        found.reached.clear()
        return found

    def run(self, call: Callable[P, Awaitable[R]], *args: P.args, **options: P.kwargs) -> R:
        """Await something where the services are."""
        return self._portal.call(functools.partial(call, *args, **options))


class _Requests:
    """An app without its lifespan: somebody else runs that."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})


@asynccontextmanager
async def from_address(stage: Stage, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client somewhere else."""
    transport = httpx.ASGITransport(
        app=stage.app, raise_app_exceptions=False, client=(address, 4711)
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def assert_problem(answer: httpx.Response, *statuses: int) -> None:
    """It is refused with one of these, as problem details (RFC 9457), and shows no inside."""
    assert answer.status_code in statuses, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert set(body) <= _MEMBERS
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    no_internals(answer)


async def assert_refused(stage: Stage, *shown: str | bytes) -> None:
    """Nobody gets in with these for a bearer token, at no route, and nothing happens."""
    for each in shown:
        value = b"Bearer " + (each.encode() if isinstance(each, str) else each)
        for route in GUARDED:
            answer = await stage.send(route, headers=[(b"Authorization", value)])
            assert_problem(answer, 401)
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert await stage.connect([("Authorization", value.decode("latin-1"))]) == 401
    await stage.assert_untouched()


def no_internals(answer: httpx.Response) -> None:
    """Nothing of how the service is made is in an answer, its headers included."""
    said = answer.text + "".join(f"\n{name}: {value}" for name, value in answer.headers.items())
    for inside in (*_INSIDE, SECRET, OTHER_SECRET):
        assert inside not in said


class Log(logging.Handler):
    """Everything that was logged, as it would be written, and the fields of the records."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.fields: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.fields.append(dict(vars(record)))

    @property
    def text(self) -> str:
        return "\n".join([*self.lines, *map(str, self.fields)])


@contextmanager
def watched_log() -> Iterator[Log]:
    """All that is logged meanwhile, the DEBUG records of backstay included."""
    log = Log()
    root, backstay = logging.getLogger(), logging.getLogger("backstay")
    level = backstay.level
    backstay.setLevel(logging.DEBUG)
    root.addHandler(log)
    try:
        yield log
    finally:
        root.removeHandler(log)
        backstay.setLevel(level)
