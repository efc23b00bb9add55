"""Log lines that say which piece of work they belong to."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Any, TextIO

__all__ = [
    "ContextLogger",
    "CorrelationFilter",
    "CorrelationId",
    "JsonFormatter",
    "configure_logging",
    "correlation_id",
    "json_line",
    "running",
    "sane_correlation_id",
    "trace_ids",
]

running: ContextVar[Any] = ContextVar("backstay_current_work", default=None)
"""What ``backstay.context.current_work`` is, for what stands below it."""


class CorrelationId:
    """The id of the piece of work that is running, to be got, set and reset as a ``ContextVar`` is.

    What runs knows its id, so it has to be set only where it is another: each variable that a
    request sets costs it time.
    """

    def __init__(self) -> None:
        self._given: ContextVar[str | None] = ContextVar("backstay_correlation_id", default=None)

    def get(self) -> str | None:
        """The id, ``None`` outside any work."""
        given = self._given.get()
        if given is not None:
            return given
        found: str | None = getattr(running.get(), "correlation_id", None)
        return found

    def set(self, value: str | None) -> Token[str | None]:
        """Make it another one, until it is reset or this context (PEP 567) ends."""
        return self._given.set(value)

    def reset(self, token: Token[str | None]) -> None:
        """Make it what it was before ``set`` returned that token."""
        self._given.reset(token)


correlation_id = CorrelationId()
"""The id of the piece of work that is running, ``None`` outside any."""

# What a client may choose: enough for UUIDs, ULIDs, W3C trace ids and base64, and nothing
# that could break a log line, a header or a terminal.
_SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._~+/=:@\-]{0,127}")


def sane_correlation_id(value: bytes) -> str | None:
    """The id a client sent, or ``None`` if it is not one to repeat in logs and headers.

    1 to 128 characters out of letters, digits and ``._~+/=:@-``, the first one a letter or digit.
    """
    return value.decode("ascii") if _SANE.fullmatch(value) else None


def trace_ids() -> tuple[str, str] | None:
    """The ids of the trace and of the span (OpenTelemetry's) that this runs in.

    Returns:
        32 and 16 hexadecimal digits, as W3C Trace Context §3.2.2 writes them; ``None`` outside any
        span, and in those that were not sampled, which nobody could look up.
    """
    # Where nobody has imported OpenTelemetry, nobody has begun a span; there is no need to.
    trace = sys.modules.get("opentelemetry.trace")
    get_current_span = getattr(trace, "get_current_span", None)  # None while it is being imported
    if get_current_span is None:
        return None
    context = get_current_span().get_span_context()
    if not context.trace_flags.sampled or not context.is_valid:
        return None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


class ContextLogger(logging.LoggerAdapter[logging.Logger]):
    """A standard logger adapter; every record carries ``correlation_id``."""

    def __init__(self, logger: logging.Logger, correlation: str) -> None:
        super().__init__(logger, {"correlation_id": correlation})
        self._correlation = correlation

    def get_correlation_id(self) -> str:
        """The id on this logger's records; show it to users as the reference of an error."""
        return self._correlation

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        # LoggerAdapter's own version drops the caller's extra.
        kwargs["extra"] = {"correlation_id": self._correlation, **(kwargs.get("extra") or {})}
        return msg, kwargs


class CorrelationFilter(logging.Filter):
    """Puts ``correlation_id`` on records of every logger, ``"-"`` outside any work.

    And ``trace_id`` and ``span_id``, inside of a span of OpenTelemetry's that is sampled.

    Attach it to a handler, not to a logger: filters of a logger do not see its children.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "correlation_id"):
            record.correlation_id = correlation_id.get() or "-"
        if not hasattr(record, "trace_id") and (ids := trace_ids()) is not None:
            record.trace_id, record.span_id = ids
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC, ISO 8601), level, logger, message, correlation_id.

    In a span that is sampled, trace_id and span_id.
    What was passed as ``extra=`` follows under its own names, values that are not JSON as
    their ``str``; an exception is under ``exception`` as text.
    """

    _STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
        "message",
        "asctime",
        "taskName",
        "color_message",  # uvicorn's copy of the message, with escape codes
    }

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in record.__dict__.items():
            if name not in self._STANDARD and name not in line:
                line[name] = value
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json_line(line)


def json_line(line: Mapping[str, Any]) -> str:
    """That as a JSON object on one line, whatever its values are: as their ``str`` if need be."""
    try:
        text = _dumps(line)
    except (TypeError, ValueError, RecursionError):
        # Somebody's extra is no JSON even so (NaN, tuples as keys, a value that holds
        # itself). The line is worth more than its form.
        text = _dumps({name: _writable(value) for name, value in line.items()})
    # File names that are not UTF-8 arrive as lone surrogates, which no stream can encode.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False, allow_nan=False)


def _writable(value: Any) -> Any:
    try:
        _dumps(value)
    except (TypeError, ValueError, RecursionError):
        return str(value)
    return value


def configure_logging(
    *, as_json: bool = False, level: int | str = logging.INFO, stream: TextIO | None = None
) -> logging.Handler:
    """Send every log line of the process to one place, correlation ids included.

    Replaces the handlers of the root logger, and lets uvicorn's loggers speak through it too.
    Call it from the program that owns the process, once.

    Args:
        as_json: ``True`` writes one JSON object a line instead of text.
        level: the root logger's level.
        stream: where to write. ``None`` means standard error.

    Returns:
        The handler, should you want to change it further.
    """
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.addFilter(CorrelationFilter())
    handler.setFormatter(
        JsonFormatter()
        if as_json
        else logging.Formatter(
            "%(asctime)s %(levelname)-8s [%(correlation_id)s] %(name)s: %(message)s"
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    return handler
