"""What uvicorn serves: the app that ``BENCH_APP`` names."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from benchmarks.data.tables import DATABASE

__all__ = ["app_from_environment"]


def app_from_environment() -> Any:
    driver = "aiosqlite" if os.environ[DATABASE].startswith("sqlite") else "asyncpg"
    return import_module(f"benchmarks.data.{os.environ['BENCH_APP']}").app(driver)
