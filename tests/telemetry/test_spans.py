"""Spans: what they are children of, what they say, and what they keep to themselves."""

import asyncio
import contextvars
from importlib.util import find_spec
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from backstay.app import Backstay
from backstay.observation import Kind
from backstay.tasks import add_tasks, task
from backstay.telemetry import Spans, add_telemetry
from backstay.testing import running
from backstay.web import Ctx
from tests.support import async_test
from tests.telemetry.seeing import Tracing, begun, observed, request

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


since_0_165 = pytest.mark.skipif(
    find_spec("fastapi.telemetry") is None, reason="this FastAPI makes no spans"
)


def traced(tracing: Tracing) -> Backstay:
    return observed(Spans(tracer_provider=tracing.provider))


def test_a_request_is_a_server_span_named_by_its_route() -> None:
    tracing = Tracing()
    request(traced(tracing), "GET", "/orders/{order_id}")
    (span,) = tracing.spans
    assert span.name == "GET /orders/{order_id}"
    assert span.kind is SpanKind.SERVER
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": "/orders/{order_id}",
        "url.path": "/somewhere",
        "http.response.status_code": 200,
        "backstay.correlation_id": "the-id",
    }


def test_a_request_continues_the_trace_of_its_client() -> None:
    tracing = Tracing()
    begun(traced(tracing), Kind.REQUEST, "GET", link=PARENT).end("ok", status=200)
    (span,) = tracing.spans
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == PARENT.split("-")[1]
    assert span.parent.is_remote


@pytest.mark.parametrize(
    "link",
    ["", "rubbish", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", PARENT * 100, "\x00\n", "é" * 55],
)
def test_a_client_that_sends_rubbish_begins_a_trace(link: str) -> None:
    tracing = Tracing()
    begun(traced(tracing), Kind.REQUEST, "GET", link=link).end("ok", status=200)
    assert tracing.spans[0].parent is None


def test_a_method_nobody_knows_names_no_span() -> None:
    tracing = Tracing()
    request(traced(tracing), "X" * 500, None, 405)
    (span,) = tracing.spans
    assert span.name == "HTTP"
    assert (span.attributes or {})["http.request.method"] == "_OTHER"


@pytest.mark.parametrize(("status", "is_error"), [(200, False), (404, False), (500, True)])
def test_only_what_the_server_did_wrong_is_its_error(status: int, is_error: bool) -> None:
    tracing = Tracing()
    seen = begun(traced(tracing), Kind.REQUEST, "GET", method="GET")
    seen.end("failed" if status >= 500 else "ok", status=status)
    (span,) = tracing.spans
    assert (span.status.status_code is StatusCode.ERROR) is is_error
    assert (span.attributes or {}).get("error.type") == ("500" if is_error else None)


def test_what_begins_inside_is_a_child_and_what_comes_after_is_not() -> None:
    tracing = Tracing()
    backstay = traced(tracing)
    outer = begun(backstay, Kind.REQUEST, "GET")
    begun(backstay, Kind.FILL, "product:17").end("ok")
    outer.end("ok", status=200)
    begun(backstay, Kind.TASK, "later").end("ok")
    fill, after = tracing.named("cache fill product"), tracing.named("task later")
    assert fill.parent is not None
    assert fill.parent.span_id == tracing.named("GET").context.span_id
    assert after.parent is None
    assert not trace.get_current_span().get_span_context().is_valid


@async_test
async def test_an_end_in_a_copy_of_the_context_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracing = Tracing()
    seen = begun(traced(tracing), Kind.CALL, "stock")

    async def end() -> None:
        seen.end("ok")

    await asyncio.create_task(end())
    assert len(tracing.spans) == 1
    assert caplog.records == []


def test_a_job_is_a_trace_of_its_own_linked_to_what_enqueued_it() -> None:
    tracing = Tracing()
    backstay = traced(tracing)
    with tracing.provider.get_tracer("somebody").start_as_current_span("worker"):
        seen = begun(backstay, Kind.JOB, "invoice", link=PARENT, queue="mail", job="j-1", attempt=2)
        seen.end("ok")
    span = tracing.named("process invoice")
    assert span.kind is SpanKind.CONSUMER
    assert span.parent is None
    (link,) = span.links
    assert f"{link.context.trace_id:032x}-{link.context.span_id:016x}" in PARENT
    attributes = span.attributes or {}
    assert attributes["messaging.destination.name"] == "mail"
    assert attributes["messaging.message.id"] == "j-1"
    assert attributes["backstay.job.attempt"] == 2


@pytest.mark.parametrize("link", [None, "nonsense"])
def test_a_job_that_nothing_enqueued_has_no_link(link: str | None) -> None:
    tracing = Tracing()
    begun(traced(tracing), Kind.JOB, "tick", link=link).end("ok")
    assert tracing.spans[0].links == ()


def test_the_link_of_what_runs_is_the_traceparent_of_its_span() -> None:
    tracing = Tracing()
    backstay = traced(tracing)
    assert backstay.link() is None
    seen = begun(backstay, Kind.TASK, "t")
    link = backstay.link()
    seen.end("ok")
    context = tracing.spans[0].context
    assert link is not None
    assert link.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
    assert int(link[-2:], 16) & 1, "sampled"


def test_a_widget_is_a_call_of_a_tool() -> None:
    tracing = Tracing()
    begun(traced(tracing), Kind.WIDGET, "pizza").end("failed")
    span = tracing.named("tools/call pizza")
    assert (span.attributes or {})["gen_ai.tool.name"] == "pizza"
    assert (span.attributes or {})["error.type"] == "tool_error"


def test_a_tool_that_the_sdk_of_mcp_has_a_span_for_gets_no_second_one() -> None:
    tracing = Tracing()
    backstay = traced(tracing)
    facts = {"mcp.method.name": "tools/call"}
    with tracing.provider.get_tracer("mcp").start_as_current_span("tools/call x", attributes=facts):
        begun(backstay, Kind.WIDGET, "x").end("ok")
    (span,) = tracing.spans
    assert (span.attributes or {})["backstay.correlation_id"] == "the-id"


def failure() -> Exception:
    def find(email: str) -> None:
        raise LookupError(f"nobody has the address {email}")

    try:
        find("@".join(["ann", "example.com"]))  # not in the source, whose lines are recorded
    except LookupError as error:
        return error
    raise AssertionError


def test_an_error_is_recorded_with_its_lines_and_without_its_words() -> None:
    tracing = Tracing()
    begun(traced(tracing), Kind.TASK, "t").end("failed", error=failure())
    (span,) = tracing.spans
    (event,) = span.events
    facts: Any = event.attributes
    assert facts["exception.type"] == "LookupError"
    assert "in find" in facts["exception.stacktrace"]
    assert "ann@example.com" not in span.to_json()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "LookupError"


def test_the_words_are_there_for_who_asks_for_them() -> None:
    tracing = Tracing()
    backstay = observed(Spans(tracer_provider=tracing.provider, exception_messages=True))
    begun(backstay, Kind.TASK, "t").end("failed", error=failure())
    assert "ann@example.com" in tracing.spans[0].to_json()


@pytest.mark.parametrize("outcome", ["ok", "cancelled", "snoozed"])
def test_what_is_no_failure_is_no_error(outcome: str) -> None:
    tracing = Tracing()
    begun(traced(tracing), Kind.JOB, "t").end(outcome, error=asyncio.CancelledError())
    (span,) = tracing.spans
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()
    assert (span.attributes or {})["backstay.outcome"] == outcome


def test_without_a_provider_there_is_no_span_and_nothing_in_the_context() -> None:
    backstay = observed(Spans())
    before = contextvars.copy_context()
    seen = begun(backstay, Kind.TASK, "t")
    assert backstay.link() is None
    assert list(contextvars.copy_context().items()) == list(before.items())
    seen.end("ok")


def test_what_is_not_sampled_has_no_sampled_children() -> None:
    tracing = Tracing(ALWAYS_OFF)
    backstay = traced(tracing)
    outer = begun(backstay, Kind.REQUEST, "GET")
    assert not int((backstay.link() or "")[-2:], 16) & 1
    outer.end("ok")
    assert tracing.spans == ()


# ---------------------------------------------------------------------- in an app


def shop(tracing: Tracing, telemetry: Any) -> FastAPI:
    app = FastAPI(telemetry=telemetry)
    add_tasks(app)
    add_telemetry(app, tracer_provider=tracing.provider, metrics=False)

    async def pack(order: int) -> None:
        pass

    @app.post("/orders/{order}")
    async def sell(order: int, ctx: Ctx) -> None:
        ctx.tasks.task(name="pack").schedule(pack, order)

    return app


@since_0_165
@async_test
async def test_a_request_has_fastapis_own_span_where_it_makes_one() -> None:
    tracing = Tracing()
    app = shop(tracing, {"tracer_provider": tracing.provider, "operation_spans": False})
    async with running(app) as client:
        answer = await client.post("/orders/17?card=4111", headers={"X-Request-ID": "abc"})
        await client.tasks.settle()
    assert answer.status_code == 200
    (span,) = [each for each in tracing.spans if each.kind is SpanKind.SERVER]
    assert span.name == "POST /orders/{order}"
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "fastapi"
    assert (span.attributes or {})["backstay.correlation_id"] == "abc"
    packing = tracing.named("task pack")
    assert packing.parent is not None
    assert packing.parent.span_id == span.context.span_id


@pytest.mark.parametrize("telemetry", [{"tracing": False}, None])
@async_test
async def test_a_request_has_our_span_where_fastapi_makes_none(telemetry: Any) -> None:
    tracing = Tracing()
    async with running(shop(tracing, telemetry)) as client:
        await client.post("/orders/17?card=4111", headers={"traceparent": PARENT})
        await client.tasks.settle()
    (span,) = [each for each in tracing.spans if each.kind is SpanKind.SERVER]
    assert span.name == "POST /orders/{order}"
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "backstay"
    assert f"{span.context.trace_id:032x}" in PARENT
    assert "4111" not in span.to_json()
    packing = tracing.named("task pack")
    assert packing.parent is not None
    assert packing.parent.span_id == span.context.span_id


@since_0_165
@async_test
async def test_a_request_that_fastapi_did_not_sample_gets_no_span_of_ours() -> None:
    theirs, ours = Tracing(ALWAYS_OFF), Tracing()
    app = shop(ours, {"tracer_provider": theirs.provider})
    async with running(app) as client:
        await client.post("/orders/17")
        await client.tasks.settle()
    assert [each.kind for each in ours.spans if each.kind is SpanKind.SERVER] == []


@async_test
async def test_a_durable_job_is_linked_to_the_request_that_enqueued_it() -> None:
    tracing = Tracing()
    app = FastAPI()
    add_tasks(app)
    add_telemetry(app, tracer_provider=tracing.provider, metrics=False)

    @task(name="invoice")
    async def invoice(order: int) -> None:
        pass

    @app.post("/orders")
    async def sell(ctx: Ctx) -> None:
        ctx.tasks.durable.schedule(invoice, 17)

    async with running(app, database="memory://") as client:
        await client.post("/orders")
        await client.drain()
    job, sold = tracing.named("process invoice"), tracing.named("POST /orders")
    (link,) = job.links
    assert link.context.span_id == sold.context.span_id
    assert job.context.trace_id != sold.context.trace_id
    first, second = ((each.attributes or {})["backstay.correlation_id"] for each in (job, sold))
    assert first == second
