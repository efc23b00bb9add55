"""What is measured, as a table: the names, labels and buckets of every metric.

Names follow Prometheus' conventions (base units, ``_total``, ``_seconds``). No label is called
``job`` or ``instance``: these are the scraper's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from backstay.observation import METHODS, Kind, Observation

__all__ = [
    "CACHE_ANSWERS",
    "GAUGES",
    "Labels",
    "METRIC_NAMES",
    "NO_ROUTE",
    "OTHER",
    "SEEN",
    "SeenKind",
    "shown",
]

Labels = tuple[str, ...]

NO_ROUTE = "(none)"
"""The route of requests that no route took, and what else is not known."""

OTHER = "(other)"
"""What stands for methods nobody knows, and for names when there are too many."""

_LONGEST = 128

_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WORK_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenKind:
    """How one kind of observation is counted and timed.

    Attributes:
        total: the counter's name, without the ``_total`` that is written behind it.
        seconds: the histogram's.
        running: the gauge's.
        labels: of the counter. The histogram has the first ``timed_by`` of them.
        what: words for the help texts, plural.
        key: what tells series apart, as it is found in an observation; cheap.
        buckets: upper bounds, in seconds.
    """

    total: str
    seconds: str
    running: str
    labels: Labels
    timed_by: int
    what: str
    key: Callable[[Observation], tuple[object, ...]]
    buckets: tuple[float, ...]

    def values(self, key: tuple[object, ...]) -> Labels:
        """A key as the values of its labels. The first is the one whose number has to be bounded."""
        return tuple(map(shown, key))


def shown(value: object) -> str:
    """That as text which every format can hold: 128 characters at most, no lone surrogates.

    Names are made by code, but keys of caches may be made of what a client sent, and one text that
    cannot be encoded would be the end of all metrics.
    """
    if value is None:
        return NO_ROUTE
    return str(value)[:_LONGEST].encode("utf-8", "replace").decode("utf-8")


def _request_key(seen: Observation) -> tuple[object, ...]:
    facts = seen.facts
    method = facts.get("method")
    # Here, for keys are remembered, and a method may be any word that a client likes.
    return (facts.get("route"), method if method in METHODS else OTHER, seen.status)


def _work_key(seen: Observation) -> tuple[object, ...]:
    return (seen.name, seen.outcome)


def _job_key(seen: Observation) -> tuple[object, ...]:
    return (seen.name, seen.facts.get("queue"), seen.outcome)


def _call_key(seen: Observation) -> tuple[object, ...]:
    return (seen.name, seen.outcome, seen.status)


def _fill_key(seen: Observation) -> tuple[object, ...]:
    # Keys hold what was asked for, whoever asked; before the first colon is what kind it is.
    return (seen.name.partition(":")[0], seen.outcome)


SEEN = MappingProxyType(
    {
        Kind.REQUEST: SeenKind(
            total="backstay_http_requests",
            seconds="backstay_http_request_duration_seconds",
            running="backstay_http_requests_in_flight",
            labels=("route", "method", "status"),
            timed_by=2,
            what="HTTP requests",
            key=_request_key,
            buckets=_REQUEST_BUCKETS,
        ),
        Kind.TASK: SeenKind(
            total="backstay_tasks",
            seconds="backstay_task_duration_seconds",
            running="backstay_tasks_running",
            labels=("task", "outcome"),
            timed_by=1,
            what="background tasks of this process",
            key=_work_key,
            buckets=_WORK_BUCKETS,
        ),
        Kind.JOB: SeenKind(
            total="backstay_jobs",
            seconds="backstay_job_duration_seconds",
            running="backstay_jobs_running",
            labels=("task", "queue", "outcome"),
            timed_by=2,
            what="attempts at durable jobs",
            key=_job_key,
            buckets=_WORK_BUCKETS,
        ),
        Kind.WIDGET: SeenKind(
            total="backstay_widget_calls",
            seconds="backstay_widget_call_duration_seconds",
            running="backstay_widget_calls_running",
            labels=("widget", "outcome"),
            timed_by=1,
            what="calls of widgets and tools",
            key=_work_key,
            buckets=_CALL_BUCKETS,
        ),
        Kind.CALL: SeenKind(
            total="backstay_outgoing_calls",
            seconds="backstay_outgoing_call_duration_seconds",
            running="backstay_outgoing_calls_running",
            labels=("call", "outcome", "status"),
            timed_by=1,
            what="calls to other services",
            key=_call_key,
            buckets=_CALL_BUCKETS,
        ),
        Kind.FILL: SeenKind(
            total="backstay_cache_fills",
            seconds="backstay_cache_fill_duration_seconds",
            running="backstay_cache_fills_running",
            labels=("prefix", "outcome"),
            timed_by=1,
            what="values made for the cache",
            key=_fill_key,
            buckets=_CALL_BUCKETS,
        ),
    }
)

CACHE_ANSWERS = "backstay_cache_answers"

GAUGES = MappingProxyType(
    {
        "backstay_tasks_pending": ("Background tasks that wait for a free place.", ()),
        "backstay_queue_jobs": ("Durable jobs that are not over.", ("queue", "state")),
        "backstay_queue_oldest_seconds": (
            "How long the first job that could start has waited.",
            ("queue",),
        ),
        "backstay_workers": ("Workers of durable jobs whose heart beats.", ()),
        "backstay_worker_slots": ("Jobs that these workers can run at a time.", ()),
        "backstay_ledger_up": ("Whether the jobs' database answered the last time.", ()),
        "backstay_db_pool_size": ("Connections that a pool keeps.", ("pool",)),
        "backstay_db_pool_checked_out": ("Connections in use.", ("pool",)),
        "backstay_info": ("Always 1; which version of backstay runs.", ("version",)),
    }
)
"""Names of what is looked at, with help text and labels."""

METRIC_NAMES = tuple(
    sorted(
        {f"{each.total}_total" for each in SEEN.values()}
        | {each.seconds for each in SEEN.values()}
        | {each.running for each in SEEN.values()}
        | {f"{CACHE_ANSWERS}_total", *GAUGES}
    )
)
"""Every metric of backstay's own: a histogram by its name without ``_bucket`` and the like."""
