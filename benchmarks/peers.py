"""What backstay is compared with, as far as it is installed."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["FASTAPI_TASKS_MISSING", "has_fastapi_tasks"]

FASTAPI_TASKS_MISSING = (
    "fastapi-tasks is not installed, so its rows are left out: run `make bench`, or "
    "`pip install fastapi-tasks==0.1.0`"
)


def has_fastapi_tasks() -> bool:
    """Whether the peer for tasks in the process can be measured."""
    return find_spec("fastapi_tasks") is not None
