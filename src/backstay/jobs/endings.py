"""How attempts end: from what a function returned or raised to what the ledger is told."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID

from backstay.clock import Clock
from backstay.errors import BadJob, CallRefused, TaskCrashed
from backstay.jobs.arguments import UnreadableArguments
from backstay.jobs.definition import AnyTask
from backstay.jobs.durable import Writer
from backstay.jobs.failure import describe
from backstay.jobs.handlers import handlers_of
from backstay.jobs.outcome import OUTCOMES, Cancel, Discard, RetryLater, Snooze
from backstay.jobs.run import JobRun
from backstay.ledger.rows import Claimed, Finish, NewJob, State
from backstay.retry import Retry

__all__ = ["Endings", "given_back", "outcome_of"]

logger = logging.getLogger("backstay.jobs")

_UNKNOWN_TASK_S = 30.0


def given_back(claim: Claimed) -> Finish:
    """The claim ends as if it had never been: somebody else runs the job, no attempt is used up."""
    return Finish(claim.id, claim.fence, State.AVAILABLE, give_back=True)


def outcome_of(finish: Finish, error: BaseException | None) -> str:
    """How an attempt ended, in the words of ``Observation.outcome``.

    Args:
        finish: what the ledger is told.
        error: what the attempt raised, ``None`` if nothing.
    """
    match finish.state:
        case State.SUCCEEDED:
            return "ok"
        case State.RETRYING:
            return "retried"
        case State.SCHEDULED:
            return "snoozed"
        case State.DISCARDED:
            return "discarded" if isinstance(error, Discard) else "failed"
        case _:
            return "cancelled"


class Endings:
    """Says how an attempt ends.

    Args:
        writer: makes the rows of jobs about failures.
        clock: time and chance.
        worker: the id of the worker, for errors that name it.
    """

    def __init__(self, writer: Writer, clock: Clock, worker: str) -> None:
        self._writer = writer
        self._clock = clock
        self._worker = worker

    def succeeded(self, run: JobRun, task: AnyTask, value: Any) -> Finish:
        """The function has returned ``value``.

        Raises:
            Exception: ``value`` is an outcome such as ``Snooze``, or cannot be written; how that
                ends is for ``failed`` to say.
        """
        claim = run.claim
        if value is None:
            text = None
        elif isinstance(value, OUTCOMES):
            raise value
        else:
            try:
                text = task.result.dump(value)
            except BadJob as error:
                # The work is done; trying again would do it twice and fail the same way.
                raise Discard(f"it ran, and its result cannot be written: {error}") from error
        return Finish(
            claim.id,
            claim.fence,
            State.SUCCEEDED,
            result=text,
            then=() if run.then is None else tuple(new for new, _ in run.then),
        )

    def unknown(self, run: JobRun) -> Finish:
        """Nobody here knows the task: the row waits for somebody who does."""
        claim = run.claim
        logger.warning(
            "no loaded module has a task named %r, so the job %s waits; import the module, or add "
            "aliases=[%r] to the task that was renamed",
            claim.task,
            claim.id,
            claim.task,
        )
        error = describe(
            "UnknownTask",
            f"no task named {claim.task!r} was found by the worker {self._worker}",
            attempt=claim.attempt,
            at=self._clock.now(),
        )
        return self._finish(run, State.SCHEDULED, error, delay_s=_UNKNOWN_TASK_S, give_back=True)

    def failed(self, run: JobRun, task: AnyTask | None, error: BaseException) -> Finish:
        """The attempt has raised ``error``."""
        claim = run.claim
        current = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and current is not None:
            while current.cancelling():
                current.uncancel()
            if run.cancel_reason is not None:
                return self.stopped(run, State.CANCELLED, "Cancelled", run.cancel_reason)
            if run.handed_back:
                return given_back(claim)
        match error:
            case Snooze():
                return Finish(claim.id, claim.fence, State.SCHEDULED, error.seconds, give_back=True)
            case Cancel():
                return self.stopped(run, State.CANCELLED, "Cancel", error.reason)
            case Discard():
                return self.stopped(run, State.DISCARDED, "Discard", error.reason)
            case RetryLater():
                described = self._describe(run, "RetryLater", error.reason)
                if claim.attempt < claim.max_attempts:
                    return self._finish(run, State.RETRYING, described, delay_s=error.seconds)
                return self._finish(run, State.DISCARDED, described)
            case UnreadableArguments():
                return self.stopped(run, State.DISCARDED, "UnreadableArguments", str(error))
            case Exception():
                raised: Exception = error
            case _:
                raised = TaskCrashed(
                    f"the job ended by {type(error).__name__}, which is no Exception"
                )
                raised.__cause__ = error
        described = self._describe(run, type(raised).__name__, _words_of(raised), raised)
        retry = None if task is None else task.retry
        if isinstance(raised, CallRefused):
            # Nothing was asked of the other side: the job waits, and the attempt does not count,
            # whatever errors its rule is for. Not for ever: one that tries and fails has failed.
            pause_s = raised.retry_after_s * (1 + self._clock.random() / 2)
            logger.info(
                "the job %s of %s waits for %.3g s: %s", claim.id, claim.task, pause_s, raised
            )
            return self._finish(run, State.SCHEDULED, described, delay_s=pause_s, give_back=True)
        # The row says how many attempts there are; the task's rule says for which errors.
        if retry is not None and claim.attempt < claim.max_attempts and self._wants(retry, raised):
            delay_s = retry.pause_s(claim.attempt, self._clock.random())
            logger.warning(
                "the job %s of %s failed at attempt %d of %d and is tried again in %.3g s: %r",
                claim.id,
                claim.task,
                claim.attempt,
                claim.max_attempts,
                delay_s,
                raised,
            )
            return self._finish(run, State.RETRYING, described, delay_s=delay_s)
        logger.error(
            "the job %s of %s failed for good at attempt %d",
            claim.id,
            claim.task,
            claim.attempt,
            exc_info=raised,
        )
        return self._finish(run, State.DISCARDED, described)

    def _wants(self, retry: Retry, error: Exception) -> bool:
        try:
            return retry.wants(error, 0)
        except Exception:
            logger.exception("the rule Retry(on=...) failed, so the job is tried again")
            return True

    def _describe(
        self, run: JobRun, kind: str, message: str, error: BaseException | None = None
    ) -> dict[str, Any]:
        return describe(kind, message, attempt=run.claim.attempt, at=self._clock.now(), error=error)

    def stopped(self, run: JobRun, state: State, kind: str, reason: str) -> Finish:
        """The job is over without an attempt having failed: ``kind`` and ``reason`` say why."""
        logger.log(
            logging.ERROR if state is State.DISCARDED else logging.INFO,
            "the job %s of %s was %s: %s",
            run.id,
            run.name,
            state,
            reason,
        )
        return self._finish(run, state, self._describe(run, kind, reason))

    def _finish(
        self,
        run: JobRun,
        state: State,
        error: dict[str, Any],
        *,
        delay_s: float = 0.0,
        give_back: bool = False,
    ) -> Finish:
        claim = run.claim
        then: tuple[NewJob, ...] = ()
        if not give_back and run.task is not None:
            then = handlers_of(self._writer, run.task, claim, state, error)
        return Finish.failed(
            claim.id, claim.fence, state, error, delay_s=delay_s, give_back=give_back, then=then
        )

    def unrecordable(self, job_id: UUID, fence: int, state: State) -> Finish:
        """The end of a job in the plainest form there is."""
        error = describe(
            "Unrecordable",
            f"the job ended as {state}, and that could not be recorded; see the worker's log",
            attempt=0,
            at=self._clock.now(),
        )
        return Finish.failed(job_id, fence, State.DISCARDED, error)


def _words_of(error: BaseException) -> str:
    """What an error says, even if saying it is where it fails."""
    try:
        return str(error)
    except Exception:
        return f"a {type(error).__name__} that cannot say what it is"
