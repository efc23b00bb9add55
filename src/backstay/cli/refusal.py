"""Why a command did not do what it was asked, as people are told."""

from __future__ import annotations

__all__ = ["FAILED", "INTERRUPTED", "MISUSED", "OK", "Refusal"]

OK = 0
FAILED = 1
"""The thing asked for failed, or holds for none of what was named."""
MISUSED = 2
"""The command was wrong, or the database cannot be reached."""
INTERRUPTED = 130
"""Ctrl-C: 128 and the signal's number, as shells count."""


class Refusal(Exception):
    """Ends the command with a message instead of a traceback.

    Args:
        message: what happened, the value found.
        hint: what to do about it, ``None`` if the message says so.
        code: the exit code.
    """

    def __init__(self, message: str, *, hint: str | None = None, code: int = MISUSED) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code
