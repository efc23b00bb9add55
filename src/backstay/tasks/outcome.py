"""How a task ended: values, not exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeAlias

from typing_extensions import TypeVar

__all__ = ["Cancelled", "Failed", "Outcome", "Skipped", "Succeeded"]

R_co = TypeVar("R_co", covariant=True, default=Any)


@dataclass(frozen=True, slots=True)
class Succeeded(Generic[R_co]):
    """The function returned ``value``, at the first attempt or a later one."""

    value: R_co
    ok = True


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised ``error`` and no attempts were left."""

    error: Exception
    ok = False


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The task was cancelled before it could finish, or before it started; ``reason`` says by whom."""

    reason: str
    ok = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """The task never started: it waited for a success or a failure that did not come."""

    reason: str
    ok = False


Outcome: TypeAlias = Succeeded[R_co] | Failed | Cancelled | Skipped
"""``outcome.ok`` tells; ``match`` tells more."""
