"""What is seen is counted and kept, within bounds, and what failed is let go of last."""

from typing import Any

import pytest

from backstay.app import Backstay
from backstay.events.collector import Collector, said_by
from backstay.events.sampling import Sampling
from backstay.observation import Kind
from backstay.testing import FakeClock
from tests.events.journal import seen


def collector(sample: Any = 1.0, *, queue: int = 100, batch: int = 50, **more: Any) -> Collector:
    return Collector(FakeClock(), Sampling.of(sample), queue=queue, batch=batch, **more)


def observed(by: Collector) -> Backstay:
    app = Backstay(clock=FakeClock())
    app.add_observer(by)
    return app


def run(app: Backstay, outcome: str = "ok", **end: Any) -> None:
    begun = app.observe(Kind.REQUEST, "GET", "work-1", facts={"path": "/items/7"})
    assert begun is not None
    begun.name = "GET /items/{item_id}"
    begun.end(outcome, **end)


def test_what_has_ended_is_kept_as_it_was_at_its_end() -> None:
    mine = collector()
    app = observed(mine)
    run(app, "failed", status=500, error=ValueError("no"))
    (kept,) = mine.take(10)
    assert kept.name == "GET /items/{item_id}"
    assert kept.correlation_id == "work-1"
    assert (kept.outcome, kept.status, kept.error) == ("failed", 500, ("ValueError", "no"))
    assert kept.facts == {"path": "/items/7"}
    assert mine.waiting == 0


def test_facts_are_those_of_the_end_whatever_becomes_of_them() -> None:
    mine = collector()
    begun = observed(mine).observe(Kind.TASK, "send", None, facts={"to": "a"})
    assert begun is not None
    begun.end("ok")
    begun.facts["to"] = "b"
    assert mine.take(1)[0].facts == {"to": "a"}


def test_everything_is_counted_and_a_part_is_kept() -> None:
    mine = collector(0.0)
    app = observed(mine)
    for status in (200, 200, 404, 503):
        run(app, status=status)
    run(app, "failed")
    run(app, "cancelled")
    assert [(each.outcome, each.status) for each in mine.take(10)] == [
        ("ok", 503),
        ("failed", None),
    ]
    (row,) = mine.tally.take()
    assert (row["count"], row["failed"]) == (6, 2)


def test_what_is_recorded_is_kept_whatever_the_sample() -> None:
    mine = collector(0.0)
    mine.record(seen(kind="audit"))
    assert [each.kind for each in mine.take(10)] == ["audit"]
    assert [each["kind"] for each in mine.tally.take()] == ["audit"]


def test_the_oldest_that_did_not_fail_go_first_when_too_many_wait() -> None:
    mine = collector(queue=4)
    app = observed(mine)
    run(app, "failed")
    for status in (201, 202, 203, 204, 205):
        run(app, status=status)
    assert mine.dropped == 2
    assert [each.status for each in mine.take(10)] == [None, 203, 204, 205]


def test_failures_go_too_when_there_is_nothing_else() -> None:
    mine = collector(queue=3)
    app = observed(mine)
    for status in range(500, 510):
        run(app, "failed", status=status)
    assert (mine.waiting, mine.dropped) == (3, 7)
    assert [each.status for each in mine.take(10)] == [507, 508, 509]
    assert sum(each["count"] for each in mine.tally.take()) == 10


def test_a_full_batch_is_called_for_once() -> None:
    mine = collector(batch=3)
    app = observed(mine)
    called: list[int] = []
    mine.on_batch = lambda: called.append(mine.waiting)
    for _ in range(5):
        run(app)
    assert called == [2]  # with the one that is just coming, three


def test_a_closed_one_sees_nothing() -> None:
    mine = collector()
    mine.is_open = False
    run(observed(mine))
    mine.record(seen())
    assert mine.waiting == 0
    assert not mine.tally


def test_requests_may_be_left_out_altogether() -> None:
    mine = collector(record_requests=False)
    app = observed(mine)
    assert app.observe(Kind.REQUEST, "GET", None) is None
    assert app.observe(Kind.TASK, "send", None) is not None
    assert app.observe(Kind.FILL, "prices", None) is None


def test_names_and_messages_are_bounded() -> None:
    mine = collector()
    begun = observed(mine).observe(Kind.TASK, "n" * 5_000, None)
    assert begun is not None
    begun.end("failed", error=ValueError("m" * 1_000_000))
    (kept,) = mine.take(1)
    assert len(kept.name) == 200
    assert kept.error is not None
    assert len(kept.error[1]) == 8_000


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("k"), ("KeyError", "'k'")),
        (Mute(), ("Mute", "<its message cannot be had>")),
        (KeyboardInterrupt(), ("KeyboardInterrupt", "")),
    ],
)
def test_an_error_says_its_type_and_what_it_can(
    error: BaseException, said: tuple[str, str]
) -> None:
    assert said_by(error) == said


def test_it_traces_nothing() -> None:
    assert observed(collector()).link() is None
