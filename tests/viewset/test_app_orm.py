"""``AppOrm``: the ORM of the app that serves the request."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import select

from backstay.db import OrmAsync
from backstay.testing import running
from backstay.viewset import AppOrm
from backstay.web import install
from tests.support import async_test
from tests.viewset.stage import Thing, ThingRow, both, serving


def add_routes(app: FastAPI) -> None:
    @app.post("/made")
    async def make(aorm: OrmAsync = Depends(AppOrm.aget_orm)) -> Thing:
        return await aorm.create_item(ThingRow(name="cup"))  # type: ignore[return-value]  # FastAPI makes a Thing of it

    @app.post("/failed")
    async def fail(aorm: OrmAsync = Depends(AppOrm.aget_orm)) -> None:
        await aorm.create_item(ThingRow(name="pot"))
        raise PermissionError("no")


@both
@async_test
async def test_what_a_handler_writes_is_committed_before_its_answer(
    database: str, tmp_path: Path
) -> None:
    async with serving(
        database, tmp_path, prepare=add_routes, raise_app_exceptions=False
    ) as client:
        assert (await client.post("/made")).json() == {"id": 1, "name": "cup", "price": 0}
        assert (await client.post("/failed")).status_code == 500
        async with client.manager.asession() as session:
            names: Any = await session.scalars(select(ThingRow.name))
            assert list(names) == ["cup"]


@async_test
async def test_an_app_without_a_database_is_told_the_line_to_add(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = FastAPI()
    install(app, env_file=None)
    add_routes(app)
    async with running(app) as client:
        assert (await client.post("/made")).status_code == 500
    assert "add the line backstay.db.add_database(app, DatabaseManager)" in caplog.text
