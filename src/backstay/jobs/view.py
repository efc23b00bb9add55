"""How a job looks from outside: what an API, a terminal or a page may show of a row."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from backstay.jobs.secret import MASK, is_sealed
from backstay.ledger.rows import JobRow, State

__all__ = ["FailureView", "JobPage", "JobView", "ProgressView", "masked", "masked_args"]

_DEEPEST = 50
_SENSITIVE = re.compile(
    r"""(?:^|[_-])(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key
    |private[_-]?key|authorization|credentials?|cookie|cvv|cvc|card[_-]?number|pin)$""",
    re.IGNORECASE | re.VERBOSE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def masked(value: Any) -> Any:
    """A JSON value as it may be shown, and written again by any encoder.

    Sealed values, and those whose name says that they are secret (``password``, ``api_key``,
    ``access_token`` ...), become ``"***"``. Half surrogate pairs are escaped, and NaN and the
    infinities become text, since JSON (RFC 8259) has neither.
    """
    return _shown(value, _DEEPEST)


def _shown(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _encodable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping | list | tuple) and depth == 0:
        return "…"
    if isinstance(value, Mapping):
        if is_sealed(value):
            return MASK
        return {
            _encodable(str(name)): MASK
            if each is not None and _sensitive(str(name))
            else _shown(each, depth - 1)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_shown(each, depth - 1) for each in value]
    return value if value is None or isinstance(value, int) else _encodable(str(value))


def _sensitive(name: str) -> bool:
    return _SENSITIVE.search(_CAMEL.sub("_", name)) is not None


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def masked_args(text: str) -> Any:
    """A job's arguments from the text in its row; a note about its size if it cannot be read."""
    try:
        return masked(json.loads(text))
    except (ValueError, RecursionError):
        return f"unreadable, {len(text.encode('utf-8', 'surrogatepass'))} bytes"


class ProgressView(BaseModel):
    """How far a job says it is."""

    done: float | None = Field(default=None, description="Steps finished, in the unit of `total`.")
    total: float | None = Field(default=None, description="Steps in all; null while unknown.")
    message: str | None = None
    fraction: float | None = Field(default=None, description="From 0 to 1; null while unknown.")
    at: datetime | None = None

    @classmethod
    def of(cls, progress: Any) -> ProgressView | None:
        """From the row's JSON; what cannot be read is left out."""
        if progress is None:
            return None
        if not isinstance(progress, Mapping):
            return cls(message=_text(progress))
        done, total = _number(progress.get("done")), _number(progress.get("total"))
        return cls(
            done=done,
            total=total,
            message=_text(progress.get("message")),
            fraction=None if done is None or not total else min(1.0, max(0.0, done / total)),
            at=_time(progress.get("at")),
        )


class FailureView(BaseModel):
    """Why an attempt failed."""

    type: str = Field(description="The exception's class, or a name for what happened.")
    message: str
    attempt: int | None = None
    at: datetime | None = None
    traceback: str | None = Field(default=None, description="Shown to those who may see it.")

    @classmethod
    def of(cls, error: Mapping[str, Any], *, traceback: bool = False) -> FailureView:
        """From one of the row's errors; what cannot be read is left out.

        Args:
            error: the entry.
            traceback: whether to show where it happened.
        """
        attempt = error.get("attempt")
        return cls(
            type=_text(error.get("type")) or "Unknown",
            message=_text(error.get("message")) or "",
            attempt=attempt if type(attempt) is int else None,
            at=_time(error.get("at")),
            traceback=(_text(error.get("traceback")) or None) if traceback else None,
        )


class JobView(BaseModel):
    """One job."""

    id: UUID
    task: str
    queue: str
    state: State
    finished: bool
    priority: int
    attempt: int = Field(description="Attempts started so far, this one included.")
    max_attempts: int
    created_at: datetime
    run_at: datetime = Field(description="When it may start, or might have.")
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = Field(default=None, description="When the row is deleted.")
    cancel_requested: bool = Field(description="It runs, and somebody wants it cancelled.")
    waiting_for: int = Field(description="How many jobs it waits for.")
    worker: str | None = None
    unique_key: str | None = None
    gate: str | None = Field(default=None, description="The limit it shares with others.")
    correlation_id: str | None = None
    corrupt: bool = Field(description="The row holds something unreadable.")
    progress: ProgressView | None = None
    args: Any = Field(default=None, description="Secrets masked; null if arguments are not shown.")
    has_result: bool
    result: Any = Field(
        default=None, description="Null if there is none, or results are not shown."
    )
    error: FailureView | None = Field(default=None, description="The latest failed attempt.")
    errors: list[FailureView] | None = Field(
        default=None, description="All that are kept, oldest first; null if not shown."
    )

    @classmethod
    def of(
        cls,
        row: JobRow,
        *,
        args: bool = False,
        result: bool = False,
        traceback: bool = False,
        history: bool = False,
    ) -> JobView:
        """The view of a row.

        Args:
            row: what the ledger says.
            args: whether to show the arguments, masked.
            result: whether to show the result, masked.
            traceback: whether to show where the latest failure happened.
            history: whether to show all failures, not the latest alone.
        """
        failures = [FailureView.of(each, traceback=traceback) for each in row.errors]
        correlation = row.meta.get("correlation")
        return cls(
            id=row.id,
            task=_encodable(row.task),
            queue=_encodable(row.queue),
            state=row.state,
            finished=row.finished,
            priority=row.priority,
            attempt=row.attempt,
            max_attempts=row.max_attempts,
            created_at=row.created_at,
            run_at=row.run_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            expires_at=row.expires_at,
            cancel_requested=row.cancel_requested,
            waiting_for=row.waiting_for,
            worker=_text(row.worker),
            unique_key=_text(row.unique_key),
            gate=_text(row.gate),
            correlation_id=_text(correlation),
            corrupt=row.corrupt,
            progress=ProgressView.of(row.progress),
            args=masked_args(row.args) if args else None,
            has_result=row.has_result,
            result=masked(row.result) if result else None,
            error=failures[-1] if failures else None,
            errors=failures if history else None,
        )


class JobPage(BaseModel):
    """Some jobs, the newest first."""

    jobs: list[JobView]
    next: UUID | None = Field(
        default=None, description="Give it as `before` for what follows, if set."
    )


def _text(value: Any) -> str | None:
    return None if value is None else _encodable(str(value))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _time(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else None
