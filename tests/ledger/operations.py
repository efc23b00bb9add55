"""Operations that write several rows, and a ledger in which each has much to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from backstay.ledger import (
    Finish,
    Gate,
    JobFilter,
    Ledger,
    NewJob,
    QueueRow,
    State,
    Tick,
    UniqueKey,
)
from backstay.testing.ledger_conformance.stage import worker_row

__all__ = ["NOW", "OPERATIONS", "Operation", "prepare"]

NOW = datetime(2027, 1, 1, tzinfo=UTC)
FAILED = '{"type": "ValueError", "message": "no"}'


def job(number: int, **rest: Any) -> NewJob:
    # Fixed ids, so that the same history leaves the same rows.
    return NewJob(UUID(int=(7 << 76) | (2 << 62) | number), "t", **rest)


RUNNING = [job(number, queue="running") for number in range(1, 6)]
KEYED = job(6, queue="running", unique=UniqueKey("held"))
DISCARDED = [job(number, queue="running") for number in (7, 8)]
PARENT = RUNNING[0]
SECOND_PARENT = RUNNING[1]
CHILDREN = [
    job(20, after=(PARENT.id,)),
    job(21, after=(PARENT.id,), on_parent_failure="discard"),
    job(22, after=(PARENT.id,), on_parent_failure="run"),
    job(23, after=(PARENT.id, SECOND_PARENT.id)),
    job(24, after=(UUID(int=(7 << 76) | (2 << 62) | 20),)),
]
GATED = [job(30 + number, gate=Gate(f"g{number % 2}", limit=2, rate=3)) for number in range(5)]
PLAIN = [job(40 + number) for number in range(4)]
LATE = [job(50 + number, run_at=NOW - timedelta(hours=number)) for number in range(2)]


async def prepare(ledger: Ledger) -> None:
    """Workers, running jobs with families, gates, keys, dead letters. The first claims are 1."""
    await ledger.declare([QueueRow(name="default", limit=50, rate=60)])
    for name in ("w1", "w2"):
        await ledger.register(worker_row(name))
    await ledger.insert([*RUNNING, KEYED, *DISCARDED])
    claims = await ledger.claim("w1", {"running": 100})
    fences = {each.id: each.fence for each in claims.jobs}
    assert set(fences.values()) == {1}
    await ledger.insert([*CHILDREN, *GATED, *PLAIN, *LATE])
    await ledger.finish(
        [Finish(each.id, 1, State.DISCARDED, error=FAILED, keep_s=0) for each in DISCARDED]
    )
    await ledger.tick(Tick(name="nightly", previous=None, at=NOW))


@dataclass(frozen=True)
class Operation:
    """Something that must happen whole or not at all.

    Attributes:
        name: what it is called in reports.
        run: does it.
        repeatable: doing it again, whether or not it had happened, leaves the same.
    """

    name: str
    run: Callable[[Ledger], Awaitable[object]]
    repeatable: bool = True


NEW = [
    job(60),
    job(61, unique=UniqueKey("fresh")),
    job(62, unique=UniqueKey("held")),
    job(63, after=(UUID(int=(7 << 76) | (2 << 62) | 60), RUNNING[2].id)),
    job(64, gate=Gate("g1", limit=2)),
    job(65, delay_s=60),
]
SUCCESS = Finish(PARENT.id, 1, State.SUCCEEDED, result="1", then=(job(70), job(71, delay_s=5)))
FAILURE = Finish(PARENT.id, 1, State.DISCARDED, error=FAILED, then=(job(72),))

OPERATIONS = [
    Operation("insert_plain", lambda ledger: ledger.insert([job(80), job(81), job(82)])),
    Operation("insert_mixed", lambda ledger: ledger.insert(NEW)),
    Operation(
        "claim", lambda ledger: ledger.claim("w2", {"default": 8, "mail": 2}), repeatable=False
    ),
    Operation("finish_success", lambda ledger: ledger.finish([SUCCESS])),
    Operation("finish_failure", lambda ledger: ledger.finish([FAILURE])),
    Operation(
        "finish_many",
        lambda ledger: ledger.finish(
            [
                SUCCESS,
                Finish(SECOND_PARENT.id, 1, State.RETRYING, delay_s=5, error=FAILED),
                Finish(RUNNING[2].id, 1, State.SUCCEEDED),
                Finish(RUNNING[3].id, 1, State.AVAILABLE, give_back=True),
                Finish(KEYED.id, 1, State.SUCCEEDED, then=(job(73, unique=UniqueKey("held")),)),
            ]
        ),
    ),
    Operation("cancel", lambda ledger: ledger.cancel(CHILDREN[0].id, "no more")),
    Operation("requeue", lambda ledger: ledger.requeue(JobFilter())),
    Operation("delete", lambda ledger: ledger.delete(JobFilter())),
    Operation("prune", lambda ledger: ledger.prune(0)),
    Operation(
        "tick",
        lambda ledger: ledger.tick(
            Tick(
                name="nightly",
                previous=NOW,
                at=NOW + timedelta(days=1),
                jobs=(job(90), job(91, unique=UniqueKey("nightly"))),
            )
        ),
    ),
    Operation(
        "declare",
        lambda ledger: ledger.declare([QueueRow(name="default", limit=1), QueueRow(name="new")]),
    ),
]
