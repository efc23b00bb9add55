"""Jobs about failed jobs: what ``on_error=`` and ``on_discard=`` come to."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from backstay.jobs.definition import AnyTask
from backstay.jobs.failure import JobFailure
from backstay.ledger.rows import Claimed, NewJob, Orphan, State

if TYPE_CHECKING:
    from backstay.jobs.durable import Writer

__all__ = ["handlers_of"]

_LARGEST = 64 * 1024 * 1024

logger = logging.getLogger("backstay.jobs")


def handlers_of(
    writer: Writer,
    task: AnyTask,
    claim: Claimed | Orphan,
    state: State,
    error: Mapping[str, Any],
) -> tuple[NewJob, ...]:
    """The jobs to write together with the failure of ``claim``.

    Args:
        writer: makes their rows.
        task: whose handlers.
        claim: the attempt that failed.
        state: what becomes of the job.
        error: the attempt's failure, as ``describe`` gives it.
    """
    wanted = []
    if state is not State.CANCELLED and task.on_error is not None:
        wanted.append(task.on_error)
    if state is State.DISCARDED and task.on_discard is not None:
        wanted.append(task.on_discard)
    jobs = []
    for handler in wanted:
        failure = _failure(claim, state, error)
        meta = json.dumps({"correlation": failure.correlation_id})
        try:
            # A failure holds the arguments and more, so the limit on arguments is not for it.
            jobs.append(writer.new_job(handler, (failure,), {}, None, meta, max_bytes=_LARGEST))
        except Exception:
            # The failure itself has to be recorded, whatever is wrong with who wants to hear it.
            logger.exception("%s cannot be told that the job %s failed", handler.name, claim.id)
    return tuple(jobs)


def _failure(claim: Claimed | Orphan, state: State, error: Mapping[str, Any]) -> JobFailure:
    return JobFailure(
        job_id=claim.id,
        task=claim.task,
        queue=claim.queue,
        args=_decoded(claim.args),
        attempt=claim.attempt,
        max_attempts=claim.max_attempts,
        error_type=str(error["type"]),
        message=str(error["message"]),
        traceback=str(error.get("traceback", "")),
        state=str(state),
        at=datetime.fromisoformat(error["at"]),
        correlation_id=str(_decoded(claim.meta).get("correlation", claim.id.hex)),
    )


def _decoded(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
