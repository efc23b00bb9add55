"""The shop in this process, and who supplies it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from backstay.testing import RunningApp, enqueued, running
from backstay.web import installed
from examples.shop.accounts import add_account
from examples.shop.app import create_app
from examples.shop.audit import audit, collect
from examples.shop.models import Role
from examples.shop.processes import THIRD_PARTIES, Service, settings_for, third_parties

RELIABLE = dict.fromkeys(THIRD_PARTIES, 0.0)
SETTLED_S = 15.0

Headers = dict[str, str]
"""What a request shows of who sends it."""


@dataclass
class Town:
    """The shop, who supplies it, and where its orders are kept.

    Attributes:
        admin: an admin who is logged in.
    """

    app: FastAPI
    shop: RunningApp
    services: Mapping[str, Service]
    database: Path
    admin: Headers = field(default_factory=dict)

    async def order(self, request_id: str, card: str = "tok_visa", **items: int) -> httpx.Response:
        """A guest's order."""
        body = wanted(card=card, **items)
        return await self.shop.post("/orders", json=body, headers={"X-Request-ID": request_id})

    async def login(self, email: str, role: Role = "customer") -> Headers:
        """An account that is logged in, and has no password that would have to be hashed."""
        async with self.app.state.shop.new_session() as session, session.begin():
            await add_account(session, email, "no password", role)
        grant = await installed(self.app).part("auth").issue(email)
        return {"Authorization": f"Bearer {grant.access_token}"}

    async def key(self, *scopes: str) -> tuple[str, Headers]:
        """An API key: its id, and what a request with it shows."""
        new = (
            await installed(self.app)
            .part("auth")
            .api_keys.create("warehouse: test", name="test", scopes=scopes)
        )
        return new.record.id, {"X-API-Key": new.key}

    async def settle(self) -> None:
        """Until nothing is left to do, pauses before the next attempts included."""
        async with asyncio.timeout(SETTLED_S):
            await self.shop.tasks.settle()
            while not all(job.finished for job in await enqueued(self.shop)):
                await asyncio.sleep(0.02)

    async def details(self, order_id: int) -> Any:
        return (await self.shop.get(f"/orders/{order_id}", headers=self.admin)).json()

    async def books(self) -> Any:
        books, silent = await collect(self.services)
        assert silent == []
        return books

    async def wrong(self, *accepted: int) -> list[str]:
        """What the audit finds, these orders having been accepted."""
        return audit(self.database, await self.books(), set(accepted))


def wanted(email: str = "ada@example.com", card: str = "tok_visa", **items: int) -> dict[str, Any]:
    """An order as it is sent."""
    listed = [{"sku": sku, "quantity": quantity} for sku, quantity in items.items()]
    return {"email": email, "card": card, "items": listed}


@asynccontextmanager
async def town(
    directory: Path,
    *,
    seed: str = "0",
    failures: Mapping[str, float] | None = None,
    **settings: str,
) -> AsyncIterator[Town]:
    async with (
        third_parties(seed=seed, failures=failures) as services,
        _opened(directory, services, {**settings_for(services), **settings}) as here,
    ):
        yield here


@asynccontextmanager
async def shop_alone(directory: Path, **settings: str) -> AsyncIterator[Town]:
    """The same for tests in which nothing has to be paid: nobody would take the money."""
    nowhere = {f"{name.upper()}_URL": "http://127.0.0.1:9" for name in THIRD_PARTIES}
    async with _opened(directory, {}, {**nowhere, **settings}) as here:
        yield here


@asynccontextmanager
async def _opened(
    directory: Path, services: Mapping[str, Service], settings: Mapping[str, str]
) -> AsyncIterator[Town]:
    database = directory / "shop.db"
    own = {"DATABASE": str(database), "BACKSTAY_SECRET_KEY": secrets.token_urlsafe(32)}
    app = create_app({**own, **settings})
    async with running(app, raise_app_exceptions=False) as shop:
        here = Town(app, shop, services, database)
        here.admin = await here.login("admin@example.com", "admin")
        yield here
