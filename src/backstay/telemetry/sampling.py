"""What cannot be observed happening and has to be looked at: caches, queues, pools.

The parts looked at stand above this room, so they are known by what they show: a ``cache`` with
``stats()``, ``tasks`` with ``pending``, ``durable`` with ``is_open`` and ``ledger``, ``db`` with
``database.pools()``. A part that shows nothing of the kind has no metrics of the kind.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from typing import Any

from backstay.app import Backstay
from backstay.ledger.port import Ledger
from backstay.ledger.rows import State
from backstay.telemetry.instruments import Labels, shown
from backstay.telemetry.metrics import Metrics

__all__ = ["Sampler"]

_logger = logging.getLogger("backstay.telemetry")

_LEDGER_EVERY_S = 5.0
_LEDGER_TIMEOUT_S = 2.0
_NOT_OVER = frozenset(
    {State.WAITING, State.SCHEDULED, State.AVAILABLE, State.RUNNING, State.RETRYING}
)
_RESULTS = {"hits": "hit", "misses": "miss", "stale": "stale", "bypass": "bypass"}


class Sampler:
    """Looks at an app's parts and writes down what it finds.

    Args:
        backstay: whose parts.
        metrics: where to write.
    """

    def __init__(self, backstay: Backstay, metrics: Metrics) -> None:
        self._app = backstay
        self._metrics = metrics
        self._counted: dict[Labels, int] = {}
        self._written: dict[str, set[Labels]] = {}
        self._asked_at_s: float | None = None
        self._ledger_is_down = False

    def look(self) -> None:
        """At what this process has in its memory. Takes microseconds, and waits for nothing."""
        self._count_cache()
        pending = getattr(self._part("tasks"), "pending", None)
        if pending is not None:
            self._metrics.gauge("backstay_tasks_pending").set(pending)
        self._look_at_pools()

    async def ask(self) -> None:
        """The ledger, how much work there is: at most every 5 s, and for 2 s at most.

        If it does not answer, ``backstay_ledger_up`` is 0 and nobody knows the rest (NaN).
        """
        durable = self._part("durable")
        if not getattr(durable, "is_open", False):
            return
        now_s = self._app.clock.monotonic()
        if self._asked_at_s is not None and now_s - self._asked_at_s < _LEDGER_EVERY_S:
            return
        self._asked_at_s = now_s
        try:
            async with asyncio.timeout(_LEDGER_TIMEOUT_S):
                await self._count_jobs(durable.ledger)
        except Exception as error:
            if not self._ledger_is_down:
                # Its words may have the database's address, with the password.
                _logger.warning(
                    "metrics lack the queues, for their database did not answer: %s",
                    type(error).__name__,
                )
            self._ledger_is_down = True
            self._metrics.gauge("backstay_ledger_up").set(0)
            for name in ("backstay_queue_jobs", "backstay_queue_oldest_seconds"):
                self._write(name, {}, otherwise=math.nan)
            for name in ("backstay_workers", "backstay_worker_slots"):
                self._metrics.gauge(name).set(math.nan)
        else:
            self._ledger_is_down = False

    async def _count_jobs(self, ledger: Ledger) -> None:
        jobs: dict[Labels, float] = {}
        for count in await ledger.counts(_NOT_OVER):
            labels = (count.queue, str(count.state))
            jobs[labels] = jobs.get(labels, 0) + count.jobs
        waits: dict[Labels, float] = {(each.queue,): each.oldest_s for each in await ledger.waits()}
        alive = [each for each in await ledger.workers() if each.seen_s_ago <= each.lease_s]
        self._write("backstay_queue_jobs", jobs)
        self._write("backstay_queue_oldest_seconds", waits)
        gauge = self._metrics.gauge
        gauge("backstay_workers").set(len(alive))
        gauge("backstay_worker_slots").set(sum(each.concurrency for each in alive))
        gauge("backstay_ledger_up").set(1)

    def _count_cache(self) -> None:
        cache = getattr(self._part("cache"), "cache", None)
        if cache is None:
            return
        for prefix, counts in cache.stats().by_prefix.items():
            for field, result in _RESULTS.items():
                labels = (shown(prefix), result)
                count = getattr(counts, field)
                more = count - self._counted.get(labels, 0)
                if more > 0 or labels not in self._counted:
                    self._metrics.cache_answers.labels(*labels).inc(max(0, more))
                self._counted[labels] = count

    def _look_at_pools(self) -> None:
        pools = getattr(getattr(self._part("db"), "database", None), "pools", None)
        if pools is None:
            return
        found: Mapping[str, Any] = pools()
        sized = {name: each for name, each in found.items() if hasattr(each, "checkedout")}
        self._write("backstay_db_pool_size", {(name,): each.size() for name, each in sized.items()})
        self._write(
            "backstay_db_pool_checked_out",
            {(name,): each.checkedout() for name, each in sized.items()},
        )

    def _write(self, name: str, values: Mapping[Labels, float], *, otherwise: float = 0.0) -> None:
        """These values; ``otherwise`` for what had one before. A series is never taken away:
        other processes may have it still.
        """
        gauge = self._metrics.gauge(name)
        written = self._written.setdefault(name, set())
        for labels in written - values.keys():
            gauge.labels(*labels).set(otherwise)
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        written.update(values)

    def _part(self, attribute: str) -> Any:
        return self._app.part(attribute) if self._app.has(attribute) else None
