"""Between the values of the ledger and the columns of the SQLite engine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, SafeUUID

from backstay.ledger.bounds import check_time
from backstay.ledger.rows import Claimed, JobRow, State

__all__ = [
    "BITS",
    "JOB_COLUMNS",
    "claimed",
    "from_us",
    "job_row",
    "states_bits",
    "to_us",
    "to_uuid",
    "with_error",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_ERRORS_KEPT = 20

BITS: Mapping[State, int] = {state: 1 << number for number, state in enumerate(State)}
"""What stands for a state in ``unique_states``."""

JOB_COLUMNS = (
    "id, task, queue, state, priority, attempt, max_attempts, args, meta, created_at, run_at, "
    "started_at, finished_at, expires_at, worker, "
    "CASE WHEN unique_held = 1 THEN unique_key END, unique_until, gate, cancel_requested, "
    "waiting_for, progress, result, errors"
)
"""What ``job_row`` reads."""


def states_bits(states: Iterable[State]) -> int:
    """A set of states as one number."""
    return sum({BITS[state] for state in states})


def to_us(moment: datetime) -> int:
    """Microseconds since the epoch, exactly.

    Raises:
        BadJob: it has no time zone, or none but its own counts it among the years 1 to 9999.
    """
    check_time(moment, "a time")
    return (moment - _EPOCH) // _US


def from_us(us: int) -> datetime:
    """The aware UTC time, exactly."""
    return _EPOCH + timedelta(microseconds=us)


def to_uuid(
    raw: bytes,
    _new: Any = object.__new__,
    _set: Any = object.__setattr__,
    _unknown: SafeUUID = SafeUUID.unknown,
) -> UUID:
    """``UUID(bytes=raw)`` at half its price: every job claimed needs one."""
    uuid: UUID = _new(UUID)
    _set(uuid, "int", int.from_bytes(raw))
    _set(uuid, "is_safe", _unknown)
    return uuid


def claimed(rows: Iterable[Sequence[Any]]) -> list[Claimed]:
    """From ``rank, seq, id, fence, attempt, max_attempts, task, queue, args, meta, created_at,
    run_at``, in the order of the rows.
    """
    return [
        Claimed(
            to_uuid(raw),
            fence,
            attempt,
            most,
            task,
            queue,
            # A damaged row may hold anything; it must reach the worker, which parks it.
            args if type(args) is str else _text(args),
            meta if type(meta) is str else _text(meta),
            _time(created_at),
            _time(run_at),
        )
        for (_, _, raw, fence, attempt, most, task, queue, args, meta, created_at, run_at) in rows
    ]


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _time(us: Any) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=us)
    except (TypeError, OverflowError):
        return _EPOCH


def job_row(row: Sequence[Any], now_us: int) -> JobRow:
    """What ``JOB_COLUMNS`` select; what is unreadable is left out and marks the row."""
    (
        raw, task, queue, state_text, priority, attempt, max_attempts, args, meta_text,
        created_at, run_at, started_at, finished_at, expires_at, worker,
        unique_key, unique_until, gate, cancel_requested,
        waiting_for, progress_text, result_text, errors_text,
    ) = row  # fmt: skip
    damage: list[str] = []

    def decoded(text: Any, kind: type | tuple[type, ...], otherwise: Any) -> Any:
        if text is None:
            return otherwise
        try:
            value = json.loads(text)
        except (ValueError, TypeError, RecursionError):
            damage.append("json")
            return otherwise
        if not isinstance(value, kind):
            damage.append("kind")
            return otherwise
        return value

    def moment(us: Any) -> datetime | None:
        if us is None:
            return None
        try:
            return from_us(us)
        except (TypeError, OverflowError):
            damage.append("time")
            return None

    def whole(value: Any) -> int:
        if isinstance(value, int):
            return value
        damage.append("number")
        return 0

    try:
        state = State(state_text)
    except ValueError:
        damage.append("state")
        state = State.DISCARDED
    decoded(args, dict, {})
    if not isinstance(args, str):
        damage.append("args")
    errors = decoded(errors_text, list, [])
    if unique_until is not None and isinstance(unique_until, int) and unique_until <= now_us:
        unique_key = None
    return JobRow(
        id=to_uuid(raw),
        task=_text(task),
        queue=_text(queue),
        state=state,
        priority=whole(priority),
        attempt=whole(attempt),
        max_attempts=whole(max_attempts),
        args=_text(args),
        meta=decoded(meta_text, dict, {}),
        created_at=moment(created_at) or _EPOCH,
        run_at=moment(run_at) or _EPOCH,
        started_at=moment(started_at),
        finished_at=moment(finished_at),
        expires_at=moment(expires_at),
        worker=worker,
        unique_key=unique_key,
        gate=gate,
        cancel_requested=bool(cancel_requested),
        waiting_for=whole(waiting_for),
        progress=decoded(progress_text, object, None),
        result=decoded(result_text, object, None),
        has_result=result_text is not None,
        errors=tuple(each for each in errors if isinstance(each, dict)),
        corrupt=bool(damage),
    )


def with_error(errors: str | None, error: str | Mapping[str, Any]) -> str:
    """The list of errors with one more, the latest twenty.

    A list that cannot be read is begun afresh, and an error that is no JSON object becomes one:
    recording a failure must not fail.
    """
    try:
        known = json.loads(errors) if errors else []
    except (ValueError, TypeError, RecursionError):
        known = []
    if not isinstance(known, list):
        known = []
    latest: Any = error
    if isinstance(error, str):
        try:
            latest = json.loads(error)
        except (ValueError, RecursionError):
            latest = None
        if not isinstance(latest, dict):
            latest = {"type": "Error", "message": error}
    return json.dumps([*known, latest][-_ERRORS_KEPT:], separators=(",", ":"))
