"""The service of ``tests.seeds.accelerator``, running on either database."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from backstay.testing import RunningApp, running
from tests.db.places import at
from tests.jobs.desks import needs_postgres

__all__ = ["ALICE", "BOB", "Service", "both", "serving"]

PACKAGE = "tests.seeds.accelerator"
ALICE, BOB = "alice", "bob"
SECRET_KEY = "kN5v0Yw2_Qm8rT1xLz7cHs4bJf9GdUa3Ee6iPoRy"

both = pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=needs_postgres)]
)
"""Once for each database: the test takes ``database`` and ``tmp_path``."""


class Service:
    """The service's modules, imported for one test.

    Attributes:
        client: asks it.
        root: what addresses begin with.
    """

    client: RunningApp

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.root = environment.get("ROOT", "")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            _forget()
            self.app: FastAPI = importlib.import_module(f"{PACKAGE}.main").app
            self.modules = {
                name.removeprefix(f"{PACKAGE}."): module
                for name, module in sys.modules.items()
                if name.startswith(f"{PACKAGE}.")
            }

    def __getitem__(self, name: str) -> ModuleType:
        return self.modules[name]

    @property
    def models(self) -> Any:
        return self["models"]

    @property
    def manager(self) -> Any:
        return self["core.db"].DatabaseManager

    async def as_user(self, name: str) -> dict[str, str]:
        """The headers of somebody who has logged in."""
        form = {"username": name, "password": f"password-of-{name}"}
        answer = await self.client.post("/token", data=form)
        assert answer.status_code == 200, answer.text
        return {"authorization": f"Bearer {answer.json()['access_token']}"}

    async def put(self, *rows: object) -> None:
        """Rows, behind the service's back."""
        async with self.manager.asession() as session:
            session.add_all(rows)
            await session.commit()

    async def count(self, model: Any) -> int:
        async with self.manager.asession() as session:
            return int(await session.scalar(text(f"SELECT count(*) FROM {model.__tablename__}")))


@asynccontextmanager
async def serving(
    database: str,
    folder: Path,
    *,
    prepare: Callable[[Service], object] = lambda _: None,
    redis_url: str = "",
    root: str = "",
    raise_app_exceptions: bool = True,
    debug: bool = False,
    translate_url: str = "http://127.0.0.1:9",
) -> AsyncIterator[Service]:
    """The service on an empty database of that kind; ``prepare`` may add to it before it starts."""
    with at(database, folder) as url:
        service = Service(
            {
                "DATABASE_URL": url,
                "REDIS_URL": redis_url,
                "ROOT": root,
                "SECRET_KEY": SECRET_KEY,
                "DEBUG": "1" if debug else "0",
                "TRANSLATE_URL": translate_url,
            }
        )
        await service.manager.acreate_all()
        prepare(service)
        async with running(service.app, raise_app_exceptions=raise_app_exceptions) as client:
            service.client = client
            yield service
        if redis_url:
            await service["core.cache"].redis_client.aclose()  # whoever makes a client closes it
        _forget()


def _forget() -> None:
    for name in [each for each in sys.modules if each.startswith(PACKAGE)]:
        del sys.modules[name]
