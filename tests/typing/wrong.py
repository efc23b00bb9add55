"""Code that type checkers must refuse, line by line: ``error: code`` in a comment says where.

Checked by test_typing.py, never run.
"""

import functools
from typing import Annotated, Any

from fastapi import Depends, FastAPI

from backstay.context import Context
from backstay.integration import ApiHTTP, EndpointsDeclaration, HTTPMethod, IntegrationHTTP
from backstay.tasks import (
    Job,
    JobFailure,
    Retry,
    Snooze,
    Succeeded,
    Task,
    TaskConfig,
    Tasks,
    Unique,
    add_tasks,
    connect,
    task,
)
from backstay.widgets import BaseWidget, WidgetMCPServer, auth_required


async def charge(order: int, amount: float, *, token: str = "") -> str:
    return f"{order} {amount} {token}"


def resize(path: str, width: int = 100, /) -> bytes:
    return f"{path} {width}".encode()


class Mailer:
    async def send(self, to: str) -> bool:
        return bool(to)


def plain(tasks: Tasks, mailer: Mailer) -> None:
    tasks.schedule(charge, "one", 2.5)  # error: call-overload
    tasks.schedule(charge, 1)  # error: call-overload
    tasks.schedule(charge)  # error: call-overload
    tasks.schedule(charge, 1, 2.5, "t")  # error: call-overload
    tasks.schedule(charge, 1, 2.5, tokn="t")  # error: call-arg
    tasks.schedule(charge, 1, 2.5, token=7)  # error: arg-type
    tasks.schedule(charge, 1, 2.5, amount=2.5)  # error: misc
    tasks.schedule(resize, 1)  # error: call-overload
    tasks.schedule(resize)  # error: call-overload
    tasks.schedule(resize, "x.png", 50, 50)  # error: call-overload
    tasks.schedule(resize, path="x.png")  # error: call-overload
    tasks.schedule(mailer.send)  # error: call-overload
    tasks.schedule(mailer.send, 7)  # error: call-overload
    tasks.schedule(functools.partial(charge, "one"), 2.5)  # error: arg-type, call-overload
    tasks.schedule(lambda: charge(1, 2.5), 1)  # error: call-overload
    tasks.schedule([].append)  # error: call-overload


def after_options(tasks: Tasks, mailer: Mailer) -> None:
    tasks.task(name="pay").schedule(charge, "one", 2.5)  # error: call-overload
    tasks.task(name="pay").schedule(charge, 1)  # error: call-overload
    tasks.task(name="pay").schedule(charge, 1, 2.5, "t")  # error: call-overload
    tasks.task(name="pay").schedule(charge, 1, 2.5, tokn="t")  # error: call-arg
    tasks.task(shield=True).schedule(resize, 1)  # error: call-overload
    tasks.task(shield=True).schedule(resize)  # error: call-overload
    tasks.task(shield=True).schedule(mailer.send, 7)  # error: call-overload
    configured = tasks.task(timeout=5)
    configured.schedule(charge, order="one", amount=2.5)  # error: call-overload


def at_every_moment(tasks: Tasks) -> None:
    tasks.after_route.schedule(charge, "one", 2.5)  # error: call-overload
    tasks.after_route.schedule(charge, 1)  # error: call-overload
    tasks.after_route.schedule(charge, 1, 2.5, tokn="t")  # error: call-arg
    tasks.after_route.task(wait=True).schedule(charge, 1)  # error: call-overload
    tasks.after_route.task(wait=True).schedule(resize, "x.png", 50, 50)  # error: call-overload
    tasks.after_response.schedule(charge, "one", 2.5)  # error: call-overload
    tasks.after_response.schedule(charge, 1, 2.5, "t")  # error: call-overload
    tasks.after_response.schedule(resize, 1)  # error: call-overload
    tasks.after_response.task(when="always").schedule(charge, 1)  # error: call-overload
    tasks.after_response.task(when="always").schedule(resize, b"x")  # error: call-overload


def not_functions(tasks: Tasks) -> None:
    tasks.schedule(charge(1, 2.5))  # error: call-overload
    tasks.schedule("charge")  # error: call-overload
    tasks.schedule(None)  # error: call-overload
    tasks.task(name="pay").schedule(charge(1, 2.5))  # error: call-overload
    tasks.after_route.schedule(7)  # error: call-overload
    tasks.schedule()  # error: call-overload
    tasks.schedule(func=charge, order=1, amount=2.5)  # error: call-overload


def options(tasks: Tasks) -> None:
    tasks.task(name=7)  # error: arg-type
    tasks.task(shield="yes")  # error: arg-type
    tasks.task(timeout="5 s")  # error: arg-type
    tasks.task(retry=3)  # error: arg-type
    tasks.task(when="sometimes")  # error: arg-type
    tasks.task(limit=2.5)  # error: arg-type
    tasks.task(limit=1, limit_key=["unhashable"])  # error: arg-type
    tasks.task(wait="yes")  # error: arg-type
    tasks.task(nmae="pay")  # error: call-arg
    tasks.task("pay")  # error: call-arg
    tasks.after_route.task(name=7)  # error: arg-type
    tasks.after_response.task(when=True)  # error: arg-type
    TaskConfig(timeout="5 s")  # error: arg-type
    TaskConfig(nmae="pay")  # error: call-arg
    Retry(attempts="three")  # error: arg-type
    Retry(backoff="quadratic")  # error: arg-type
    Retry(backoff=lambda failures: "soon")  # error: arg-type, return-value
    Retry(on="OSError")  # error: arg-type
    Retry(3)  # error: call-arg


def one_argument(task: Task) -> None: ...


def swapped(error: Exception, task: Task) -> None: ...


def of_one_error_only(task: Task, error: ValueError) -> None: ...


async def of_nothing() -> None: ...


def handlers(tasks: Tasks, app: FastAPI) -> None:
    tasks.task(on_error=one_argument)  # error: arg-type
    tasks.task(on_error=swapped)  # error: arg-type
    tasks.task(on_error=of_one_error_only)  # error: arg-type
    tasks.task(on_error=of_nothing)  # error: arg-type
    tasks.task(on_error="report")  # error: arg-type
    tasks.after_route.task(on_error=one_argument)  # error: arg-type
    tasks.after_response.task(on_error=swapped)  # error: arg-type
    TaskConfig(on_error=one_argument)  # error: arg-type
    add_tasks(app, config={"on_error": swapped})  # error: arg-type
    add_tasks(app, max_running="10")  # error: arg-type
    add_tasks(app, on_error=one_argument)  # error: call-arg
    add_tasks("app")  # error: arg-type


async def values(tasks: Tasks) -> None:
    task = tasks.schedule(charge, 1, 2.5)
    number: int = await task()  # error: assignment
    outcome = await tasks.after_route.task(name="small").schedule(resize, "x.png").wait()
    if isinstance(outcome, Succeeded):
        text: str = outcome.value  # error: assignment
        print(text)
    wrong: Task[[str], int] = task  # error: assignment
    tasks.after_lunch.schedule(charge, 1, 2.5)  # error: attr-defined
    tasks.after_route = None  # error: assignment, misc
    print(number, wrong)


def anything(tasks: Tasks, func: Any) -> None:
    tasks.schedule(func, 1, "two")


@task
async def send_receipt(order: int, copy: bool = False) -> str:
    return f"{order} {copy}"


@task
def shrink(path: str) -> bytes:
    return path.encode()


@task
async def with_injected(
    order: int, ctx: Context, mailer: Annotated[Mailer, Depends(Mailer)]
) -> None: ...


async def durable(tasks: Tasks, ctx: Context, mailer: Mailer) -> None:
    tasks.durable.schedule(send_receipt, "wrong")  # error: call-overload
    tasks.durable.schedule(send_receipt)  # error: call-overload
    tasks.durable.schedule(send_receipt, 17, True, 3)  # error: call-overload
    tasks.durable.schedule(send_receipt, 17, copi=True)  # error: call-arg
    tasks.durable.schedule(shrink, 17)  # error: call-overload
    tasks.durable.schedule(with_injected, "wrong")  # error: call-overload
    tasks.durable.schedule(with_injected, 17, ctx)  # error: call-overload
    tasks.durable.schedule(with_injected, 17, ctx, mailer)  # error: call-overload
    tasks.durable.schedule(with_injected)  # error: call-overload
    tasks.durable.schedule(charge, 17, 2.5)  # error: call-overload
    tasks.durable.schedule(send_receipt(17))  # error: call-overload
    tasks.durable.schedule(lambda: None)  # error: call-overload
    tasks.durable.task(delay=60).schedule(send_receipt, "wrong")  # error: call-overload
    tasks.durable.on(mailer).schedule(send_receipt, "wrong")  # error: call-overload
    await tasks.durable.enqueue(send_receipt, "wrong")  # error: call-overload
    await tasks.durable.task(priority=1).enqueue(shrink)  # error: call-overload
    tasks.durable.enqueue_now(send_receipt, "wrong")  # error: arg-type
    send_receipt.bind("wrong")  # error: arg-type
    with_injected.bind(17, ctx)  # error: call-arg
    await tasks.durable.enqueue_many([send_receipt])  # error: list-item
    await tasks.durable.chain(send_receipt)  # error: arg-type
    await tasks.durable.group(send_receipt.bind(17), then=send_receipt)  # error: arg-type
    wrong: Job[int] = tasks.durable.schedule(send_receipt, 17)  # error: call-overload
    number: int = await tasks.durable.schedule(send_receipt, 17).result()  # error: assignment
    print(wrong, number)


async def still_functions(ctx: Context) -> None:
    await send_receipt("wrong")  # error: arg-type
    shrink()  # error: call-arg
    number: int = shrink("x.png")  # error: assignment
    await with_injected(17)  # error: call-arg
    print(number)


def durable_options(tasks: Tasks) -> None:
    tasks.durable.task(delay="soon")  # error: arg-type
    tasks.durable.task(at="tomorrow")  # error: arg-type
    tasks.durable.task(priority="high")  # error: arg-type
    tasks.durable.task(after="a job")  # error: arg-type
    tasks.durable.task(on_parent_failure="ignore")  # error: arg-type
    tasks.durable.task(shield=True)  # error: call-arg
    tasks.durable.task(60)  # error: call-arg
    task(retries=3)  # error: call-overload
    task(shield=True)  # error: call-overload
    task(queue=7)  # error: call-overload
    task(retry=3)  # error: call-overload
    task(missed="some")  # error: call-overload
    task(executor="thread")  # error: call-overload
    task(on_error=one_failure)  # error: call-overload
    Unique("key")  # error: call-arg
    Snooze("soon")  # error: arg-type
    connect(database="memory://", queue="mail")  # error: call-arg


async def one_failure(failure: JobFailure) -> None: ...


@auth_required
class Priced(BaseWidget):
    identifier = "priced"
    title = 7  # error: assignment
    input_schema = dict  # error: assignment
    task_support = "maybe"  # error: assignment
    visibility = ("everybody",)  # error: assignment

    async def execute(self, inputs: dict[str, int]) -> int:
        return 1


async def widgets_that_are_none() -> None:
    server = WidgetMCPServer("shop", [Priced], stateless="yes")  # error: arg-type

    @server.tool(visibility=["everybody"])  # error: list-item
    async def add(a: int) -> int:
        return a

    await add("1")  # error: arg-type
    text: str = await add(1)  # error: assignment
    print(Priced().price)  # error: attr-defined
    auth_required(scopes=7)  # error: call-overload
    print(text)


class Rates(EndpointsDeclaration):
    integration = IntegrationHTTP("Rates")

    @integration.endpoint(HTTPMethod.get, "/rates/{currency}")
    async def rate(api: ApiHTTP, currency: str) -> float:
        return await api.send()

    @integration.endpoint("FETCH", "/")  # error: arg-type
    async def odd(api: ApiHTTP) -> float:
        return await api.send(json={})  # error: call-arg


async def integrations_that_are_none(rates: Rates) -> None:
    await rates.rate(3)  # error: arg-type
    await rates.rate()  # error: call-arg
    text: str = await rates.rate("USD")  # error: assignment
    print(text)
