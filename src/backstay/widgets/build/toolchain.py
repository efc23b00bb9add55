"""The locked packages that build: installed once, into a cache, by ``npm ci``."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from backstay.errors import BadWidget
from backstay.widgets.build.node import Node

__all__ = ["HOOKS", "PROJECT", "cache_folder", "hooks_folder", "install_project"]

PROJECT = Path(__file__).resolve().parent / "project"
"""What Node is given."""

HOOKS = "backstay-widgets"
"""The npm package of the hooks."""

_LIMIT_S = 600.0


def cache_folder() -> Path:
    """Where installed packages are kept.

    ``BACKSTAY_CACHE`` if it is set, else ``backstay`` in ``XDG_CACHE_HOME``, else
    ``~/.cache/backstay``.
    """
    if named := os.environ.get("BACKSTAY_CACHE"):
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "backstay"


def hooks_folder() -> Path:
    """Where the sources of the hooks are: in the package, or in the repository it was made from.

    Raises:
        BadWidget: in neither; the installation is damaged.
    """
    places = [PROJECT.parent / "hooks", PROJECT.parents[4] / "js"]
    for place in places:
        if (place / "index.js").is_file():
            return place
    raise BadWidget(
        f"the React hooks are in neither of {', '.join(map(str, places))}: install backstay again"
    )


def install_project(node: Node, project: Path = PROJECT, *, cache: Path | None = None) -> Path:
    """Install what a project's lock file names, unless that has been done.

    No package's own scripts are run. Several processes may do it at once: whoever is done first
    has done it for all.

    Args:
        node: which installs.
        project: with ``package.json`` and ``package-lock.json``.
        cache: where to, ``None`` for ``cache_folder()``.

    Returns:
        The folder that ``node_modules`` is in. Another lock file has another one.

    Raises:
        BadWidget: npm fails, or the cache cannot be written; says what it said.
    """
    digest = hashlib.sha256((project / "package-lock.json").read_bytes()).hexdigest()
    # Of one platform and one CPU: among the packages are programs.
    platform = f"{os.uname().sysname}-{os.uname().machine}".lower() if hasattr(os, "uname") else "w"
    folder = cache_folder() if cache is None else cache
    target = folder / f"{project.name}-{platform}-{digest[:16]}"
    if target.is_dir():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".installing-") as made:
            draft = Path(made) / "project"
            draft.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(project / name, draft)
            _npm_ci(node, draft)
            try:
                draft.rename(target)
            except OSError:
                if not target.is_dir():  # another process was faster
                    raise
    except OSError as error:
        raise BadWidget(
            f"the packages that build React faces cannot be put into {folder}: {error}; "
            "BACKSTAY_CACHE names another folder"
        ) from None
    return target


def _npm_ci(node: Node, folder: Path) -> None:
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    limits = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=60000"]
    try:
        done = subprocess.run(  # noqa: S603  # a program of ours, or one that we found
            [node.program, node.npm, "ci", *options, *limits],
            cwd=folder,
            env=node.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadWidget(
            f"npm ci was not done after {_LIMIT_S:g} s: is the registry of npm's configuration there?"
        ) from None
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-12:])
        raise BadWidget(
            "the packages that build React faces cannot be installed (once, into "
            f"{cache_folder()}): npm ci ended with {done.returncode}\n{said}"
        )
