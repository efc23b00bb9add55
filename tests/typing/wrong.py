"""Code that type checkers must refuse, line by line: ``error: code`` in a comment says where.

Checked by test_typing.py, never run.
"""

import functools
from typing import Any

from fastapi import FastAPI

from backstay.tasks import Retry, Succeeded, Task, TaskConfig, Tasks, add_tasks


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
