"""The app."""

from fastapi import FastAPI

from backstay.db import add_database
from tests.seeds.accelerator.api import cached, crud, router
from tests.seeds.accelerator.core.db import DatabaseManager
from tests.seeds.accelerator.models import *  # noqa: F403

app = FastAPI(title="Files and tasks")
add_database(app, DatabaseManager)
app.include_router(crud.router)
app.include_router(cached.router)
app.include_router(router.router)
