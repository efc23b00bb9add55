"""An ASGI app on a real port of this machine, from a thread of the tests' own process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.support import PATIENCE_S

__all__ = ["serving_app"]


class _Server(uvicorn.Server):
    """Says when it is up, or that it never will be."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.decided = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.decided.set()


@contextmanager
def serving_app(app: Any) -> Iterator[str]:
    """Serve ``app``, lifespan included, on a free port; its URL ``http://127.0.0.1:<port>``.

    The app runs in a thread with an event loop of its own, so that tests which drive a browser
    can look at the app's objects, but must not await them.

    Raises:
        RuntimeError: the app's lifespan has failed; uvicorn's log says why.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = _Server(
            uvicorn.Config(
                app,
                lifespan="on",
                ws="none",
                log_config=None,  # its loggers are the whole process's, other tests' too
                access_log=False,
                timeout_graceful_shutdown=1,  # streams that a browser keeps open
            )
        )

        def run() -> None:
            try:
                server.run(sockets=[listener])
            except SystemExit:  # uvicorn's way to say that the lifespan has failed
                pass
            finally:
                server.decided.set()

        thread = threading.Thread(target=run, name="serving_app")
        thread.start()
        try:
            assert server.decided.wait(PATIENCE_S), "the server did not start"
            if not server.started:
                raise RuntimeError(f"{app!r} did not start")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "the server did not stop"
