"""``on_error=`` and ``on_discard=``: tasks of their own, written with the failure they tell of."""

import asyncio
from typing import Annotated, Any

import pytest
from fastapi import FastAPI

from backstay.context import Context
from backstay.tasks import (
    Cancel,
    Discard,
    JobFailure,
    Retry,
    RetryLater,
    Secret,
    Snooze,
    State,
    Tasks,
    add_tasks,
    task,
)
from backstay.testing import FakeClock, RunningApp, drain, enqueued, running
from backstay.web import install
from tests.support import async_test

ONCE = Retry(attempts=1)


def make_app(**options: Any) -> FastAPI:
    app = FastAPI()
    install(app, clock=FakeClock(), settings={"BACKSTAY_SECRET_KEY": "a key that is long enough"})
    add_tasks(app, database="memory://", **options)
    return app


async def run(client: RunningApp, job: Any) -> Any:
    await drain(client)
    return await job.status()


@async_test
async def test_a_handler_is_told_everything_about_the_failure() -> None:
    told: list[tuple[JobFailure, str]] = []

    @task(queue="alerts")
    async def alert(failure: JobFailure, ctx: Context) -> None:
        told.append((failure, ctx.correlation_id))

    @task(retry=ONCE, queue="money", on_discard=alert)
    async def pay(order: int) -> None:
        raise ConnectionError("no route")

    app = make_app()

    @app.post("/")
    async def endpoint(tasks: Tasks) -> str:
        return str(tasks.durable.schedule(pay, 17).id)

    async with running(app) as client:
        job_id = (await client.post("/", headers={"X-Request-ID": "request-17"})).json()
        await drain(client)
        [row] = await enqueued(client, alert)
        assert row.queue == "alerts"
    [(failure, correlation)] = told
    assert str(failure.job_id) == job_id
    assert (failure.task, failure.queue, failure.args) == (pay.name, "money", {"order": 17})
    assert (failure.attempt, failure.max_attempts) == (1, 1)
    assert (failure.error_type, failure.message) == ("ConnectionError", "no route")
    assert "ConnectionError: no route" in failure.traceback
    assert failure.state == State.DISCARDED
    assert failure.at.tzinfo is not None
    assert failure.correlation_id == correlation == "request-17"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("x"), ["error retrying", "discard no", "error discarded"]),
        (RetryLater(0), ["error retrying", "error discarded"]),
        (Discard("x"), ["error discarded"]),
        (Cancel("x"), []),
        (Snooze(60), []),
    ],
)
def test_which_ends_are_failures(error: Exception, expected: list[str]) -> None:
    @async_test
    async def check() -> None:
        heard: list[str] = []

        @task
        async def on_error(failure: JobFailure) -> None:
            heard.append(f"error {failure.state}")

        @task
        async def on_discard(failure: JobFailure) -> None:
            heard.append("discard")

        @task(
            retry=Retry(attempts=2, base_s=0, jitter=False),
            on_error=on_error,
            on_discard=on_discard,
        )
        async def fail() -> None:
            raise error

        async with running(make_app()) as client:
            await client.durable.enqueue(fail)
            await drain(client)
            await drain(client)
        wanted = sorted(each for each in expected if each.startswith("error"))
        assert sorted(each for each in heard if each != "discard") == wanted
        assert heard.count("discard") == ("error discarded" in wanted)

    check()


@async_test
async def test_a_cancelled_job_has_not_failed() -> None:
    began = asyncio.Event()

    @task
    async def on_error(failure: JobFailure) -> None:
        raise AssertionError

    @task(on_error=on_error, on_discard=on_error)
    async def long() -> None:
        began.set()
        await asyncio.get_running_loop().create_future()

    async with running(make_app()) as client:
        job = await client.durable.enqueue(long)
        await began.wait()
        await job.cancel()
        await drain(client)
        assert (await job.status()).state is State.CANCELLED
        assert await enqueued(client, on_error) == []


@async_test
async def test_sealed_arguments_stay_sealed_in_what_handlers_hear() -> None:
    told: list[JobFailure] = []

    @task
    async def alert(failure: JobFailure) -> None:
        told.append(failure)

    @task(retry=ONCE, on_discard=alert)
    async def login(user: str, password: Annotated[str, Secret]) -> None:
        raise PermissionError("refused")

    async with running(make_app()) as client:
        await client.durable.enqueue(login, "ada", "open sesame")
        await drain(client)
    [failure] = told
    assert failure.args["user"] == "ada"
    assert "open sesame" not in repr(failure)


@async_test
async def test_a_handler_that_fails_is_a_job_that_fails_with_handlers_of_its_own() -> None:
    told: list[str] = []

    @task
    async def last_resort(failure: JobFailure) -> None:
        told.append(failure.task)

    @task(retry=ONCE, on_discard=last_resort)
    async def alert(failure: JobFailure) -> None:
        raise ConnectionError("the mail server too")

    @task(retry=ONCE, on_discard=alert)
    async def pay() -> None:
        raise ConnectionError("no route")

    async with running(make_app()) as client:
        job = await client.durable.enqueue(pay)
        await drain(client)
        assert (await job.status()).state is State.DISCARDED
    assert told == [alert.name]


@async_test
async def test_a_handler_of_the_wrong_shape_loses_nothing_but_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @task
    async def deaf() -> None: ...

    @task(retry=ONCE, on_discard=deaf)
    async def pay() -> None:
        raise ConnectionError("no route")

    async with running(make_app()) as client:
        job = await client.durable.enqueue(pay)
        status = await run(client, job)
        assert (status.state, status.error["type"]) == (State.DISCARDED, "ConnectionError")
    assert "cannot be told that the job" in caplog.text


@async_test
async def test_arguments_too_long_to_hand_on_do_not_lose_the_failure() -> None:
    told: list[JobFailure] = []

    @task
    async def alert(failure: JobFailure) -> None:
        told.append(failure)

    @task(retry=ONCE, on_discard=alert)
    async def pay(text: str) -> None:
        raise ConnectionError("no route")

    async with running(make_app()) as client:
        job = await client.durable.enqueue(pay, "x" * 65_000)
        status = await run(client, job)
        assert status.state is State.DISCARDED
    assert [failure.job_id for failure in told] == [job.id]


@async_test
async def test_a_handler_is_known_with_the_task_it_belongs_to() -> None:
    """After a restart nobody has scheduled it yet, and its rows run all the same."""
    told: list[JobFailure] = []

    def make() -> Any:
        @task
        async def alert(failure: JobFailure) -> None:
            told.append(failure)

        @task(retry=ONCE, on_discard=alert)
        async def pay() -> None:
            raise ConnectionError

        return pay

    pay = make()
    async with running(make_app(worker=False)) as client:
        await client.durable.enqueue(pay)
        await drain(client)
    assert len(told) == 1
