"""Where the peers live: one virtual environment each, of the interpreter that is measured.

In ``BENCH_HOME``, else ``~/.cache/backstay-bench``. Environments of another interpreter are other
folders there, so that no run mixes them.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.durable.sides import SIDES, Side
from benchmarks.durable.stand import run_json
from benchmarks.sampling import ROOT, Unavailable

__all__ = ["Home", "PEERS"]

PEERS = Path(__file__).resolve().parent / "peers"
_IDENTIFY = (
    "import sys; v = sys.version_info; "
    "print(f'{sys.implementation.name}-{v[0]}.{v[1]}.{v[2]}', sys.base_prefix, sep='\\n')"
)
_DESCRIBE = (
    "import json; from benchmarks.report import describe_run; print(json.dumps(describe_run()))"
)


def _peers(sides: Iterable[Side]) -> set[str]:
    return {side.peer for side in sides if side.peer}


class Home:
    """The environments of one interpreter.

    Args:
        python: the interpreter, ``None`` for the one that runs this.
    """

    def __init__(self, python: str | None = None) -> None:
        self._python = python or sys.executable
        try:
            done = subprocess.run(
                [self._python, "-c", _IDENTIFY], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError) as failure:
            raise Unavailable(f"--python {python}: no interpreter there ({failure})") from failure
        kind, prefix = done.stdout.splitlines()
        named = os.environ.get("BENCH_HOME")
        self.folder = Path(named).resolve() if named else Path.home() / ".cache" / "backstay-bench"
        self._folder = self.folder / f"{kind}-{hashlib.sha1(prefix.encode()).hexdigest()[:6]}"
        self._mine = python is None

    @property
    def ours(self) -> str:
        """The interpreter of our own side: this one, or the environment made for ``--python``."""
        return sys.executable if self._mine else self._of("backstay")

    def interpreter(self, side: Side) -> str | None:
        """Who runs a side, ``None`` if it is not set up."""
        found = self.ours if side.peer is None else self._of(side.peer)
        return found if Path(found).exists() else None

    def describe(self) -> dict[str, Any]:
        """The interpreter of every side, the machine, and the peers as they are pinned."""
        found: dict[str, Any] = run_json([self.ours, "-c", _DESCRIBE], [])
        pins = (
            (PEERS / f"{peer}.txt").read_text().split() for peer in sorted(_peers(SIDES.values()))
        )
        return {**found, "peers": [" ".join(pin) for pin in pins]}

    def _of(self, peer: str) -> str:
        return str(self._folder / peer / "bin" / "python")

    def set_up(self) -> None:
        """Make what is missing, and see that what is there has the packages as pinned."""
        if not self._mine:
            self._run(ROOT / "tools" / "setup_venv.py", self._folder / "backstay")
        for peer in sorted(_peers(SIDES.values())):
            print(f"{peer}: {self._folder / peer}", flush=True)
            if not Path(self._of(peer)).exists():
                self._run("-m", "venv", self._folder / peer)
            options = ("--quiet", "--disable-pip-version-check")
            packages = PEERS / f"{peer}.txt"
            self._run("-m", "pip", "install", *options, "-r", packages, python=self._of(peer))

    def _run(self, *command: str | Path, python: str | None = None) -> None:
        whole = [python or self._python, *map(str, command)]
        if subprocess.run(whole, check=False).returncode:
            raise Unavailable(f"{' '.join(whole)} failed, see above")
