"""Tasks that wait for a moment."""

import asyncio

import pytest

from backstay import Backstay, Origin
from backstay.clock import SystemClock
from backstay.tasks import Cancelled, Skipped, Task, TaskConfig
from backstay.tasks.batch import Batch
from backstay.tasks.supervisor import Supervisor
from tests.support import async_test


def a_supervisor() -> Supervisor:
    loop = asyncio.get_running_loop()
    return Supervisor(loop, SystemClock(), max_running=None, max_pending=None, threads=1)


def a_task(supervisor: Supervisor, log: list[str], when: str | None = None) -> Task:
    config = TaskConfig(when=when)  # type: ignore[arg-type]  # one of the three words

    async def note() -> None:
        log.append(str(when))

    return Task(note, (), {}, config, supervisor, Backstay().open(Origin.SCRIPT))


@pytest.mark.parametrize(
    ("succeeded", "runs"), [(True, ["None", "success", "always"]), (False, ["failure", "always"])]
)
@async_test
async def test_it_starts_what_waited_for_this_end_and_skips_the_rest(
    succeeded: bool, runs: list[str]
) -> None:
    supervisor, log = a_supervisor(), list[str]()
    batch = Batch(supervisor, "request")
    tasks = [a_task(supervisor, log, when) for when in (None, "success", "failure", "always")]
    for task in tasks:
        batch.add(task)
    assert supervisor.pending.count == 4
    batch.fire(succeeded)
    await supervisor.settled()
    assert log == runs
    skipped = [task for task in tasks if isinstance(task.outcome, Skipped)]
    assert len(skipped) == 4 - len(runs)
    assert supervisor.pending.count == 0
    assert supervisor.batches == set()


@async_test
async def test_what_was_cancelled_meanwhile_is_neither_started_nor_withdrawn() -> None:
    supervisor, log = a_supervisor(), list[str]()
    batch = Batch(supervisor, "request")
    batch.add(task := a_task(supervisor, log))
    task.cancel()
    assert isinstance(task.outcome, Cancelled)
    assert batch.withdraw() == []
    assert supervisor.idle
