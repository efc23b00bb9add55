"""Log lines: one place, one line each, and every one says which work it belongs to."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backstay.context import current_work
from backstay.log import (
    ContextLogger,
    CorrelationFilter,
    JsonFormatter,
    configure_logging,
    correlation_id,
    json_line,
    sane_correlation_id,
    trace_ids,
)

STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
OURS = {"time", "level", "logger", "exception", "stack"}

# Whatever a program may hold, not only what JSON knows.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs"]))
    | st.binary()
    | st.datetimes()
    | st.just(object()),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
    ),
    max_leaves=6,
)
EXTRA_NAMES = st.from_regex(r"[a-zA-Z_]\w{0,8}", fullmatch=True).filter(
    lambda name: name not in STANDARD | OURS
)
MESSAGES = st.text(st.characters(exclude_categories=[]))  # lone surrogates as well


@contextmanager
def correlation(value: str) -> Iterator[None]:
    token = correlation_id.set(value)
    try:
        yield
    finally:
        correlation_id.reset(token)


def record(message: str = "hello", *args: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("shop", logging.INFO, __file__, 1, message, args, None)
    made.__dict__.update(more)
    return made


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def parsed(line: str) -> dict[str, Any]:
    """The object on a line, read by the letter of RFC 8259, as it would come out of a file."""
    loaded = json.loads(line.encode("utf-8"), parse_constant=refuse)
    assert isinstance(loaded, dict)
    return loaded


@settings(deadline=None)
@given(message=MESSAGES, extra=st.dictionaries(EXTRA_NAMES, VALUES, max_size=4))
@example(message="a\nb\r\n\x00", extra={})
@example(message="\udcff.txt", extra={})
@example(message="", extra={"share": float("nan")})
@example(message="", extra={"by_pair": {(1, 2): 3}})
def test_any_message_and_any_extra_make_one_json_object_on_one_line(
    message: str, extra: dict[str, Any]
) -> None:
    line = JsonFormatter().format(record("%s", message, **extra))
    assert "\n" not in line
    assert "\r" not in line
    fields = parsed(line)
    assert set(fields) == {"time", "level", "logger", "message", *extra}
    if not any(0xD800 <= ord(char) <= 0xDFFF for char in message):
        assert fields["message"] == message


def test_a_value_that_holds_itself_is_written_all_the_same() -> None:
    knot: list[Any] = []
    knot.append(knot)
    assert parsed(JsonFormatter().format(record(knot=knot)))["message"] == "hello"


def test_the_fields_of_a_line() -> None:
    fields = parsed(JsonFormatter().format(record("%d orders", 3, correlation_id="abc")))
    at = datetime.fromisoformat(fields.pop("time"))
    assert at.tzinfo == UTC
    assert fields == {
        "level": "INFO",
        "logger": "shop",
        "message": "3 orders",
        "correlation_id": "abc",
    }


def test_extra_values_that_are_not_json_are_their_str() -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    fields = parsed(JsonFormatter().format(record(path=Path("/tmp/x"), at=at, n=1, many=[1, "a"])))
    assert fields["path"] == "/tmp/x"
    assert fields["at"] == str(at)
    assert fields["n"] == 1
    assert fields["many"] == [1, "a"]


@pytest.mark.parametrize("name", ["time", "level", "logger"])
def test_extra_cannot_replace_what_every_line_has(name: str) -> None:
    fields = parsed(JsonFormatter().format(record(**{name: "mine"})))
    assert fields[name] != "mine"


def test_an_exception_is_text_on_the_same_line() -> None:
    try:
        raise ValueError("no stock")
    except ValueError:
        line = JsonFormatter().format(record(exc_info=sys.exc_info()))
    assert "\n" not in line
    assert parsed(line)["exception"].endswith("ValueError: no stock")
    assert "Traceback" in parsed(line)["exception"]


def test_a_stack_is_text_on_the_same_line() -> None:
    line = JsonFormatter().format(record(stack_info="Stack (most recent call last):\n  here"))
    assert "\n" not in line
    assert parsed(line)["stack"].endswith("here")


def test_the_filter_puts_the_running_works_id_on_records() -> None:
    made = record()
    with correlation("abc"):
        assert CorrelationFilter().filter(made) is True
    assert made.__dict__["correlation_id"] == "abc"


def test_the_filter_marks_records_outside_any_work() -> None:
    made = record()
    assert CorrelationFilter().filter(made) is True
    assert made.__dict__["correlation_id"] == "-"


def test_the_filter_leaves_an_id_that_is_there() -> None:
    made = record(correlation_id="mine")
    with correlation("abc"):
        CorrelationFilter().filter(made)
    assert made.__dict__["correlation_id"] == "mine"


@contextmanager
def heard(logger: logging.Logger) -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]  # the shortest handler there is
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield records
    finally:
        logger.removeHandler(handler)


def test_a_context_logger_keeps_the_callers_extra_beside_the_id() -> None:
    base = logging.getLogger("test.context_logger")
    logger = ContextLogger(base, "abc")
    with heard(base) as records:
        logger.info("paid %s", "3 EUR", extra={"order": 7})
        logger.warning("no extra")
    assert [each.__dict__["correlation_id"] for each in records] == ["abc", "abc"]
    assert records[0].__dict__["order"] == 7
    assert records[0].getMessage() == "paid 3 EUR"
    assert logger.get_correlation_id() == "abc"


def test_a_context_logger_passes_exceptions_on() -> None:
    base = logging.getLogger("test.context_logger")
    with heard(base) as records:
        try:
            raise ValueError("no stock")
        except ValueError:
            ContextLogger(base, "abc").exception("failed")
    assert records[0].exc_info is not None
    assert isinstance(records[0].exc_info[1], ValueError)
    assert records[0].filename == Path(__file__).name, "the line that logged, not the adapter"


def test_a_context_logger_leaves_the_callers_dictionary_alone() -> None:
    base, extra = logging.getLogger("test.context_logger"), {"order": 7}
    with heard(base):
        ContextLogger(base, "abc").info("x", extra=extra)
    assert extra == {"order": 7}


@settings(deadline=None)
@given(st.binary(max_size=140) | st.text(max_size=140).map(lambda text: text.encode()))
@example(b"")
@example(b"a" * 128)
@example(b"a" * 129)
@example(b"abc\n")
@example(b"abc\r\nX-Evil: 1")
@example(b"\x1b[31mred")
@example("ärger".encode("latin-1"))
def test_a_client_can_choose_no_id_that_breaks_a_line_a_header_or_a_terminal(sent: bytes) -> None:
    accepted = sane_correlation_id(sent)
    if accepted is None:
        return
    assert accepted.encode("ascii") == sent
    assert 1 <= len(accepted) <= 128
    assert accepted.isprintable()
    assert not any(char.isspace() for char in accepted)
    assert accepted[0].isalnum()


@settings(deadline=None)
@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~+/=:@\-]{0,127}", fullmatch=True))
@example("4bf92f3577b34da6a3ce929d0e0e4736")
@example("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
@example("01ARZ3NDEKTSV4RRFFQ69G5FAV")
@example("0f8fad5b-d9cb-469f-a165-70867728950e")
def test_every_id_of_the_documented_alphabet_is_accepted_as_it_is(sent: str) -> None:
    assert sane_correlation_id(sent.encode()) == sent


@pytest.mark.parametrize("sent", [b"", b" abc", b"-abc", b".", b"a b", b"a\tb", b"a\x7f", b"a,b"])
def test_other_ids_are_refused(sent: bytes) -> None:
    assert sane_correlation_id(sent) is None


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    """Logging belongs to the process; give it back as it was."""
    loggers = [
        logging.getLogger(name) for name in ("", "uvicorn", "uvicorn.error", "uvicorn.access")
    ]
    before = [(each.handlers[:], each.level, each.propagate) for each in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.mark.usefixtures("untouched_logging")
def test_configured_logging_writes_text_with_the_id() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    with correlation("abc"):
        logging.getLogger("anything.at.all").info("hello")
    logging.getLogger("anything.at.all").info("outside")
    first, second = stream.getvalue().splitlines()
    assert "[abc] anything.at.all: hello" in first
    assert "INFO" in first
    assert "[-] anything.at.all: outside" in second


@pytest.mark.usefixtures("untouched_logging")
def test_configured_logging_writes_json_on_request() -> None:
    stream = io.StringIO()
    configure_logging(as_json=True, stream=stream, level="DEBUG")
    with correlation("abc"):
        logging.getLogger("shop").debug("hello", extra={"order": 7})
    (line,) = stream.getvalue().splitlines()
    fields = parsed(line)
    assert (fields["correlation_id"], fields["order"], fields["level"]) == ("abc", 7, "DEBUG")


@pytest.mark.usefixtures("untouched_logging")
def test_configured_logging_respects_the_level() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, level=logging.WARNING)
    logging.getLogger("shop").info("too small")
    assert stream.getvalue() == ""


@pytest.mark.usefixtures("untouched_logging")
def test_configuring_twice_does_not_write_twice() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(stream=first)
    handler = configure_logging(stream=second)
    logging.getLogger("shop").info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
    assert logging.getLogger().handlers == [handler]


@pytest.mark.usefixtures("untouched_logging")
def test_the_servers_loggers_speak_through_the_same_handler() -> None:
    stream, own = io.StringIO(), io.StringIO()
    server = logging.getLogger("uvicorn.access")
    server.addHandler(logging.StreamHandler(own))
    server.propagate = False
    configure_logging(as_json=True, stream=stream)
    server.info("GET / 200")
    assert own.getvalue() == ""
    assert parsed(stream.getvalue())["message"] == "GET / 200"


# ---------------------------------------------------------------------- traces


def test_lines_in_a_sampled_span_have_its_ids() -> None:
    from opentelemetry.sdk.trace import TracerProvider

    stream = io.StringIO()
    logger = logging.Logger("traced")
    handler = logging.StreamHandler(stream)
    handler.addFilter(CorrelationFilter())
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("x")
    with tracer.start_as_current_span("work") as span:
        logger.info("inside")
        logger.info("inside", extra={"trace_id": "mine"})
    logger.info("outside")
    inside, own, outside = map(json.loads, stream.getvalue().splitlines())
    context = span.get_span_context()
    assert inside["trace_id"] == f"{context.trace_id:032x}"
    assert inside["span_id"] == f"{context.span_id:016x}"
    assert own["trace_id"] == "mine"
    assert "span_id" not in own
    assert "trace_id" not in outside


def test_a_span_that_nobody_could_look_up_has_no_ids() -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    tracer = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("x")
    with tracer.start_as_current_span("work"):
        assert trace_ids() is None


def test_without_opentelemetry_there_are_no_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert trace_ids() is None


def test_any_mapping_is_a_line() -> None:
    odd = {"a": float("nan"), "b": object, "c": "\udcff\n"}
    assert json.loads(json_line(odd))["a"] == "nan"
    assert "\n" not in json_line(odd)


def test_the_id_is_that_of_the_running_work_unless_another_is_given() -> None:
    work = SimpleNamespace(correlation_id="of the work")
    assert correlation_id.get() is None
    running = current_work.set(work)  # type: ignore[arg-type]  # all that is looked at
    try:
        assert correlation_id.get() == "of the work"
        given = correlation_id.set("given")
        assert correlation_id.get() == "given"
        correlation_id.reset(given)
        assert correlation_id.get() == "of the work"
    finally:
        current_work.reset(running)
    assert correlation_id.get() is None
