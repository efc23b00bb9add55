"""The service as people run it: uvicorn, in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["serving_process"]

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 30.0


@contextmanager
def serving_process(app: str, database: Path) -> Iterator[str]:
    """Serve ``app`` ("module:name") with uvicorn until ``with`` ends; its URL.

    The socket listens before the process is there, so whoever connects early waits instead of
    being refused.

    Raises:
        AssertionError: it has not ended well; says what it has logged.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        descriptor = listener.fileno()
        log = database.with_suffix(".log")
        with log.open("wb") as said:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "uvicorn", app),
                    *("--fd", str(descriptor), "--log-level", "warning", "--no-access-log"),
                    *("--timeout-graceful-shutdown", "1"),  # streams that a browser keeps open
                ],
                cwd=ROOT,
                env={**os.environ, "HOSTS_DATABASE": f"sqlite:///{database}"},
                pass_fds=[descriptor],
                stdout=said,
                stderr=subprocess.STDOUT,
            )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()
    assert "Traceback" not in (told := log.read_text(errors="replace")), told
