"""What the measured jobs do: leave a mark in a file, which all processes append to.

A mark is ``(argument, time)``, sixteen bytes, written by one system call; the same few
microseconds on every side. The argument is the job's number, or the time it was enqueued at.
"""

from __future__ import annotations

import asyncio
import functools
import os
import struct
import time
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "Mark",
    "SLOW_S",
    "count_marks",
    "finish",
    "read_marks",
    "slow_async",
    "slow_sync",
    "start",
]

SLOW_S = 0.5
"""Seconds that a slow job takes, so that some are in flight when a worker is killed."""

_MARK = struct.Struct("<dd")


class Mark(NamedTuple):
    """What one job left behind: its argument, and seconds since the epoch."""

    argument: float
    at: float


@functools.cache
def _file(name: str) -> int:
    path = os.environ.get(name, os.devnull)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def start(argument: float) -> None:
    """Mark that a slow job has started."""
    os.write(_file("BENCH_STARTED"), _MARK.pack(argument, time.time()))


def finish(argument: float) -> None:
    """Mark that a job is done (a no-op one: that it has started)."""
    os.write(_file("BENCH_FINISHED"), _MARK.pack(argument, time.time()))


def slow_sync(argument: float) -> None:
    start(argument)
    time.sleep(SLOW_S)
    finish(argument)


async def slow_async(argument: float) -> None:
    start(argument)
    await asyncio.sleep(SLOW_S)
    finish(argument)


def read_marks(file: Path) -> list[Mark]:
    """All marks in a file, as they came; none if there is no file yet."""
    try:
        found = file.read_bytes()
    except FileNotFoundError:
        return []
    whole = len(found) - len(found) % _MARK.size
    return [Mark(*pair) for pair in _MARK.iter_unpack(found[:whole])]


def count_marks(file: Path) -> int:
    """How many marks are in a file, without reading it."""
    try:
        return file.stat().st_size // _MARK.size
    except FileNotFoundError:
        return 0
