"""Errors of the clients: of httpx, and of what is made after it."""

from __future__ import annotations

from typing import Final

__all__ = ["is_of_client", "is_time_out"]

_LIBRARIES: Final = frozenset({"httpx", "httpx2"})


def is_of_client(error: BaseException) -> bool:
    """Whether a client raised it."""
    return any(each.__module__.partition(".")[0] in _LIBRARIES for each in type(error).__mro__)


def is_time_out(error: BaseException) -> bool:
    """Whether one of the client's time-outs did."""
    return any(each.__name__ == "TimeoutException" for each in type(error).__mro__)
