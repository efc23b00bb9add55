"""``add_telemetry(app)``: spans and metrics of what an app does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from backstay.app import Backstay
from backstay.errors import BadTelemetry
from backstay.telemetry.guards import bearer_token, from_this_machine
from backstay.telemetry.meters import Meters
from backstay.telemetry.metrics import Metrics
from backstay.telemetry.part import TelemetryPart
from backstay.telemetry.spans import Spans
from backstay.web.installation import install

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from prometheus_client import CollectorRegistry

__all__ = ["add_metrics", "add_telemetry"]

_TOKEN = "BACKSTAY_METRICS_TOKEN"  # noqa: S105 - the name of a setting


def add_telemetry(
    app: FastAPI,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    metrics: bool = True,
    metrics_path: str = "/metrics",
    metrics_guard: Callable[..., Any] | None = None,
    metrics_in_docs: bool = False,
    spans: bool = True,
    exception_messages: bool = False,
) -> TelemetryPart:
    """Switch spans and metrics on for an app. One line, once, where the app is made.

    Without an SDK of OpenTelemetry that is configured, spans cost nothing and go nowhere.

    Args:
        app: the FastAPI app you serve.
        tracer_provider: makes the spans. ``None`` means OpenTelemetry's global one, whenever it
            is configured.
        meter_provider: gets the metrics as OpenTelemetry's too. ``None``: they are only at
            ``metrics_path``. Requests are measured for it by FastAPI itself, from 0.165 on, if it
            has the same provider: ``FastAPI(telemetry={"meter_provider": …})``.
        metrics: whether there are metrics for Prometheus.
        metrics_path: the path they are read at.
        metrics_guard: a dependency that raises for whoever may not read them:
            ``bearer_token(…)``, ``from_networks(…)``, or one of your own. ``None``: whoever has
            the token in the setting ``BACKSTAY_METRICS_TOKEN``; without that setting, whoever asks
            from this machine.
        metrics_in_docs: whether the path is in OpenAPI.
        spans: whether there are spans.
        exception_messages: whether spans tell the messages of exceptions too, as for ``Spans``.

    Returns:
        The part; its ``metrics.registry`` takes metrics of the app's own.

    Raises:
        AlreadyInstalled: the app has telemetry.
        BadTelemetry: an option makes no sense.
        WeakSecret: the token in the setting is too short.
    """
    _require_app(app, metrics_path if metrics else "/")
    backstay = install(app)
    # Its end is the last of all: what is counted at an end still knows which span it belongs to.
    tracing = (
        Spans(tracer_provider=tracer_provider, exception_messages=exception_messages)
        if spans
        else None
    )
    part = TelemetryPart(backstay, metrics=Metrics() if metrics else None, spans=tracing)
    guard = _guard(backstay, metrics_guard) if metrics else None
    backstay.add(part, first=True)
    if tracing is not None:
        backstay.add_observer(tracing)
    if meter_provider is not None:
        backstay.add_observer(Meters(meter_provider=meter_provider))
    if part.metrics is not None:
        backstay.add_observer(part.metrics)
        _add_route(app, part, metrics_path, guard, in_docs=metrics_in_docs)
    return part


def add_metrics(
    app: FastAPI,
    path: str = "/metrics",
    *,
    guard: Callable[..., Any] | None = None,
    registry: CollectorRegistry | None = None,
    in_docs: bool = False,
) -> TelemetryPart:
    """Metrics for Prometheus and nothing else.

    Args:
        app: the FastAPI app you serve.
        path: as ``metrics_path`` of ``add_telemetry``.
        guard: as ``metrics_guard``.
        registry: as for ``Metrics``.
        in_docs: as ``metrics_in_docs``.

    Raises:
        AlreadyInstalled, BadTelemetry, WeakSecret: as for ``add_telemetry``.
    """
    _require_app(app, path)
    backstay = install(app)
    part = TelemetryPart(backstay, metrics=Metrics(registry=registry))
    chosen = _guard(backstay, guard)
    backstay.add(part, first=True)
    assert part.metrics is not None
    backstay.add_observer(part.metrics)
    _add_route(app, part, path, chosen, in_docs=in_docs)
    return part


def _require_app(app: object, path: str) -> None:
    if not isinstance(app, FastAPI):
        raise BadTelemetry(f"telemetry is for a FastAPI app; got {app!r}")
    if not isinstance(path, str) or not path.startswith("/") or "{" in path:
        raise BadTelemetry(f"the path of the metrics begins with '/' and is fixed; got {path!r}")


def _guard(backstay: Backstay, given: Callable[..., Any] | None) -> Callable[..., Any]:
    if given is not None:
        if not callable(given):
            raise BadTelemetry(
                f"the guard of the metrics is a dependency, a function; got {given!r}"
            )
        return given
    token = backstay.settings.get(_TOKEN)
    return from_this_machine() if token is None else bearer_token(str(token))


def _add_route(
    app: FastAPI,
    part: TelemetryPart,
    path: str,
    guard: Callable[..., Any] | None,
    *,
    in_docs: bool,
) -> None:
    async def metrics(request: Request) -> Response:
        body, headers = await part.scrape(
            accept=request.headers.get("accept", ""),
            accept_encoding=request.headers.get("accept-encoding", ""),
        )
        return Response(body, headers=headers)

    app.add_api_route(
        path,
        metrics,
        methods=["GET"],
        dependencies=[Depends(guard)],
        include_in_schema=in_docs,
        summary="Metrics for Prometheus",
        tags=["telemetry"],
        response_class=Response,
    )
