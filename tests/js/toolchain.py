"""What builds React faces, for tests: installed once for this environment, or the test is skipped."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

from backstay.errors import BadWidget
from backstay.widgets.build import Builder
from backstay.widgets.build.node import Node, find_node
from backstay.widgets.build.toolchain import PROJECT, install_project

__all__ = ["CACHE", "require_builder", "require_project"]

CACHE = Path(sys.prefix) / ".backstay-cache"
"""Inside of the environment, so that it ends with it, and leaves the user's own cache alone."""


def require_project(project: Path = PROJECT) -> tuple[Node, Path]:
    """Node, and the folder with the packages of a project's lock.

    Raises:
        pytest.skip.Exception: Node or the registry is not there; where CI=true, it fails instead.
    """
    found = _installed(project)
    if isinstance(found, str):
        _missing(found)
    return found


def require_builder() -> Builder:
    """A builder that is ready; see ``require_project``."""
    return Builder(*require_project())


@cache
def _installed(project: Path) -> tuple[Node, Path] | str:
    try:
        node = find_node()
        return node, install_project(node, project, cache=CACHE)
    except BadWidget as error:
        return str(error)


def _missing(why: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
