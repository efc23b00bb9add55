"""What ``top`` knows."""

import json
from datetime import timedelta

import pytest

from backstay.cli.sampling import Sampler, alive, queue_samples
from backstay.errors import LedgerUnavailable
from backstay.ledger import Counts, QueueRow, State, WorkerRow
from backstay.testing import FakeClock
from tests.cli.shelf import NOON, Shelf, a_job
from tests.support import async_test


def finish(shelf: Shelf, count: int) -> None:
    start = len(shelf.rows) + 1
    for number in range(start, start + count):
        row = a_job(number, state=State.SUCCEEDED, age_s=number)
        shelf.rows[row.id] = row


@async_test
async def test_throughput_is_the_difference_of_samples() -> None:
    shelf = Shelf()
    sampler = Sampler(shelf.ledger, FakeClock())
    assert (await sampler.take()).throughput.now is None
    finish(shelf, 30)
    shelf.at += timedelta(seconds=2)
    sample = await sampler.take()
    assert sample.throughput.now == 15
    assert sample.throughput.minute == 15
    shelf.at += timedelta(seconds=2)
    sample = await sampler.take()
    assert sample.throughput.now == 0
    assert sample.throughput.minute == 7.5
    assert sample.throughput.history == (15.0, 0.0)


@async_test
async def test_the_minute_forgets_what_is_older() -> None:
    shelf = Shelf()
    sampler = Sampler(shelf.ledger, FakeClock())
    await sampler.take()
    finish(shelf, 600)
    for _ in range(130):
        shelf.at += timedelta(seconds=1)
        sample = await sampler.take()
    assert sample.throughput.minute == 0
    assert len(sample.throughput.history) == 120


@async_test
async def test_pruning_is_no_negative_work() -> None:
    shelf = Shelf()
    finish(shelf, 10)
    sampler = Sampler(shelf.ledger, FakeClock())
    await sampler.take()
    shelf.rows.clear()
    shelf.at += timedelta(seconds=1)
    assert (await sampler.take()).throughput.now == 0


@async_test
async def test_two_samples_at_the_same_time_measure_nothing() -> None:
    shelf = Shelf()
    sampler = Sampler(shelf.ledger, FakeClock())
    await sampler.take()
    assert (await sampler.take()).throughput.now is None


@async_test
async def test_queues_are_those_declared_and_those_with_jobs() -> None:
    shelf = Shelf(a_job(1, queue="mail"), a_job(2, queue="mail", state=State.RUNNING))
    shelf.queue_rows = {"images": QueueRow(name="images", limit=3)}
    images, mail = await queue_samples(shelf.ledger)
    assert (images.row.name, images.row.limit, images.jobs) == ("images", 3, {})
    assert mail.jobs == {State.AVAILABLE: 1, State.RUNNING: 1}


@async_test
async def test_a_queue_says_how_long_its_oldest_has_waited() -> None:
    shelf = Shelf(a_job(1, age_s=5000), a_job(2, age_s=10), a_job(3, state=State.RUNNING))
    shelf.queue_rows = {"images": QueueRow(name="images")}
    default, images = await queue_samples(shelf.ledger)
    assert (default.oldest_s, images.oldest_s) == (5000, None)


@async_test
async def test_a_history_that_takes_long_to_count_is_counted_seldom() -> None:
    clock = FakeClock()

    class Slow(Shelf):
        async def counts(self, states: frozenset[State] | None = None) -> list[Counts]:
            if states is not None and State.SUCCEEDED in states:
                await clock.advance(1)
            return await super().counts(states)

    shelf = Slow(a_job(1, state=State.CANCELLED), a_job(2))
    sampler = Sampler(shelf.ledger, clock)
    first = await sampler.take()
    finish(shelf, 30)
    shelf.put(next(iter(shelf.rows.values())), state=State.DISCARDED)
    for _ in range(5):
        shelf.at += timedelta(seconds=1)
        await clock.advance(1)
        sample = await sampler.take()
    assert sample.totals[State.CANCELLED] == first.totals[State.CANCELLED] == 1, "as last counted"
    assert State.SUCCEEDED not in sample.totals
    assert sample.totals[State.DISCARDED] == 1, "what is live or needs somebody is counted anew"
    assert sum(State.SUCCEEDED in (each or ()) for each in shelf.counted) == 1
    assert (await sampler.take(thoroughly=True)).totals[State.SUCCEEDED] == 30
    finish(shelf, 10)
    await clock.advance(21)
    shelf.at += timedelta(seconds=20)
    assert (await sampler.take()).throughput.now == 0.5


@async_test
async def test_the_slowest_come_first() -> None:
    shelf = Shelf(*(a_job(n, state=State.RUNNING, age_s=n * 10) for n in (2, 5, 1)))
    sample = await Sampler(shelf.ledger, FakeClock()).take()
    assert [(NOON - each.created_at).total_seconds() for each in sample.slowest] == [50, 20, 10]


@async_test
async def test_failing_tasks_have_their_counts_and_their_latest_failure() -> None:
    old = a_job(1, state=State.DISCARDED, age_s=50, errors=({"message": "old"},))
    new = a_job(2, state=State.RETRYING, age_s=40, errors=({"message": "new"},))
    other = a_job(3, state=State.DISCARDED, task="other")
    fine = a_job(4, state=State.SUCCEEDED, task="fine")
    first, second = (await Sampler(Shelf(old, new, other, fine).ledger, FakeClock()).take()).failing
    assert (first.task, first.retrying, first.discarded) == (new.task, 1, 1)
    assert first.last == new
    assert (second.task, second.retrying, second.discarded) == ("other", 0, 1)


@async_test
async def test_a_sample_of_nothing_is_a_sample() -> None:
    sample = await Sampler(Shelf().ledger, FakeClock()).take()
    assert (sample.queues, sample.workers, sample.slowest, sample.failing) == ([], [], [], [])


@async_test
async def test_a_sample_is_json() -> None:
    shelf = Shelf(a_job(1), a_job(2, state=State.RUNNING), a_job(3, state=State.DISCARDED))
    shelf.worker_rows = [
        WorkerRow(id="w", host="h", pid=1, lease_s=10, concurrency=5, queues=("mail",))
    ]
    shown = json.loads(json.dumps((await Sampler(shelf.ledger, FakeClock()).take()).as_json()))
    assert shown["jobs"]["running"] == 1
    assert shown["workers"][0]["alive"] is True
    assert shown["queues"][0]["jobs"]["available"] == 1


@async_test
async def test_a_broken_database_is_told() -> None:
    shelf = Shelf()
    shelf.break_down()
    with pytest.raises(LedgerUnavailable):
        await Sampler(shelf.ledger, FakeClock()).take()


def test_a_worker_is_alive_until_its_lease_is_over() -> None:
    row = WorkerRow(id="w", host="h", pid=1, lease_s=10, concurrency=5, queues=(), seen_s_ago=10)
    late = WorkerRow(id="w", host="h", pid=1, lease_s=10, concurrency=5, queues=(), seen_s_ago=11)
    assert alive(row)
    assert not alive(late)
