"""When a failed task is tried again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Backoff", "Retry", "RetryOn"]

Backoff = Literal["exponential", "linear", "constant"] | Callable[[int], float]
RetryOn = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """A rule for trying again.

    Attributes:
        attempts: how often the function runs at most, the first time included. At least 1.
        backoff: how the pause grows. ``"exponential"`` doubles it each time, ``"linear"`` adds
            ``base_s`` each time, ``"constant"`` keeps it; a function gets the number of failed
            attempts so far (1, 2, ...) and returns seconds.
        base_s: the pause after the first failure, in seconds.
        max_s: no pause is longer than this, in seconds.
        jitter: draw each pause evenly from 50 to 100 % of what the rule says, so that tasks
            that failed together do not come back together.
        on: which errors are worth another attempt: exception types, or a function that is
            asked. Default: every ``Exception``, timeouts included. A cancelled task is never
            tried again.

    Raises:
        ValueError: a number makes no sense.
        TypeError: ``backoff`` or ``on`` is of another kind.
    """

    attempts: int = 3
    backoff: Backoff = "exponential"
    base_s: float = 1.0
    max_s: float = 60.0
    jitter: bool = True
    on: RetryOn = Exception

    def __post_init__(self) -> None:
        if (
            not isinstance(self.attempts, int)
            or isinstance(self.attempts, bool)
            or self.attempts < 1
        ):
            raise ValueError(
                f"Retry(attempts=) counts runs, so it is 1 or more; got {self.attempts!r}"
            )
        for name in ("base_s", "max_s"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise ValueError(f"Retry({name}=) is seconds, 0 or more; got {value!r}")
        if self.backoff not in ("exponential", "linear", "constant") and not callable(self.backoff):
            raise TypeError(
                'Retry(backoff=) is "exponential", "linear", "constant" or a function of the '
                f"number of failures; got {self.backoff!r}"
            )
        types = self.on if isinstance(self.on, tuple) else (self.on,)
        are_errors = all(isinstance(each, type) and issubclass(each, Exception) for each in types)
        if not are_errors and (isinstance(self.on, type) or not callable(self.on)):
            raise TypeError(
                f"Retry(on=) is exception types or a function of the error; got {self.on!r}"
            )

    def wants(self, error: Exception, attempts_made: int) -> bool:
        """Whether ``error``, after that many attempts, is worth another one."""
        if attempts_made >= self.attempts:
            return False
        if isinstance(self.on, tuple | type):
            return isinstance(error, self.on)
        return bool(self.on(error))

    def pause_s(self, attempts_made: int, chance: float) -> float:
        """Seconds to wait before the next attempt.

        Args:
            attempts_made: attempts that have failed, 1 or more.
            chance: a random number in [0, 1), used for jitter.
        """
        if callable(self.backoff):
            pause = float(self.backoff(attempts_made))
        elif self.backoff == "exponential":
            # 2.0**1024 overflows; no pause that long is ever wanted.
            pause = self.base_s * 2.0 ** min(attempts_made - 1, 1000)
        elif self.backoff == "linear":
            pause = self.base_s * attempts_made
        else:
            pause = self.base_s
        pause = max(0.0, min(pause, self.max_s))
        return pause * (0.5 + chance / 2) if self.jitter else pause
