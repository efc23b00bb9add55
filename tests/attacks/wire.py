"""A service on a real socket, and attackers who write bytes to it as they please."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import uvicorn
from starlette.types import ASGIApp

from tests.support import PATIENCE_S

__all__ = ["Answer", "Line", "Server", "Wire", "assert_problem", "on_the_wire", "request"]

Server = Literal["httptools", "h11"]
"""What parses HTTP in uvicorn."""

_HOST = "127.0.0.1"

# What an answer has in it if it shows how the service is made.
_INSIDE = (
    *("Traceback", 'File "', ".py", "site-packages", "backstay.", "starlette", "pydantic"),
    *("sqlalchemy", "sqlite", "SELECT ", "INSERT "),
)


@dataclass(frozen=True)
class Answer:
    """One answer, as it came.

    Attributes:
        status: of the status line.
        headers: names in lower case, in the order they came.
        body: chunks put together.
        head: the bytes of the status line and the headers.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    head: bytes

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str | None:
        """The value of a header that comes once at most."""
        found = self.all(name)
        assert len(found) <= 1, f"{name} came {len(found)} times: {found}"
        return found[0] if found else None

    @property
    def says_close(self) -> bool:
        return "close" in (self.get("connection") or "")

    def json(self) -> Any:
        return json.loads(self.body)


def assert_problem(answer: Answer, status: int, *, head: bool = False) -> dict[str, Any]:
    """It is the one kind of error answer, with that status and nothing of the inside."""
    assert answer.status == status, (answer.head, answer.body[:500])
    assert answer.get("content-type") == "application/problem+json", answer.head
    assert answer.get("x-request-id")
    if head:
        assert answer.body == b""
        return {}
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert {"type", "title", "detail", "error_id", "correlation_id", "datetime"} <= problem.keys()
    assert not {"traceback", "request"} & problem.keys()
    for each in _INSIDE:
        assert each.encode() not in answer.body, answer.body
    return problem


def request(
    method: str = "GET",
    target: str = "/ok",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    *,
    host: str | None = "localhost",
) -> bytes:
    """The bytes of a request, whatever is in its parts.

    Args:
        method: of the request line, like ``target``.
        target: as it is, not encoded: text is written as Latin-1.
        headers: in their order.
        body: gets a ``Content-Length``; ``None`` sends neither.
        host: ``None`` sends no ``Host``.
    """
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if host is not None:
        pairs.insert(0, ("Host", host))
    if body is not None:
        pairs.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in pairs)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class Line:
    """One connection of an attacker's."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((_HOST, port), timeout=PATIENCE_S)
        self._read = b""

    def send(self, *pieces: bytes) -> None:
        """Send, as far as the service takes it: it may have closed meanwhile."""
        with suppress(ConnectionError):
            for each in pieces:
                self.socket.sendall(each)

    def answer(self, *, head: bool = False) -> Answer:
        """The next answer.

        Args:
            head: whether it is to a ``HEAD``, so that no body comes.
        """
        while b"\r\n\r\n" not in self._read:
            if not self._more():
                raise AssertionError(f"the connection ended; so far {self._read!r}")
        raw, self._read = self._read.split(b"\r\n\r\n", 1)
        first, *lines = raw.decode("latin-1").split("\r\n")
        pairs = tuple(
            (name.lower(), value.strip())
            for name, _, value in (each.partition(":") for each in lines)
        )
        status = int(first.split(" ")[1])
        if 100 <= status < 200:
            return Answer(status, pairs, b"", raw)
        body = b"" if head or status in (204, 304) else self._body(dict(pairs))
        return Answer(status, pairs, body, raw)

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            found = b""
            while True:
                size = int(self._until(b"\r\n"), 16)
                found += self._take(size)
                self._take(2)
                if not size:
                    return found
        if "content-length" in headers:
            return self._take(int(headers["content-length"]))
        while self._more():
            pass
        return self._take(len(self._read))

    def _until(self, end: bytes) -> bytes:
        while end not in self._read:
            assert self._more(), self._read
        found, self._read = self._read.split(end, 1)
        return found

    def _take(self, count: int) -> bytes:
        while len(self._read) < count:
            assert self._more(), (count, self._read)
        found, self._read = self._read[:count], self._read[count:]
        return found

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            data = b""
        self._read += data
        return bool(data)

    def rest(self) -> bytes:
        """Everything until the service closes; fails if it does not."""
        while self._more():
            pass
        return self._read

    def close(self) -> None:
        self.socket.close()


@dataclass
class Wire:
    """A service that listens.

    Attributes:
        port: where.
        app: which, or what stands around it.
        server: what parses HTTP.
        loop: its event loop, in another thread.
    """

    port: int
    app: ASGIApp
    server: Server
    loop: asyncio.AbstractEventLoop

    @contextmanager
    def line(self) -> Iterator[Line]:
        """A connection."""
        line = Line(self.port)
        try:
            yield line
        finally:
            line.close()

    def ask(self, *pieces: bytes, head: bool = False) -> Answer:
        """Send on a connection of its own, and hear one answer. Informational ones are left out."""
        with self.line() as line:
            line.send(*pieces)
            answer = line.answer(head=head)
            while answer.status < 200:
                answer = line.answer(head=head)
            return answer

    def call(
        self,
        method: str = "GET",
        target: str = "/ok",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        *,
        host: str | None = "localhost",
    ) -> Answer:
        """A request by itself."""
        return self.ask(
            request(method, target, headers, body, host=host), head=method.upper() == "HEAD"
        )

    def everything(self, *pieces: bytes) -> bytes:
        """Send, and hear all until the service closes. What is sent has to make it close."""
        with self.line() as line:
            line.send(*pieces)
            return line.rest()

    def assert_well(self) -> None:
        """Somebody else is answered as ever."""
        answer = self.call("GET", "/ok")
        assert (answer.status, answer.body) == (200, b'"fine"'), (answer.head, answer.body)


class _Server(uvicorn.Server):
    """uvicorn's server, in a thread, which hears at once that it shall stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready: threading.Event = threading.Event()
        self.stop: asyncio.Event
        self.loop: asyncio.AbstractEventLoop

    async def main_loop(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        self.ready.set()
        await self.stop.wait()


@contextmanager
def on_the_wire(
    app: ASGIApp,
    *,
    server: Server = "httptools",
    root_path: str = "",
    trusting_proxies: str | None = None,
) -> Iterator[Wire]:
    """Serve an app by uvicorn until the end.

    Args:
        app: it, with its lifespan.
        server: what parses HTTP.
        root_path: as ``--root-path``.
        trusting_proxies: as ``--forwarded-allow-ips``; ``None``: uvicorn believes none.
    """
    listener = socket.create_server((_HOST, 0))
    found = _Server(
        uvicorn.Config(
            app,
            http=server,
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            root_path=root_path,
            proxy_headers=trusting_proxies is not None,
            forwarded_allow_ips=trusting_proxies,
            timeout_keep_alive=60,
            lifespan="on",
        )
    )
    thread = threading.Thread(target=found.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        assert found.ready.wait(PATIENCE_S), "the service did not start; see the log"
        yield Wire(listener.getsockname()[1], app, server, found.loop)
    finally:
        if found.ready.is_set():
            found.loop.call_soon_threadsafe(found.stop.set)
        thread.join(PATIENCE_S)
        listener.close()
        assert not thread.is_alive()
