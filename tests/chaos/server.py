"""A real uvicorn process under a test's control."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

PATIENCE_S = 30.0


class Server:
    """One uvicorn, its output, and a client."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        started = self.wait_for(r"Uvicorn running on (http://[\d.:]+)")
        self.client = httpx.Client(base_url=started.group(1), timeout=PATIENCE_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._new.put(line.rstrip("\n"))
        self._new.put(None)

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Wait until so many lines match, those already seen included; the last match."""
        end = time.monotonic() + PATIENCE_S
        while True:
            matches = [m for line in self.lines if (m := re.search(pattern, line))]
            if len(matches) >= count:
                return matches[count - 1]
            line = self._new.get(timeout=max(0.01, end - time.monotonic()))
            if line is None:
                raise AssertionError(f"ended without {pattern!r}:\n" + "\n".join(self.lines))
            self.lines.append(line)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end and collect the rest of the output; the exit status."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        while (line := self._new.get(timeout=PATIENCE_S)) is not None:
            self.lines.append(line)
        return status

    def said(self, text: str) -> int:
        """The number of the first line with ``text``.

        Raises:
            AssertionError: there is none.
        """
        for number, line in enumerate(self.lines):
            if text in line:
                return number
        raise AssertionError(f"nothing said {text!r}:\n" + "\n".join(self.lines))

    def never_said(self, text: str) -> bool:
        return not any(text in line for line in self.lines)


@contextmanager
def serving(
    app: str = "tests.chaos.service:app", *options: str, **environment: str
) -> Iterator[Server]:
    """Run uvicorn on a free port, and leave nothing of it behind."""
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )
    server = None
    try:
        server = Server(process)
        yield server
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        if server is not None:
            server.client.close()
            server._reader.join(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()
