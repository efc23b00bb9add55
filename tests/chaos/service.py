"""A service for tests that stop and kill real server processes. It tells what it does on stdout."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import StreamingResponse

from backstay.tasks import Task, Tasks, add_tasks


def say(*words: object) -> None:
    print(f"<{os.getpid()}>", *words, flush=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    say("pool opened")
    yield
    say("pool closed")


app = FastAPI(lifespan=lifespan)
add_tasks(
    app,
    shutdown_grace_s=float(os.environ.get("GRACE_S", "30")),
    shield_grace_s=float(os.environ.get("SHIELD_GRACE_S", "30")),
)


async def told(task: Task, error: Exception) -> None:
    say("told", task.name, type(error).__name__)


async def work(name: str, seconds: float) -> None:
    say("started", name)
    await asyncio.sleep(seconds)
    say("finished", name)


def block(name: str, seconds: float) -> None:
    say("started", name)
    time.sleep(seconds)
    say("finished", name)


@app.post("/work/{name}")
async def schedule(name: str, seconds: float, tasks: Tasks, shield: bool = False) -> int:
    tasks.task(name=name, shield=shield, on_error=told).schedule(work, name, seconds)
    return os.getpid()


@app.post("/block/{name}")
async def schedule_block(name: str, seconds: float, tasks: Tasks) -> int:
    tasks.task(name=name, on_error=told).schedule(block, name, seconds)
    return os.getpid()


@app.post("/background/{name}")
async def background(name: str, seconds: float, background_tasks: BackgroundTasks) -> int:
    background_tasks.add_task(work, name, seconds)
    return os.getpid()


@app.get("/stream")
async def stream(tasks: Tasks) -> StreamingResponse:
    async def body() -> AsyncIterator[bytes]:
        say("streaming")
        while True:
            yield b"tick\n"
            await asyncio.sleep(0.02)

    tasks.after_response.task(name="after the stream").schedule(work, "after the stream", 0)
    return StreamingResponse(body())


@app.get("/pid")
async def pid() -> int:
    return os.getpid()
