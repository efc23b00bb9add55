"""Metrics of an app for Prometheus: a registry of its own, filled by what is observed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from backstay import __version__
from backstay.errors import BadTelemetry, MissingExtra
from backstay.log import trace_ids
from backstay.observation import Observation
from backstay.telemetry.instruments import CACHE_ANSWERS, GAUGES, OTHER, SEEN, SeenKind

try:
    from prometheus_client import (
        CollectorRegistry,
        Counter,
        Gauge,
        GCCollector,
        Histogram,
        PlatformCollector,
        ProcessCollector,
        values,
    )
except ImportError as missing:
    raise MissingExtra("telemetry", missing.name or "prometheus_client") from missing

__all__ = ["Metrics"]

_MOST_NAMES = 500
# Of the other gauges, every process of a service sees the same.
_SUMMED = frozenset(
    {"backstay_tasks_pending", "backstay_db_pool_size", "backstay_db_pool_checked_out"}
)


class Metrics:
    """Counts and times what an app does. An ``Observer``; ``add_metrics`` gives it to an app.

    Series are bounded: labels are templates of routes and names that code has, and after 500
    different ones of a kind the rest are ``"(other)"``.

    Args:
        registry: where the metrics are, for apps that have one. ``None`` makes one, which has
            those of the process, of Python and of its garbage collector too.

    Attributes:
        registry: add the app's own metrics to it.
        cache_answers: the counter of the cache's hits and misses.
        shared_dir: where the processes of one service share their values: the environment's
            ``PROMETHEUS_MULTIPROC_DIR``. ``None``: this process is alone.

    Raises:
        BadTelemetry: ``registry`` is none, or has metrics of these names; or the directory is
            not there, or was named too late.
    """

    kinds = frozenset(SEEN)

    def __init__(self, *, registry: CollectorRegistry | None = None) -> None:
        self.shared_dir = _shared_dir()
        if registry is not None and not isinstance(registry, CollectorRegistry):
            raise BadTelemetry(
                f"registry= is a CollectorRegistry of prometheus_client's; got {registry!r}"
            )
        self.registry = CollectorRegistry() if registry is None else registry
        try:
            self._series = {kind: _Series(how, self.registry) for kind, how in SEEN.items()}
            self.cache_answers = Counter(
                CACHE_ANSWERS,
                "How often the cache was asked, by what came of it.",
                ("prefix", "result"),
                registry=self.registry,
            )
        except ValueError as error:
            raise BadTelemetry(
                f"the registry has metrics of backstay's already ({error}); give each app one of "
                "its own, or leave registry= out"
            ) from error
        self._gauges: dict[str, Gauge] = {}
        self.gauge("backstay_info").labels(__version__).set(1)
        if registry is None and self.shared_dir is None:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
            GCCollector(registry=self.registry)

    def gauge(self, name: str) -> Gauge:
        """One of ``GAUGES``; there from its first use on, for nobody knows a value before."""
        found = self._gauges.get(name)
        if found is None:
            help_text, labels = GAUGES[name]
            found = self._gauges[name] = Gauge(
                name,
                help_text,
                labels,
                registry=self.registry,
                multiprocess_mode="livesum" if name in _SUMMED else "livemostrecent",
            )
        return found

    def begin(self, seen: Observation) -> object:
        self._series[seen.kind].running.inc()
        return True

    def end(self, seen: Observation, mark: object) -> None:
        series = self._series[seen.kind]
        if mark:
            series.running.dec()
        series.count(seen)

    def link(self) -> str | None:
        """Nothing: metrics are of no trace."""
        return None


class _Series:
    """The metrics of one kind of observation.

    Args:
        how: which they are.
        registry: where.
    """

    __slots__ = ("_how", "_key", "_known", "_names", "_seconds", "_total", "running")

    def __init__(self, how: SeenKind, registry: CollectorRegistry) -> None:
        self._how = how
        self._key = how.key
        self._total = Counter(how.total, f"{how.what} that ended.", how.labels, registry=registry)
        self._seconds = Histogram(
            how.seconds,
            f"How long {how.what} took.",
            how.labels[: how.timed_by],
            buckets=how.buckets,
            registry=registry,
        )
        self.running = Gauge(
            how.running,
            f"{how.what} that have not ended.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        # prometheus_client's own way from labels to a series takes longer than all the rest.
        self._known: dict[tuple[object, ...], tuple[Any, Any]] = {}
        self._names: set[str] = set()

    def count(self, seen: Observation) -> None:
        """One more, with its time; as an exemplar if somebody has the trace."""
        key = self._key(seen)
        series = self._known.get(key)
        if series is None:
            series = self._find(key)
        total, seconds = series
        total.inc()
        ids = trace_ids()
        if ids is None:
            seconds.observe(seen.duration_s)
        else:
            seconds.observe(seen.duration_s, {"trace_id": ids[0], "span_id": ids[1]})

    def _find(self, key: tuple[object, ...]) -> tuple[Any, Any]:
        name, *others = self._how.values(key)
        is_new = name not in self._names
        if is_new and len(self._names) >= _MOST_NAMES:
            return self._children((OTHER, *others))
        self._names.add(name)
        found = self._known[key] = self._children((name, *others))
        return found

    def _children(self, labels: Iterable[str]) -> tuple[Any, Any]:
        labels = tuple(labels)
        return (
            self._total.labels(*labels),
            self._seconds.labels(*labels[: self._how.timed_by]),
        )


def _shared_dir() -> Path | None:
    # prometheus_client reads it itself, from nowhere else, and before any metric is made.
    name = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if name is None:
        return None
    folder = Path(name)
    if not folder.is_dir():
        raise BadTelemetry(
            f"PROMETHEUS_MULTIPROC_DIR is {name!r}, which is no directory; make it, empty, before "
            "the service starts"
        )
    if values.ValueClass is values.MutexValue:
        raise BadTelemetry(
            f"PROMETHEUS_MULTIPROC_DIR was set to {name!r} after prometheus_client was imported, "
            "which makes it no use; set it in the environment that the service starts with"
        )
    return folder
