"""A handle on one durable job: what ``enqueue`` and ``schedule`` return."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol
from uuid import UUID

from typing_extensions import TypeVar

from backstay.errors import JobFailed, UnknownJob
from backstay.ledger.rows import JobRow, State

if TYPE_CHECKING:
    from backstay.ledger.port import Ledger

__all__ = ["Job", "JobKeeper", "JobStatus"]

R = TypeVar("R", default=Any)

JobStatus = JobRow
"""What ``await job.status()`` gives."""

_FIRST_POLL_S = 0.01
_LONGEST_POLL_S = 0.5


class JobKeeper(Protocol):
    """Where handles ask."""

    async def awake(self) -> Ledger:
        """The ledger, opened."""

    async def pause(self, job_id: UUID, delay_s: float) -> None:
        """Wait ``delay_s`` seconds, or less if the job ends in this process."""


class Job(Generic[R]):
    """A durable job. Cheap to make; asks the ledger when asked.

    Attributes:
        id: its id, a UUIDv7; ``str(job.id)`` goes into URLs. If a unique key was taken, the id of
            the job that holds it, as soon as that is known.
        task: the task's name.
        created: whether this call wrote it. ``False``: a job with the same unique key was there.
            ``None``: not known yet, because it is written when the session commits or the work
            it belongs to returns.
    """

    __slots__ = ("_decode", "_dropped", "_keeper", "created", "id", "task")

    def __init__(
        self,
        keeper: JobKeeper,
        job_id: UUID,
        task: str,
        decode: Callable[[Any], R] | None = None,
        *,
        created: bool | None = None,
    ) -> None:
        self._keeper = keeper
        self.id = job_id
        self.task = task
        self._decode = decode
        self.created = created
        self._dropped = False

    async def status(self) -> JobStatus:
        """Everything the ledger knows about it.

        Raises:
            UnknownJob: it is not written (yet), was rolled back, or has been pruned.
            LedgerUnavailable: the database cannot be asked.
        """
        found = await (await self._keeper.awake()).get([self.id])
        if self.id not in found:
            raise UnknownJob(f"the job {self.id} of {self.task} {self._why_missing()}")
        return found[self.id]

    def _why_missing(self) -> str:
        if self._dropped:
            return (
                "was never written: the transaction it belonged to was rolled back, or a job with "
                "its unique key was there"
            )
        if self.created is None:
            return "is not written yet: that happens when its session commits, or its work returns"
        return "is not in the ledger (any more): history is pruned after a while"

    async def wait(self, timeout_s: float | None = None) -> JobStatus:
        """Wait until it has finished, well or not.

        Args:
            timeout_s: give up waiting (not the job) after this many seconds; ``None``: never.

        Raises:
            TimeoutError: it has not finished by then.
            UnknownJob: as ``status`` says.
        """
        status = await self.status()
        if status.finished:
            return status
        try:
            async with asyncio.timeout(timeout_s):
                poll_s = _FIRST_POLL_S
                while True:
                    status = await self.status()
                    if status.finished:
                        return status
                    await self._keeper.pause(self.id, poll_s)
                    poll_s = min(poll_s * 1.5, _LONGEST_POLL_S)
        except TimeoutError:
            raise TimeoutError(
                f"the job {self.id} of {self.task} has not finished within {timeout_s} s"
            ) from None

    async def result(self, timeout_s: float | None = None) -> R:
        """What the task returned, by its return annotation. Waits for it.

        Raises:
            JobFailed: it was discarded or cancelled.
            TimeoutError, UnknownJob: as ``wait`` says.
        """
        status = await self.wait(timeout_s)
        if status.state is not State.SUCCEEDED:
            error = status.error
            raise JobFailed(
                f"the job {self.id} of {self.task} was {status.state}"
                + (f": {error.get('type')}: {error.get('message')}" if error else ""),
                state=status.state,
                error=dict(error) if error else None,
            )
        if self._decode is None or status.result is None:
            value: Any = status.result
            return value  # type: ignore[no-any-return]  # by a handle that does not know its task
        return self._decode(status.result)

    async def cancel(self, reason: str = "cancel() was called") -> bool:
        """Cancel it: at once if it waits; soon, if it runs.

        A running async function has ``CancelledError`` raised at its next await, a sync one is
        left behind and its result ignored.

        Args:
            reason: for people, kept in the ledger.

        Returns:
            ``False`` if it had finished already.

        Raises:
            UnknownJob: there is no such job.
        """
        before = await (await self._keeper.awake()).cancel(self.id, reason)
        if before is None:
            raise UnknownJob(f"the job {self.id} of {self.task} {self._why_missing()}")
        return before not in (State.SUCCEEDED, State.DISCARDED, State.CANCELLED)

    def told(self, job_id: UUID | None, created: bool) -> None:
        """What became of writing it. For whoever writes it; ``None``: it was not."""
        if job_id is None:
            self._dropped = True
        else:
            self.id = job_id
            self.created = created

    def __await__(self) -> Any:
        raise TypeError(
            f"a Job cannot be awaited; say what for: await job.result(), or await job.wait() ({self!r})"
        )

    def __repr__(self) -> str:
        return f"<Job {self.id} of {self.task}>"
