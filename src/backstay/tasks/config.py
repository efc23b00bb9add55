"""The options of a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from backstay.retry import Retry

__all__ = ["NOTHING_SAID", "TaskConfig", "When"]

When = Literal["success", "failure", "always"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig:
    """Options of one task, or an app's defaults for all. ``None`` means: not said here.

    Attributes:
        name: for logs and people. Default: the function's name. Never a key of anything, so it
            may hold ids (``payment_17``).
        shield: ``True`` protects the task from cancellation: shutdown gives it a second grace
            of its own, and ``task.cancel()`` leaves it alone once it runs.
        on_error: a ``TaskErrorHandler``, called once when the task has failed for good.
            Failures are logged with or without one.
        timeout: seconds each attempt may take. An async function is cancelled; a sync one
            cannot be, so its thread is left behind and its result ignored. Default: no limit.
        retry: when to try again. Default: never.
        when: which end of the work the task waits for. Default: ``"success"``. For tasks that
            wait for no moment it means nothing and is refused.
        limit: how many of these run at a time, per function or per ``limit_key``. The rest wait.
        limit_key: what ``limit`` counts over. Default: the function.
        wait: only after_route: hold the response until the task is done, and fail the request
            with a 500 if it fails.

    Raises:
        TypeError, ValueError: an option makes no sense; the message says what was given.
    """

    name: str | None = None
    shield: bool | None = None
    on_error: Callable[[Any, Exception], Any] | None = None
    timeout: float | None = None
    retry: Retry | None = None
    when: When | None = None
    limit: int | None = None
    limit_key: Hashable | None = None
    wait: bool | None = None
    plain: bool = field(init=False, repr=False, compare=False, default=True)

    def __post_init__(self) -> None:
        if self.name is not None and not isinstance(self.name, str):
            raise TypeError(f"name= is a string; got {self.name!r}")
        for option in ("shield", "wait"):
            value = getattr(self, option)
            if value is not None and not isinstance(value, bool):
                raise TypeError(f"{option}= is True or False; got {value!r}")
        if self.on_error is not None and not callable(self.on_error):
            raise TypeError(f"on_error= is a function of (task, error); got {self.on_error!r}")
        if self.timeout is not None and (
            isinstance(self.timeout, bool)
            or not isinstance(self.timeout, int | float)
            or not math.isfinite(self.timeout)
            or self.timeout <= 0
        ):
            raise ValueError(f"timeout= is seconds, more than 0; got {self.timeout!r}")
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise TypeError(f"retry= is a Retry, such as Retry(attempts=3); got {self.retry!r}")
        if self.when is not None and self.when not in get_args(When):
            raise ValueError(f'when= is "success", "failure" or "always"; got {self.when!r}')
        if self.limit is not None and (
            isinstance(self.limit, bool) or not isinstance(self.limit, int) or self.limit < 1
        ):
            raise ValueError(f"limit= is how many may run at a time, 1 or more; got {self.limit!r}")
        if self.limit_key is not None:
            if self.limit is None:
                raise ValueError(f"limit_key={self.limit_key!r} needs a limit= to count against")
            try:
                hash(self.limit_key)
            except TypeError:
                raise TypeError(f"limit_key= must be hashable; got {self.limit_key!r}") from None

        # Whether running the function once is all there is to do; asked for every task.
        object.__setattr__(self, "plain", self.timeout is None and self.retry is None)

    def over(self, defaults: TaskConfig) -> TaskConfig:
        """These options where they say something, ``defaults`` where they do not."""
        if defaults is NOTHING_SAID:  # the usual case, and this is on the way of every task
            return self
        said = {
            each.name: value
            for each in fields(self)
            if each.init and (value := getattr(self, each.name)) is not None
        }
        return replace(defaults, **said) if said else defaults


NOTHING_SAID = TaskConfig()
"""No options at all."""
