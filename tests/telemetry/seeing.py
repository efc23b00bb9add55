"""What many tests of telemetry share: observations made by hand, spans and samples to look at."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from prometheus_client.parser import text_string_to_metric_families

from backstay.app import Backstay
from backstay.observation import Kind, Observation, Observer

TOKEN = "a-token-that-is-long-enough"
WITH_TOKEN = {"Authorization": f"Bearer {TOKEN}"}


class Tracing:
    """A provider of its own, and the spans it has finished."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._kept.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        (found,) = [each for each in self.spans if each.name == name]
        return found


def observed(*observers: Observer) -> Backstay:
    backstay = Backstay()
    for each in observers:
        backstay.add_observer(each)
    return backstay


def begun(
    backstay: Backstay, kind: Kind, name: str, *, link: str | None = None, **facts: Any
) -> Observation:
    seen = backstay.observe(kind, name, "the-id", link=link, facts=facts)
    assert seen is not None
    return seen


def request(backstay: Backstay, method: str, route: str | None, status: int | None = 200) -> None:
    """One request, as the middleware has it seen."""
    seen = begun(backstay, Kind.REQUEST, method)
    seen.name = method if route is None else f"{method} {route}"
    seen.facts |= {"method": method, "path": "/somewhere", "route": route}
    seen.end("ok", status=status)


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The values in Prometheus' text format, by name and labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for each in family.samples:
            found.setdefault(each.name, {})[tuple(sorted(each.labels.items()))] = each.value
    return found


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[name][tuple(sorted(labels.items()))]
