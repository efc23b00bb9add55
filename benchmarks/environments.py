"""Environments of peers: made once, of the interpreter that measures, from the package index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.durable.home import Home
from benchmarks.sampling import Unavailable

__all__ = ["python_with"]


def python_with(wanted: Path, name: str) -> str:
    """An interpreter that has what a requirements file lists.

    Args:
        wanted: the file. When it changes, what it lists is installed anew.
        name: of the benchmark.

    Raises:
        Unavailable: it cannot be installed here.
    """
    version = ".".join(map(str, sys.version_info[:3]))
    folder = Home().folder / f"{name}-{version}"
    python = folder / "bin" / "python"
    stamp = folder / ".ready"
    listed = wanted.read_text()
    if not stamp.is_file() or stamp.read_text() != listed:
        print(f"{name}: installing the peers into an environment of their own", flush=True)
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "--upgrade", "-r", wanted], check=True
            )
        except (OSError, subprocess.CalledProcessError) as failure:
            raise Unavailable(f"{name}: the peers cannot be installed: {failure}") from failure
        stamp.write_text(listed)
    return str(python)
