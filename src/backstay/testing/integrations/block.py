"""What stands in for other services while a test runs, or a ``with`` block."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from types import TracebackType
from typing import Any, Generic, ParamSpec, TypeVar, cast

from backstay.errors import BadIntegration
from backstay.integration.http.declaration import EndpointsDeclaration
from backstay.integration.http.stand_in import StandIn

__all__ = ["Block", "Miss"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Miss(BaseException):
    """Nothing stands in for a call. Becomes ``UnmockedCall`` where the call is made.

    On its way there it passes patterns and endpoints' own code: no ``Exception``, so that nobody
    tries again or falls back on something.
    """


class Block(ABC, Generic[T]):
    """Decorator of functions, async or not, and context manager, async or not.

    One of them may be entered many times, also while it is entered. In a process there is one
    stand-in for everybody: the innermost one.
    """

    def __init__(self) -> None:
        self._entered: list[tuple[T, StandIn | None]] = []

    @abstractmethod
    def _begin(self, function: str | None, outer: StandIn | None) -> tuple[T, StandIn | None]:
        """Make what stands in.

        Args:
            function: the name of the one that is decorated, ``None`` in a ``with``.
            outer: what stood in before.

        Returns:
            What ``as`` gives, and what stands in from now on.
        """

    def _end(self, subject: T, *, failed: bool) -> None:
        """Nothing stands in any more.

        Args:
            subject: what ``as`` gave.
            failed: the block has raised.
        """

    def __enter__(self) -> T:
        return self._enter(None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(failed=kind is not None)

    async def __aenter__(self) -> T:
        return self._enter(None)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave(failed=kind is not None)

    def __call__(self, func: Callable[P, R]) -> Callable[P, R]:
        """Stand in while ``func`` runs. Its signature stays, so pytest's fixtures come through.

        Raises:
            BadIntegration: that is no function.
        """
        if inspect.isclass(func) or not callable(func):
            raise BadIntegration(
                f"{func!r} is no function; put the decorator on test functions and methods"
            )
        name = getattr(func, "__qualname__", None)
        around: Callable[..., Any]

        if inspect.isasyncgenfunction(func):

            @functools.wraps(func)
            async def around_async_generator(
                *args: P.args, **kwargs: P.kwargs
            ) -> AsyncIterator[Any]:
                with self._around(name):
                    async with aclosing(func(*args, **kwargs)) as items:
                        async for each in items:
                            yield each

            around = around_async_generator
        elif inspect.isgeneratorfunction(func):

            @functools.wraps(func)
            def around_generator(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
                with self._around(name):
                    yield from func(*args, **kwargs)

            around = around_generator
        elif inspect.iscoroutinefunction(func):

            @functools.wraps(func)
            async def around_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._around(name):
                    return await func(*args, **kwargs)

            around = around_async
        else:

            @functools.wraps(func)
            def around_sync(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._around(name):
                    return func(*args, **kwargs)

            around = around_sync
        return cast("Callable[P, R]", around)

    @contextmanager
    def _around(self, function: str | None) -> Iterator[T]:
        subject = self._enter(function)
        try:
            yield subject
        except BaseException:
            self._leave(failed=True)
            raise
        self._leave(failed=False)

    def _enter(self, function: str | None) -> T:
        outer = EndpointsDeclaration.stand_in
        subject, EndpointsDeclaration.stand_in = self._begin(function, outer)
        self._entered.append((subject, outer))
        return subject

    def _leave(self, *, failed: bool) -> None:
        subject, EndpointsDeclaration.stand_in = self._entered.pop()
        self._end(subject, failed=failed)
