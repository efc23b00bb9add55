"""What can be checked of the parts that an app has switched on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from backstay.app import Backstay
from backstay.ledger.sqlite_connections import file_of
from backstay.pattern.health import HealthCheck

if TYPE_CHECKING:
    from backstay.cache.part import CachePart
    from backstay.db.part import DatabasePart
    from backstay.jobs.part import DurablePart
    from backstay.jobs.worker_part import WorkerPart
    from backstay.state.part import StatePart

__all__ = ["checks_of"]

_KEY = "backstay readiness"
_KEY_TTL_S = 60.0


def checks_of(app: Backstay) -> dict[str, HealthCheck]:
    """The checks of an app's parts, by name. Parts may be switched on later.

    Without its ``database`` or its ``jobs`` (where durable tasks are written) a service is down,
    for what it accepts it could not keep. Without its ``worker``, ``state`` or ``cache`` it is
    degraded. What is not in use is not checked, and nothing is made by checking.
    """
    return {
        "database": HealthCheck(
            check=lambda: _ask_database(app),
            applies=lambda: app.has("db") and not _is_unmade(_database(app).database.url),
        ),
        "jobs": HealthCheck(
            check=lambda: _ask_ledger(app), applies=_when(lambda: _durable(app)[0].is_open, app)
        ),
        "worker": HealthCheck(
            check=lambda: _look_for_worker(app),
            applies=_when(lambda: _durable(app)[1].worker is not None, app),
            vital=False,
        ),
        "state": HealthCheck(
            check=lambda: _ask_state(app),
            applies=lambda: app.has("state") and _state(app).is_open,
            vital=False,
        ),
        "cache": HealthCheck(
            check=lambda: _ask_cache(app),
            applies=lambda: app.has("cache") and not _cache(app).cache.is_local,
            vital=False,
        ),
    }


def _when(holds: Callable[[], bool], app: Backstay) -> Callable[[], bool]:
    return lambda: app.has("durable") and app.has("job") and holds()


# Found by name: each of these doors has needs of its own, which an app without it does not.


def _durable(app: Backstay) -> tuple[DurablePart, WorkerPart]:
    from backstay.jobs.part import DurablePart
    from backstay.jobs.worker_part import WorkerPart

    durable, worker = app.part("durable"), app.part("job")
    assert isinstance(durable, DurablePart)
    assert isinstance(worker, WorkerPart)
    return durable, worker


def _state(app: Backstay) -> StatePart:
    from backstay.state.part import StatePart

    part = app.part("state")
    assert isinstance(part, StatePart)
    return part


def _cache(app: Backstay) -> CachePart:
    from backstay.cache.part import CachePart

    part = app.part("cache")
    assert isinstance(part, CachePart)
    return part


def _database(app: Backstay) -> DatabasePart:
    from backstay.db.part import DatabasePart

    part = app.part("db")
    assert isinstance(part, DatabasePart)
    return part


def _is_unmade(url: str) -> bool:
    """Whether that is a file of SQLite's, which to open would be to make."""
    return url.startswith("sqlite") and not os.path.exists(file_of(url))


async def _ask_database(app: Backstay) -> None:
    from sqlalchemy import text

    await _database(app).database.fetch(text("SELECT 1"))


async def _ask_ledger(app: Backstay) -> None:
    await _durable(app)[0].ledger.queues()


async def _look_for_worker(app: Backstay) -> None:
    durable, part = _durable(app)
    worker = part.worker
    if worker is None:
        return
    for row in await durable.ledger.workers():
        if row.id == worker.id:
            if row.seen_s_ago > row.lease_s:
                raise RuntimeError(
                    f"the worker's last heartbeat was {row.seen_s_ago:.1f} s ago, its lease is "
                    f"{row.lease_s:g} s"
                )
            return
    raise RuntimeError("the worker is not registered any more; others have taken it for dead")


async def _ask_state(app: Backstay) -> None:
    await _state(app).store.read(b"backstay", _KEY.encode())


async def _ask_cache(app: Backstay) -> None:
    cache = _cache(app).cache
    await cache.set(_KEY, 1, ttl=_KEY_TTL_S)
    # A cache does without its store, and never says so.
    if await cache.get(_KEY) != 1:
        raise RuntimeError(f"the cache's store {cache.url} keeps nothing at the moment")
