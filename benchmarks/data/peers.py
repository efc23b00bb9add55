"""The peers' environment: made once, of the interpreter that measures, from the package index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.durable.home import Home
from benchmarks.sampling import Unavailable

__all__ = ["peers_python"]

_WANTED = Path(__file__).resolve().parent / "peers.txt"


def peers_python() -> str:
    """An interpreter that has them.

    Raises:
        Unavailable: they cannot be installed here.
    """
    version = ".".join(map(str, sys.version_info[:3]))
    folder = Home().folder / f"data-{version}"
    python = folder / "bin" / "python"
    stamp = folder / ".ready"
    wanted = _WANTED.read_text()
    if not stamp.is_file() or stamp.read_text() != wanted:
        print("data: installing the peers into an environment of their own", flush=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "--upgrade", "-r", _WANTED], check=True
            )
        except (OSError, subprocess.CalledProcessError) as failure:
            raise Unavailable(f"data: the peers cannot be installed: {failure}") from failure
        stamp.write_text(wanted)
    return str(python)
