"""What is kept of a task beside its job: whose it is, and what was answered meanwhile."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backstay.state.state import State

__all__ = ["TaskRecord", "TaskRecords"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """A task.

    Attributes:
        id: what the client calls it; nobody can guess it.
        owner: who may see it, as a list that is JSON: a user, a session, or empty for whoever
            knows the id.
        tool: what is run.
        job: the id of the job that runs it now. After a question there is another one.
        round: how many rounds of answers there have been.
        answered: answers to what the present job has asked, by key.
        cancelled: whether it was cancelled; it stays so, whatever its job still does.
        created_at: ISO 8601, UTC.
        changed_at: the same, of the latest change of this record.
        ttl_ms: for how long after ``created_at`` it is kept.
    """

    id: str
    owner: tuple[str | None, ...]
    tool: str
    job: str
    created_at: str
    changed_at: str
    ttl_ms: int
    round: int = 0
    answered: Mapping[str, Any] = field(default_factory=dict)
    cancelled: bool = False


class TaskRecords:
    """Where records are kept: the app's state, which every process of it shares.

    Args:
        state: opens it.
    """

    def __init__(self, state: Callable[[], State]) -> None:
        self._state = state

    @staticmethod
    def new_id() -> str:
        """An id of 192 random bits, made of characters that need no escaping in a header."""
        return secrets.token_urlsafe(24)

    async def write(self, record: TaskRecord) -> None:
        """Keep a new one."""
        await self._state().set(record.id, _dumped(record), ttl=record.ttl_ms / 1000)

    async def find(self, task_id: str) -> TaskRecord | None:
        """The one of that id, ``None`` if there is none or its time is over."""
        if not 0 < len(task_id) <= 100:
            return None
        return _read(await self._state().get(task_id))

    async def change(
        self, record: TaskRecord, change: Callable[[TaskRecord], TaskRecord]
    ) -> TaskRecord | None:
        """Replace one, atomically.

        Args:
            record: which.
            change: makes the new one of the latest; may run more than once.

        Returns:
            The new one, ``None`` if its time was over meanwhile.
        """

        def update(found: Any) -> Any:
            latest = _read(found)
            return None if latest is None else _dumped(change(latest))

        return _read(await self._state().update(record.id, update))


def _dumped(record: TaskRecord) -> dict[str, Any]:
    return {**asdict(record), "owner": list(record.owner)}


def _read(found: Any) -> TaskRecord | None:
    if not isinstance(found, dict):
        return None
    record = TaskRecord(**found)
    return replace(record, owner=tuple(record.owner))
