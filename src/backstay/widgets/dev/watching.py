"""Which files have changed, found by looking: a project has few, and no package is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Changes", "Watch"]

_PAGES = frozenset({".html", ".htm"})
_CODE = frozenset({".py", ".env"})
_FACES = frozenset(
    [
        ".jsx",
        ".tsx",
        ".js",
        ".ts",
        ".mjs",
        ".css",
        ".scss",
        ".less",
        ".json",
        ".svg",
        ".png",
        ".jpg",
        ".jpeg",
        ".webp",
        ".gif",
        ".woff2",
    ]
)
_LEFT_OUT = frozenset({"node_modules", "__pycache__", "site-packages"})


@dataclass(frozen=True, slots=True)
class Changes:
    """Files that are new, gone or different since the look before.

    Attributes:
        code: for which the app has to start anew: Python, and ``.env``.
        pages: HTML, which the server reads again by itself.
        faces: what React faces are made of.
    """

    code: frozenset[Path]
    pages: frozenset[Path]
    faces: frozenset[Path]

    def __bool__(self) -> bool:
        return bool(self.code or self.pages or self.faces)


class Watch:
    """Looks at a folder's files. Left out are hidden folders, virtual environments, and packages.

    Args:
        folder: which.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = dict(self._look())

    def look(self) -> Changes:
        """What has changed since the look before."""
        before, self._seen = self._seen, dict(self._look())
        changed = {path for path, _ in before.items() ^ self._seen.items()}
        return Changes(
            code=frozenset(each for each in changed if _kind(each) in _CODE),
            pages=frozenset(each for each in changed if _kind(each) in _PAGES),
            faces=frozenset(each for each in changed if _kind(each) in _FACES),
        )

    def _look(self) -> Iterator[tuple[Path, tuple[int, int]]]:
        waiting = [str(self._folder)]
        while waiting:
            try:
                entries = list(os.scandir(waiting.pop()))
            except OSError:  # gone meanwhile, or not ours to read
                continue
            if any(each.name == "pyvenv.cfg" for each in entries):
                continue
            for each in entries:
                try:
                    if each.is_dir(follow_symlinks=False):
                        if not each.name.startswith(".") and each.name not in _LEFT_OUT:
                            waiting.append(each.path)
                    elif _suffix(each.name) in _PAGES | _CODE | _FACES:
                        status = each.stat()
                        yield Path(each.path), (status.st_mtime_ns, status.st_size)
                except OSError:
                    continue


def _suffix(name: str) -> str:
    return ".env" if name == ".env" else os.path.splitext(name)[1].lower()


def _kind(path: Path) -> str:
    return _suffix(path.name)
