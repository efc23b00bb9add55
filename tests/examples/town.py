"""The shop in this process, and who supplies it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from backstay.testing import RunningApp, enqueued, running
from examples.shop.app import create_app
from examples.shop.audit import audit, collect
from examples.shop.processes import THIRD_PARTIES, Service, settings_for, third_parties

RELIABLE = dict.fromkeys(THIRD_PARTIES, 0.0)
SETTLED_S = 15.0


@dataclass
class Town:
    """The shop, who supplies it, and where its orders are kept."""

    shop: RunningApp
    services: Mapping[str, Service]
    database: Path

    async def order(self, request_id: str, card: str = "tok_visa", **items: int) -> httpx.Response:
        body = {
            "email": "ada@example.com",
            "card": card,
            "items": [{"sku": sku, "quantity": quantity} for sku, quantity in items.items()],
        }
        return await self.shop.post("/orders", json=body, headers={"X-Request-ID": request_id})

    async def settle(self) -> None:
        """Until nothing is left to do, pauses before the next attempts included."""
        async with asyncio.timeout(SETTLED_S):
            await self.shop.tasks.settle()
            while not all(job.finished for job in await enqueued(self.shop)):
                await asyncio.sleep(0.02)

    async def details(self, order_id: int) -> Any:
        return (await self.shop.get(f"/orders/{order_id}")).json()

    async def books(self) -> Any:
        books, silent = await collect(self.services)
        assert silent == []
        return books

    async def wrong(self, *accepted: int) -> list[str]:
        """What the audit finds, these orders having been accepted."""
        return audit(self.database, await self.books(), set(accepted))


@asynccontextmanager
async def town(
    directory: Path, *, seed: str = "0", failures: Mapping[str, float] | None = None
) -> AsyncIterator[Town]:
    async with third_parties(seed=seed, failures=failures) as services:
        database = directory / "shop.db"
        app = create_app(
            {
                **settings_for(services),
                "DATABASE": str(database),
                "BACKSTAY_SECRET_KEY": "what is written here is read by nobody",
            }
        )
        async with running(app, raise_app_exceptions=False) as shop:
            yield Town(shop, services, database)


@asynccontextmanager
async def shop_alone(directory: Path) -> AsyncIterator[Town]:
    """The same for tests in which nothing is ordered: nobody would take the money."""
    nowhere = {f"{name.upper()}_URL": "http://127.0.0.1:9" for name in THIRD_PARTIES}
    database = directory / "shop.db"
    secret = "what is written here is read by nobody"
    app = create_app({**nowhere, "DATABASE": str(database), "BACKSTAY_SECRET_KEY": secret})
    async with running(app, raise_app_exceptions=False) as shop:
        yield Town(shop, {}, database)
