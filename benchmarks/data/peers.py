"""The peers' environment."""

from __future__ import annotations

from pathlib import Path

from benchmarks.environments import python_with

__all__ = ["peers_python"]


def peers_python() -> str:
    """An interpreter that has what ``peers.txt`` lists.

    Raises:
        Unavailable: it cannot be installed here.
    """
    return python_with(Path(__file__).resolve().parent / "peers.txt", "data")
