"""What was promised, and how far this run keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.durable.samples import Samples, Spread
from benchmarks.durable.sides import OURS, SIDES

__all__ = ["GOALS", "Goal", "HEADERS", "LIMITS", "NOTE", "judged"]

LIMITS = "physical limit"
"""The row of what the disk and the server allow, which takes turns like a side."""
NOTE = "* what it has taken is not on disk yet when it says so"
HEADERS = ("goal", "wanted", "found [least, greatest]", "", "best peer", "ours : best peer")

_SQLITE, _POSTGRES = OURS


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One promise.

    Attributes:
        text: in words.
        scenario, side, metric: whose figure it is about.
        wanted: the bound.
        at_most: whether the bound is an upper one.
        of: ``(side, metric)`` of which the figure is to be a multiple; ``None``: it stands alone.
        digits: after the point.
    """

    text: str
    scenario: str
    side: str
    metric: str
    wanted: float
    at_most: bool = False
    of: tuple[str, str] | None = None
    digits: int = 0


def _goals() -> Iterator[Goal]:
    def enqueue(side: str, metric: str, wanted: float, text: str, **more: object) -> Goal:
        return Goal(text=text, scenario="enqueue", side=side, metric=metric, wanted=wanted, **more)  # type: ignore[arg-type]

    for side, wanted in ((_SQLITE, 0.4), (_POSTGRES, 0.6)):
        text = f"{side}: one by one : raw inserts"
        yield enqueue(side, "awaited", wanted, text, of=(side, "raw"), digits=2)
    text = f"{_SQLITE}: from sync : raw inserts"
    yield enqueue(_SQLITE, "blocking", 0.7, text, of=(_SQLITE, "raw"), digits=2)
    huey = ("huey", "blocking")
    yield enqueue(_SQLITE, "blocking", 1, f"{_SQLITE}: from sync : huey", of=huey, digits=2)
    for side, wanted in ((_SQLITE, 20_000), (_POSTGRES, 10_000)):
        yield enqueue(side, "concurrent", wanted, f"{side}: 64 at a time, /s")
    for side, wanted in ((_SQLITE, 80_000), (_POSTGRES, 40_000)):
        yield enqueue(side, "bulk", wanted, f"{side}: bulk, /s")

    for side, wanted in ((_SQLITE, 15_000), (_POSTGRES, 10_000)):
        text = f"{side}: drain, one process, jobs/s"
        yield Goal(text=text, scenario="drain", side=side, metric="drain", wanted=wanted)
        yield Goal(
            text=f"{side}: drain, worker CPU us/job",
            scenario="drain",
            side=side,
            metric="drain us",
            wanted=60,
            at_most=True,
        )
    yield Goal(
        text=f"{_POSTGRES}: drain : pgqueuer",
        scenario="drain",
        side=_POSTGRES,
        metric="drain",
        wanted=2,
        of=("pgqueuer", "drain"),
        digits=2,
    )
    yield Goal(
        text=f"{_POSTGRES}: two processes : one (needs free cores)",
        scenario="drain",
        side=_POSTGRES,
        metric="two to one",
        wanted=1.4,
        digits=2,
    )

    for side in OURS:
        for where, prefix in (("in another process", ""), ("embedded", "embedded ")):
            for metric, wanted in (("p50 ms", 2), ("p99 ms", 10)):
                yield Goal(
                    text=f"{side}: enqueue to start, {where}, {metric}",
                    scenario="latency",
                    side=side,
                    metric=prefix + metric,
                    wanted=wanted,
                    at_most=True,
                    digits=1,
                )
        text = f"{side}: idle worker, CPU %"
        yield Goal(
            text=text,
            scenario="latency",
            side=side,
            metric="idle %",
            wanted=1,
            at_most=True,
            digits=2,
        )

    for side in OURS:
        text = f"{side}: kill -9, first rescued job after s"
        yield Goal(
            text=text,
            scenario="rescue",
            side=side,
            metric="rescued s",
            wanted=15,
            at_most=True,
            digits=1,
        )
        text = f"{side}: kill -9, jobs lost"
        yield Goal(text=text, scenario="rescue", side=side, metric="lost", wanted=0, at_most=True)

    for side in OURS:
        for metric in ("awaited", "blocking", "concurrent", "bulk", "drain", "drain us"):
            at_most = metric.endswith("us")
            yield Goal(
                text=f"{side}: {metric}, with history : without",
                scenario="history",
                side=f"{side}, history",
                metric=metric,
                wanted=1.15 if at_most else 0.85,
                at_most=at_most,
                of=(side, metric),
                digits=2,
            )


GOALS = tuple(_goals())


def judged(measured: Mapping[str, Samples]) -> Iterator[tuple[str, ...]]:
    """A row for each goal of the scenarios that were run."""
    for goal in GOALS:
        samples = measured.get(goal.scenario)
        if samples is None or goal.side not in samples.sides():
            continue
        one = (goal.side, goal.metric)
        found = samples.ratio(one, goal.of) if goal.of else samples.spread(*one)
        sign = "<=" if goal.at_most else ">="
        yield (
            goal.text,
            f"{sign} {goal.wanted:,.{goal.digits}f}",
            found.text(goal.digits) if found else "not measured",
            _verdict(goal, found) if found else "",
            *_beside(goal, samples),
        )


def _verdict(goal: Goal, found: Spread) -> str:
    """Met if every round met it, missed if none did."""
    if goal.at_most:
        best, worst = found.low <= goal.wanted, found.high <= goal.wanted
    else:
        best, worst = found.high >= goal.wanted, found.low >= goal.wanted
    return "met" if worst else "open" if best else "missed"


def _beside(goal: Goal, samples: Samples) -> tuple[str, str]:
    """The best peer in the same metric, and ours to it."""
    if goal.scenario == "history" or goal.metric in {"two to one", "lost"}:
        return "", ""
    metric = goal.metric.removeprefix("embedded ")
    peers = [
        (spread.value, name)
        for name, side in SIDES.items()
        if side.peer and (spread := samples.spread(name, metric))
    ]
    if not peers:
        return "", ""
    value, name = min(peers) if goal.at_most else max(peers)
    ratio = samples.ratio((goal.side, goal.metric), (name, metric))
    digits = 0 if value >= 100 else max(1, goal.digits)
    star = "" if SIDES[name].synced else "*"
    return f"{name}{star} {value:,.{digits}f}", f"{ratio.value:.2f}" if ratio else ""
