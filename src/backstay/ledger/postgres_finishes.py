"""Ending claims in PostgreSQL, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from backstay.errors import LedgerUnavailable
from backstay.ledger.bounds import check_finishes
from backstay.ledger.postgres_lane import Connection, Lane, carry_out
from backstay.ledger.postgres_plans import BITS, KEEP_KEY, finish_plan
from backstay.ledger.postgres_schema import Tables
from backstay.ledger.rows import Finish, State

__all__ = ["Finisher"]

# The state is hidden from the planner (|| ''), or it goes through all running jobs by their index
# instead of looking each one up by its id, whenever it believes that few are running.
# has_children is looked at in the row itself, not in {edges}: if the row was locked by somebody who
# adds a child, PostgreSQL reads the row again when it gets it, but nothing else.
_SUCCEED = (
    """WITH c AS MATERIALIZED (SELECT coalesce($1::timestamptz, clock_timestamp()) AS t)
UPDATE {jobs} j SET state = 'succeeded', worker = NULL, finished_at = c.t, result = r.result,
    expires_at = c.t + make_interval(secs => coalesce(r.keep_s, j.keep_s)),
    unique_key = """
    + KEEP_KEY.replace("{bit}", str(BITS[State.SUCCEEDED])).replace("{now}", "c.t")
    + """
FROM c CROSS JOIN unnest($2::uuid[], $3::bigint[], $4::text[], $5::float8[])
    AS r(id, fence, result, keep_s)
WHERE j.id = r.id AND j.fence = r.fence AND j.state || '' = 'running' AND NOT j.has_children
RETURNING j.id"""
)
_ENDED_SO = """SELECT j.id FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS r(id, fence, state)
JOIN {jobs} j ON j.id = r.id WHERE j.fence = r.fence AND j.state = r.state"""


class Finisher:
    """Finishes on one connection.

    Args:
        lane: the connection.
        tables: the tables.
    """

    def __init__(self, lane: Lane, tables: Tables) -> None:
        self._lane = lane
        self._tables = tables

    async def finish(
        self, finishes: Sequence[Finish], now: datetime | None
    ) -> tuple[set[UUID], bool]:
        """See ``Ledger.finish``. Also whether anything may be claimable now that was not."""
        check_finishes(finishes)
        asked = False

        def uncertain() -> None:
            nonlocal asked
            asked = True

        async def work(connection: Connection) -> tuple[set[UUID], bool]:
            return await self._finish(connection, finishes, now)

        try:
            return await self._lane.run(work, uncertain=uncertain)
        except LedgerUnavailable:
            if not asked:
                raise
        # The connection broke, perhaps after the commit. What ended just so, under this very
        # fence, was ended by us: nobody has claimed it since.
        stale, _ = await self._lane.run(work)
        if stale:
            unclear = [finish for finish in finishes if finish.id in stale]
            ended = await self._lane.run(
                lambda connection: connection.fetch(
                    self._tables[_ENDED_SO],
                    [finish.id for finish in unclear],
                    [finish.fence for finish in unclear],
                    [str(finish.state) for finish in unclear],
                ),
                transaction=False,
            )
            stale.difference_update(row[0] for row in ended)
        return stale, True

    async def _finish(
        self, connection: Connection, finishes: Sequence[Finish], now: datetime | None
    ) -> tuple[set[UUID], bool]:
        plain: dict[UUID, Finish] = {}
        others: list[Finish] = []
        for finish in finishes:
            if (
                finish.state is State.SUCCEEDED
                and not finish.then
                and finish.error is None
                and finish.id not in plain
            ):
                plain[finish.id] = finish
            else:
                others.append(finish)
        if plain:
            rows = await connection.fetch(
                self._tables[_SUCCEED],
                now,
                list(plain),
                [finish.fence for finish in plain.values()],
                [finish.result for finish in plain.values()],
                [finish.keep_s for finish in plain.values()],
            )
            if len(rows) < len(plain):
                # Stale ones, and those with children, which take more than one statement.
                for row in rows:
                    del plain[row[0]]
                others = [*plain.values(), *others]
        if not others:
            return set(), False
        current = await carry_out(connection, self._tables, finish_plan(others, now))
        brought = any(finish.state not in _SILENT or finish.then for finish in others)
        return {finish.id for finish in others} - current, brought


_SILENT = {State.DISCARDED, State.CANCELLED}
