"""Who is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["OURS", "SIDES", "Side"]

_LIVE = {
    "huey": "SELECT count(*) FROM task",
    "pgqueuer": "SELECT count(*) FROM pgqueuer",
    "procrastinate": ("SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"),
    "dbos": ("SELECT count(*) FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING')"),
    "saq": "SELECT count(*) FROM saq_jobs WHERE status IN ('queued', 'active')",
}
_CLI = "from backstay.cli import main; raise SystemExit(main())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side.

    Attributes:
        name: in the tables and on the command line.
        store: where its jobs are: ``"sqlite"``, ``"postgresql"`` or ``"nats"``.
        module: its adapter.
        peer: its list of packages in ``peers/`` and its environment; ``None``: ours.
        jobs: how many it drains in a turn: about two seconds' worth.
        live: SQL that counts the jobs whose end is not recorded; ``""``: no store to ask.
        worker: the worker's command line after the interpreter; ``()``: the module is a program.
        environ: settings for its processes.
        rescue: settings of its own for jobs of killed workers, where the defaults lose them.
    """

    name: str
    store: str
    module: str
    peer: str | None
    jobs: int
    live: str = ""
    worker: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)
    rescue: dict[str, str] = field(default_factory=dict)

    @property
    def synced(self) -> bool:
        """Whether a job is on disk when its enqueue returns. NATS syncs on a timer."""
        return self.store != "nats"


def _ours(store: str, jobs: int) -> Side:
    return Side(
        name=f"ours-{'postgres' if store == 'postgresql' else store}",
        store=store,
        module="benchmarks.durable.ours",
        peer=None,
        jobs=jobs,
        live="SELECT count(*) FROM backstay_jobs WHERE state IN ('available', 'running')",
        worker=("-c", _CLI, "worker", "benchmarks.durable.app:app"),
    )


def _peer(name: str, store: str, jobs: int, peer: str = "", **environ: str) -> Side:
    peer = peer or name
    return Side(
        name=name,
        store=store,
        module=f"benchmarks.durable.peers.{peer}",
        peer=peer,
        jobs=jobs,
        live=_LIVE.get(peer, "").replace("dbos.", "dbos." if store == "postgresql" else ""),
        environ=environ,
        rescue={"BENCH_RECIPE": "1"} if peer == "procrastinate" else {},
    )


SIDES = {
    side.name: side
    for side in (
        _ours("sqlite", 40_000),
        _ours("postgresql", 30_000),
        _peer("huey", "sqlite", 4_000),
        _peer("pgqueuer", "postgresql", 30_000),
        _peer("procrastinate", "postgresql", 1_000),
        _peer("dbos-sqlite", "sqlite", 1_000, "dbos"),
        _peer("dbos-postgres", "postgresql", 1_000, "dbos"),
        _peer("saq", "postgresql", 1_000),
        _peer("taskiq-nats", "nats", 5_000, "taskiq"),
    )
}
OURS = tuple(name for name, side in SIDES.items() if side.peer is None)
