"""A circuit: closed while calls succeed, open after many failed, closed again by a probe.

::

    CLOSED --- too many failures in the window ---> OPEN
      ^                                              |
      |                                        reset_timeout
      |                                              v
      +---------- the one probe succeeds ------- HALF-OPEN --- it fails ---> OPEN

Knows no clock and no functions: whoever uses it says what time it is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from typing import Final

__all__ = ["Circuit", "CircuitRules", "CircuitState", "Outcome", "Permit", "Standing"]

_SLOTS: Final = 10
"""The window moves on in tenths of itself."""


class CircuitState(StrEnum):
    """How a circuit stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Outcome(StrEnum):
    """What a call says of the other side."""

    SUCCESS = "success"
    FAILURE = "failure"
    NOTHING = "nothing"
    """It was cancelled, or ended with an error that does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitRules:
    """When a circuit opens and closes.

    Attributes:
        fail_threshold: failures in the window, at least.
        fail_rate: share of failures among the window's calls, at least; from 0 to 1.
        minimum_calls: calls in the window, at least.
        window_s: seconds that a call counts for.
        reset_s: seconds from opening to the probe.
    """

    fail_threshold: int
    fail_rate: float
    minimum_calls: int
    window_s: float
    reset_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How a circuit stands.

    Attributes:
        state: open, closed or in between.
        calls: that ended in the window, with success or failure.
        failures: those of them.
        opens_in_s: seconds until a call may try, 0 if one may or if it is closed.
    """

    state: CircuitState
    calls: int
    failures: int
    opens_in_s: float


class Permit:
    """Leave to make one call.

    Attributes:
        is_probe: the circuit waits for how this call ends.
        settled: how it ended is known.
    """

    __slots__ = ("is_probe", "period", "settled")

    def __init__(self, period: int, *, is_probe: bool) -> None:
        self.period = period
        self.is_probe = is_probe
        self.settled = False


class _Window:
    """Successes and failures of the last seconds. A circuit's lock guards it."""

    __slots__ = ("_slot_s", "_slots", "calls", "failures")

    def __init__(self, window_s: float) -> None:
        self._slot_s = window_s / _SLOTS
        self._slots: deque[list[int]] = deque()
        """Of each slot that had calls: its number, its calls, its failures."""
        self.calls = 0
        self.failures = 0

    def add(self, now: float, *, failed: bool) -> None:
        number = self.move_to(now)
        if not self._slots or self._slots[-1][0] < number:
            self._slots.append([number, 0, 0])
        # Otherwise the newest, though a thread's time may be a little older.
        self._slots[-1][1] += 1
        self._slots[-1][2] += failed
        self.calls += 1
        self.failures += failed

    def move_to(self, now: float) -> int:
        number = int(now // self._slot_s)
        while self._slots and self._slots[0][0] <= number - _SLOTS:
            _, calls, failures = self._slots.popleft()
            self.calls -= calls
            self.failures -= failures
        return number

    def clear(self) -> None:
        self._slots.clear()
        self.calls = self.failures = 0


class Circuit:
    """Says which calls may be made. Safe to use from several threads.

    Calls that began before the circuit last opened or closed say nothing any more: late failures of
    an outage do not open it again, late successes do not close it.
    """

    __slots__ = ("_lock", "_opened_until", "_period", "_probe", "_rules", "_window")

    def __init__(self, rules: CircuitRules) -> None:
        self._rules = rules
        self._window = _Window(rules.window_s)
        self._opened_until: float | None = None
        self._probe: Permit | None = None
        self._period = 0
        self._lock = Lock()

    def state(self, now: float) -> CircuitState:
        """How it stands."""
        with self._lock:
            if self._opened_until is None:
                return CircuitState.CLOSED
            if self._probe is not None or now >= self._opened_until:
                return CircuitState.HALF_OPEN
            return CircuitState.OPEN

    def admit(self, now: float) -> Permit | float:
        """Leave to make a call, to be settled in any case; or the seconds until there may be one.

        While a probe is under way nobody knows, and it says 0.
        """
        with self._lock:
            if self._opened_until is None:
                return Permit(self._period, is_probe=False)
            if now < self._opened_until:
                return self._opened_until - now
            if self._probe is not None:
                return 0.0
            self._probe = Permit(self._period, is_probe=True)
            return self._probe

    def settle(self, permit: Permit, outcome: Outcome, now: float) -> CircuitState | None:
        """A call has ended; only the first word about it counts.

        Returns:
            How the circuit stands if that changed it, otherwise ``None``.
        """
        with self._lock:
            if permit.settled:
                return None
            permit.settled = True
            if permit.period != self._period:
                return None
            if permit.is_probe:
                self._probe = None
                if outcome is Outcome.NOTHING:
                    return None  # the next call is the probe
                return self._turn(None if outcome is Outcome.SUCCESS else now)
            if outcome is not Outcome.NOTHING:
                self._window.add(now, failed=outcome is Outcome.FAILURE)
                if outcome is Outcome.FAILURE and self._is_too_much():
                    return self._turn(now)
            return None

    def open_until(self, at: float) -> bool:
        """It is open until then, for somebody else has found out. Whether it was closed before.

        A probe that is under way says nothing any more.
        """
        with self._lock:
            was_closed = self._opened_until is None
            self._probe = None
            self._turn(None)
            self._opened_until = at
            return was_closed

    def close(self) -> bool:
        """It is closed, for somebody else has found out. Whether it was open before.

        What its window holds is forgotten in any case.
        """
        with self._lock:
            was_open = self._opened_until is not None
            self._probe = None
            self._turn(None)
            return was_open

    def standing(self, now: float) -> Standing:
        """How it stands, with numbers."""
        state = self.state(now)
        with self._lock:
            self._window.move_to(now)
            until = self._opened_until
            return Standing(
                state,
                self._window.calls,
                self._window.failures,
                0.0 if until is None else max(0.0, until - now),
            )

    def is_idle(self, now: float) -> bool:
        """Whether it stands as a new one does: closed, nothing in its window."""
        with self._lock:
            self._window.move_to(now)
            return self._opened_until is None and self._window.calls == 0

    def _is_too_much(self) -> bool:
        rules, window = self._rules, self._window
        return (
            window.failures >= rules.fail_threshold
            and window.calls >= rules.minimum_calls
            and window.failures >= rules.fail_rate * window.calls
        )

    def _turn(self, opened_at: float | None) -> CircuitState:
        """Open it, or close it where that is ``None``."""
        self._period += 1
        self._window.clear()
        if opened_at is None:
            self._opened_until = None
            return CircuitState.CLOSED
        self._opened_until = opened_at + self._rules.reset_s
        return CircuitState.OPEN
