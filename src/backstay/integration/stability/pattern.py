"""What all stability patterns have in common: they stand around a function."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, ParamSpec, TypeAlias, TypeVar, cast

from backstay.calls import is_async_callable, name_of, require_function
from backstay.clock import Clock, SystemClock
from backstay.context import current_work
from backstay.errors import BadIntegration
from backstay.integration.outgoing import OutgoingCall, current_call
from backstay.integration.stability.states import State, States

__all__ = ["AppliedPattern", "Call", "JSON", "Key", "Pattern", "Stateless", "patterns_of"]

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=State)

Key = Callable[..., Hashable]
"""Gets a call's arguments and says what it is about, such as the host; same key, same state."""

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
"""What can be shown on a page or sent to one."""

_SYSTEM = SystemClock()
_MARK: Final = "__backstay_pattern__"


class Call(Generic[S]):
    """One call on its way through one pattern.

    Attributes:
        func: what is called.
        args: its positional arguments.
        kwargs: its named ones.
        clock: tells the time.
        state: what the pattern remembers of earlier calls.
        outgoing: the call of a declared endpoint that this is part of, ``None`` for none.
    """

    __slots__ = ("args", "clock", "func", "kwargs", "outgoing", "state")

    def __init__(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        clock: Clock,
        state: S,
        outgoing: OutgoingCall | None = None,
    ) -> None:
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self.clock = clock
        self.state = state
        self.outgoing = outgoing

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
    apart for each key, whichever function is called. Inside a declared endpoint it is kept apart
    for each instance of the integration, too, and gone when that is.

    Args:
        key: what a call is about, ``None`` for the function alone. Of a method, the first argument
            is the instance.
        clock: tells the time. ``None`` means that of the app whose work is running, otherwise the
            machine's. Each clock but the machine's has states of its own: an app in a test does
            not hear of what happened in another one.
    """

    _only_state: ClassVar[Any] = None
    """The state of all calls, where nothing is remembered."""

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

            return cast("Callable[P, R]", self._mark(around_async, states))

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

        return cast("Callable[P, R]", self._mark(around, states))

    def options(self) -> dict[str, JSON]:
        """What it was made with, for people: numbers, seconds, names of functions and errors."""
        options = self._options()
        if self._key is not None:
            options["key"] = name_of(self._key)
        return options

    def _mark(self, around: Callable[..., Any], states: States[S]) -> Any:
        setattr(around, _MARK, AppliedPattern(self, around, states))
        return around

    def _call(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        states: States[S],
    ) -> Call[S]:
        # Every call passes here as often as it has patterns around it.
        clock = self._clock
        if clock is None:
            work = current_work.get()
            clock = _SYSTEM if work is None else work.app.clock
        outgoing = current_call.get()
        if self._only_state is not None:
            return Call(func, args, kwargs, clock, self._only_state, outgoing)
        name: Hashable = None if clock is _SYSTEM else _source_of(clock)
        if self._key is not None:
            name = (name, self._key(*args, **kwargs))
        owner = None if outgoing is None else outgoing.owner
        state = states.at_hand(name, owner)
        if state is None:
            state = states.of(name, clock.monotonic(), owner)
        return Call(func, args, kwargs, clock, state, outgoing)

    def _time(self) -> Clock:
        """The clock of what is running."""
        if self._clock is not None:
            return self._clock
        work = current_work.get()
        return _SYSTEM if work is None else work.app.clock

    def _options(self) -> dict[str, JSON]:
        """What it was made with, without the key."""
        return {}

    def _describe(self, state: S, now: float) -> dict[str, JSON]:
        """How things stand, for people; empty if there is nothing to tell.

        Args:
            state: what it remembers of one thing.
            now: seconds, as the clock's ``monotonic()``.
        """
        return {}

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


@dataclass(frozen=True, slots=True)
class AppliedPattern:
    """A pattern where it stands.

    Attributes:
        pattern: the decorator.
        around: what it made of the function.
    """

    pattern: Pattern[Any]
    around: Callable[..., Any]
    _states: States[Any]

    @property
    def name(self) -> str:
        """Such as ``"CircuitBreaker"``."""
        return type(self.pattern).__name__

    @property
    def options(self) -> dict[str, JSON]:
        """What it was made with, for people."""
        return self.pattern.options()

    def live(self, owner: Hashable | None = None) -> list[dict[str, JSON]]:
        """How things stand, as the clock of the running app sees it.

        Args:
            owner: the instance of an integration, ``None`` for calls outside any.

        Returns:
            One for each key, named ``"key"`` (``None`` where there are none), that was called
            lately; empty for patterns that remember nothing.
        """
        pattern = self.pattern
        clock = pattern._time()
        source, now = _source_of(clock), clock.monotonic()
        found: list[dict[str, JSON]] = []
        for name, state in self._states.known(owner):
            of_clock, key = (
                (name, None) if pattern._key is None else cast("tuple[Hashable, Hashable]", name)
            )
            if of_clock is source and (described := pattern._describe(state, now)):
                found.append({"key": None if key is None else str(key), **described})
        return found


def patterns_of(func: Callable[..., Any]) -> list[AppliedPattern]:
    """The patterns around ``func``, outermost first; other decorators may stand between them.

    Args:
        func: as it is called, or a method of an instance.
    """
    found: list[AppliedPattern] = []
    seen: set[int] = set()
    each: Any = func
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        each = getattr(each, "__func__", each)
        applied = getattr(each, _MARK, None)
        # functools.wraps copies marks to whatever stands further outside.
        if isinstance(applied, AppliedPattern) and applied.around is each:
            found.append(applied)
        each = (
            each.func if isinstance(each, functools.partial) else getattr(each, "__wrapped__", None)
        )
    return found


def _source_of(clock: object) -> Hashable:
    """What tells states by time apart: all system clocks are one."""
    return None if isinstance(clock, SystemClock) else clock
