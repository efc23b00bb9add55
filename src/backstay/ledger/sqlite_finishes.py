"""How jobs end, are cancelled and brought back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from backstay.ledger.bounds import check_finishes
from backstay.ledger.port import Execute
from backstay.ledger.rows import FINISHED, Finish, State
from backstay.ledger.sqlite_inserts import Children, Inserts
from backstay.ledger.sqlite_rows import BITS, from_us, to_uuid, with_error

__all__ = ["Finishes"]

# The parameters: now, result, now, keep_s, id, fence.
_SUCCEED = (
    "UPDATE {p}jobs SET state = 'succeeded', finished_at = ?, worker = NULL, result = ?, "
    "expires_at = ? + CAST(coalesce(?, keep_s) * 1000000 AS INTEGER), "
    "unique_held = CASE WHEN unique_states & 32 THEN unique_held ELSE 0 END "
    "WHERE id = ? AND fence = ? AND state = 'running'"
)
_END = (
    "UPDATE {p}jobs SET state = :state, finished_at = :now, worker = NULL, result = :result, "
    "attempt = max(0, attempt - :back), "
    "expires_at = :now + CAST(coalesce(:keep_s, keep_s) * 1000000 AS INTEGER), "
    "unique_held = CASE WHEN unique_states & :bit THEN unique_held ELSE 0 END "
    "WHERE id = :id AND fence = :fence AND state = 'running' RETURNING errors"
)
_LATER = (
    "UPDATE {p}jobs SET state = :state, worker = NULL, attempt = max(0, attempt - :back), "
    "run_at = :run_at, rank = :run_at - priority * 600000000, "
    "unique_held = CASE WHEN unique_states & :bit THEN unique_held ELSE 0 END "
    "WHERE id = :id AND fence = :fence AND state = 'running' RETURNING errors"
)
# Handed back: it keeps its place in the queue.
_HAND_BACK = (
    "UPDATE {p}jobs SET state = 'available', worker = NULL, attempt = max(0, attempt - :back), "
    "unique_held = CASE WHEN unique_states & 4 THEN unique_held ELSE 0 END "
    "WHERE id = :id AND fence = :fence AND state = 'running' RETURNING errors"
)
_ERRORS = "UPDATE {p}jobs SET errors = :errors WHERE id = :id"
_OPEN_EDGES = "SELECT 1 FROM {p}edges WHERE settled = 0 LIMIT 1"
_STATE_AND_ERRORS = "SELECT state, errors FROM {p}jobs WHERE id = :id"
_WISH = "UPDATE {p}jobs SET cancel_requested = 1, cancel_reason = :reason WHERE id = :id"
_CANCEL = (
    "UPDATE {p}jobs SET state = 'cancelled', finished_at = :now, worker = NULL, "
    "errors = :errors, expires_at = :now + CAST(keep_s * 1000000 AS INTEGER), "
    "unique_held = CASE WHEN unique_states & 128 THEN unique_held ELSE 0 END WHERE id = :id"
)
_REQUEUE = (
    "UPDATE {p}jobs SET state = 'available', attempt = 0, run_at = :now, "
    "rank = :now - priority * 600000000, started_at = NULL, finished_at = NULL, "
    "expires_at = NULL, result = NULL, progress = NULL, cancel_requested = 0, "
    "cancel_reason = NULL, worker = NULL, waiting_for = 0, unique_held = :held WHERE id = :id"
)
_FORGET_PARENTS = "UPDATE {p}edges SET settled = 1 WHERE child = :child AND settled = 0"


class Finishes:
    """Ends claims and lives."""

    def __init__(self, prefix: str, inserts: Inserts) -> None:
        def ours(statement: str) -> str:
            return statement.replace("{p}", prefix)

        self._inserts = inserts
        self._children = Children(prefix)
        self._succeed = ours(_SUCCEED)
        self._end = ours(_END)
        self._later = ours(_LATER)
        self._hand_back = ours(_HAND_BACK)
        self._errors = ours(_ERRORS)
        self._open_edges = ours(_OPEN_EDGES)
        self._state_and_errors = ours(_STATE_AND_ERRORS)
        self._wish = ours(_WISH)
        self._cancel = ours(_CANCEL)
        self._requeue = ours(_REQUEUE)
        self._forget_parents = ours(_FORGET_PARENTS)

    # ------------------------------------------------------------------ the end of claims

    @staticmethod
    def successes(finishes: Sequence[Finish]) -> list[tuple[str | None, float | None, bytes, int]]:
        """The parameters of ``succeed`` but for the time; empty if any is more than a success.

        Raises:
            BadJob: one cannot be written.
        """
        check_finishes(finishes)
        rows = []
        for each in finishes:
            if each.state is not State.SUCCEEDED or each.then or each.error is not None:
                return []
            rows.append((each.result, each.keep_s, each.id.int.to_bytes(16), each.fence))
        return rows

    def succeed(
        self,
        connection: sqlite3.Connection,
        execute: Execute,
        rows: Sequence[tuple[str | None, float | None, bytes, int]],
        now: int,
    ) -> bool | None:
        """End many claims with success, in the open transaction.

        Returns:
            Whether children were released; ``None`` if a claim was not current: roll back and use
            ``finish``, which finds out which.
        """
        done = connection.executemany(
            self._succeed,
            [(now, result, now, keep_s, raw, fence) for result, keep_s, raw, fence in rows],
        ).rowcount
        if done != len(rows):
            return None
        released = False
        if execute(self._open_edges, {}):
            for _, _, raw, _ in rows:
                released |= self._children.settle(execute, raw, State.SUCCEEDED, now)
        return released

    def finish(self, execute: Execute, finish: Finish, now: int) -> tuple[bool, bool]:
        """End one claim, in any way.

        Returns:
            Whether it was current, and whether anything may be claimable now because of it.

        Raises:
            BadJob: it cannot be written.
        """
        check_finishes((finish,))
        raw = finish.id.bytes
        state = finish.state
        claim: dict[str, Any] = {"id": raw, "fence": finish.fence, "back": int(finish.give_back)}
        if state in FINISHED:
            rows = execute(
                self._end,
                {
                    **claim,
                    "state": state.value,
                    "now": now,
                    "bit": BITS[state],
                    "result": finish.result,
                    "keep_s": finish.keep_s,
                },
            )
        elif state is State.AVAILABLE and finish.delay_s <= 0:
            rows = execute(self._hand_back, claim)
        else:
            if state is State.AVAILABLE:
                state = State.SCHEDULED
            rows = execute(
                self._later,
                {
                    **claim,
                    "state": state.value,
                    "bit": BITS[state],
                    "run_at": now + int(finish.delay_s * 1_000_000),
                },
            )
        if not rows:
            return False, False
        if finish.error is not None:
            errors = with_error(rows[0][0], finish.error)
            execute(self._errors, {"id": raw, "errors": errors})
        released = False
        if state in FINISHED:
            released = self._children.settle(execute, raw, state, now)
        if finish.then:
            self._inserts.insert(execute, finish.then, now)
        return True, released or bool(finish.then) or state not in FINISHED

    def finish_all(
        self, execute: Execute, finishes: Sequence[Finish], now: int
    ) -> tuple[set[UUID], bool]:
        """End many claims.

        Returns:
            Ids whose claim was not current, and whether anything may be claimable now.
        """
        stale = set()
        stirred = False
        for each in finishes:
            current, stirs = self.finish(execute, each, now)
            stirred |= stirs
            if not current:
                stale.add(each.id)
        return stale, stirred

    # ------------------------------------------------------------------ steering

    def cancel(
        self, execute: Execute, job_id: UUID, reason: str, now: int
    ) -> tuple[State | None, bool]:
        """Cancel a job, or wish for it.

        Returns:
            The state before, ``None`` if there is no such job; and whether children were released.
        """
        raw = job_id.bytes
        rows = execute(self._state_and_errors, {"id": raw})
        if not rows:
            return None, False
        state = State(rows[0][0])
        if state is State.RUNNING:
            execute(self._wish, {"id": raw, "reason": reason})
            return state, False
        if state in FINISHED:
            return state, False
        error = {"type": "Cancelled", "message": reason, "at": from_us(now).isoformat()}
        execute(self._cancel, {"id": raw, "now": now, "errors": with_error(rows[0][1], error)})
        return state, self._children.settle(execute, raw, State.CANCELLED, now)

    def requeue(
        self,
        execute: Execute,
        found: Sequence[tuple[bytes, str | None, int, int | None]],
        now: int,
    ) -> list[UUID]:
        """Make jobs available again.

        Args:
            execute: runs statements.
            found: ``id, unique_key, unique_states, unique_until`` of jobs that were given up.
            now: microseconds.

        Returns:
            Those that were; not the ones whose unique key is somebody else's by now.
        """
        edges = bool(execute(self._open_edges, {}))
        back = []
        for raw, key, states, until in found:
            held = 0
            if key is not None:
                holder = self._inserts.holder(execute, key, now)
                if holder is not None and holder.bytes != raw:
                    continue
                held = int(bool(states & BITS[State.AVAILABLE]) and (until is None or until > now))
            execute(self._requeue, {"id": raw, "now": now, "held": held})
            if edges:
                execute(self._forget_parents, {"child": raw})
            back.append(to_uuid(raw))
        return back
