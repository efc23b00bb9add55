"""What the logs of the shop's processes say, by request.

The shop logs when each attempt at a step begins and how it ends, uvicorn logs the answer, and
every line has the request's id, in the worker too. Nothing is known here that a process did not
report, except when a client sent its request, if that client says so, and when a process was
killed, which it cannot report.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from examples.shop.models import STEPS

FINAL = {"done", "handled", "gone"}

WEB = "web"
"""The process that answers requests; what runs in it beside them is not durable."""

WORKER = "worker"
"""The process that runs the durable jobs."""

_ANSWER = re.compile(r'"POST /(?:orders|mcp/?) HTTP/[\d.]+" (\d+)$')

_CIRCUIT = re.compile(r"the circuit of (\w+)\.\w+ is (open|closed)")

PARTIES = {
    "payment": "PaymentGateway",
    "refund": "PaymentGateway",
    "receipt": "Mail",
    "warehouse": "ParcelService",
    "analytics": "Analytics",
}
"""Who is asked by a step."""

_ACCEPTED = {200, 201}
"""201 for an order by ``POST /orders``; MCP answers 200 to whatever it is asked."""


@dataclass
class Attempt:
    """One run of a step's function.

    Attributes:
        process: in which it runs.
        killed: it ended with its process.
        spared: it made no call, for the circuit was open; it is not one of the job's attempts.
    """

    began_at: float
    process: str = ""
    ended_at: float | None = None
    succeeded: bool = False
    killed: bool = False
    spared: bool = False


@dataclass
class Outage:
    """A time in which a process left a third party alone: its circuit was open.

    Attributes:
        party: as its class is called.
        process: whose circuit it is.
        spared: how many calls of durable steps were not made.
    """

    party: str
    process: str
    opened_at: float
    closed_at: float | None = None
    spared: int = 0


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
        """How many attempts have failed, other than with their process."""
        return sum(
            not (each.succeeded or each.killed or each.spared)
            for each in self.attempts
            if each.ended_at is not None
        )

    @property
    def kills(self) -> int:
        """How many attempts ended with their process."""
        return sum(each.killed for each in self.attempts)

    @property
    def tries(self) -> int:
        """How many attempts there were."""
        return sum(not each.spared for each in self.attempts)

    @property
    def spared(self) -> int:
        """How often it came in vain, for the circuit was open."""
        return sum(each.spared for each in self.attempts)

    @property
    def durable(self) -> bool:
        """Whether it outlives its process."""
        return STEPS.get(self.step, "durable") == "durable"

    def report(self, at: float, state: str, detail: str, process: str = "") -> None:
        """The shop has logged a new state."""
        self.state, self.detail = state, detail
        if state == "running":
            self.attempts.append(Attempt(at, process))
        elif state in ("done", "retrying", "failed", "spared") and self.attempts:
            self.attempts[-1].ended_at = at
            self.attempts[-1].succeeded = state == "done"
            self.attempts[-1].spared = state == "spared"
        elif state == "handled":
            self.handled_at = at

    def killed(self, at: float) -> None:
        """Its process is gone. Durable work comes back, other work does not."""
        if self.attempts and self.attempts[-1].ended_at is None:
            self.attempts[-1].ended_at = at
            self.attempts[-1].killed = True
        self.state = "orphaned" if self.durable else "gone"
        self.detail = "waits for a worker" if self.durable else "in memory only, so gone"


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
        decided_at: when it did.
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
    decided_at: float | None = None
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
        return self.status in _ACCEPTED

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        # Lines come in order: once the answer's is read, what began before it is known.
        if self.answered_at is None or self.awaited:
            return False
        if self.accepted and (self.decided_at is None or self.unsettled("analytics")):
            return False
        return all(row.state in FINAL for row in self.rows.values())

    @property
    def running(self) -> list[Row]:
        """What is running for it, other than the request itself."""
        return [row for row in self.rows.values() if row.state == "running"]

    def unsettled(self, step: str) -> bool:
        """Whether something may still happen to a step that every accepted order has."""
        return step not in self.rows or self.rows[step].state not in FINAL

    @property
    def ended_at(self) -> float:
        """The latest time at which anything is known to have happened."""
        times = [self.sent_at, self.answered_at, self.decided_at]
        for row in self.rows.values():
            times.append(row.handled_at)
            times.extend(t for each in row.attempts for t in (each.began_at, each.ended_at))
        return max(each for each in times if each is not None)


class Timeline:
    """All lanes, fed with the lines of the processes' logs.

    Args:
        on_change: called after every line that changed a lane, with the lane.
        on_circuit: called when a circuit has opened, or closed again.

    Attributes:
        lanes: by request id.
        outages: in the order they began.
    """

    def __init__(
        self,
        on_change: Callable[[Lane], object],
        on_circuit: Callable[[Outage], object] = lambda outage: None,
    ) -> None:
        self.lanes: dict[str, Lane] = {}
        self.outages: list[Outage] = []
        self._on_change = on_change
        self._on_circuit = on_circuit

    def sent(self, request_id: str, title: str, at: float) -> Lane:
        """A client sends a request."""
        lane = self.lanes[request_id] = Lane(request_id, title, at)
        return lane

    def running(self, process: str) -> list[Row]:
        """What is running in a process, other than requests."""
        return [
            row
            for lane in self.lanes.values()
            for row in lane.running
            if row.attempts[-1].process == process
        ]

    def outage(self, party: str, process: str) -> Outage | None:
        """The one that goes on."""
        for each in self.outages:
            if each.closed_at is None and (each.party, each.process) == (party, process):
                return each
        return None

    def outages_of(self, row: Row) -> list[Outage]:
        """Those that a step came into."""
        if not row.attempts:
            return []
        first, last = row.attempts[0].began_at, row.attempts[-1].began_at
        return [
            each
            for each in self.outages
            if each.party == PARTIES.get(row.step)
            and each.opened_at <= last
            and (each.closed_at is None or each.closed_at >= first)
        ]

    def pauses_after_kills(self) -> list[float]:
        """Seconds from each attempt that was killed to the next one."""
        return [
            after.began_at - before.ended_at
            for lane in self.lanes.values()
            for row in lane.rows.values()
            for before, after in itertools.pairwise(row.attempts)
            if before.killed and before.ended_at is not None
        ]

    def killed(self, process: str, at: float) -> list[Row]:
        """A process was killed. What had been running in it, other than requests."""
        for outage in self.outages:
            if outage.process == process and outage.closed_at is None:
                outage.closed_at = at  # the next one has to find out by itself
        hit = []
        for lane in self.lanes.values():
            rows = [
                row
                for row in lane.rows.values()
                if row.attempts and row.attempts[-1].process == process and row.state not in FINAL
            ]
            if process == WEB and lane.accepted and "analytics" not in lane.rows:
                rows.append(lane.rows.setdefault("analytics", Row("analytics")))
            for row in rows:
                # A durable step between two attempts has its place in the ledger, and no process.
                if not row.durable or row.state == "running":
                    row.killed(at)
                    hit.append(row)
            if rows:
                self._on_change(lane)
        return hit

    def feed(self, line: str, process: str = "") -> None:
        """Read one line of a process's log. Lines about other things are passed over."""
        try:
            record = json.loads(line)
            request_id = record["correlation_id"]
            at = datetime.fromisoformat(record["time"]).timestamp()
            if record["logger"] == "backstay.integration":
                self._hear_of_circuit(record["message"], at, process)
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
            row.report(at, record["state"], record["detail"], process)
            outage = self.outage(PARTIES.get(row.step, ""), process)
            if record["state"] == "spared" and outage is not None:
                outage.spared += 1
        elif "verdict" in record:
            lane.verdict = record["verdict"]
            lane.decided_at = at
        elif record["logger"] == "uvicorn.access":
            if (answer := _ANSWER.search(record["message"])) is None:
                return
            lane.answered_at = at
            if lane.status is None:
                lane.status = int(answer[1])
        else:
            return
        self._on_change(lane)

    def _hear_of_circuit(self, message: str, at: float, process: str) -> None:
        """A circuit has opened, or closed; or it stays open, for the call that tried has failed."""
        if (match := _CIRCUIT.match(message)) is None:
            return
        outage = self.outage(match[1], process)
        if match[2] == "open" and outage is None:
            outage = Outage(match[1], process, at)
            self.outages.append(outage)
        elif match[2] == "closed" and outage is not None:
            outage.closed_at = at
        else:
            return
        self._on_circuit(outage)
