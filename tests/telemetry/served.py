"""An app with metrics for processes that tests start."""

import os

from fastapi import FastAPI

from backstay.cache import add_cache, cached
from backstay.telemetry import add_telemetry

app = FastAPI()
add_cache(app, "memory://")
add_telemetry(app)


@cached(ttl=600)
async def slow(number: int) -> int:
    return number


@app.get("/pid/{number}")
async def pid(number: int) -> int:
    await slow(number)
    return os.getpid()
