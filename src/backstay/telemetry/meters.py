"""The same measurements through OpenTelemetry's API, for apps whose metrics go to a collector."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from backstay import __version__
from backstay.errors import MissingExtra
from backstay.observation import METHODS, Kind, Observation
from backstay.telemetry.instruments import NO_ROUTE, OTHER, SEEN

try:
    from opentelemetry.metrics import MeterProvider
except ImportError as missing:
    raise MissingExtra("telemetry", missing.name or "opentelemetry") from missing

__all__ = ["Meters"]

_NAMES = {
    Kind.TASK: ("backstay.task", "backstay.task.name"),
    Kind.JOB: ("backstay.job", "backstay.task.name"),
    Kind.WIDGET: ("backstay.widget.call", "gen_ai.tool.name"),
    Kind.CALL: ("backstay.call", "backstay.call.name"),
    Kind.FILL: ("backstay.cache.fill", "backstay.cache.prefix"),
}
_MOST_NAMES = 500


class Meters:
    """Times what an app does. An ``Observer``; ``add_telemetry`` gives it to an app.

    For each kind there is a histogram ``….duration`` in seconds, which counts as well, and
    ``….active``. Requests are FastAPI's own to measure (``http.server.request.duration``); only
    where it does not, before 0.165, this does.

    Args:
        meter_provider: gets the measurements.
    """

    def __init__(self, *, meter_provider: MeterProvider) -> None:
        meter = meter_provider.get_meter("backstay", __version__)
        names = dict(_NAMES)
        if find_spec("fastapi.telemetry") is None:
            names[Kind.REQUEST] = ("http.server", "http.route")
        self.kinds = frozenset(names)
        self._named = {kind: label for kind, (_, label) in names.items()}
        self._durations = {}
        self._active = {}
        for kind, (stem, _) in names.items():
            is_request = kind is Kind.REQUEST
            self._durations[kind] = meter.create_histogram(
                f"{stem}.request.duration" if is_request else f"{stem}.duration",
                unit="s",
                description=f"How long {SEEN[kind].what} took.",
                explicit_bucket_boundaries_advisory=SEEN[kind].buckets,
            )
            self._active[kind] = meter.create_up_down_counter(
                f"{stem}.active_requests" if is_request else f"{stem}.active",
                description=f"{SEEN[kind].what} that have not ended.",
            )
        self._known: dict[Kind, set[str]] = {kind: set() for kind in names}

    def begin(self, seen: Observation) -> object:
        self._active[seen.kind].add(1)
        return True

    def end(self, seen: Observation, mark: object) -> None:
        if mark:
            self._active[seen.kind].add(-1)
        self._durations[seen.kind].record(seen.duration_s, self._attributes(seen))

    def link(self) -> str | None:
        """Nothing: metrics are of no trace."""
        return None

    def _attributes(self, seen: Observation) -> dict[str, Any]:
        how = SEEN[seen.kind]
        name = how.values(how.key(seen))[0]
        known = self._known[seen.kind]
        if name not in known:
            if len(known) < _MOST_NAMES:
                known.add(name)
            else:
                name = OTHER
        attributes: dict[str, Any] = {self._named[seen.kind]: name}
        if seen.kind is Kind.REQUEST:
            method = seen.facts.get("method")
            attributes["http.request.method"] = method if method in METHODS else "_OTHER"
            if name == NO_ROUTE:
                del attributes["http.route"]
        else:
            attributes["backstay.outcome"] = seen.outcome
        if seen.kind is Kind.JOB and "queue" in seen.facts:
            attributes["messaging.destination.name"] = seen.facts["queue"]
        if seen.status is not None:
            attributes["http.response.status_code"] = seen.status
        return attributes
