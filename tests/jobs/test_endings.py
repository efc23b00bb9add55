"""How attempts end, as the ledger is told. ``test_worker`` shows the same with jobs that run."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from backstay.app import Backstay
from backstay.errors import BulkheadFull, CallRefused, CircuitBreakerError, ThrottlingError
from backstay.jobs.endings import Endings, given_back
from backstay.jobs.part import DurablePart
from backstay.jobs.run import JobRun
from backstay.ledger.rows import Claimed, Finish, State
from backstay.tasks import Cancel, Discard, Retry, RetryLater, Snooze, TaskFunction, task
from backstay.testing import FakeClock
from tests.support import async_test

NOW = datetime(2027, 1, 1, tzinfo=UTC)


@task(retry=Retry(attempts=3, base_s=8, jitter=False, on=ConnectionError))
async def work() -> Any: ...


class Runs:
    """Whoever runs the attempts."""

    def __init__(self) -> None:
        self.app = Backstay(clock=FakeClock(NOW))
        self.keeper = DurablePart(self.app, database="memory://")

    def progressed(self, run: Any, progress: Any) -> None: ...


def claim(attempt: int = 1) -> Claimed:
    return Claimed(UUID(int=7), 5, attempt, 3, work.name, "default", "{}", "{}", NOW, NOW)


def ended(
    error: BaseException,
    *,
    attempt: int = 1,
    of: TaskFunction[..., ..., Any] | None = work,
    **said: Any,
) -> Finish:
    runs = Runs()
    run = JobRun(claim(attempt), of, runs)
    for name, value in said.items():
        setattr(run, name, value)

    async def inside() -> Finish:
        return Endings(runs.keeper, runs.app.clock, "worker-1").failed(run, of, error)

    return asyncio.run(inside())


@pytest.mark.parametrize(
    ("error", "attempt", "state", "delay_s", "give_back"),
    [
        (ConnectionError(), 1, State.RETRYING, 8, False),
        (ConnectionError(), 2, State.RETRYING, 16, False),
        (ConnectionError(), 3, State.DISCARDED, 0, False),
        (KeyError(), 1, State.DISCARDED, 0, False),
        (SystemExit(), 1, State.DISCARDED, 0, False),
        (Snooze(60), 3, State.SCHEDULED, 60, True),
        (RetryLater(70), 2, State.RETRYING, 70, False),
        (RetryLater(70), 3, State.DISCARDED, 0, False),
        (Cancel("gone"), 1, State.CANCELLED, 0, False),
        (Discard("no such card"), 1, State.DISCARDED, 0, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_what_an_error_comes_to(
    error: BaseException, attempt: int, state: State, delay_s: float, give_back: bool
) -> None:
    finish = ended(error, attempt=attempt)
    assert (finish.id, finish.fence) == (UUID(int=7), 5)
    assert (finish.state, finish.delay_s, finish.give_back) == (state, delay_s, give_back)


@pytest.mark.parametrize("attempt", [1, 3])
@pytest.mark.parametrize("kind", [CircuitBreakerError, ThrottlingError, BulkheadFull])
def test_a_call_that_was_not_made_uses_up_no_attempt(kind: type[CallRefused], attempt: int) -> None:
    finish = ended(kind("not now", retry_after_s=10), attempt=attempt)
    assert (finish.state, finish.give_back) == (State.SCHEDULED, True)
    assert 10 <= finish.delay_s <= 15
    assert finish.error is not None
    assert json.loads(finish.error)["type"] == kind.__name__


def test_a_cancellation_of_ours_says_whose_it_was() -> None:
    cancelled = ended(asyncio.CancelledError(), cancel_reason="no longer needed")
    assert cancelled.state is State.CANCELLED
    assert json.loads(cancelled.error or "{}")["message"] == "no longer needed"
    assert ended(asyncio.CancelledError(), handed_back=True) == given_back(claim())


def test_a_cancellation_of_nobodys_is_a_failure() -> None:
    finish = ended(asyncio.CancelledError())
    assert json.loads(finish.error or "{}")["type"] == "TaskCrashed"


@async_test
async def test_a_task_that_nobody_here_knows_waits_without_using_up_an_attempt() -> None:
    runs = Runs()
    finish = Endings(runs.keeper, runs.app.clock, "worker-1").unknown(JobRun(claim(), None, runs))
    assert (finish.state, finish.delay_s, finish.give_back) == (State.SCHEDULED, 30, True)
    assert "worker-1" in (finish.error or "")
