"""A task as its owner sees it."""

import asyncio
from datetime import UTC, datetime

from fastapi import FastAPI

from backstay import Backstay, Origin
from backstay.tasks import Task, TaskConfig, add_tasks
from backstay.tasks.handle import Mark
from backstay.testing import running
from tests.support import async_test


def a_task(**options: object) -> Task:
    parent = Backstay().open(Origin.SCRIPT)
    config = TaskConfig(**options)  # type: ignore[arg-type]  # names and values of the test's choice
    return Task(print, (1, 2), {"end": ""}, config, None, parent)  # type: ignore[arg-type]  # never run


def test_it_shows_what_was_scheduled() -> None:
    task = a_task()
    assert (task.func, task.args, dict(task.kwargs)) == (print, (1, 2), {"end": ""})
    assert (task.outcome, task.attempts, task.progress) == (None, 0, None)


def test_its_name_is_the_configured_one_or_the_functions() -> None:
    assert a_task().name == "print"
    assert a_task(name="payment_17").name == "payment_17"


def test_its_context_has_the_correlation_id_of_what_scheduled_it() -> None:
    task = a_task()
    assert task.context.origin is Origin.TASK
    assert task.context is task.context
    assert task.context.parent is not None
    assert task.context.correlation_id == task.context.parent.correlation_id


@async_test
async def test_its_repr_tells_name_and_state() -> None:
    app = FastAPI()
    add_tasks(app)
    release = asyncio.Event()
    async with running(app) as client:
        task = client.tasks.task(name="it").schedule(release.wait)
        assert repr(task) == "<Task 'it' waiting>"
        await task.started.wait()
        assert repr(task) == "<Task 'it' running>"
        release.set()
        await task.wait()
        assert repr(task) == "<Task 'it' succeeded>"


@async_test
async def test_marks_asked_for_late_are_set_already() -> None:
    app = FastAPI()
    add_tasks(app)
    async with running(app) as client:
        task = client.tasks.schedule(asyncio.sleep, 0)
        await task.wait()
        await task.started.wait()
        await task.finished.wait()
        assert task.started
        assert task.finished


@async_test
async def test_a_mark_wakes_all_who_wait_and_keeps_its_first_time() -> None:
    mark = Mark()
    waiting = [asyncio.create_task(mark.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    first, second = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)
    assert mark.at is None
    waiting[0].cancel()
    mark.set(first)
    mark.set(second)
    await asyncio.gather(*waiting, return_exceptions=True)
    assert mark.at == first
    await mark.wait()
