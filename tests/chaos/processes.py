"""The processes of ``durable_service`` under a test's control: started, killed, started again."""

import os
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import httpx

__all__ = ["PATIENCE_S", "Customers", "Fleet", "Journal", "Program", "free_port", "wait_until"]

PATIENCE_S = 30.0
"""How long a test waits for something that will come, before it calls it a failure."""

SERVICE = "tests.chaos.durable_service:app"


def wait_until(
    condition: Callable[[], object],
    what: str | Callable[[], str],
    *,
    patience_s: float = PATIENCE_S,
) -> None:
    """Look until ``condition()`` holds.

    Raises:
        AssertionError: it has not come true in time; says ``what``.
    """
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"waited {patience_s:g} s in vain for: {told}")
        time.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Program:
    """A process in a group of its own, and what it says."""

    def __init__(self, arguments: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1", "COLUMNS": "300"},
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.lines: list[str] = []
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._new.put(line)
        self._new.put(None)

    def said(self, pattern: str) -> bool:
        """Whether a line so far matches."""
        return any(re.search(pattern, line) for line in list(self.lines))

    def wait_for(self, pattern: str) -> None:
        """Wait until a line matches.

        Raises:
            AssertionError: it has ended, or time has, without one.
        """
        end = time.monotonic() + PATIENCE_S
        while not self.said(pattern):
            try:
                line = self._new.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                line = None
            if line is None and not self.said(pattern):
                raise AssertionError(f"without {pattern!r}:\n{self.last_words()}")

    def last_words(self, count: int = 30) -> str:
        return "\n".join([f"-- {self.process.args!r} ({self.pid})", *self.lines[-count:]])

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL for it and whatever it has started."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def wait(self, patience_s: float = PATIENCE_S) -> int:
        """Wait for the end; the exit status."""
        status = self.process.wait(patience_s)
        self._reader.join(PATIENCE_S)
        return status

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self._reader.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Journal:
    """What the jobs have written down, line by line as words."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._entries: list[list[str]] = []
        self._read = 0
        self._rest = b""

    def entries(self, first: str | None = None) -> list[list[str]]:
        """All so far, or those that begin with a word, without it."""
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self._read)
                found = file.read()
            self._read += len(found)
            *lines, self._rest = (self._rest + found).split(b"\n")
            self._entries += [line.decode().split() for line in lines]
        if first is None:
            return self._entries
        return [words[1:] for words in self._entries if words[0] == first]

    def __len__(self) -> int:
        return len(self.entries())


class Fleet:
    """The processes of one service on one database. ``with`` ends them, whatever happens.

    Args:
        database: its URL.
        directory: for the journal.
        environment: for all of them; see ``durable_service``.

    Attributes:
        journal: what the jobs have written down.
        programs: every process there ever was.
        url: where the web process is.
    """

    def __init__(self, database: str, directory: Path, **environment: str) -> None:
        self.journal = Journal(directory / "journal")
        self.programs: list[Program] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        self._environment = {
            "DATABASE": database,
            "JOURNAL": str(self.journal.file),
            **environment,
        }

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for program in self.programs:
            program.close()
        if error is not None:
            for program in self.programs[-6:]:
                print(program.last_words())

    def _start(self, arguments: list[str], environment: dict[str, str]) -> Program:
        program = Program([sys.executable, "-m", *arguments], {**self._environment, **environment})
        self.programs.append(program)
        return program

    def worker(self, *options: str, **environment: str) -> Program:
        """A worker process."""
        return self._start(["backstay", "worker", SERVICE, *options], environment)

    def web(self, *options: str, **environment: str) -> Program:
        """The web process; always at the same address."""
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        return self._start(["uvicorn", SERVICE, *address, "--no-access-log", *options], environment)

    def ready_web(self, *options: str, **environment: str) -> Program:
        """The web process, answering."""
        program = self.web(*options, **environment)
        program.wait_for("Application startup complete")
        wait_until(lambda: _answers(self.url), "the web process to answer")
        return program

    def post(self, path: str, **parameters: object) -> int:
        """The status of an answer that has to come."""
        asked = {name: str(value) for name, value in parameters.items()}
        return httpx.post(self.url + path, params=asked, timeout=PATIENCE_S).status_code

    def release(self) -> None:
        """Let jobs go that wait for it."""
        (self._directory / "released").touch()


class Customers:
    """Post each path once, several at a time, in the background, until ``with`` ends.

    Attributes:
        accepted: paths that were answered with 202.
        doubtful: paths that were answered otherwise, or not at all, as when the server is killed.
        statuses: of the answers that were not 202.
    """

    def __init__(self, url: str, paths: list[str], *, count: int = 4) -> None:
        self.accepted: list[str] = []
        self.doubtful: list[str] = []
        self.statuses: list[int] = []
        self._url = url
        self._paths: queue.SimpleQueue[str] = queue.SimpleQueue()
        for path in paths:
            self._paths.put(path)
        self._leaving = threading.Event()
        self._threads = [threading.Thread(target=self._post, daemon=True) for _ in range(count)]

    def __enter__(self) -> "Customers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def join(self) -> None:
        """Wait until every path was posted."""
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), f"{len(self.accepted)} were accepted: {self.statuses}"

    def stop(self) -> None:
        """Post no more."""
        self._leaving.set()
        self.join()

    def _post(self) -> None:
        with httpx.Client(base_url=self._url, timeout=PATIENCE_S) as client:
            while not self._leaving.is_set():
                try:
                    path = self._paths.get_nowait()
                except queue.Empty:
                    return
                self._post_one(client, path)

    def _post_one(self, client: httpx.Client, path: str) -> None:
        while not self._leaving.is_set():
            try:
                status = client.post(path).status_code
            except httpx.ConnectError:
                self._leaving.wait(0.02)  # nobody is there, so nobody has heard of it
                continue
            except httpx.HTTPError:
                self.doubtful.append(path)
                return
            if status == 202:
                self.accepted.append(path)
            else:
                self.doubtful.append(path)
                self.statuses.append(status)
                self._leaving.wait(0.02)
            return


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/pid", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
