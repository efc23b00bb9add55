"""What a span says of an observation: names and attributes, by OpenTelemetry's conventions.

HTTP spans 1.44 (stable), messaging spans and, for tools, those of MCP in the GenAI conventions (both
in development); what these have no word for begins with ``backstay.``. Nothing here is personal:
no query strings, addresses, headers, users or arguments.
"""

from __future__ import annotations

from typing import Any

from backstay.errors import MissingExtra
from backstay.observation import METHODS, Kind, Observation
from backstay.telemetry.instruments import shown

try:
    from opentelemetry.trace import SpanKind
except ImportError as missing:
    raise MissingExtra("telemetry", missing.name or "opentelemetry") from missing

__all__ = ["at_begin", "at_end", "kind_of", "name_of"]

_KINDS = {
    Kind.REQUEST: SpanKind.SERVER,
    Kind.TASK: SpanKind.INTERNAL,
    Kind.JOB: SpanKind.CONSUMER,
    Kind.WIDGET: SpanKind.SERVER,
    Kind.CALL: SpanKind.CLIENT,
    Kind.FILL: SpanKind.INTERNAL,
}


def kind_of(seen: Observation) -> SpanKind:
    """Which side of what relation it is."""
    return _KINDS[seen.kind]


def name_of(seen: Observation) -> str:
    """A name of which there are few: templates of routes, names of tasks, tools and calls."""
    return _sendable(_name_of(seen))


def _name_of(seen: Observation) -> str:
    match seen.kind:
        case Kind.REQUEST:
            # The name begins with the method, which may be any word a client likes.
            method = _method(seen)
            route = seen.facts.get("route")
            word = "HTTP" if method == "_OTHER" else method
            return word if route is None else f"{word} {route}"
        case Kind.TASK:
            return f"task {seen.name}"
        case Kind.JOB:
            return f"process {seen.name}"
        case Kind.WIDGET:
            return f"tools/call {seen.name}"
        case Kind.CALL:
            return seen.name
        case Kind.FILL:
            return f"cache fill {_prefix(seen)}"


def at_begin(seen: Observation) -> dict[str, Any]:
    """What is known when it begins, for samplers to decide by."""
    match seen.kind:
        case Kind.REQUEST:
            facts: dict[str, Any] = {"http.request.method": _method(seen)}
        case Kind.TASK:
            facts = {"backstay.task.name": seen.name}
        case Kind.JOB:
            facts = {
                "messaging.system": "backstay",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": seen.facts.get("queue"),
                "messaging.message.id": seen.facts.get("job"),
                "backstay.task.name": seen.name,
                "backstay.job.attempt": seen.facts.get("attempt"),
            }
        case Kind.WIDGET:
            facts = {
                "mcp.method.name": "tools/call",
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": seen.name,
            }
        case Kind.CALL:
            facts = {"backstay.call.name": seen.name}
            if "method" in seen.facts:
                facts["http.request.method"] = _method(seen)
        case Kind.FILL:
            facts = {"backstay.cache.prefix": _prefix(seen)}
    facts["backstay.correlation_id"] = seen.correlation_id
    return _written(facts)


def at_end(seen: Observation) -> dict[str, Any]:
    """What is known when it has ended: how it did, and what kind of error that was."""
    facts: dict[str, Any] = {}
    if seen.kind is Kind.REQUEST:
        facts["url.path"] = seen.facts.get("path")
        facts["http.route"] = seen.facts.get("route")
    else:
        facts["backstay.outcome"] = seen.outcome
    if seen.status is not None:
        facts["http.response.status_code"] = seen.status
    facts["error.type"] = _error_type(seen)
    return _written(facts)


def _written(facts: dict[str, Any]) -> dict[str, Any]:
    """Those that are known, texts in a form that exporters can send."""
    return {
        name: value if isinstance(value, int) else _sendable(str(value))
        for name, value in facts.items()
        if value is not None
    }


def _sendable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _error_type(seen: Observation) -> str | None:
    if seen.outcome in {"ok", "cancelled", "snoozed"}:
        return None
    if seen.error is not None:
        kind = type(seen.error)
        module = kind.__module__
        return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
    if seen.status is not None and seen.status >= 400:
        return str(seen.status)
    if seen.kind is Kind.WIDGET:
        return "tool_error"
    return "_OTHER" if seen.outcome == "failed" else None


def _method(seen: Observation) -> str:
    method = seen.facts.get("method")
    if method is None:
        method = seen.name.partition(" ")[0]
    return method if method in METHODS else "_OTHER"


def _prefix(seen: Observation) -> str:
    return shown(seen.name.partition(":")[0])
