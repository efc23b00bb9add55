"""What the tests of the inspector share: a browser, and sessions on apps that tests write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.bench import free_ports
from tests.browser.fixtures import browser
from tests.js.toolchain import CACHE
from tests.widgets.dev.run import FILES, Run

__all__ = ["browser", "harbour", "inspecting"]


@pytest.fixture
def inspecting(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Start ``backstay widgets dev`` on the app in some files; ended after the test."""
    started: list[Run] = []

    def start(files: dict[str, str], *options: str) -> Run:
        run = _start(tmp_path, files, *options)
        started.append(run)
        run.wait_for("inspector")
        return run

    yield start
    for run in started:
        run.end(signal.SIGINT)


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One session, for the tests that change no files."""
    run = _start(tmp_path_factory.mktemp("harbour"), FILES)
    try:
        run.wait_for("Application startup complete")
        yield run
    finally:
        run.end(signal.SIGINT)


def _start(folder: Path, files: dict[str, str], *options: str) -> Run:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    ports = free_ports(2)
    command = [sys.executable, "-m", "backstay", "widgets", "dev", "harbour:app", *options]
    process = subprocess.Popen(
        [*command, "--port", str(ports[0]), "--app-port", str(ports[1])],
        cwd=folder,
        env={**os.environ, "BACKSTAY_CACHE": str(CACHE)},
        stderr=subprocess.PIPE,
        text=True,
    )
    return Run(process, folder, *ports)
