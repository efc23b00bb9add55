"""Code that type checkers must accept: every way to schedule, each with the type it gives.

Checked by test_typing.py, never run.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, assert_type
from uuid import UUID

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from backstay import Context, Progress, current_context
from backstay.integration import (
    ApiHTTP,
    EndpointsDeclaration,
    HTTPMethod,
    IntegrationHTTP,
    LinkHeader,
    sp,
)
from backstay.tasks import (
    Call,
    Cancel,
    Cancelled,
    Chain,
    Discard,
    DurableScheduler,
    Failed,
    Group,
    Job,
    JobFailure,
    JobStatus,
    Outcome,
    Queue,
    Rate,
    Retry,
    Secret,
    Skipped,
    Snooze,
    State,
    Succeeded,
    Task,
    TaskConfig,
    TaskErrorHandler,
    TaskFunction,
    Tasks,
    Unique,
    add_tasks,
    connect,
    task,
)
from backstay.testing import FakeClock, RunningApp, running
from backstay.web import Ctx, install
from backstay.widgets import (
    Answer,
    BaseWidget,
    Result,
    UserContext,
    ValidationError,
    WidgetContext,
    WidgetMCPServer,
    auth_required,
    no_auth,
    optional_auth,
)


async def charge(order: int, amount: float, *, token: str = "") -> str:
    return f"{order} {amount} {token}"


def resize(path: str, width: int = 100, /) -> bytes:
    return f"{path} {width}".encode()


def nothing() -> None: ...


async def many(*names: str, **numbers: int) -> int:
    return len(names) + sum(numbers.values())


async def anything(*args: Any, **kwargs: Any) -> None: ...


class Mailer:
    async def send(self, to: str) -> bool:
        return bool(to)

    def log(self, to: str, *, level: int = 0) -> None: ...

    @classmethod
    async def make(cls, host: str) -> "Mailer":
        return cls()

    @staticmethod
    def check(to: str) -> bool:
        return bool(to)

    async def __call__(self, to: str) -> int:
        return len(to)


async def plain_functions(tasks: Tasks) -> None:
    outcome = await tasks.schedule(charge, 1, 2.5).wait()
    if isinstance(outcome, Succeeded):
        assert_type(outcome.value, str)
    tasks.schedule(charge, 1, amount=2.5, token="t")
    tasks.schedule(charge, order=1, amount=2)
    assert_type(await tasks.schedule(resize, "x.png").wait(), Outcome[bytes])
    tasks.schedule(resize, "x.png", 50)
    tasks.schedule(nothing)
    assert_type(await tasks.schedule(many, "a", "b", one=1).wait(), Outcome[int])
    tasks.schedule(many)
    tasks.schedule(anything, 1, "two", three=3)
    tasks.schedule(print, "hello", end="")


async def methods(tasks: Tasks, mailer: Mailer) -> None:
    assert_type(await tasks.schedule(mailer.send, "ada").wait(), Outcome[bool])
    tasks.schedule(mailer.send, to="ada")
    assert_type(await tasks.schedule(mailer.log, "ada", level=1).wait(), Outcome[None])
    assert_type(await tasks.schedule(Mailer.make, "localhost").wait(), Outcome[Mailer])
    assert_type(await tasks.schedule(Mailer.check, "ada").wait(), Outcome[bool])
    assert_type(await tasks.schedule(mailer, "ada").wait(), Outcome[int])
    log: list[str] = []
    tasks.schedule(log.append, "done")


async def partials_and_lambdas(tasks: Tasks) -> None:
    assert_type(await tasks.schedule(functools.partial(charge, 1), 2.5).wait(), Outcome[str])
    tasks.schedule(functools.partial(charge, 1, token="t"), amount=2.5)
    assert_type(await tasks.schedule(functools.partial(resize, "x.png")).wait(), Outcome[bytes])
    assert_type(await tasks.schedule(lambda: charge(1, 2.5)).wait(), Outcome[str])
    assert_type(await tasks.schedule(lambda: resize("x.png")).wait(), Outcome[bytes])


async def every_moment_and_form(tasks: Tasks) -> None:
    for schedule in (
        tasks.schedule(charge, 1, 2.5),
        tasks.after_route.schedule(charge, 1, 2.5),
        tasks.after_response.schedule(charge, 1, amount=2.5),
        tasks.task(name="pay").schedule(charge, 1, 2.5),
        tasks.after_route.task(wait=True).schedule(charge, 1, 2.5),
        tasks.after_response.task(when="failure").schedule(charge, order=1, amount=2.5),
    ):
        assert_type(await schedule.wait(), Outcome[str])
    configured = tasks.task(shield=True)
    configured.schedule(resize, "x.png", 50)
    assert_type(await configured.schedule(Mailer().send, "ada").wait(), Outcome[bool])


def on_error(task: Task, error: Exception) -> None:
    print(task.name, task.args, task.kwargs.get("order"), error)


async def on_error_async(task: Task, error: Exception) -> None:
    await task()


def on_any_error(task: Task[..., Any], error: Exception) -> str:
    return str(error)


class Reporter:
    async def report(self, task: Task, error: Exception) -> None: ...

    def __call__(self, task: Task, error: Exception) -> None: ...


def handlers(tasks: Tasks) -> None:
    reporter = Reporter()
    handler: TaskErrorHandler
    for handler in (on_error, on_error_async, on_any_error, reporter.report, reporter):
        tasks.task(on_error=handler).schedule(nothing)
    tasks.task(on_error=on_error).schedule(charge, 1, 2.5)
    tasks.after_route.task(on_error=on_error_async).schedule(charge, 1, 2.5)
    tasks.after_response.task(on_error=lambda task, error: print(task.name, error)).schedule(
        nothing
    )
    TaskConfig(on_error=on_error_async)


def every_option(tasks: Tasks, app: FastAPI) -> None:
    tasks.after_response.task(
        name="pay",
        shield=True,
        on_error=on_error,
        timeout=5,
        retry=Retry(attempts=3, backoff="linear", base_s=0.5, max_s=3, jitter=False, on=OSError),
        when="always",
        limit=2,
        limit_key=("customer", 7),
    ).schedule(charge, 1, 2.5)
    tasks.task(timeout=0.5, retry=Retry(backoff=lambda failures: failures * 2.0))
    tasks.task(retry=Retry(on=(OSError, ValueError)))
    tasks.task(retry=Retry(on=lambda error: "try again" in str(error)))
    add_tasks(
        app,
        config=TaskConfig(on_error=on_error, timeout=30.0),
        max_running=10,
        max_pending=None,
        threads=4,
        shutdown_grace_s=1,
        shield_grace_s=2.5,
        guard_background_tasks=False,
    )
    add_tasks(app)


async def a_task(tasks: Tasks) -> None:
    task = tasks.schedule(charge, 1, 2.5)
    assert_type(task.name, str)
    assert_type(task.kwargs, Mapping[str, Any])
    assert_type(task.config, TaskConfig)
    assert_type(task.attempts, int)
    assert_type(task.started.is_set(), bool)
    assert_type(task.finished.at, datetime | None)
    assert_type(task.progress, Progress | None)
    assert_type(task.outcome, Outcome[str] | None)
    assert_type(task.cancel(), bool)
    assert_type(await task(), str)
    await task.started.wait()
    match await task.wait():
        case Succeeded(value):
            assert_type(value, str)
        case Failed(error):
            assert_type(error, Exception)
        case Cancelled(reason) | Skipped(reason):
            assert_type(reason, str)


def handed_to_a_helper(tasks: Tasks, tracked: list[Task]) -> Task:
    tracked.append(tasks.schedule(charge, 1, 2.5))
    tracked.append(tasks.after_route.task(name="small").schedule(resize, "x.png"))
    return tasks.schedule(nothing)


async def endpoint(tasks: Tasks, ctx: Ctx) -> None:
    handed_to_a_helper(tasks, [])
    handed_to_a_helper(ctx.tasks, [])
    assert_type(current_context(), Context)
    current_context().tasks.after_response.schedule(charge, 1, 2.5)
    assert_type(ctx.correlation_id, str)
    ctx.progress(1, 2, "half way")
    await asyncio.to_thread(ctx.tasks.schedule, nothing)


async def a_test(app: FastAPI) -> None:
    install(app, settings={"A": 1}, clock=FakeClock())
    async with running(app) as client:
        assert_type(client, RunningApp)
        (await client.get("/")).raise_for_status()
        await client.tasks.settle()


def by_name(tasks: Tasks, functions: dict[str, Callable[[int], Awaitable[None]]]) -> None:
    for function in functions.values():
        tasks.schedule(function, 1)


# ---------------------------------------------------------------------- durable


@task
async def send_receipt(order: int, copy: bool = False) -> str:
    return f"{order} {copy}"


@task(queue="mail", retry=Retry(attempts=5))
def shrink(path: str) -> bytes:
    return path.encode()


@task
async def with_context(order: int, ctx: Context) -> str:
    return ctx.correlation_id


@task
async def with_injected(
    order: int, note: str, ctx: Context, mailer: Annotated[Mailer, Depends(Mailer)]
) -> None: ...


@task
async def with_injected_default(
    order: int,
    mailer: Mailer = Depends(Mailer),  # as FastAPI has it
) -> None: ...


@task
async def only_context(ctx: Context) -> int:
    return ctx.job.attempt


@task
async def deciding(order: int) -> int | Snooze:
    return Snooze(60) if order else 1


@task
async def sealed(user: str, password: Annotated[str, Secret]) -> None: ...


@task
async def alarm(failure: JobFailure) -> None:
    assert_type(failure.job_id, UUID)
    assert_type(failure.args, dict[str, Any])


@task(
    name="shop.everything",
    aliases=["shop.all"],
    queue="mail",
    priority=3,
    retry=Retry(attempts=2),
    timeout=30,
    limit=5,
    limit_key="order",
    rate="100/minute",
    unique=Unique(by=("order",), period_s=3600, states=frozenset({State.AVAILABLE})),
    transactional=True,
    on_error=alarm,
    on_discard=alarm,
    keep_s=60,
)
async def everything(order: int) -> None: ...


@task(cron="0 3 * * *", timezone="Europe/Berlin", missed="latest", executor="process")
def nightly(days: int = 7) -> None: ...


@task(rate=Rate(3, per_s=10), limit_key=lambda order: str(order), unique="key")
async def rated(order: int) -> None: ...


mail = task(queue="mail")


@mail
async def one_of_many(order: int) -> None: ...


@mail(priority=3)
async def other_of_many(order: int) -> None: ...


async def still_functions(ctx: Context, mailer: Mailer) -> None:
    assert_type(await send_receipt(17), str)
    assert_type(await send_receipt(order=17, copy=True), str)
    assert_type(shrink("x.png"), bytes)
    assert_type(await with_context(17, ctx), str)
    await with_injected(17, "n", ctx, mailer)
    await with_injected(17, "n", ctx, mailer=mailer)
    assert_type(send_receipt.name, str)


async def scheduling(tasks: Tasks, ctx: Ctx) -> None:
    durable = tasks.durable
    assert_type(durable, DurableScheduler)
    assert_type(durable.schedule(send_receipt, 17), Job[str])
    durable.schedule(send_receipt, order=17, copy=True)
    assert_type(durable.schedule(shrink, "x.png"), Job[bytes])
    assert_type(durable.schedule(with_context, 17), Job[str])
    assert_type(durable.schedule(only_context), Job[int])
    durable.schedule(with_injected, 17, "note")
    durable.schedule(with_injected_default, 17)
    durable.schedule(sealed, "ada", "open sesame")
    durable.schedule(everything, 17)
    durable.schedule(one_of_many, 17)
    durable.schedule(other_of_many, 17)
    durable.schedule(nightly)
    durable.schedule(rated, 17)
    ctx.durable.schedule(send_receipt, 17)
    ctx.tasks.durable.task(delay=60, unique="order", priority=2).schedule(send_receipt, 17)
    job = await durable.enqueue(send_receipt, 17)
    assert_type(job, Job[str])
    assert_type(await job.result(), str)
    assert_type(await job.status(), JobStatus)
    assert_type(await job.wait(5), JobStatus)
    assert_type(await job.cancel("gone"), bool)
    assert_type(job.id, UUID)
    assert_type(job.created, bool | None)
    assert_type(await (await durable.enqueue(shrink, "x.png")).result(timeout_s=5), bytes)
    await durable.task(
        at=datetime.now().astimezone(), queue="slow", max_attempts=2, keep_s=5, unique=True
    ).enqueue(send_receipt, 17)
    await durable.task(after=job, on_parent_failure="run").enqueue(send_receipt, 17)
    await durable.task(after=[job, job]).enqueue(send_receipt, 17)
    assert_type(durable.job("0193a2c4-0000-7000-8000-000000000000"), Job[Any])
    await durable.on(object()).enqueue(send_receipt, 17)


async def several(tasks: Tasks) -> None:
    assert_type(shrink.bind("x.png"), Call[bytes])
    await tasks.durable.enqueue_many([send_receipt.bind(17), shrink.bind("x.png")])
    chain = await tasks.durable.chain(send_receipt.bind(17), only_context.bind())
    assert_type(chain, Chain)
    await chain.last.wait()
    group = await tasks.durable.group(
        send_receipt.bind(1), with_context.bind(2), then=only_context.bind()
    )
    assert_type(group, Group)
    assert_type(group.then, Job[Any] | None)


async def scripts() -> None:
    async with connect("sqlite:///shop.db", queues={"mail": Queue(limit=5)}) as durable:
        await durable.enqueue(send_receipt, 17)
    with connect() as durable:
        durable.enqueue_now(send_receipt, 17)
        durable.schedule(send_receipt, 17)


def durable_options(app: FastAPI, any_task: TaskFunction[..., ..., Any]) -> None:
    add_tasks(
        app,
        database="postgresql://host/shop",
        session=nothing,
        worker=False,
        concurrency=5,
        queues=["mail"],
        worker_queues=["mail"],
        keep_s=60,
        max_args_bytes=100,
        lease_s=5,
        poll_s=0.5,
        table_prefix="jobs_",
        database_schema="jobs",
    )
    task(on_error=any_task)


async def in_a_job(ctx: Context) -> Cancel | Discard:
    for parent in await ctx.job.parents():
        assert_type(parent, Job[Any])
    assert_type(ctx.job.attempt, int)
    return Cancel("gone") if ctx.job.max_attempts else Discard("no card")


class CityInput(BaseModel):
    city: str


class InputsAlone(BaseWidget):
    identifier = "inputs_alone"
    title = "Inputs alone"
    input_schema = CityInput

    async def execute(self, inputs: CityInput) -> dict[str, Any]:
        return {"city": inputs.city}


@auth_required(scopes=["weather"])
class WithContext(BaseWidget):
    identifier = "with_context"
    title = "With context"
    input_schema = CityInput
    widget_csp = {"connect_domains": ["https://api.example.com"]}  # as people write it
    supported_locales = ["en", "fr"]  # as people write it
    timeout = 5

    async def execute(self, inputs: CityInput, ctx: WidgetContext) -> Result:
        asked = await ctx.state.get("asked", 0)
        await ctx.state.set("asked", asked + 1, ttl=60)
        await ctx.progress(1, 2, "half way")
        answer = await ctx.elicit("Really?", CityInput)
        assert_type(answer, Answer[CityInput])
        if answer.data is None:
            raise ValidationError("no city", field="city")
        assert_type(answer.data.city, str)
        assert_type(ctx.locale, str)
        assert_type(ctx.cache_key(inputs), str)
        assert_type(ctx.user, UserContext | None)
        return Result({"city": answer.data.city})


@optional_auth
class Longest(BaseWidget):
    identifier = "longest"
    title = "Longest"

    async def execute(
        self, input_data: BaseModel, context: WidgetContext, user: UserContext
    ) -> CityInput:
        return CityInput(city=user.subject)


@no_auth()
class InAThread(BaseWidget):
    identifier = "in_a_thread"
    title = "In a thread"

    def execute(self, inputs: CityInput, ctx: WidgetContext) -> list[str]:
        return [inputs.city]


class Unannotated(BaseWidget):
    identifier = "unannotated"
    title = "Unannotated"

    async def execute(self, inputs, ctx):  # type: ignore[no-untyped-def]  # as many write it
        return {}


async def widgets(app: FastAPI) -> None:
    server = WidgetMCPServer("shop", [InputsAlone, WithContext(), "shop.widgets"])
    server.mount(app, "/mcp")
    assert_type(WithContext(), WithContext)
    assert_type(Longest(), Longest)

    @server.tool(read_only=True)
    async def add(a: int, b: int = 2) -> int:
        return a + b

    @server.resource("orders://{order}")
    def order(order: str) -> str:
        return order

    @server.prompt()
    def greet(who: str) -> str:
        return who

    @server.completion("greet", "who")
    def complete(value: str) -> list[str]:
        return [value]

    number: int = await add(1)
    text: str = order("7") + greet("Ada")
    print(number, text, complete(""), await server.call("add", a=1))


class Rates(EndpointsDeclaration):
    integration = IntegrationHTTP("Rates")

    class Schema:
        class Rate(BaseModel):
            per_euro: float

    class SchemaError:
        class http404(BaseModel):
            error: str

    @integration.endpoint(HTTPMethod.get, "/rates/{currency}")
    @sp.RetryPattern()
    @sp.Timeout(2)
    async def rate(api: ApiHTTP, currency: str) -> Schema.Rate | SchemaError.http404:
        return await api.send(query={"day": "today"})

    @integration.endpoint(HTTPMethod.get, "/rates")
    async def all(api: ApiHTTP) -> AsyncIterator[Schema.Rate]:
        async for page in api.pages(LinkHeader()):
            yield Rates.Schema.Rate.model_validate(page.json())


async def integrations(rates: Rates) -> None:
    assert_type(await rates.rate("USD"), Rates.Schema.Rate | Rates.SchemaError.http404)
    assert_type(
        await rates.with_options(timeout=3).rate(currency="USD"),
        Rates.Schema.Rate | Rates.SchemaError.http404,
    )
    async for each in rates.all():
        assert_type(each, Rates.Schema.Rate)
