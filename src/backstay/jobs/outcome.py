"""What a durable task may say instead of succeeding: returned or raised, it means the same."""

from __future__ import annotations

import math

__all__ = ["Cancel", "Discard", "OUTCOMES", "RetryLater", "Snooze"]


class _Outcome(Exception):  # it is an answer, not an error; raising is a way to give it
    """A decision about this job. Subclassing ``Exception`` lets it be raised from any depth."""


class Snooze(_Outcome):
    """Not now: run it again later. Does not use up an attempt.

    Args:
        seconds: when, 0 or more.

    Raises:
        ValueError: ``seconds`` is no such number.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = _seconds(seconds, "Snooze")


class RetryLater(_Outcome):
    """The attempt failed: try again after ``seconds``, whatever the backoff would say.

    Uses up an attempt; the last one ends in the dead letter list.

    Args:
        seconds: when, 0 or more.
        reason: for people, shown among the job's errors.
    """

    def __init__(self, seconds: float, reason: str = "the task asked to be retried later") -> None:
        super().__init__(seconds, reason)
        self.seconds = _seconds(seconds, "RetryLater")
        self.reason = reason


class Cancel(_Outcome):
    """There is nothing left to do: the job ends as cancelled.

    Args:
        reason: for people.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Discard(_Outcome):
    """No retry can help: straight to the dead letter list.

    Args:
        reason: for people.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


OUTCOMES: tuple[type[Exception], ...] = (Snooze, RetryLater, Cancel, Discard)


def _seconds(value: float, of: str) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value < 0
    ):
        raise ValueError(f"{of}(seconds) is a number of seconds, 0 or more; got {value!r}")
    return float(value)
