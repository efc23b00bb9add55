"""structlog beside the standard library's logging: one format, one place, the same ids."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

from backstay.errors import MissingExtra
from backstay.log import configure_logging, correlation_id, json_line, trace_ids

__all__ = ["configure_structlog", "structlog_processor"]

Processor = Callable[[Any, str, MutableMapping[str, Any]], MutableMapping[str, Any]]


def structlog_processor() -> Processor:
    """A processor for ``structlog.configure(processors=[…])``, for chains of your own.

    It adds ``correlation_id`` (``"-"`` outside any piece of work) and, in a span that is sampled,
    ``trace_id`` and ``span_id``; never in place of what the event has under these names.
    """

    def add_ids(
        logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        if "correlation_id" not in event:
            event["correlation_id"] = correlation_id.get() or "-"
        if "trace_id" not in event and (ids := trace_ids()) is not None:
            event["trace_id"], event["span_id"] = ids
        return event

    return add_ids


def configure_structlog(
    *, as_json: bool = False, level: int | str = logging.INFO, stream: TextIO | None = None
) -> logging.Handler:
    """Send what structlog and the standard library log to one place, in one format.

    ``configure_logging`` for programs that use structlog: it configures structlog, and one handler
    for both. JSON lines have the same names as there. Call it from the program that owns the
    process, once.

    Args:
        as_json: ``True`` writes one JSON object a line; ``False`` text, in colours on a terminal.
        level: the root logger's level.
        stream: where to write. ``None`` means standard error.

    Returns:
        The handler.

    Raises:
        MissingExtra: structlog is not installed.
    """
    try:
        import structlog
        from structlog.stdlib import ProcessorFormatter
    except ImportError as missing:
        raise MissingExtra("structlog", "structlog") from missing

    handler = configure_logging(as_json=as_json, level=level, stream=stream)
    of_both: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.StackInfoRenderer(),
        structlog_processor(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *of_both,
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    is_terminal = bool((stream if stream is not None else sys.stderr).isatty())
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*of_both, structlog.stdlib.ExtraAdder()],
            processors=[
                ProcessorFormatter.remove_processors_meta,
                *(
                    [structlog.processors.format_exc_info, _as_json_lines_are]
                    if as_json
                    else [structlog.dev.ConsoleRenderer(timestamp_key="time", colors=is_terminal)]
                ),
            ],
        )
    )
    return handler


def _as_json_lines_are(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """The names of ``JsonFormatter``, in its order."""
    line: dict[str, Any] = {
        "time": event.pop("time"),
        "level": str(event.pop("level")).upper(),
        "logger": event.pop("logger"),
        "message": str(event.pop("event", "")),
    }
    # Whoever passes these names means a fact of theirs, which is worth keeping.
    line |= {f"{name}_" if name in line else name: value for name, value in event.items()}
    return json_line(line)
