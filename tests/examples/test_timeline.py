"""The shop's log, read and drawn."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from examples.shop.drawing import ASCII, draw
from examples.shop.models import STEPS
from examples.shop.timeline import Lane, Timeline

START = datetime(2027, 1, 1, tzinfo=UTC).timestamp()


class Log:
    """Writes lines as the shop does, and keeps what a timeline makes of them."""

    def __init__(self) -> None:
        self.changes: list[Lane] = []
        self.timeline = Timeline(self.changes.append)

    def line(self, ms: int, **record: Any) -> None:
        time = datetime.fromtimestamp(START + ms / 1000, UTC).isoformat()
        about = {"time": time, "logger": "app", "message": "", "correlation_id": "r-1"}
        self.timeline.feed(json.dumps({**about, **record}))

    def step(self, ms: int, step: str, state: str, detail: str = "") -> None:
        self.line(ms, order=7, step=step, state=state, detail=detail)

    def placed(self) -> None:
        self.line(0, order=7, items="1 x cup")

    def answer(self, ms: int, status: int = 201) -> None:
        message = f'127.0.0.1:4711 - "POST /orders HTTP/1.1" {status}'
        self.line(ms, logger="uvicorn.access", message=message)

    def drawn(self) -> list[str]:
        (lane,) = self.timeline.lanes.values()
        lines = draw(lane, now=lane.ended_at, width=100, glyphs=ASCII)
        return [line.plain.rstrip() for line in lines]


def test_an_accepted_order_is_finished_with_its_answer_and_its_last_step() -> None:
    log = Log()
    log.placed()
    for step in STEPS:
        log.step(10, step, "running")
        log.step(20, step, "done")
    (lane,) = log.timeline.lanes.values()
    assert not lane.finished
    log.answer(30)
    assert lane.finished


def test_a_refund_that_is_to_come_keeps_a_refused_order_open() -> None:
    log = Log()
    log.placed()
    log.step(10, "inventory", "failed")
    log.step(11, "refund", "waiting")
    log.step(12, "inventory", "handled")
    log.answer(13, 409)
    (lane,) = log.timeline.lanes.values()
    assert not lane.finished
    log.step(50, "refund", "done")
    assert lane.finished


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


def test_lines_about_other_things_change_nothing() -> None:
    log = Log()
    for line in ("", "Traceback", "[]", "1", '{"time": 1}', '{"correlation_id": "-"}'):
        log.timeline.feed(line)
    log.line(0, logger="uvicorn.error", message="Shutting down")
    log.line(0, logger="uvicorn.access", message='1.2.3.4:5 - "GET /docs HTTP/1.1" 200')
    assert log.timeline.lanes == {}
    assert log.changes == []
