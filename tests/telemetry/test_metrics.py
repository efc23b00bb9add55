"""Metrics: counted once, timed, bounded in number, and each app's own."""

from pathlib import Path

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter

from backstay.errors import BadTelemetry
from backstay.observation import Kind
from backstay.telemetry import Metrics
from backstay.telemetry.exposition import written
from tests.telemetry.seeing import Tracing, begun, observed, request, samples, value


def text_of(metrics: Metrics, accept: str = "") -> str:
    body, _ = written(metrics, accept=accept, accept_encoding="")
    return body.decode()


def test_requests_are_counted_by_route_method_and_status() -> None:
    metrics = Metrics()
    backstay = observed(metrics)
    for status in (200, 200, 503):
        request(backstay, "GET", "/orders/{order_id}", status)
    name, by = "backstay_http_requests_total", {"route": "/orders/{order_id}", "method": "GET"}
    assert value(text_of(metrics), name, **by, status="200") == 2
    assert value(text_of(metrics), name, **by, status="503") == 1
    assert value(text_of(metrics), "backstay_http_request_duration_seconds_count", **by) == 3


def test_what_strangers_choose_makes_no_series() -> None:
    metrics = Metrics()
    backstay = observed(metrics)
    for number in range(50):
        request(backstay, f"METHOD{number}", None, 404)
    request(backstay, "GET", None, None)
    assert set(samples(text_of(metrics))["backstay_http_requests_total"]) == {
        (("method", "(other)"), ("route", "(none)"), ("status", "404")),
        (("method", "GET"), ("route", "(none)"), ("status", "(none)")),
    }


def test_of_too_many_names_the_rest_are_one() -> None:
    metrics = Metrics()
    backstay = observed(metrics)
    for number in range(700):
        begun(backstay, Kind.TASK, f"order-{number}").end("ok")
    begun(backstay, Kind.TASK, "order-0").end("failed")
    text = text_of(metrics)
    assert len(samples(text)["backstay_tasks_total"]) == 502
    assert value(text, "backstay_tasks_total", task="(other)", outcome="ok") == 200
    assert value(text, "backstay_tasks_total", task="order-0", outcome="failed") == 1


def test_a_name_that_cannot_be_encoded_is_not_the_end_of_all_metrics() -> None:
    metrics = Metrics()
    backstay = observed(metrics)
    for name in ("\ud800", 'quo"ted\n', "x" * 10_000):
        begun(backstay, Kind.FILL, name).end("ok")
    prefixes = {
        dict(each)["prefix"] for each in samples(text_of(metrics))["backstay_cache_fills_total"]
    }
    assert prefixes == {"?", 'quo"ted\n', "x" * 128}


@pytest.mark.parametrize(
    ("kind", "name", "facts", "series", "labels"),
    [
        (Kind.TASK, "pack", {}, "backstay_tasks", {"task": "pack"}),
        (
            Kind.JOB,
            "invoice",
            {"queue": "mail"},
            "backstay_jobs",
            {"task": "invoice", "queue": "mail"},
        ),
        (Kind.WIDGET, "pizza", {}, "backstay_widget_calls", {"widget": "pizza"}),
        (Kind.CALL, "stock", {}, "backstay_outgoing_calls", {"call": "stock", "status": "200"}),
        (Kind.FILL, "user:ann", {}, "backstay_cache_fills", {"prefix": "user"}),
    ],
)
def test_other_work_is_counted_by_name_and_outcome(
    kind: Kind, name: str, facts: dict[str, str], series: str, labels: dict[str, str]
) -> None:
    metrics = Metrics()
    seen = begun(observed(metrics), kind, name, **facts)
    assert 1.0 in {
        each for values in samples(text_of(metrics)).values() for each in values.values()
    }
    seen.end("failed", status=200 if kind is Kind.CALL else None)
    assert value(text_of(metrics), f"{series}_total", **labels, outcome="failed") == 1


def test_what_runs_is_counted_up_and_down() -> None:
    metrics = Metrics()
    backstay = observed(metrics)
    first, second = (begun(backstay, Kind.JOB, "invoice") for _ in range(2))
    assert value(text_of(metrics), "backstay_jobs_running") == 2
    first.end("ok")
    first.end("ok")
    second.end("retried")
    assert value(text_of(metrics), "backstay_jobs_running") == 0


def test_a_sampled_span_is_an_exemplar_for_who_can_read_it() -> None:
    tracing, metrics = Tracing(), Metrics()
    with tracing.provider.get_tracer("x").start_as_current_span("request") as span:
        request(observed(metrics), "GET", "/")
    trace_id = f"{span.get_span_context().trace_id:032x}"
    assert trace_id in text_of(metrics, "application/openmetrics-text; version=1.0.0")
    assert trace_id not in text_of(metrics)


def test_apps_have_registries_of_their_own() -> None:
    first, second = Metrics(), Metrics()
    request(observed(first), "GET", "/")
    assert "backstay_http_requests_total" not in samples(text_of(second))
    assert not any(each.name.startswith("backstay") for each in REGISTRY.collect())


def test_a_registry_that_is_given_keeps_what_it_has_and_gets_only_ours() -> None:
    registry = CollectorRegistry()
    Counter("shop_orders", "Orders.", registry=registry).inc()
    text = text_of(Metrics(registry=registry))
    assert value(text, "shop_orders_total") == 1
    assert "process_cpu_seconds_total" not in samples(text)


def test_a_registry_serves_one_app() -> None:
    registry = CollectorRegistry()
    Metrics(registry=registry)
    with pytest.raises(BadTelemetry, match="one of\\s+its own"):
        Metrics(registry=registry)


def test_what_is_no_registry_is_refused() -> None:
    with pytest.raises(BadTelemetry, match="CollectorRegistry"):
        Metrics(registry="registry")  # type: ignore[arg-type]  # that is the test


def test_what_nobody_looked_at_has_no_value() -> None:
    assert "backstay_ledger_up" not in samples(text_of(Metrics()))


def test_the_python_and_the_version_are_told() -> None:
    found = samples(text_of(Metrics()))
    assert {"backstay_info", "python_info", "python_gc_collections_total"} <= found.keys()


def test_a_shared_directory_has_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "none"))
    with pytest.raises(BadTelemetry, match="no directory"):
        Metrics()


def test_a_shared_directory_that_was_named_too_late_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with pytest.raises(BadTelemetry, match="after prometheus_client was imported"):
        Metrics()
