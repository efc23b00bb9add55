"""What went wrong in a job, as its handlers and the ledger hear it."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

__all__ = ["JobFailure", "describe"]

_LONGEST_MESSAGE = 2_000
_LONGEST_TRACEBACK = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailure:
    """What a task named by ``on_error=`` or ``on_discard=`` is given.

    Attributes:
        job_id: the job that failed.
        task: its task's name.
        queue: its queue.
        args: its arguments as the ledger has them; sealed ones stay sealed.
        attempt: which attempt failed, 1 for the first.
        max_attempts: how many there may be.
        error_type: the exception's class, such as ``"ConnectionError"``; ``"WorkerLost"`` if
            the worker died.
        message: what it said.
        traceback: where, for people; empty if there is none.
        state: what becomes of the job: ``"retrying"``, ``"discarded"``, ...
        at: when, aware UTC.
        correlation_id: of the work that scheduled the job.
    """

    job_id: UUID
    task: str
    queue: str
    args: dict[str, Any]
    attempt: int
    max_attempts: int
    error_type: str
    message: str
    traceback: str
    state: str
    at: datetime
    correlation_id: str


def describe(
    kind: str, message: str, *, attempt: int, at: datetime, error: BaseException | None = None
) -> dict[str, Any]:
    """One entry of a job's list of errors, ready for JSON.

    Args:
        kind: the exception's class, or a name for what happened.
        message: what it said; cut if very long.
        attempt: which attempt.
        at: when, aware.
        error: the exception, for its traceback; ``None`` if there was none.
    """
    entry: dict[str, Any] = {
        "type": kind,
        "message": _cut(message, _LONGEST_MESSAGE),
        "attempt": attempt,
        "at": at.isoformat(),
    }
    if error is not None:
        lines = "".join(traceback.format_exception(error))
        entry["traceback"] = lines[-_LONGEST_TRACEBACK:]
    # What cannot be encoded (half a surrogate pair in a message) must not lose the whole entry.
    return json.loads(json.dumps(entry).encode("ascii", "replace"))  # type: ignore[no-any-return]  # a dict as above


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
