"""The ledger: where durable jobs stand, whatever runs them.

Knows databases and nothing of tasks, FastAPI or event loops' tenants. May import the ground
only; engines import their driver. Users meet it through ``backstay.tasks``; authors of engines
through ``Ledger`` and ``backstay.testing.LedgerConformance``.
"""

from backstay.ledger.ids import new_job_id
from backstay.ledger.opening import DEFAULT_URL, new_ledger
from backstay.ledger.port import Claims, Execute, Heart, Ledger, Wake
from backstay.ledger.rows import (
    FINISHED,
    LIVE,
    Beat,
    Claimed,
    Counts,
    Finish,
    Gate,
    Inserted,
    JobFilter,
    JobRow,
    NewJob,
    Orphan,
    ParentFailure,
    ProgressReport,
    QueueRow,
    State,
    Tick,
    UniqueKey,
    Wait,
    WorkerRow,
)

__all__ = [
    "Beat",
    "Claimed",
    "Claims",
    "Counts",
    "DEFAULT_URL",
    "Execute",
    "FINISHED",
    "Finish",
    "Gate",
    "Heart",
    "Inserted",
    "JobFilter",
    "JobRow",
    "LIVE",
    "Ledger",
    "NewJob",
    "Orphan",
    "ParentFailure",
    "ProgressReport",
    "QueueRow",
    "State",
    "Tick",
    "UniqueKey",
    "Wait",
    "Wake",
    "WorkerRow",
    "new_job_id",
    "new_ledger",
]
