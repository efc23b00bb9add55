"""``@task``: a function that a row of the ledger may name."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, Literal, TypeVar, overload

from typing_extensions import ParamSpec

from backstay.calls import is_async_callable
from backstay.context import Context
from backstay.errors import BadJob
from backstay.jobs.arguments import Arguments, Result
from backstay.jobs.cron import Cron, Missed
from backstay.jobs.injection import Injection
from backstay.jobs.outcome import OUTCOMES
from backstay.jobs.secret import is_sealed
from backstay.ledger.rows import FINISHED, LIVE, State, UniqueKey
from backstay.retry import Retry

__all__ = [
    "AnyTask",
    "Call",
    "DEFAULT_RETRY",
    "Executor",
    "Rate",
    "TaskDecorator",
    "TaskFunction",
    "Unique",
    "require_priority",
    "require_queue",
    "require_seconds",
    "require_task",
    "task",
]

P = ParamSpec("P")
"""How the function is called."""
Q = ParamSpec("Q")
S = ParamSpec("S")
"""What of that is scheduled: without the Context and what FastAPI injects."""
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

Executor = Literal["auto", "process"]

DEFAULT_RETRY = Retry(attempts=10, backoff="exponential", base_s=2.0, max_s=3600.0)
"""What a durable task does that says nothing: ten attempts within about half an hour."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many may start within any period.

    Attributes:
        count: starts, 1 or more.
        per_s: the period in seconds.
    """

    count: int
    per_s: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise BadJob(f"Rate(count=) is a number of starts, 1 or more; got {self.count!r}")
        if not isinstance(self.per_s, int | float) or not self.per_s > 0:
            raise BadJob(f"Rate(per_s=) is seconds, more than 0; got {self.per_s!r}")

    @classmethod
    def of(cls, rate: Rate | str) -> Rate:
        """From ``"100/minute"``: a count, a slash, and second, minute, hour, day or seconds.

        Raises:
            BadJob: it reads differently.
        """
        if isinstance(rate, Rate):
            return rate
        units = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
        found = re.fullmatch(r"\s*(\d+)\s*/\s*([a-z]+|\d+(?:\.\d+)?)\s*", str(rate))
        if found:
            unit = found[2]
            short = {name[0]: seconds for name, seconds in units.items()}
            per_s = units.get(unit, short.get(unit))
            if per_s is None and unit[0].isdigit():
                per_s = float(unit)
            if per_s:
                return cls(int(found[1]), per_s)
        raise BadJob(f'rate={rate!r} cannot be read; write "100/minute", or Rate(100, per_s=60)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """What makes a second job of a task superfluous.

    Attributes:
        key: jobs of the task with the same key are the same; ``None``: those with the same
            arguments.
        by: the parameters whose values count, ``None`` for all. Means nothing with a ``key``.
        period_s: only within this many seconds after the first was scheduled; ``None``: no end.
        states: only while the first is in one of these. Default: any unfinished one, and with a
            ``period_s`` the finished ones too.
    """

    key: str | None = None
    by: tuple[str, ...] | None = None
    period_s: float | None = None
    states: frozenset[State] | None = None

    def __post_init__(self) -> None:
        if self.key is not None and (not isinstance(self.key, str) or not self.key):
            raise BadJob(f"Unique(key=) is a string; got {self.key!r}")
        if isinstance(self.by, str):
            raise BadJob(f"Unique(by=) is a tuple of parameters' names; got {self.by!r}")
        if self.period_s is not None and (
            isinstance(self.period_s, bool)
            or not isinstance(self.period_s, int | float)
            or not 0 < self.period_s < math.inf
        ):
            raise BadJob(f"Unique(period_s=) is seconds, more than 0; got {self.period_s!r}")

    @classmethod
    def of(cls, unique: Unique | str | bool | None) -> Unique | None:
        """From what ``unique=`` takes.

        Raises:
            BadJob: it is something else.
        """
        if unique is None or unique is False:
            return None
        if unique is True:
            return cls()
        if isinstance(unique, str):
            return cls(key=unique)
        if isinstance(unique, Unique):
            return unique
        raise BadJob(f"unique= is True, a key, or a Unique; got {unique!r}")

    def key_for(self, task: str, args: str) -> UniqueKey:
        """The key of one job, by the text of its arguments."""
        if self.key is not None:
            key = f"{task}:{self.key}"
        else:
            values = json.loads(args)
            if self.by is not None:
                values = {name: values.get(name) for name in self.by}
            # Sealed arguments differ each time, so they cannot count.
            values = {name: value for name, value in values.items() if not is_sealed(value)}
            text = json.dumps(values, sort_keys=True, separators=(",", ":"))
            key = f"{task}:#{hashlib.sha256(text.encode()).hexdigest()[:32]}"
        states = self.states
        if states is None:
            states = LIVE if self.period_s is None else LIVE | FINISHED
        return UniqueKey(key, states, self.period_s)


@dataclass(frozen=True, slots=True)
class Call(Generic[R_co]):
    """A task with its arguments, to be scheduled with others: ``send_receipt.bind(17)``."""

    task: TaskFunction[..., ..., R_co]
    args: tuple[Any, ...] = field(repr=False)  # some may be secret
    kwargs: Mapping[str, Any] = field(repr=False)


class TaskFunction(Generic[P, S, R_co]):
    """A function that can be scheduled durably, and is still the function it was.

    ``@task`` makes it. Calling it runs the function, here and now, as if there were no decorator.

    Attributes:
        func: the function.
        name: what rows of the ledger call it.
        aliases: earlier names, still answered to.
        queue, priority, retry, timeout, limit, limit_key, rate, unique, cron, transactional,
            executor, on_error, on_discard, keep_s: what ``task`` documents.
    """

    def __init__(
        self,
        func: Callable[P, R_co],
        *,
        name: str | None = None,
        aliases: Sequence[str] = (),
        queue: str = "default",
        priority: int = 0,
        retry: Retry | None = None,
        timeout: float | None = None,
        limit: int | None = None,
        limit_key: str | Callable[..., str] | None = None,
        rate: Rate | str | None = None,
        unique: Unique | str | bool | None = None,
        cron: str | None = None,
        timezone: str = "UTC",
        missed: Missed = "skip",
        transactional: bool = False,
        executor: Executor = "auto",
        on_error: TaskFunction[..., ..., Any] | None = None,
        on_discard: TaskFunction[..., ..., Any] | None = None,
        keep_s: float | None = None,
    ) -> None:
        self.func = func
        self.name = _require_name(name, "name") if name is not None else _default_name(func)
        self.aliases = tuple(_require_name(each, "aliases") for each in _listed(aliases))
        self.queue = require_queue(queue)
        self.priority = require_priority(priority)
        self.retry = DEFAULT_RETRY if retry is None else retry
        if not isinstance(self.retry, Retry):
            raise BadJob(f"@task(retry=) is a Retry, such as Retry(attempts=5); got {retry!r}")
        self.timeout = timeout
        if timeout is not None and (
            isinstance(timeout, bool)
            or not isinstance(timeout, int | float)
            or not math.isfinite(timeout)
            or timeout <= 0
        ):
            raise BadJob(f"@task(timeout=) is seconds, more than 0; got {timeout!r}")
        if limit is not None and (
            isinstance(limit, bool) or not isinstance(limit, int) or limit < 1
        ):
            raise BadJob(f"@task(limit=) is how many may run at a time, 1 or more; got {limit!r}")
        self.limit = limit
        self.limit_key = limit_key
        if limit_key is not None and not isinstance(limit_key, str) and not callable(limit_key):
            raise BadJob(
                f"@task(limit_key=) is a parameter's name or a function; got {limit_key!r}"
            )
        self.rate = None if rate is None else Rate.of(rate)
        if limit_key is not None and limit is None and rate is None:
            raise BadJob(f"limit_key={limit_key!r} needs a limit= or a rate= to count")
        self.unique = Unique.of(unique)
        self.is_async = is_async_callable(func)
        if executor not in ("auto", "process"):
            raise BadJob(f'@task(executor=) is "auto" or "process"; got {executor!r}')
        if executor == "process" and self.is_async:
            raise BadJob(
                f'{self.name} is async, so it belongs into an event loop; executor="process" is '
                "for sync functions that keep a processor busy"
            )
        if executor == "process" and "<locals>" in func.__qualname__:
            raise BadJob(
                f"{self.name} is defined inside a function, where another process cannot find it; "
                'executor="process" is for functions of a module'
            )
        self.executor = executor
        if not isinstance(transactional, bool):
            raise BadJob(f"@task(transactional=) is True or False; got {transactional!r}")
        self.transactional = transactional
        for option, handler in (("on_error", on_error), ("on_discard", on_discard)):
            if handler is not None and not isinstance(handler, TaskFunction):
                raise BadJob(
                    f"@task({option}=) is a @task of its own, so that it is durable too; "
                    f"got {handler!r}"
                )
        self.on_error = on_error
        self.on_discard = on_discard
        self.keep_s = None if keep_s is None else require_seconds(keep_s, "keep_s")
        self.injection = Injection(func)
        self._parameters = {
            name: parameter
            for name, parameter in inspect.signature(func).parameters.items()
            if name not in self.injection.names
        }
        if isinstance(limit_key, str):
            self.require_parameter(limit_key, "limit_key")
        self.require_unique(self.unique)
        self.arguments = Arguments(
            func, injected=self.injection.names, name=self.name, aliases=self.aliases
        )
        self.result = Result(func, self.name, strip=OUTCOMES)
        self.cron = None if cron is None else Cron(cron, timezone, missed)
        if self.cron is not None:
            self._require_no_arguments()
        if executor == "process" and self.injection.names:
            raise BadJob(
                f"{self.name} takes {', '.join(sorted(self.injection.names))}, which cannot "
                'follow it into another process; executor="process" takes plain arguments'
            )
        # Whether a row of it needs nothing but its name, its arguments and numbers.
        self.says_little = self.unique is None and limit is None and self.rate is None
        # Whether running the function is all there is to do.
        self.plain = (
            self.is_async and timeout is None and not transactional and not self.injection.names
        )
        self.__module__ = func.__module__
        self.__name__ = func.__name__
        self.__qualname__ = func.__qualname__
        self.__doc__ = func.__doc__
        self.__wrapped__ = func
        code = getattr(func, "__code__", None)
        if code is not None:
            # So that whoever asks whether this is a coroutine function hears the truth.
            self.__code__ = code

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self.func(*args, **kwargs)

    def bind(self, *args: S.args, **kwargs: S.kwargs) -> Call[R_co]:
        """The task with its arguments, for ``enqueue_many``, chains and groups."""
        return Call(self, args, kwargs)

    def require_parameter(self, name: str, option: str) -> None:
        """Refuse what is no argument of this task.

        Raises:
            BadJob: it is none.
        """
        if name not in self._parameters:
            raise BadJob(
                f"{option}={name!r} is no argument of {self.name}, which has "
                f"{', '.join(self._parameters) or 'none'}"
            )

    def require_unique(self, unique: Unique | None) -> None:
        """Refuse a ``Unique`` by something that is no argument of this task.

        Raises:
            BadJob: it is none; every job would be the same one.
        """
        for name in () if unique is None or unique.by is None else unique.by:
            self.require_parameter(name, "Unique(by=)")

    def prepare(self) -> None:
        """Look at the annotations now, which is otherwise done at the first use.

        Raises:
            BadJob: an argument or the result could not travel, or a dependency wants a request.
        """
        self.arguments.prepare()
        self.result.prepare()
        self.injection.prepare()

    def limit_key_of(self, args: str) -> str:
        """What ``limit`` and ``rate`` count over, for a job with these arguments.

        Raises:
            BadJob: the function given as ``limit_key`` failed.
        """
        if isinstance(self.limit_key, str):
            given = json.loads(args)
            if self.limit_key in given:
                return str(given[self.limit_key])
            return str(self._parameters[self.limit_key].default)
        assert self.limit_key is not None
        positional, keywords = self.arguments.load(args)
        try:
            return str(self.limit_key(*positional, **keywords))
        except Exception as error:
            raise BadJob(
                f"the limit_key= of {self.name} failed for these arguments: {error!r}"
            ) from error

    def decode_result(self, value: Any) -> R_co:
        """A result, from what the ledger shows of it.

        Raises:
            UnreadableResult: it does not fit the return annotation.
        """
        result: R_co = self.result.load(json.dumps(value))
        return result

    def _require_no_arguments(self) -> None:
        for parameter in self._parameters.values():
            if parameter.default is parameter.empty and parameter.kind not in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ):
                raise BadJob(
                    f"{self.name} has a cron schedule, so nobody is there to give it the "
                    f"argument {parameter.name!r}; give it a default"
                )

    def __reduce__(self) -> str:
        # By reference, as functions are: the other side imports the module and finds it there.
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<task {self.name}>"


AnyTask = TaskFunction[..., ..., Any]


class TaskDecorator:
    """``@task``: make a function one that can be scheduled durably: ``tasks.durable.schedule(f, ...)``.

    It stays callable as the function it was. Its arguments and its result travel as JSON, by its
    type hints. Parameters of type ``Context``, and those with ``Depends``, are filled in when it
    runs. For type checkers, ``ctx: Context`` comes after the arguments that are scheduled and
    before what is injected.

    Args:
        name: what rows call it. Default: ``module.qualname``. Say it before moving a function.
        aliases: earlier names, for rows written before a rename.
        queue: where its jobs wait. Default: ``"default"``.
        priority: higher starts first; a point is worth ten minutes of waiting. -1000 to 1000.
        retry: when a failed attempt is followed by another. Default: ten attempts, exponential.
            A worker that dies while it runs uses up an attempt as well.
        timeout: seconds per attempt, then it counts as failed. An async function is cancelled;
            a sync one cannot be, so its thread is left behind and its result ignored; a process
            is killed. Default: none.
        limit: how many run at a time over all workers of the database.
        limit_key: what ``limit`` and ``rate`` count over: the name of a parameter, or a function
            of the arguments that returns a string. Default: all jobs of this task together.
        rate: how many start within a period over all workers: ``"100/minute"`` or a ``Rate``.
        unique: what ``Unique`` says; ``True``: no second job with the same arguments while one is
            unfinished; a string: no second one with that key.
        cron: five fields or ``@daily`` and the like; one job per tick, however many workers.
        timezone: of ``cron``, an IANA name.
        missed: ticks nobody was there for: ``"skip"``, run the ``"latest"``, or ``"all"``.
        transactional: what it writes through ``ctx.db`` commits together with its completion.
        executor: ``"process"`` runs a sync function in a process of its own pool.
        on_error: a ``@task`` of one ``JobFailure``, scheduled with each failed attempt.
        on_discard: the same, when a job goes to the dead letter list.
        keep_s: seconds its rows and results are kept when finished. Default: the app's rule.

    Raises:
        BadJob: an option makes no sense; the message says what was given.
        TypeError: an option does not exist (``shield=``, say: durable work outlives the process,
            so there is nothing to shield).
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options

    # A function of two Contexts would fit two of these; the first is meant, and nobody writes one.
    @overload
    def __call__(  # type: ignore[overload-overlap]  # see above
        self, func: Callable[Concatenate[Context, Q], R], /
    ) -> TaskFunction[Concatenate[Context, Q], [], R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # see above
        self, func: Callable[Concatenate[A, Context, Q], R], /
    ) -> TaskFunction[Concatenate[A, Context, Q], [A], R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # see above
        self, func: Callable[Concatenate[A, B, Context, Q], R], /
    ) -> TaskFunction[Concatenate[A, B, Context, Q], [A, B], R]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]  # see above
        self, func: Callable[Concatenate[A, B, C, Context, Q], R], /
    ) -> TaskFunction[Concatenate[A, B, C, Context, Q], [A, B, C], R]: ...
    @overload
    def __call__(
        self, func: Callable[Concatenate[A, B, C, D, Context, Q], R], /
    ) -> TaskFunction[Concatenate[A, B, C, D, Context, Q], [A, B, C, D], R]: ...
    @overload
    def __call__(self, func: Callable[P, R], /) -> TaskFunction[P, P, R]: ...
    @overload
    def __call__(
        self,
        /,
        *,
        name: str | None = None,
        aliases: Sequence[str] = (),
        queue: str = "default",
        priority: int = 0,
        retry: Retry | None = None,
        timeout: float | None = None,
        limit: int | None = None,
        limit_key: str | Callable[..., str] | None = None,
        rate: Rate | str | None = None,
        unique: Unique | str | bool | None = None,
        cron: str | None = None,
        timezone: str = "UTC",
        missed: Missed = "skip",
        transactional: bool = False,
        executor: Executor = "auto",
        on_error: AnyTask | None = None,
        on_discard: AnyTask | None = None,
        keep_s: float | None = None,
    ) -> TaskDecorator: ...

    def __call__(self, func: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        if "shield" in options:
            raise BadJob(
                "shield= is for tasks in the process: a durable one is handed back when the "
                "process stops and runs again elsewhere, so there is nothing to shield; leave it out"
            )
        if unknown := options.keys() - _OPTIONS:
            raise TypeError(
                f"@task has no option {', '.join(sorted(unknown))}; "
                f"there are {', '.join(sorted(_OPTIONS))}"
            )
        together = {**self._options, **options}
        if func is None:
            return TaskDecorator(together)
        return TaskFunction(_require_function(func), **together)


task = TaskDecorator({})


_OPTIONS = frozenset(
    name
    for name, parameter in inspect.signature(TaskFunction.__init__).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)


def require_task(func: object, where: str) -> AnyTask:
    """Refuse what no row could name.

    Raises:
        BadJob: ``func`` is no ``@task``.
    """
    if isinstance(func, TaskFunction):
        return func
    name = getattr(func, "__qualname__", None) or repr(func)
    if inspect.iscoroutine(func):
        func.close()
        raise BadJob(
            f"{where}() got {name}(...), called already; hand over the task and its arguments: "
            f"{where}({name}, ...)"
        )
    raise BadJob(
        f"{where}() needs a function made with @task, which a row in the database can name and "
        f"any process can find again; {name} is not one: put @task above it"
        + (", and give it a name with def" if name.endswith("<lambda>") else "")
    )


def require_queue(queue: object) -> str:
    """A queue's name.

    Raises:
        BadJob: it is none.
    """
    if isinstance(queue, str) and re.fullmatch(r"[\w.-]{1,100}", queue):
        return queue
    raise BadJob(
        f"queue={queue!r} is no queue's name: letters, digits, '_', '-' and '.', 100 at most"
    )


def require_priority(priority: object) -> int:
    """A priority.

    Raises:
        BadJob: it is none.
    """
    if isinstance(priority, int) and not isinstance(priority, bool) and -1000 <= priority <= 1000:
        return priority
    raise BadJob(f"priority= is a whole number from -1000 to 1000; got {priority!r}")


def require_seconds(value: object, option: str) -> float:
    """A number of seconds, 0 or more.

    Raises:
        BadJob: it is none.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value < 0
    ):
        raise BadJob(f"{option}= is seconds, 0 or more; got {value!r}")
    return float(value)


def _require_function(func: Any) -> Callable[..., Any]:
    if isinstance(func, TaskFunction):
        raise BadJob(f"{func.name} is a @task already; one decorator is enough")
    if not callable(func) or inspect.isclass(func):
        raise BadJob(f"@task goes above a function; got {func!r}")
    if getattr(func, "__name__", "<lambda>") == "<lambda>":
        raise BadJob("@task goes above a function with a name; a lambda cannot be found again")
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        raise BadJob(f"{func.__name__} is a generator; a task is called once and returns")
    return func  # type: ignore[no-any-return]  # callable, as checked above


def _default_name(func: Any) -> str:
    module = func.__module__
    if module == "__main__":
        # The module's name as others import it: rows outlive this process.
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        file = getattr(main, "__file__", None) or "main"
        module = spec.name if spec is not None else re.split(r"[/\\]", file)[-1].removesuffix(".py")
    return f"{module}.{func.__qualname__}"


def _require_name(name: object, option: str) -> str:
    if isinstance(name, str) and 0 < len(name) <= 200 and name.isprintable():
        return name
    raise BadJob(f"@task({option}=) is a name of up to 200 characters; got {name!r}")


def _listed(names: Sequence[str]) -> Sequence[str]:
    if isinstance(names, str):
        raise BadJob(f"@task(aliases=) is a list of names; got the string {names!r}")
    return names
