"""An app with a database, and its test settings, for tests of test utilities."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from fastapi import Depends, FastAPI, Header, HTTPException
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from backstay.db.installation import add_database
from backstay.db.manager import MainDatabaseManager
from backstay.testing.setting import SettingTest
from backstay.web.dependencies import Ctx
from tests.jobs.desks import POSTGRES
from tests.testing.town import Base, Person

__all__ = ["house", "people_app", "prepared_setting", "scratch_url"]


def people_app(manager: MainDatabaseManager, *, added: bool = True) -> FastAPI:
    """An app that keeps people."""
    app = FastAPI()
    if added:
        add_database(app, manager)
    else:
        app.state.DATABASE_MANAGER = manager

    @app.get("/people")
    def people(session: Session = Depends(manager.get_session)) -> list[str]:
        return list(session.scalars(select(Person.name).order_by(Person.name)))

    @app.get("/count")
    async def count(ctx: Ctx) -> int:
        rows = await ctx.db.fetch(select(func.count()).select_from(Person))
        found: int = rows[0][0]
        return found

    @app.post("/people/{name}")
    async def add(
        name: str, session: AsyncSession = Depends(manager.aget_session_transaction)
    ) -> None:
        session.add(Person(name=name))
        await session.flush()
        if name == "nobody":
            raise HTTPException(422)

    @app.get("/who")
    def who(authorization: str | None = Header(None)) -> str | None:
        return authorization

    return app


@contextmanager
def scratch_url(kind: str, folder: Path) -> Iterator[str]:
    """Where a test database may be made; it is not there yet, and not afterwards."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'people_test.db'}"
        return
    name = f"backstay_test_{uuid.uuid4().hex[:12]}"
    try:
        yield POSTGRES.replace("postgresql", kind).rpartition("/")[0] + f"/{name}"
    finally:
        with psycopg.connect(POSTGRES, autocommit=True) as outside:
            outside.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@contextmanager
def house(kind: str, folder: Path, **options: Any) -> Iterator[SettingTest]:
    """Settings for an app whose own database is another one, to be prepared."""
    real = MainDatabaseManager(f"sqlite:///{folder / 'real.db'}", base=Base)
    with scratch_url(kind, folder) as url:
        yield SettingTest(url, people_app(real), **options)
    assert not (folder / "real.db").exists()


@contextmanager
def prepared_setting(kind: str, folder: Path, **options: Any) -> Iterator[SettingTest]:
    """The same, prepared, outside of any test."""
    with house(kind, folder, **options) as setting, setting.prepared():
        yield setting
