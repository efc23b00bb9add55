"""What a task may say instead of succeeding: four answers, returned or raised."""

import pickle
from typing import Any

import pytest
from fastapi import FastAPI

from backstay.jobs.outcome import OUTCOMES
from backstay.tasks import (
    Cancel,
    Discard,
    Retry,
    RetryLater,
    Snooze,
    State,
    add_tasks,
    task,
)
from backstay.testing import FakeClock, running
from backstay.web import install
from tests.support import async_test


@pytest.mark.parametrize("kind", [Snooze, RetryLater])
@pytest.mark.parametrize("seconds", [-1, "soon", None, True, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused_with_the_value(kind: Any, seconds: Any) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__}.*0 or more; got"):
        kind(seconds)


def test_what_they_carry() -> None:
    assert Snooze(0).seconds == 0.0
    later = RetryLater(60, "busy")
    assert (later.seconds, later.reason) == (60.0, "busy")
    assert "retried later" in RetryLater(1).reason
    assert Cancel("gone").reason == "gone"
    assert Discard("no card").reason == "no card"


@pytest.mark.parametrize(
    "outcome", [Snooze(3), RetryLater(4, "busy"), Cancel("gone"), Discard("no card")]
)
def test_they_cross_processes_whole(outcome: Any) -> None:
    copy = pickle.loads(pickle.dumps(outcome))
    assert type(copy) in OUTCOMES
    assert vars(copy) == vars(outcome)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Snooze(60), State.SCHEDULED),
        (RetryLater(60), State.RETRYING),
        (Cancel("gone"), State.CANCELLED),
        (Discard("no card"), State.DISCARDED),
    ],
)
@pytest.mark.parametrize("raised", [False, True])
@pytest.mark.parametrize("sync", [False, True])
def test_returned_or_raised_it_means_the_same(
    outcome: Any, state: State, raised: bool, sync: bool
) -> None:
    @async_test
    async def check() -> None:
        def answer() -> Any:
            if raised:
                raise outcome
            return outcome

        @task(retry=Retry(attempts=2))
        async def in_loop() -> Any:
            return answer()

        @task(retry=Retry(attempts=2))
        def in_thread() -> Any:
            return answer()

        app = FastAPI()
        install(app, clock=FakeClock())
        add_tasks(app, database="memory://")
        async with running(app) as client:
            job = await (
                client.durable.enqueue(in_thread) if sync else client.durable.enqueue(in_loop)
            )
            await client.drain()
            status = await job.status()
            assert status.state is state
            assert status.attempt == (0 if state is State.SCHEDULED else 1)

    check()


@async_test
async def test_they_are_no_part_of_the_result_type() -> None:
    @task
    async def maybe(later: bool) -> int | Snooze:
        return Snooze(60) if later else 7

    app = FastAPI()
    add_tasks(app, database="memory://")
    async with running(app) as client:
        assert await (await client.durable.enqueue(maybe, False)).result() == 7
