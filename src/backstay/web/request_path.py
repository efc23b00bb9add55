"""The path of a request as routes see it."""

from __future__ import annotations

from starlette.types import Scope

__all__ = ["path_below_root"]


def path_below_root(scope: Scope) -> str:
    """The path without ``root_path``, which servers put in front of it and some proxies do not.

    It is the one that routes are compared with: percent-encoding is undone, nothing else is, so
    ``//livez`` and ``/x/../livez`` are other paths than ``/livez``.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path
