"""An app whose endpoints note things durably, and what its ledger has of it."""

from typing import Any

from fastapi import FastAPI

from backstay.jobs.part import DurablePart
from backstay.tasks import add_tasks, task
from backstay.testing import RunningApp, enqueued

__all__ = ["durable_app", "ledger_of", "note_task", "noted", "notes"]


def durable_app(**options: Any) -> FastAPI:
    app = FastAPI()
    add_tasks(app, **{"database": "memory://", "worker": False, **options})
    return app


def note_task() -> Any:
    """A task of its own for every test."""

    @task(name="tests.note")
    async def note(text: str) -> None: ...

    return note


async def notes(client: RunningApp) -> list[str]:
    """What was noted, as the ledger has it."""
    return [row.args for row in await enqueued(client)]


def noted(*texts: str) -> list[str]:
    return [f'{{"text":"{each}"}}' for each in texts]


def ledger_of(client: RunningApp) -> Any:
    part = client.ctx.app.part("durable")
    assert isinstance(part, DurablePart)
    return part.ledger
