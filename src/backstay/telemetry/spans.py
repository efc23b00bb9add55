"""Spans of what an app does, for OpenTelemetry."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backstay import __version__
from backstay.errors import MissingExtra
from backstay.observation import Kind, Observation
from backstay.telemetry.span_facts import at_begin, at_end, kind_of, name_of

try:
    from opentelemetry import context as otel
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as missing:
    raise MissingExtra("telemetry", missing.name or "opentelemetry") from missing

try:
    from fastapi.telemetry import get_telemetry_data as _telemetry_data
except ImportError:  # FastAPI before 0.165 makes no spans

    def _telemetry_data(context: Context | None = None) -> TelemetryData | None:
        """Nothing: this FastAPI has no telemetry."""
        return None


if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryData

__all__ = ["Spans"]

_GOES_NOWHERE = (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
_W3C = TraceContextTextMapPropagator()


@dataclass(slots=True)
class _Open:
    """A span that has begun.

    Attributes:
        span: the span.
        context: what the work runs in: ``before``, and the span.
        before: what ran here until then.
    """

    span: Span
    context: Context
    before: Context


class Spans:
    """Makes a span of everything an app does. An ``Observer``; ``add_telemetry`` gives it to an app.

    Requests have FastAPI's own span where that makes one (from 0.165 on, if its tracing is on and
    has a provider), or another instrumentation's: it gets the correlation id. Tasks are children
    of what scheduled them. An attempt at a durable job is a trace of its own, linked to what
    enqueued it. Without a configured provider nothing is made.

    Args:
        tracer_provider: makes them. ``None`` means the global one, whenever it is configured.
        exception_messages: whether what is recorded of exceptions has their messages, in which
            there may be anything: a row's values, a user's input. Without them it has the type,
            and the lines of code.
    """

    kinds = frozenset(Kind)

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        exception_messages: bool = False,
    ) -> None:
        self._given = tracer_provider
        self._exception_messages = exception_messages
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None

    def begin(self, seen: Observation) -> object:
        tracer = self._current_tracer()
        if tracer is None:
            return None
        around = trace.get_current_span()
        if _is_of_the_same(seen.kind, around):
            if seen.correlation_id is not None:
                around.set_attribute("backstay.correlation_id", seen.correlation_id)
            return None
        before = otel.get_current()
        parent = before
        links = None
        if seen.kind is Kind.JOB:
            parent = Context()  # it may run days later, and many times
        if seen.link is not None:
            told = _W3C.extract({"traceparent": seen.link}, context=parent)
            of = trace.get_current_span(told).get_span_context()
            if seen.kind is Kind.REQUEST:
                parent = told
            elif of.is_valid and of.is_remote:
                links = [trace.Link(of)]
        span = tracer.start_span(
            name_of(seen),
            context=parent,
            kind=kind_of(seen),
            attributes=at_begin(seen),
            links=links,
        )
        context = trace.set_span_in_context(span, parent)
        otel.attach(context)
        return _Open(span, context, before)

    def end(self, seen: Observation, mark: object) -> None:
        if not isinstance(mark, _Open):
            return
        if otel.get_current() is mark.context:
            # Not detach(): where the work ends in a copy of the context it began in, that would
            # complain, and there is nothing to complain about.
            otel.attach(mark.before)
        span = mark.span
        if span.is_recording():
            facts = at_end(seen)
            if seen.kind is Kind.REQUEST:
                span.update_name(name_of(seen))
            span.set_attributes(facts)
            # What a client did wrong is no error of the server's (HTTP spans, "Status").
            if "error.type" in facts and (seen.status is None or seen.status >= _error_from(seen)):
                span.set_status(StatusCode.ERROR)
                self._record(span, seen.error)
        span.end()

    def link(self) -> str | None:
        """The ``traceparent`` of the span that this runs in; ``None`` outside any."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def _current_tracer(self) -> Tracer | None:
        """``None`` while spans would go nowhere."""
        provider = trace.get_tracer_provider() if self._given is None else self._given
        if provider is not self._provider:
            self._provider = provider
            goes_nowhere = isinstance(provider, _GOES_NOWHERE)
            self._tracer = None if goes_nowhere else provider.get_tracer("backstay", __version__)
        return self._tracer

    def _record(self, span: Span, error: BaseException | None) -> None:
        if error is None:
            return
        if self._exception_messages:
            span.record_exception(error)
            return
        lines = "".join(traceback.format_tb(error.__traceback__))
        span.record_exception(
            error, attributes={"exception.message": "", "exception.stacktrace": lines}
        )


def _is_of_the_same(kind: Kind, around: Span) -> bool:
    """Whether that span is somebody else's of the very thing that begins.

    What a span is cannot be asked by OpenTelemetry's API; the SDK's spans show it.
    """
    if kind is Kind.REQUEST:
        if getattr(around, "kind", None) is SpanKind.SERVER:
            return True
        # One that was not sampled shows nothing; if FastAPI watches this request, it is its own.
        context = around.get_span_context()
        return _telemetry_data() is not None and context.is_valid and not context.is_remote
    if kind is Kind.WIDGET:
        attributes = getattr(around, "attributes", None) or {}
        return attributes.get("mcp.method.name") == "tools/call"
    return False


def _error_from(seen: Observation) -> int:
    return 500 if seen.kind is Kind.REQUEST else 400
