"""What ``top`` knows."""

import json
from datetime import timedelta
from typing import Any

import pytest

from backstay.cli.sampling import Sampler, alive, queue_samples
from backstay.errors import LedgerUnavailable
from backstay.ledger import JobRow, QueueRow, State, WorkerRow
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
    sampler = Sampler(shelf.ledger)
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
    sampler = Sampler(shelf.ledger)
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
    sampler = Sampler(shelf.ledger)
    await sampler.take()
    shelf.rows.clear()
    shelf.at += timedelta(seconds=1)
    assert (await sampler.take()).throughput.now == 0


@async_test
async def test_two_samples_at_the_same_time_measure_nothing() -> None:
    shelf = Shelf()
    sampler = Sampler(shelf.ledger)
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
async def test_the_oldest_of_a_short_queue_is_exact() -> None:
    shelf = Shelf(a_job(1, age_s=5000), a_job(2, age_s=10), a_job(3, state=State.RUNNING))
    (sample,) = await queue_samples(shelf.ledger)
    assert (sample.oldest_s, sample.oldest_exact) == (5000, True)


@pytest.mark.parametrize("oldest_s", [3.0, 500.0, 90_000.0, 40_000_000.0])
def test_the_oldest_of_a_long_queue_is_at_least_half_as_old_as_it_is_said(oldest_s: float) -> None:
    rows = [a_job(n, age_s=oldest_s * n / 400) for n in range(1, 401)]

    @async_test
    async def check() -> None:
        (sample,) = await queue_samples(Shelf(*rows).ledger)
        assert not sample.oldest_exact
        assert sample.oldest_s is not None
        assert oldest_s / 2 <= sample.oldest_s <= oldest_s

    check()


@async_test
async def test_a_long_queue_is_asked_less_the_second_time() -> None:
    class Counting(Shelf):
        finds = 0

        async def find(self, *arguments: Any, **more: Any) -> list[JobRow]:
            self.finds += 1
            return await super().find(*arguments, **more)

    rows = [a_job(n, age_s=90_000 * n / 400) for n in range(1, 401)]
    shelf = Counting(*rows)
    sampler = Sampler(shelf.ledger)
    first = await sampler.take()
    cost, shelf.finds = shelf.finds, 0
    second = await sampler.take()
    assert shelf.finds < cost / 2
    oldest = [each.queues[0].oldest_s for each in (first, second)]
    assert all(each is not None and 45_000 <= each <= 90_000 for each in oldest)


@async_test
async def test_a_long_queue_that_was_worked_off_is_measured_afresh() -> None:
    rows = [a_job(n, age_s=90_000 * n / 400) for n in range(1, 401)]
    shelf = Shelf(*rows)
    sampler = Sampler(shelf.ledger)
    await sampler.take()
    shelf.rows = {each.id: each for each in (a_job(n, age_s=60 * n / 400) for n in range(1, 401))}
    oldest_s = (await sampler.take()).queues[0].oldest_s
    assert oldest_s is not None
    assert 30 <= oldest_s <= 60


@async_test
async def test_the_slowest_come_first() -> None:
    shelf = Shelf(*(a_job(n, state=State.RUNNING, age_s=n * 10) for n in (2, 5, 1)))
    sample = await Sampler(shelf.ledger).take()
    assert [(NOON - each.created_at).total_seconds() for each in sample.slowest] == [50, 20, 10]


@async_test
async def test_failing_tasks_have_their_counts_and_their_latest_failure() -> None:
    old = a_job(1, state=State.DISCARDED, age_s=50, errors=({"message": "old"},))
    new = a_job(2, state=State.RETRYING, age_s=40, errors=({"message": "new"},))
    other = a_job(3, state=State.DISCARDED, task="other")
    fine = a_job(4, state=State.SUCCEEDED, task="fine")
    first, second = (await Sampler(Shelf(old, new, other, fine).ledger).take()).failing
    assert (first.task, first.retrying, first.discarded) == (new.task, 1, 1)
    assert first.last == new
    assert (second.task, second.retrying, second.discarded) == ("other", 0, 1)


@async_test
async def test_a_sample_of_nothing_is_a_sample() -> None:
    sample = await Sampler(Shelf().ledger).take()
    assert (sample.queues, sample.workers, sample.slowest, sample.failing) == ([], [], [], [])


@async_test
async def test_a_sample_is_json() -> None:
    shelf = Shelf(a_job(1), a_job(2, state=State.RUNNING), a_job(3, state=State.DISCARDED))
    shelf.worker_rows = [
        WorkerRow(id="w", host="h", pid=1, lease_s=10, concurrency=5, queues=("mail",))
    ]
    shown = json.loads(json.dumps((await Sampler(shelf.ledger).take()).as_json()))
    assert shown["jobs"]["running"] == 1
    assert shown["workers"][0]["alive"] is True
    assert shown["queues"][0]["jobs"]["available"] == 1


@async_test
async def test_a_broken_database_is_told() -> None:
    shelf = Shelf()
    shelf.break_down()
    with pytest.raises(LedgerUnavailable):
        await Sampler(shelf.ledger).take()


def test_a_worker_is_alive_until_its_lease_is_over() -> None:
    row = WorkerRow(id="w", host="h", pid=1, lease_s=10, concurrency=5, queues=(), seen_s_ago=10)
    late = WorkerRow(id="w", host="h", pid=1, lease_s=10, concurrency=5, queues=(), seen_s_ago=11)
    assert alive(row)
    assert not alive(late)
