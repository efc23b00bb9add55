"""A service with logins, and stores that fail when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import httpx
from fastapi import FastAPI

from backstay.auth import AuthPart, BaseAuthJWT
from backstay.auth.memory_store import MemoryAuthStore
from backstay.auth.port import RefreshRecord, Revocation
from backstay.errors import TokensUncheckable
from backstay.testing import FakeClock
from backstay.web import install

__all__ = [
    "OTHER_SECRET",
    "SECRET",
    "FragileStore",
    "People",
    "bearer",
    "log_in",
    "mounted",
    "service",
]

SECRET = "Yk2p0n3ZsQ9vLr7wTgXc5bHd8mJf1aEuKiOo4qRtVyN"
OTHER_SECRET = "q8WmZt4Lx0RcNv7YbJs2HdGf6KpUe1TaIo9MzQwXyVu"


class People(BaseAuthJWT):
    """Everybody's password is his name twice."""

    async def check_auth(self, username: str, password: str) -> bool:
        return password == username * 2

    async def add_jwt_body(self, username: str) -> dict[str, Any]:
        return {"scope": "orders photos", "roles": ["admin"] if username == "ada" else []}


class FragileStore(MemoryAuthStore):
    """Out of reach while ``down``; counts how often it was asked for revocations."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.reads = 0
        self.before_rotation: Callable[[], Any] | None = None
        self.before_adding: Callable[[], Any] | None = None

    async def revocations(
        self, *, now: datetime, since: datetime | None = None
    ) -> Sequence[Revocation]:
        self.reads += 1
        self._look()
        return await super().revocations(now=now, since=since)

    async def revoke(self, *revocations: Revocation, now: datetime) -> None:
        self._look()
        await super().revoke(*revocations, now=now)

    async def add_refresh(self, record: RefreshRecord) -> None:
        self._look()
        if self.before_adding is not None:
            await self.before_adding()
        await super().add_refresh(record)

    async def end_session(self, session: str, *, now: datetime) -> bool:
        self._look()
        return await super().end_session(session, now=now)

    async def end_sessions(self, subject: str, *, now: datetime) -> list[str]:
        self._look()
        return await super().end_sessions(subject, now=now)

    async def rotate_refresh(self, *args: Any, **options: Any) -> Any:
        self._look()
        done = await super().rotate_refresh(*args, **options)
        if self.before_rotation is not None:
            await self.before_rotation()
        return done

    async def find_refresh(self, digest: bytes) -> RefreshRecord | None:
        self._look()
        return await super().find_refresh(digest)

    def _look(self) -> None:
        if self.down:
            raise TokensUncheckable("the store is out of reach")


def service(
    declared: Any = People, *, clock: FakeClock | None = None, **options: Any
) -> tuple[FastAPI, AuthPart]:
    """An app with logins at a clock of its own, and what guards it."""
    app = FastAPI()
    install(app, settings={}, env_file=None, clock=clock or FakeClock())
    return app, mounted(app, declared, **options)


def mounted(app: FastAPI, declared: Any = People, **options: Any) -> AuthPart:
    """What guards an app from now on; with a secret of the test's, unless it has keys."""
    if declared.KEYS is None:
        options.setdefault("secret_key", SECRET)
    options.setdefault("store", FragileStore())
    part = declared.mount_auth(app, **options)
    assert isinstance(part, AuthPart)
    return part


async def log_in(
    client: httpx.AsyncClient, name: str = "ada", **fields: str
) -> tuple[dict[str, str], str]:
    """The headers that a login gives a client, and its refresh token."""
    answer = await client.post("/token", data={"username": name, "password": name * 2, **fields})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return bearer(found["access_token"]), found.get("refresh_token", "")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
