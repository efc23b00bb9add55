"""An app for a worker in a process of its own: ``python -m tests.jobs.standing FILE NOTES MODE``."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from backstay.jobs.process import run_worker
from backstay.tasks import Retry, add_tasks, task

__all__ = ["main"]


def main(file: str, notes: str, mode: str) -> int:
    """Serve until stopped; the exit status."""
    note = Path(notes)

    def write(line: str) -> None:
        with note.open("a") as out:
            out.write(f"{line}\n")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if mode == "fails to start":
            raise OSError("port taken")
        write("up")
        yield
        write("down")

    @task(name="standing.quick")
    async def quick(number: int) -> int:
        write(f"quick {number}")
        return number

    @task(name="standing.slow", retry=Retry(attempts=1))
    async def slow() -> str:
        write("slow")
        await asyncio.sleep(0.3)
        return "slowly"

    @task(name="standing.endless", retry=Retry(attempts=1))
    async def endless() -> None:
        write("endless")
        await asyncio.get_running_loop().create_future()

    app = FastAPI(lifespan=lifespan)
    add_tasks(app, database=f"sqlite:///{file}", worker=False, poll_s=0.05)
    from backstay.jobs.part import DurablePart
    from backstay.web import installed

    part = installed(app).part("durable")
    assert isinstance(part, DurablePart)
    for each in (quick, slow, endless):
        part.registry.add(each)
    return run_worker(app, concurrency=3, grace_s=0.0 if mode == "no grace" else 10.0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
