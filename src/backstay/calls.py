"""What kind of thing a callable is, and what to call it in a log line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from inspect import CO_COROUTINE

__all__ = ["is_async_callable", "name_of", "require_function"]


def is_async_callable(func: Callable[..., object]) -> bool:
    """Whether calling ``func`` gives a coroutine.

    Looks through ``functools.partial`` and at ``__call__`` of instances. A plain callable that
    happens to return an awaitable is not seen here: nothing short of calling it can tell.
    """
    try:
        # The usual case, a plain function: one attribute and one bit, since schedule() is hot.
        return bool(func.__code__.co_flags & CO_COROUTINE)
    except AttributeError:
        pass
    while isinstance(func, functools.partial):
        func = func.func
    return inspect.iscoroutinefunction(func) or (
        not inspect.isroutine(func)
        and not inspect.isclass(func)
        and inspect.iscoroutinefunction(getattr(func, "__call__", None))  # noqa: B004  # the bound method is what we inspect
    )


def name_of(func: Callable[..., object]) -> str:
    """A short name for people: ``send_email``, ``Mailer.send``, ``partial(send_email)``."""
    if isinstance(func, functools.partial):
        return f"partial({name_of(func.func)})"
    name = getattr(func, "__qualname__", None)
    return name if isinstance(name, str) else type(func).__qualname__


def require_function(func: object, where: str) -> None:
    """Refuse what cannot be called later.

    Args:
        func: what the user handed in as the function to run.
        where: the call to name in the message, such as ``"tasks.schedule"``.

    Raises:
        TypeError: ``func`` is a coroutine object or another awaitable (the function was
            already called), or is not callable at all.
    """
    if callable(func):
        return
    if inspect.iscoroutine(func):
        name = func.__name__
        func.close()  # it can never be awaited now, and Python would warn about that as well
        raise TypeError(
            f"{where}() got the coroutine object {name}(...), which has been called already; "
            f"hand over the function and its arguments: {where}({name}, ...)"
        )
    if inspect.isawaitable(func):
        raise TypeError(
            f"{where}() got an awaitable of type {type(func).__qualname__}; "
            "hand over a function and its arguments instead"
        )
    raise TypeError(f"{where}() needs a function, got {func!r} of type {type(func).__qualname__}")
