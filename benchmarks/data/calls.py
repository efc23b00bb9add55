"""Requests over several connections that are kept, one on each at a time."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any

__all__ = ["CREATE", "Call", "Callers"]

CREATE = {
    "name": "Ada",
    "email": "ada@example.com",
    "age": 36,
    "active": True,
    "created_at": "2026-01-01T00:00:00",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        path: with the query.
        body: sent as JSON by POST; ``None``: a GET.
        headers: more of them.
    """

    path: str
    body: dict[str, Any] | None = None
    headers: tuple[str, ...] = ()

    def encoded(self, port: int) -> bytes:
        """As it goes over the wire."""
        lines = [f"Host: 127.0.0.1:{port}", "Accept: application/json", *self.headers]
        if self.body is None:
            return "\r\n".join([f"GET {self.path} HTTP/1.1", *lines, "", ""]).encode()
        body = json.dumps(self.body)
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([f"POST {self.path} HTTP/1.1", *lines, "", body]).encode()


class Callers:
    """Connections to one server.

    Args:
        port: on 127.0.0.1.
        count: how many.
    """

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        for each in self._sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rests = [b""] * count

    def rounds(self, call: Call, number: int) -> bytes:
        """That many requests on each connection, all connections at once; the last answer.

        Raises:
            RuntimeError: an answer is none of success.
        """
        request = call.encoded(self._port)
        body = b""
        for _ in range(number):
            for each in self._sockets:
                each.sendall(request)
            for index, each in enumerate(self._sockets):
                body = self._answer(index, each)
        return body

    def _answer(self, index: int, connection: socket.socket) -> bytes:
        data = self._rests[index]
        while b"\r\n\r\n" not in data:
            data += _received(connection)
        head, _, data = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(data) < length:
            data += _received(connection)
        body, self._rests[index] = data[:length], data[length:]
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            raise RuntimeError(f"no success: {head!r} {body[:500]!r}")
        return body

    def close(self) -> None:
        """Hang up."""
        for each in self._sockets:
            each.close()


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise RuntimeError("the server hung up")
    return data
