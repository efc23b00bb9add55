"""What the shop's log says, by request.

The shop logs when each attempt at a step begins and how it ends, uvicorn logs the answer, and
every line has the request's id. Nothing is known here that the running service did not report,
except when a client sent its request, if that client says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from examples.shop.models import STEPS

FINAL = {"done", "handled", "given_up", "skipped"}

_ANSWER = re.compile(r'"POST /orders HTTP/[\d.]+" (\d+)$')


@dataclass
class Attempt:
    """One run of a step's function."""

    began_at: float
    ended_at: float | None = None
    succeeded: bool = False


@dataclass
class Row:
    """One step. Times are seconds of the Unix epoch.

    Attributes:
        state: the last one reported.
        detail: what was reported with it.
        handled_at: when its error handler had done its work.
    """

    step: str
    state: str = "waiting"
    detail: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    handled_at: float | None = None

    @property
    def failures(self) -> int:
        """How many attempts have failed."""
        return sum(not each.succeeded for each in self.attempts if each.ended_at is not None)

    def report(self, at: float, state: str, detail: str) -> None:
        """The shop has logged a new state."""
        self.state, self.detail = state, detail
        if state == "running":
            self.attempts.append(Attempt(at))
        elif state in ("done", "retrying", "failed") and self.attempts:
            self.attempts[-1].ended_at = at
            self.attempts[-1].succeeded = state == "done"
        elif state in ("handled", "given_up"):
            self.handled_at = at


@dataclass
class Lane:
    """One request for an order and all that followed from it.

    Attributes:
        request_id: the ``X-Request-ID`` that all its log lines carry.
        title: what was ordered.
        sent_at: by our client, or when the shop wrote the order down if the client is not ours.
        answered_at: when the server began to answer, by its log.
        status: of the answer, as our client heard it, or by the server's log.
        said: of an error answer, what it said.
        order_id: as the shop logged it.
        verdict: the order's status in the end, as the shop gave it.
        awaited: a client of ours is waiting for the answer.
    """

    request_id: str
    title: str
    sent_at: float
    answered_at: float | None = None
    status: int | None = None
    said: str = ""
    order_id: int | None = None
    verdict: str | None = None
    awaited: bool = False
    rows: dict[str, Row] = field(default_factory=dict)

    @contextmanager
    def attended(self) -> Iterator[None]:
        """A client of ours waits for the answer in this block."""
        self.awaited = True
        try:
            yield
        finally:
            self.awaited = False

    @property
    def accepted(self) -> bool:
        """Whether the customer was told that the order is placed."""
        return self.status == 201

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        # Lines come in order: once the answer's is read, what began before it is known.
        if self.answered_at is None or self.awaited:
            return False
        rows = self.rows
        if self.accepted and not rows.keys() >= STEPS.keys():
            return False
        return all(row.state in FINAL for row in rows.values())

    @property
    def ended_at(self) -> float:
        """The latest time at which anything is known to have happened."""
        times = [self.sent_at, self.answered_at]
        for row in self.rows.values():
            times.append(row.handled_at)
            times.extend(t for each in row.attempts for t in (each.began_at, each.ended_at))
        return max(each for each in times if each is not None)


class Timeline:
    """All lanes, fed with the lines of the shop's log.

    Args:
        on_change: called after every line that changed a lane, with the lane.
    """

    def __init__(self, on_change: Callable[[Lane], object]) -> None:
        self.lanes: dict[str, Lane] = {}
        self._on_change = on_change

    def sent(self, request_id: str, title: str, at: float) -> Lane:
        """A client sends a request."""
        lane = self.lanes[request_id] = Lane(request_id, title, at)
        return lane

    def feed(self, line: str) -> None:
        """Read one line of the log. Lines about other things are passed over."""
        try:
            record = json.loads(line)
            request_id = record["correlation_id"]
            at = datetime.fromisoformat(record["time"]).timestamp()
        except (ValueError, KeyError, TypeError):
            return
        lane = self.lanes.get(request_id)
        if lane is None:
            if "items" not in record:
                return
            lane = self.sent(request_id, "", at)  # placed by somebody else: /docs, curl
        if "items" in record:
            lane.order_id = record["order"]
            lane.title = lane.title or record["items"]
        elif "step" in record:
            row = lane.rows.setdefault(record["step"], Row(record["step"]))
            row.report(at, record["state"], record["detail"])
        elif record["logger"] == "uvicorn.access":
            if (answer := _ANSWER.search(record["message"])) is None:
                return
            lane.answered_at = at
            if lane.status is None:
                lane.status = int(answer[1])
        else:
            return
        self._on_change(lane)
