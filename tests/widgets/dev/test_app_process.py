"""The app's process: ready, started anew on the same socket, or failed with what it said."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backstay.widgets.dev.app_process import AppProcess
from tests.support import async_test

APP = """
import os
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        return await send({"type": "lifespan.shutdown.complete"})
    body = f"{os.getpid()} {os.environ['BACKSTAY_WIDGETS_DEV']}".encode()
    length = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": length})
    await send({"type": "http.response.body", "body": body})
def make():
    return app
"""


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    (tmp_path / "tiny.py").write_text(APP)
    (tmp_path / "broken.py").write_text("raise RuntimeError('the mast is down')\n")
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


class Heard:
    """What a process has told, to wait for."""

    def __init__(self) -> None:
        self.news: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.written = b""

    async def until(self, status: str) -> str:
        while True:
            found, said = await self.news.get()
            if found == status:
                return said

    def write(self, line: bytes) -> None:
        self.written += line


@asynccontextmanager
async def process(app: str, listener: socket.socket) -> AsyncIterator[tuple[AppProcess, Heard]]:
    heard = Heard()
    made = AppProcess(
        app, listener, hear=lambda *told: heard.news.put_nowait(told), write=heard.write
    )
    try:
        yield made, heard
    finally:
        await made.stop()


async def ask(listener: socket.socket) -> str:
    """The body of its answer."""
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    try:
        return (await reader.read()).decode().rpartition("\r\n\r\n")[2]
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("app", ["tiny:app", "tiny:make()"])
@async_test
async def test_an_app_serves_and_knows_that_it_is_being_developed(
    app: str, listener: socket.socket
) -> None:
    async with process(app, listener) as (running, heard):
        await running.start()
        await heard.until("ready")
        assert (await ask(listener)).endswith(" 1")


@async_test
async def test_requests_wait_while_the_app_starts_anew(listener: socket.socket) -> None:
    async with process("tiny:app", listener) as (running, heard):
        await running.start()
        await heard.until("ready")
        before = await ask(listener)
        await running.stop()
        waiting = asyncio.create_task(ask(listener))
        await running.start()
        assert await waiting != before


@async_test
async def test_an_app_that_cannot_start_has_failed_with_what_it_said(
    listener: socket.socket,
) -> None:
    async with process("broken:app", listener) as (running, heard):
        await running.start()
        assert "the mast is down" in await heard.until("failed")
        assert b"the mast is down" in heard.written


@async_test
async def test_an_app_that_is_ended_has_not_failed(listener: socket.socket) -> None:
    async with process("tiny:app", listener) as (running, heard):
        await running.start()
        await heard.until("ready")
        await running.stop()
        assert heard.news.empty()
