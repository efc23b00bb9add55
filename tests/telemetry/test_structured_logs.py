"""structlog and the standard library's logging in one place, in one format, with the same ids."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from backstay.errors import MissingExtra
from backstay.log import correlation_id
from backstay.telemetry import configure_structlog, structlog_processor
from tests.telemetry.seeing import Tracing


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    token = correlation_id.set(None)
    yield
    correlation_id.reset(token)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).propagate = True
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_write_lines_of_the_same_names() -> None:
    stream = io.StringIO()
    configure_structlog(as_json=True, stream=stream)
    correlation_id.set("abc")
    structlog.get_logger("shop").info("sold", order=17)
    logging.getLogger("shop").info("sold %s", "it", extra={"order": 17})
    first, second = lines(stream)
    assert list(first)[:4] == list(second)[:4] == ["time", "level", "logger", "message"]
    assert first["level"] == second["level"] == "INFO"
    assert first["logger"] == second["logger"] == "shop"
    assert (first["message"], second["message"]) == ("sold", "sold it")
    assert first["order"] == second["order"] == 17
    assert first["correlation_id"] == second["correlation_id"] == "abc"
    assert first.keys() == second.keys()


def test_lines_outside_of_work_say_so() -> None:
    stream = io.StringIO()
    configure_structlog(as_json=True, stream=stream)
    structlog.get_logger().warning("here")
    (line,) = lines(stream)
    assert line["correlation_id"] == "-"
    assert "trace_id" not in line


def test_in_a_span_lines_have_its_ids() -> None:
    stream, tracing = io.StringIO(), Tracing()
    configure_structlog(as_json=True, stream=stream)
    with tracing.provider.get_tracer("x").start_as_current_span("work") as span:
        structlog.get_logger().info("sold")
        logging.getLogger("shop").info("sold")
    context = span.get_span_context()
    for line in lines(stream):
        assert line["trace_id"] == f"{context.trace_id:032x}"
        assert line["span_id"] == f"{context.span_id:016x}"


def test_an_exception_is_text_on_its_line() -> None:
    stream = io.StringIO()
    configure_structlog(as_json=True, stream=stream)
    for logger in (structlog.get_logger("shop"), logging.getLogger("shop")):
        try:
            raise LookupError("nobody")
        except LookupError:
            logger.exception("failed")
    for line in lines(stream):
        assert line["level"] == "ERROR"
        assert "LookupError: nobody" in line["exception"]


def test_facts_with_the_names_of_a_line_are_kept_beside_it() -> None:
    stream = io.StringIO()
    configure_structlog(as_json=True, stream=stream)
    structlog.get_logger("shop").info("sold", message="mine", name="Ann", args=[1], msg="m")
    (line,) = lines(stream)
    assert line["message"] == "sold"
    assert line["message_"] == "mine"
    assert (line["name"], line["args"], line["msg"]) == ("Ann", [1], "m")


def test_what_is_no_json_is_written_all_the_same() -> None:
    stream = io.StringIO()
    configure_structlog(as_json=True, stream=stream)
    structlog.get_logger().info("odd", a=float("nan"), b={(1, 2): 3}, c=object(), d=b"\xff")
    logging.getLogger("shop").info("line\nbreak \udcff")
    assert len(lines(stream)) == 2


def test_text_is_for_people_and_has_the_facts() -> None:
    stream = io.StringIO()
    configure_structlog(stream=stream)
    correlation_id.set("abc")
    structlog.get_logger("shop").info("sold", order=17)
    logging.getLogger("shop").warning("few left")
    first, second = stream.getvalue().splitlines()
    assert "sold" in first
    assert "order=17" in first
    assert "correlation_id=abc" in first
    assert "few left" in second
    assert "\x1b" not in first, "no colours in files"


def test_the_level_holds_for_both() -> None:
    stream = io.StringIO()
    configure_structlog(as_json=True, level="WARNING", stream=stream)
    structlog.get_logger("shop").info("no")
    logging.getLogger("shop").info("no")
    structlog.get_logger("shop").warning("yes")
    assert [line["message"] for line in lines(stream)] == ["yes"]


def test_what_a_request_has_bound_is_on_its_lines() -> None:
    stream = io.StringIO()
    configure_structlog(as_json=True, stream=stream)
    structlog.contextvars.bind_contextvars(tenant="acme")
    structlog.get_logger().info("sold")
    logging.getLogger("shop").info("sold")
    assert [line["tenant"] for line in lines(stream)] == ["acme", "acme"]


def test_the_processor_keeps_what_the_event_says_itself() -> None:
    correlation_id.set("abc")
    add_ids = structlog_processor()
    assert add_ids(None, "info", {"event": "x"})["correlation_id"] == "abc"
    assert add_ids(None, "info", {"correlation_id": "mine"})["correlation_id"] == "mine"
    with Tracing().provider.get_tracer("x").start_as_current_span("work"):
        event = add_ids(None, "info", {"trace_id": "mine"})
    assert event["trace_id"] == "mine"
    assert "span_id" not in event


def test_without_structlog_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "structlog", None)
    with pytest.raises(MissingExtra, match=r"backstay\[structlog\]"):
        configure_structlog()
