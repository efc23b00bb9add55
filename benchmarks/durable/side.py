"""What a side's module gives to the harness: an ``Adapter``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Literal, Protocol

__all__ = ["Adapter", "CONCURRENCY", "Kind", "load", "url_from_environment"]

Kind = Literal["noop", "slow"]
"""Which job: one that only leaves its mark, or one that takes half a second."""

CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "100"))
"""Jobs in flight in one worker, where a side lets one say so."""


class Adapter(Protocol):
    """One side, as the producer uses it. Its module, run as a program, is a worker.

    Everything happens in the database of ``BENCH_URL``, which is empty and the side's own.

    Attributes:
        awaits: ``enqueue`` exists. A side without it blocks, and is called from threads.
        blocks: ``enqueue_now`` exists.
        bulk: ``enqueue_many`` exists: an own way to write many jobs at once.
    """

    awaits: bool
    blocks: bool
    bulk: bool

    def create(self) -> None:
        """Make the tables. Called once, in a process of its own."""

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    async def enqueue(self, kind: Kind, argument: float) -> None:
        """Write one job; it is on disk when this returns."""

    def enqueue_now(self, kind: Kind, argument: float) -> None:
        """The same, blocking. Any thread."""

    async def enqueue_many(self, kind: Kind, arguments: Sequence[float]) -> None:
        """Write many jobs, a thousand a time."""

    async def clear(self) -> None:
        """Forget all jobs."""


def url_from_environment() -> str:
    """Where the side's jobs are kept: a URL as SQLAlchemy writes it."""
    return os.environ["BENCH_URL"]


def load(module: str) -> Adapter:
    """The adapter of a side's module."""
    adapter: Adapter = import_module(module).Adapter()
    return adapter
