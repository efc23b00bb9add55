"""What spans say: names of which there are few, and nothing personal."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanKind

from backstay.app import Backstay
from backstay.observation import Kind, Observation
from backstay.telemetry.span_facts import at_begin, at_end, kind_of, name_of
from backstay.testing import FakeClock

ANY_TEXT = st.text(st.characters(exclude_categories=[]))  # lone surrogates as well
FACTS = st.fixed_dictionaries(
    {},
    optional={
        name: ANY_TEXT | st.integers() | st.none()
        for name in ("method", "path", "route", "queue", "job", "attempt")
    },
)


def seen(kind: Kind, name: str, **facts: Any) -> Observation:
    return Observation((), FakeClock(), kind, name, "the-id", facts=facts)


@pytest.mark.parametrize(
    ("kind", "name", "facts", "span", "side"),
    [
        (Kind.REQUEST, "GET", {}, "GET", SpanKind.SERVER),
        (Kind.REQUEST, "GET /a", {"method": "GET", "route": "/a"}, "GET /a", SpanKind.SERVER),
        (Kind.REQUEST, "BREW /a", {"method": "BREW", "route": "/a"}, "HTTP /a", SpanKind.SERVER),
        (Kind.TASK, "pack", {}, "task pack", SpanKind.INTERNAL),
        (Kind.JOB, "invoice", {}, "process invoice", SpanKind.CONSUMER),
        (Kind.WIDGET, "pizza", {}, "tools/call pizza", SpanKind.SERVER),
        (Kind.CALL, "stock.find", {}, "stock.find", SpanKind.CLIENT),
        (Kind.FILL, "user:ann@example.com", {}, "cache fill user", SpanKind.INTERNAL),
    ],
)
def test_every_kind_has_a_name_and_a_side(
    kind: Kind, name: str, facts: dict[str, Any], span: str, side: SpanKind
) -> None:
    assert name_of(seen(kind, name, **facts)) == span
    assert kind_of(seen(kind, name, **facts)) is side


@pytest.mark.parametrize("kind", list(Kind))
def test_the_correlation_id_is_on_every_span(kind: Kind) -> None:
    assert at_begin(seen(kind, "x"))["backstay.correlation_id"] == "the-id"
    assert "backstay.correlation_id" not in at_begin(Observation((), FakeClock(), kind, "x", None))


def test_keys_of_the_cache_and_unknown_facts_are_not_told() -> None:
    watched = seen(Kind.FILL, "user:ann", query="card=4111")
    watched.end("ok")
    assert "ann" not in str(at_begin(watched)) + str(at_end(watched))
    assert "4111" not in str(at_begin(watched)) + str(at_end(watched))


def failed(kind: Kind, outcome: str, status: int | None, error: BaseException | None) -> Any:
    watched = Observation((), FakeClock(), kind, "x", None)
    watched.outcome, watched.status, watched.error = outcome, status, error
    return at_end(watched).get("error.type")


class Refused(Exception):
    pass


def test_an_error_is_told_by_its_type() -> None:
    assert failed(Kind.TASK, "failed", None, ValueError("secret")) == "ValueError"
    assert failed(Kind.JOB, "retried", None, Refused()) == f"{__name__}.Refused"
    assert failed(Kind.CALL, "failed", 502, None) == "502"
    assert failed(Kind.WIDGET, "failed", None, None) == "tool_error"
    assert failed(Kind.TASK, "failed", None, None) == "_OTHER"
    assert failed(Kind.JOB, "discarded", None, None) is None
    assert failed(Kind.REQUEST, "ok", 404, None) is None


@given(st.sampled_from(Kind), ANY_TEXT, FACTS)
def test_whatever_is_seen_has_a_name_and_attributes(
    kind: Kind, name: str, facts: dict[str, Any]
) -> None:
    watched = Observation((), Backstay().clock, kind, name, None, facts=facts)
    values = [name_of(watched), *at_begin(watched).values(), *at_end(watched).values()]
    for each in values:
        assert isinstance(each, str | int)
        str(each).encode()
