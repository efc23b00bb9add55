"""What a callable is, and what to call it."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from backstay.calls import is_async_callable, name_of, require_function
from tests.support import async_test, shown


def sync_function() -> None: ...


async def async_function() -> None: ...


async def async_generator() -> AsyncIterator[None]:
    yield


@functools.wraps(async_function)
def sync_around_async() -> Any:
    return async_function()


class Mailer:
    def send(self) -> None: ...

    async def send_async(self) -> None: ...

    @staticmethod
    async def static_async() -> None: ...

    @classmethod
    async def class_async(cls) -> None: ...


class AsyncCallable:
    async def __call__(self) -> None: ...


class SyncCallable:
    def __call__(self) -> None: ...


ASYNC: list[Callable[..., Any]] = [
    async_function,
    Mailer().send_async,
    Mailer.static_async,
    Mailer.class_async,
    AsyncCallable(),
    functools.partial(async_function),
    functools.partial(functools.partial(Mailer().send_async)),
    functools.partial(AsyncCallable()),
]
SYNC: list[Callable[..., Any]] = [
    sync_function,
    async_generator,
    sync_around_async,
    lambda: async_function(),
    Mailer().send,
    Mailer,
    AsyncCallable,
    SyncCallable(),
    functools.partial(sync_function),
    functools.partial(SyncCallable()),
    print,
    [].append,
    str.upper,
    type,
]


@pytest.mark.parametrize("func", ASYNC, ids=shown)
def test_async_callables_are_seen_whatever_they_hide_in(func: Callable[..., Any]) -> None:
    assert is_async_callable(func)


@pytest.mark.parametrize("func", ASYNC, ids=shown)
def test_what_is_called_async_gives_a_coroutine(func: Callable[..., Any]) -> None:
    given = func()
    assert inspect.iscoroutine(given)
    given.close()


@pytest.mark.parametrize("func", SYNC, ids=shown)
def test_everything_else_is_not_async(func: Callable[..., Any]) -> None:
    assert not is_async_callable(func)


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (sync_function, "sync_function"),
        (Mailer().send, "Mailer.send"),
        (Mailer, "Mailer"),
        (SyncCallable(), "SyncCallable"),
        (functools.partial(sync_function), "partial(sync_function)"),
        (functools.partial(Mailer().send), "partial(Mailer.send)"),
        (functools.partial(SyncCallable()), "partial(SyncCallable)"),
        (print, "print"),
        ([].append, "list.append"),
    ],
)
def test_names_are_short_and_for_people(func: Callable[..., Any], name: str) -> None:
    assert name_of(func) == name


@pytest.mark.parametrize("func", [*ASYNC, *SYNC], ids=shown)
def test_whatever_can_be_called_is_accepted(func: Callable[..., Any]) -> None:
    require_function(func, "tasks.schedule")


def test_a_coroutine_object_is_refused_with_the_line_to_write_instead() -> None:
    coroutine = async_function()
    with pytest.raises(TypeError, match=r"tasks\.schedule\(async_function, \.\.\.\)"):
        require_function(coroutine, "tasks.schedule")
    # Nobody can await it any more, and nothing warns that nobody did.
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@async_test
async def test_another_awaitable_is_refused_by_its_type() -> None:
    with pytest.raises(TypeError, match=r"tasks\.schedule\(\) got an awaitable of type .*Future"):
        require_function(asyncio.get_running_loop().create_future(), "tasks.schedule")


@pytest.mark.parametrize("value", [None, 7, "send_email", (), object()], ids=shown)
def test_what_cannot_be_called_is_shown_in_the_message(value: object) -> None:
    with pytest.raises(TypeError) as caught:
        require_function(value, "tasks.schedule")
    assert "tasks.schedule()" in str(caught.value)
    assert repr(value) in str(caught.value)
    assert type(value).__qualname__ in str(caught.value)
