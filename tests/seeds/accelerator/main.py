"""The app."""

import pytz
from fastapi import FastAPI

from backstay.pattern import base_pattern
from tests.seeds.accelerator.api import cached, common, crud, router, translate
from tests.seeds.accelerator.core.auth import AuthJWT
from tests.seeds.accelerator.core.config import BASE_DIR, DEBUG, SECRET_KEY
from tests.seeds.accelerator.core.db import DatabaseManager
from tests.seeds.accelerator.core.useintegration import gtapi
from tests.seeds.accelerator.models import *  # noqa: F403

app = FastAPI(title="Files and tasks")

# Pattern for the project
base_pattern(
    app,
    routers=(crud.router, cached.router, router.router, common.router, translate.router),
    timezone=pytz.timezone("Europe/Moscow"),
    cache_status=True,
    debug=DEBUG,
    base_dir=BASE_DIR,
    database_manager=DatabaseManager,
    secret_key=SECRET_KEY,
    origins=["*"],
    useintegration=[gtapi],
)

# Connect JWT authentication
AuthJWT.mount_auth(app)
