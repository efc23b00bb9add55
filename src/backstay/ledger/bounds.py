"""What a ledger refuses to write: values that no engine could keep its promises about.

A time that is not finite or lies beyond the year 9999 is stored by some databases and read back by
none, and one such row fails whoever lists or ends it together with others. So it is refused before
anything is written, by the same rules in every engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from backstay.errors import BadJob
from backstay.ledger.rows import Finish, Gate, NewJob, QueueRow, State, Tick, UniqueKey

__all__ = [
    "MOST_S",
    "check_finishes",
    "check_jobs",
    "check_queues",
    "check_seconds",
    "check_tick",
    "check_time",
]

MOST_S = 1e11
"""The longest time there is, in seconds: 3,000 years, which from any sensible now stays in years of
four digits."""

_LEAST_INT, _MOST_INT = -(2**31), 2**31 - 1
_RULES = frozenset({"cancel", "discard", "run"})
_STATES = frozenset(State)
_ENDS = _STATES - {State.WAITING, State.RUNNING}
_SUCCEEDED = State.SUCCEEDED


def check_jobs(jobs: Iterable[NewJob]) -> bool:
    """Refuse jobs that cannot be written.

    Returns:
        Whether all of them are ``NewJob.plain``.

    Raises:
        BadJob: a time is negative, not finite or beyond the year 9999, or has no zone; or something
            is of another type than it should be.
    """
    plain = True
    for job in jobs:
        # The usual job has none of what needs a closer look: this is paid for every enqueue.
        if (
            type(job.args) is str
            and type(job.task) is str
            and type(job.queue) is str
            and type(job.meta) is str
            and type(job.priority) is int
            and _LEAST_INT <= job.priority <= _MOST_INT
            and type(job.max_attempts) is int
            and _LEAST_INT <= job.max_attempts <= _MOST_INT
            and job.unique is None
            and job.gate is None
            and not job.after
            and job.run_at is None
            and job.delay_s == 0
            and job.keep_s is None
        ):
            continue
        _check_job(job)
        plain = plain and job.plain
    return plain


def check_finishes(finishes: Iterable[Finish]) -> None:
    """Refuse ends of claims that cannot be written, or that bring such jobs along.

    Raises:
        BadJob: see ``check_jobs``; or the state is none that a claim ends in.
    """
    for finish in finishes:
        if (  # the usual end, as above
            finish.state is _SUCCEEDED
            and (finish.result is None or type(finish.result) is str)
            and not finish.then
            and finish.error is None
            and finish.keep_s is None
            and finish.delay_s == 0
        ):
            continue
        if not isinstance(finish.state, State) or finish.state not in _ENDS:
            raise BadJob(
                f"a claim cannot end as {finish.state!r}; it ends as succeeded, discarded, "
                "cancelled, retrying, scheduled or available"
            )
        if finish.delay_s != 0:
            check_seconds(finish.delay_s, "Finish.delay_s")
        if finish.keep_s is not None:
            check_seconds(finish.keep_s, "Finish.keep_s")
        if finish.result is not None:
            _check_text(finish.result, "Finish.result")
        if finish.error is not None:
            _check_text(finish.error, "Finish.error")
        if finish.then:
            check_jobs(finish.then)


def check_tick(tick: Tick) -> None:
    """Refuse a tick whose times or jobs cannot be written.

    Raises:
        BadJob: see ``check_jobs``.
    """
    check_time(tick.at, "Tick.at")
    if tick.previous is not None:
        check_time(tick.previous, "Tick.previous")
    check_jobs(tick.jobs)


def check_queues(queues: Iterable[QueueRow]) -> None:
    """Refuse queues whose limits make no sense.

    Raises:
        BadJob: see ``check_jobs``.
    """
    for queue in queues:
        _check_text(queue.name, "QueueRow.name")
        _check_limits(queue, "QueueRow")


def check_seconds(value: object, name: str) -> None:
    """Refuse what is no number of seconds, 0 or more, that a calendar can hold.

    Args:
        value: the number.
        name: what it is, for the error.

    Raises:
        BadJob: it is not.
    """
    # Not a number is neither more nor less than anything.
    if not isinstance(value, int | float) or not 0 <= value <= MOST_S:
        raise BadJob(
            f"{name} is a number of seconds from 0 to {MOST_S:.0e}; got {value!r}, so nothing was "
            "written"
        )


def check_time(value: object, name: str) -> None:
    """Refuse what is no moment that every calendar here can hold.

    Args:
        value: the moment.
        name: what it is, for the error.

    Raises:
        BadJob: it is no datetime, has no time zone, or is not in the years 1 to 9999 in UTC.
    """
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise BadJob(
            f"{name} is a datetime with a time zone, such as datetime.now(UTC); got {value!r}"
        )
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise BadJob(f"{name} is not in the years 1 to 9999 in UTC; got {value!r}") from None


def _check_job(job: NewJob) -> None:
    for name in ("task", "args", "queue", "meta"):
        _check_text(getattr(job, name), f"NewJob.{name}")
    _check_whole(job.priority, "NewJob.priority")
    _check_whole(job.max_attempts, "NewJob.max_attempts")
    check_seconds(job.delay_s, "NewJob.delay_s")
    if job.keep_s is not None:
        check_seconds(job.keep_s, "NewJob.keep_s")
    if job.run_at is not None:
        check_time(job.run_at, "NewJob.run_at")
    if job.unique is not None:
        _check_key(job.unique)
    if job.gate is not None:
        _check_text(job.gate.name, "Gate.name")
        _check_limits(job.gate, "Gate")
    for each in (job.id, *job.after):
        if not isinstance(each, UUID):
            raise BadJob(f"NewJob.id and NewJob.after are UUIDs; got {each!r}")
    if job.on_parent_failure not in _RULES:
        raise BadJob(
            'NewJob.on_parent_failure is "cancel", "discard" or "run"; got '
            f"{job.on_parent_failure!r}"
        )


def _check_key(unique: UniqueKey) -> None:
    _check_text(unique.key, "UniqueKey.key")
    if not _STATES.issuperset(unique.states):
        raise BadJob(f"UniqueKey.states are states of jobs; got {sorted(map(str, unique.states))}")
    if unique.period_s is not None:
        check_seconds(unique.period_s, "UniqueKey.period_s")


def _check_limits(rule: Gate | QueueRow, kind: str) -> None:
    for name, value in (("limit", rule.limit), ("rate", rule.rate)):
        if value is not None:
            _check_whole(value, f"{kind}.{name}")
    check_seconds(rule.per_s, f"{kind}.per_s")
    if not rule.per_s:
        raise BadJob(f"{kind}.per_s is more than 0 seconds; got {rule.per_s!r}")


def _check_text(value: object, name: str) -> None:
    if not isinstance(value, str):
        raise BadJob(f"{name} is a text; got {value!r}, so nothing was written")


def _check_whole(value: object, name: str) -> None:
    if not isinstance(value, int) or not _LEAST_INT <= value <= _MOST_INT:
        raise BadJob(f"{name} is a whole number of 32 bits; got {value!r}, so nothing was written")
