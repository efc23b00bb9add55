"""Calling a tool over a connection that is kept, and nothing in between."""

from __future__ import annotations

import json
import socket
from typing import Any

__all__ = ["ERAS", "Caller"]

ERAS = ("2025-11-25", "2026-07-28")
"""The latest revision with a handshake, which is left out here, and the one without."""

_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Caller:
    """One client.

    Args:
        port: of the server, on 127.0.0.1.
        era: the revision to speak.
    """

    def __init__(self, port: int, era: str) -> None:
        params: dict[str, Any] = {"name": "add", "arguments": {"a": 19, "b": 23}}
        headers = [f"Host: 127.0.0.1:{port}", f"MCP-Protocol-Version: {era}"]
        if era == "2026-07-28":
            params["_meta"] = _META
            headers += ["Mcp-Method: tools/call", "Mcp-Name: add"]
        body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
        headers += [
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
            f"Content-Length: {len(body)}",
        ]
        head = "POST /mcp HTTP/1.1\r\n" + "\r\n".join(headers)
        self._request = f"{head}\r\n\r\n{body}".encode()
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def call(self) -> None:
        """One call, its answer read and looked at.

        Raises:
            RuntimeError: it is not the answer.
        """
        self._socket.sendall(self._request)
        data = self._rest
        while b"\r\n\r\n" not in data:
            data += self._socket.recv(65536)
        head, _, data = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(data) < length:
            data += self._socket.recv(65536)
        body, self._rest = data[:length], data[length:]
        if b'"sum":42' not in body.replace(b" ", b"") or b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(f"not the answer: {head!r} {body[:500]!r}")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
