"""What all stability patterns have in common: they stand around a function."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, cast

from backstay.calls import is_async_callable, name_of, require_function
from backstay.clock import Clock, SystemClock
from backstay.context import current_work
from backstay.errors import BadIntegration
from backstay.integration.states import State, States

__all__ = ["Call", "Key", "Pattern", "Stateless"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=State)

Key = Callable[..., Hashable]
"""Gets a call's arguments and says what it is about, such as the host; same key, same state."""

_SYSTEM = SystemClock()


class Call(Generic[S]):
    """One call on its way through one pattern.

    Attributes:
        func: what is called.
        args: its positional arguments.
        kwargs: its named ones.
        clock: tells the time.
        state: what the pattern remembers of earlier calls.
    """

    __slots__ = ("args", "clock", "func", "kwargs", "state")

    def __init__(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        clock: Clock,
        state: S,
    ) -> None:
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self.clock = clock
        self.state = state

    def make(self) -> Any:
        """Call the function: its result, or what is to be awaited."""
        return self.func(*self.args, **self.kwargs)

    @property
    def name(self) -> str:
        """The function's name, for people."""
        return name_of(self.func)


class Stateless:
    """The state of patterns that remember nothing."""

    def is_idle(self, now: float) -> bool:
        return True


class Pattern(ABC, Generic[S]):
    """A decorator. One may stand at several functions.

    What it remembers is kept in this process, apart for each function it stands at; with ``key``,
    apart for each key, whichever function is called.

    Args:
        key: what a call is about, ``None`` for the function alone. Of a method, the first argument
            is the instance.
        clock: tells the time. ``None`` means that of the app whose work is running, otherwise the
            machine's. Each clock but the machine's has states of its own: an app in a test does
            not hear of what happened in another one.
    """

    def __init__(self, *, key: Key | None = None, clock: Clock | None = None) -> None:
        if key is not None and not callable(key):
            raise BadIntegration(
                f"{type(self).__name__}(key=) is a function of the call's arguments; got {key!r}"
            )
        self._key = key
        self._clock = clock
        self._by_key = None if key is None else States(self._new_state)

    def __call__(self, func: Callable[P, R]) -> Callable[P, R]:
        """Put the pattern around ``func``.

        Raises:
            TypeError: that is no function.
            BadIntegration: it is one that the pattern cannot stand around.
        """
        where = f"sp.{type(self).__name__}"
        if isinstance(func, staticmethod | classmethod):
            raise BadIntegration(
                f"{where} was put on a {type(func).__name__}; put @{type(func).__name__} above it"
            )
        require_function(func, where)
        if inspect.isclass(func):
            raise BadIntegration(f"{where} was put on the class {func.__name__}; put it on methods")
        if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
            raise BadIntegration(
                f"{where} was put on the generator {name_of(func)}, which does nothing yet when it "
                "is called; put it on a function that returns"
            )
        self._check(func)
        states = States(self._new_state) if self._by_key is None else self._by_key

        if is_async_callable(func):

            @functools.wraps(func)
            async def around_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                return await self._run_async(self._call(func, args, kwargs, states))

            return cast("Callable[P, R]", around_async)

        @functools.wraps(func)
        def around(*args: P.args, **kwargs: P.kwargs) -> Any:
            result = self._run(self._call(func, args, kwargs, states))
            if inspect.isawaitable(result):
                if inspect.iscoroutine(result):
                    result.close()
                raise BadIntegration(
                    f"{where} cannot see how {name_of(func)} ends, which is not async and returned "
                    "something to be awaited; make it an async function"
                )
            return result

        return cast("Callable[P, R]", around)

    def _call(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        states: States[S],
    ) -> Call[S]:
        clock = self._clock
        if clock is None:
            work = current_work.get()
            clock = _SYSTEM if work is None else work.app.clock
        source = None if isinstance(clock, SystemClock) else clock
        key = None if self._key is None else self._key(*args, **kwargs)
        return Call(func, args, kwargs, clock, states.of((source, key), clock.monotonic()))

    def _check(self, func: Callable[..., Any]) -> None:
        """Refuse a function that the pattern cannot stand around."""

    @abstractmethod
    def _new_state(self) -> S:
        """What is remembered of something that was never called."""

    @abstractmethod
    def _run_async(self, call: Call[S]) -> Awaitable[Any]:
        """Make the call of an async function."""

    @abstractmethod
    def _run(self, call: Call[S]) -> Any:
        """Make the call of another function, in the thread that this is called in."""
