"""The same measurements for OpenTelemetry."""

from typing import Any

from fastapi import FastAPI
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from backstay.observation import Kind
from backstay.telemetry import Meters, add_telemetry
from backstay.testing import running
from tests.support import async_test
from tests.telemetry.seeing import begun, observed


class Reading:
    """A provider, and what was measured with it: points by the metric's name."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def points(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def test_work_is_timed_and_counted() -> None:
    reading = Reading()
    backstay = observed(Meters(meter_provider=reading.provider))
    begun(backstay, Kind.JOB, "invoice", queue="mail").end("ok")
    begun(backstay, Kind.JOB, "invoice", queue="mail").end("failed")
    begun(backstay, Kind.TASK, "pack")
    points = reading.points
    assert sorted(
        (each.attributes["backstay.outcome"], each.count)
        for each in points["backstay.job.duration"]
    ) == [("failed", 1), ("ok", 1)]
    assert points["backstay.job.duration"][0].attributes["messaging.destination.name"] == "mail"
    assert points["backstay.task.active"][0].value == 1
    assert points["backstay.job.active"][0].value == 0


def test_names_are_bounded() -> None:
    reading = Reading()
    backstay = observed(Meters(meter_provider=reading.provider))
    for number in range(510):
        begun(backstay, Kind.FILL, f"kind{number}:key").end("ok")
    names = {
        each.attributes["backstay.cache.prefix"]
        for each in reading.points["backstay.cache.fill.duration"]
    }
    assert len(names) == 501
    assert "(other)" in names


@async_test
async def test_requests_are_measured_once_by_fastapi() -> None:
    reading = Reading()
    app = FastAPI(telemetry={"meter_provider": reading.provider})
    add_telemetry(app, meter_provider=reading.provider, metrics=False)

    @app.get("/orders/{order}")
    async def order(order: int) -> int:
        return order

    async with running(app) as client:
        await client.get("/orders/1")
    (point,) = reading.points["http.server.request.duration"]
    assert point.count == 1
    assert point.attributes["http.route"] == "/orders/{order}"


def test_requests_are_ours_to_measure_where_fastapi_does_not(monkeypatch: Any) -> None:
    monkeypatch.setattr("backstay.telemetry.meters.find_spec", lambda name: None)
    reading = Reading()
    backstay = observed(Meters(meter_provider=reading.provider))
    seen = begun(backstay, Kind.REQUEST, "GET")
    seen.facts |= {"method": "GET", "route": "/a", "path": "/a"}
    seen.end("ok", status=200)
    seen = begun(backstay, Kind.REQUEST, "BREW")
    seen.facts |= {"method": "BREW", "route": None, "path": "/b"}
    seen.end("ok", status=404)
    found = [dict(each.attributes) for each in reading.points["http.server.request.duration"]]
    assert found == [
        {"http.route": "/a", "http.request.method": "GET", "http.response.status_code": 200},
        {"http.request.method": "_OTHER", "http.response.status_code": 404},
    ]
