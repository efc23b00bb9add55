"""The app's own process: ``python -m backstay.widgets.dev.child APP LISTENER STATUS``.

The socket it serves on belongs to the process that started it, so that requests which come while
the app starts anew wait for it instead of being refused.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

import uvicorn

__all__ = ["main"]


class _Server(uvicorn.Server):
    """Says when it serves."""

    def __init__(self, config: uvicorn.Config, status_fd: int) -> None:
        super().__init__(config)
        self._status_fd = status_fd

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            os.write(self._status_fd, b"ready\n")


def main(app: str, listener_fd: int, status_fd: int) -> None:
    """Serve an app until SIGTERM, or until whoever started this is gone.

    Args:
        app: ``package.module:app``, or with ``()`` behind it to call it.
        listener_fd: a socket that listens already.
        status_fd: where a line is written once it serves.
    """
    config = uvicorn.Config(
        app.removesuffix("()"),
        factory=app.endswith("()"),
        lifespan="on",
        access_log=False,  # the inspector shows every call
        timeout_graceful_shutdown=1,  # streams that a browser keeps open
    )
    server = _Server(config, status_fd)

    def end_with_parent() -> None:
        sys.stdin.buffer.read()  # until it is closed, which the system does if nobody else
        server.should_exit = True

    threading.Thread(target=end_with_parent, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=listener_fd)])
    if not server.started:
        sys.exit(3)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
