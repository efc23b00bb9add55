"""The logs of the shop's processes, read and drawn."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from examples.shop.drawing import ASCII, draw
from examples.shop.models import STEPS
from examples.shop.timeline import WEB, WORKER, Lane, Outage, Timeline

START = datetime(2027, 1, 1, tzinfo=UTC).timestamp()


class Log:
    """Writes lines as the shop does, and keeps what a timeline makes of them."""

    def __init__(self) -> None:
        self.changes: list[Lane] = []
        self.turned: list[Outage] = []
        self.timeline = Timeline(self.changes.append, self.turned.append)

    def line(self, ms: int, process: str = WEB, **record: Any) -> None:
        time = datetime.fromtimestamp(START + ms / 1000, UTC).isoformat()
        about = {"time": time, "logger": "app", "message": "", "correlation_id": "r-1"}
        self.timeline.feed(json.dumps({**about, **record}), process)

    def step(self, ms: int, step: str, state: str, detail: str = "") -> None:
        process = WORKER if STEPS.get(step, "durable") == "durable" else WEB
        self.line(ms, process, order=7, step=step, state=state, detail=detail)

    def circuit(self, ms: int, what: str, process: str = WORKER) -> None:
        message = f"the circuit of PaymentGateway.charge is {what}"
        self.line(ms, process, logger="backstay.integration", message=message)

    def verdict(self, ms: int, verdict: str = "processed") -> None:
        self.line(ms, WORKER, order=7, verdict=verdict)

    def killed(self, ms: int, process: str) -> list[str]:
        return [row.step for row in self.timeline.killed(process, START + ms / 1000)]

    @property
    def lane(self) -> Lane:
        (lane,) = self.timeline.lanes.values()
        return lane

    def placed(self) -> None:
        self.line(0, order=7, items="1 x cup")

    def answer(self, ms: int, status: int = 201, path: str = "/orders") -> None:
        message = f'127.0.0.1:4711 - "POST {path} HTTP/1.1" {status}'
        self.line(ms, logger="uvicorn.access", message=message)

    def drawn(self) -> list[str]:
        lane = self.lane
        lines = draw(
            lane,
            now=lane.ended_at,
            width=100,
            glyphs=ASCII,
            outages_of=self.timeline.outages_of,
        )
        return [line.plain.rstrip() for line in lines]


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
def test_an_order_by_mcp_is_accepted_with_200(path: str) -> None:
    log = Log()
    log.placed()
    log.answer(40, 200, path)
    assert log.lane.accepted
    log.step(50, "analytics", "running")
    log.step(60, "analytics", "done")
    log.verdict(90)
    assert log.lane.finished


def test_an_accepted_order_is_finished_with_its_answer_its_verdict_and_its_last_step() -> None:
    log = Log()
    log.placed()
    for step in STEPS:
        log.step(10, step, "running")
        log.step(20, step, "done")
    log.verdict(25)
    assert not log.lane.finished
    log.answer(30)
    assert log.lane.finished
    assert log.lane.verdict == "processed"


def test_a_payment_that_was_declined_is_followed_by_nothing() -> None:
    log = Log()
    log.placed()
    log.answer(5)
    log.step(10, "payment", "running")
    log.verdict(19, "payment_failed")
    log.step(20, "payment", "done", "declined")
    assert not log.lane.finished
    log.step(30, "analytics", "done")
    assert log.lane.finished


def test_a_refund_that_is_to_come_keeps_an_order_open() -> None:
    log = Log()
    log.placed()
    log.answer(5)
    log.step(6, "analytics", "done")
    log.step(10, "payment", "failed")
    log.step(11, "refund", "waiting")
    log.step(12, "payment", "handled")
    log.verdict(13, "payment_failed")
    assert not log.lane.finished
    log.step(50, "refund", "done")
    assert log.lane.finished


def test_durable_work_of_a_process_that_was_killed_is_open_until_it_has_run_again() -> None:
    log = Log()
    log.placed()
    log.answer(5)
    log.step(6, "analytics", "done")
    log.step(10, "payment", "running")
    log.step(10, "receipt", "running")
    log.step(20, "receipt", "retrying", "answered 503")
    assert log.killed(30, WEB) == []
    assert log.killed(600, WORKER) == ["payment"]  # the receipt is between two attempts
    assert log.lane.rows["payment"].state == "orphaned"
    log.step(1100, "payment", "running")
    log.step(1150, "payment", "done", "charged")
    assert log.timeline.pauses_after_kills() == [pytest.approx(0.5)]
    (row,) = [row for row in log.drawn() if "payment" in row]
    assert re.search(r" =+K\.+=+o? ", row)
    assert row.endswith("1 killed, charged")


def test_other_work_of_a_process_that_was_killed_is_gone_even_if_it_had_not_begun() -> None:
    for begun in (True, False):
        log = Log()
        log.placed()
        log.answer(5)
        if begun:
            log.step(6, "analytics", "running")
        assert log.killed(10, WEB) == ["analytics"]
        assert log.lane.rows["analytics"].state == "gone"
        log.verdict(20)
        assert log.lane.finished


def test_what_a_client_of_ours_waits_for_is_not_finished_before_it_has_the_answer() -> None:
    log = Log()
    lane = log.timeline.sent("r-1", "1 x cup", START)
    with lane.attended():
        log.answer(5, 422)
        assert not lane.finished
    assert lane.finished


def test_attempts_pauses_and_the_handler_are_drawn_where_they_happened() -> None:
    log = Log()
    log.placed()
    log.step(0, "analytics", "running")
    log.step(300, "analytics", "retrying", "answered 503")
    log.step(600, "analytics", "running")
    log.step(750, "analytics", "failed", "answered 503")
    log.step(800, "analytics", "handled", "→ kept")
    header, request, *rows = log.drawn()
    assert header.startswith("order 7  r-1  1 x cup")
    row = next(row for row in rows if "analytics" in row)
    # 32 columns stand for 1.2 s.
    assert row[32:].split("  ")[0] == "=======x.......=====x#"
    assert row.endswith("-> kept")
    assert request.endswith("'1 s")


def test_a_circuit_that_opened_is_drawn_below_what_waited_for_it_and_no_attempt_is_counted() -> (
    None
):
    log = Log()
    log.placed()
    log.answer(5)
    log.step(6, "analytics", "done")
    log.step(0, "payment", "running")
    log.step(200, "payment", "retrying", "no answer in time")
    log.circuit(200, "open: no calls for 2 s")
    log.step(300, "payment", "running")
    log.step(300, "payment", "spared", "circuit open, again in 0.4 s")
    log.circuit(500, "open: no calls for 2 s")  # who tried has failed
    log.step(700, "payment", "running")
    log.circuit(800, "closed again")
    log.step(800, "payment", "done", "charged")
    log.verdict(900)
    (outage,) = log.timeline.outages
    assert outage.spared == 1
    assert log.turned == [outage, outage]
    row = log.lane.rows["payment"]
    assert (row.tries, row.failures, row.spared) == (2, 1, 1)
    at = next(number for number, line in enumerate(log.drawn()) if "payment" in line)
    payment, circuit = log.drawn()[at : at + 2]
    assert re.fullmatch(r"=+x\.+-\.+=+o", payment[32:].split("  ")[0])
    assert circuit[32:].split("  ")[-1].strip() == "open for 0.6 s"
    assert circuit[32:54].strip("~ ") == ""


def test_the_circuit_of_a_process_that_was_killed_is_gone_with_it() -> None:
    log = Log()
    log.placed()
    log.circuit(100, "open: no calls for 2 s")
    log.circuit(100, "open: no calls for 2 s", WEB)
    log.killed(200, WORKER)
    assert log.timeline.outage("PaymentGateway", WORKER) is None
    assert log.timeline.outage("PaymentGateway", WEB) is not None


def test_what_waits_for_a_circuit_is_in_the_file_and_nobodys_when_its_worker_dies() -> None:
    log = Log()
    log.placed()
    log.step(10, "payment", "running")
    log.step(10, "payment", "spared", "circuit open, again in 2.0 s")
    assert log.killed(30, WORKER) == []
    assert not log.lane.finished


def test_lines_about_other_things_change_nothing() -> None:
    log = Log()
    for line in ("", "Traceback", "[]", "1", '{"time": 1}', '{"correlation_id": "-"}'):
        log.timeline.feed(line)
    log.line(0, logger="uvicorn.error", message="Shutting down")
    log.line(0, logger="uvicorn.access", message='1.2.3.4:5 - "GET /docs HTTP/1.1" 200')
    assert log.timeline.lanes == {}
    assert log.changes == []
