"""The port to whatever keeps what processes know in common, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from backstay.errors import BadIntegration, IntegrationError

__all__ = [
    "ANY_EPOCH",
    "CLOSED",
    "Ending",
    "Lease",
    "Pace",
    "SharedCircuit",
    "SharedStore",
    "StoreUnavailable",
    "Taken",
]

ANY_EPOCH: Final = 2**53 - 1
"""More than any there will be, and still a whole number where all numbers are floats (Lua)."""

_MICRO: Final = 1_000_000


class StoreUnavailable(IntegrationError):
    """The store is out of reach. It never leaves this room: patterns then do without."""


class Ending(StrEnum):
    """How a probe ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    NOTHING = "nothing"
    """It says nothing; whoever comes next may try."""


@dataclass(frozen=True, slots=True)
class SharedCircuit:
    """How a circuit stands for everybody.

    Attributes:
        epoch: grows with each change, and never repeats, even if the store forgets everything: it
            is the store's time of the change in microseconds, or one more than before. 0 if
            nothing is known.
        is_open: whether calls are refused, but for a probe.
        opens_in_s: seconds, from the answer on, until one call may try; 0 if one may.
        leased_for_s: seconds for which somebody has the right to try, 0 if nobody has.
    """

    epoch: int = 0
    is_open: bool = False
    opens_in_s: float = 0.0
    leased_for_s: float = 0.0


CLOSED: Final = SharedCircuit()
"""How a circuit stands that nobody has heard of."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What came of asking for the right to try.

    Attributes:
        granted: whether it was given; ``circuit.epoch`` is what it is shown by then.
        circuit: how the circuit stands after that.
    """

    granted: bool
    circuit: SharedCircuit


class Pace:
    """So many calls a second, in whole microseconds, so that every store counts the same.

    What is between two calls is rounded up: never more calls than was said, and at 10,000 a second
    up to one in a hundred less.

    Args:
        rate: calls a second.
        burst: calls at once after a pause, 1 or more.
    """

    __slots__ = ("each_us", "slack_us")

    def __init__(self, rate: float, burst: int) -> None:
        self.each_us = max(1, -int(-_MICRO // rate))
        self.slack_us = (burst - 1) * self.each_us
        if self.each_us + self.slack_us > 2**50:
            raise BadIntegration(
                f"a burst of {burst} at {rate:g} calls a second takes longer than 35 years to come "
                "back; several processes do not share that"
            )


@dataclass(frozen=True, slots=True)
class Taken:
    """Places in the order of calls.

    Attributes:
        count: how many, 0 if none.
        next_in_s: seconds until there would be one more, 0 if there is. Of those that were taken
            the last may be made one interval before that, and so on.
        mark: the store's word for the last of them.
    """

    count: int
    next_in_s: float
    mark: int = 0


class SharedStore(Protocol):
    """Keeps circuits and buckets. Each call is one step for whoever else asks.

    Names are digests of 16 bytes. Time is the store's own: the server's, or where there is none
    that of the one machine whose processes it serves. What is asked and not answered may have been
    done; asked once more, it does no harm.

    All raise ``StoreUnavailable`` if it is out of reach.
    """

    @property
    def url(self) -> str:
        """Where it is, without a password."""

    async def open(self) -> None:
        """Get ready. The first call does it too.

        Raises:
            BadIntegration: what stands there is not ours.
        """

    async def close(self) -> None:
        """Let go of connections. Using it again opens it again."""

    # ------------------------------------------------------------------ circuits

    async def look(self, names: Sequence[bytes]) -> list[SharedCircuit]:
        """How they stand, in that order."""

    async def trip(self, name: bytes, *, epoch: int, reset_s: float) -> SharedCircuit:
        """Open a circuit, if it is closed and nobody has changed it since.

        Args:
            name: which.
            epoch: the latest that whoever asks has heard of.
            reset_s: seconds until a call may try.

        Returns:
            How it stands after that, whoever opened it.
        """

    async def lease(self, name: bytes, *, lease_s: float) -> Lease:
        """Get the right to try, if the circuit is open, its time has come, and nobody else has it.

        Of a circuit that the store has never heard of it is given, too: it has lost its memory.

        Args:
            name: which.
            lease_s: seconds that the right is for.
        """

    async def renew(self, name: bytes, *, epoch: int, lease_s: float) -> bool:
        """Have the right for so many seconds from now. Whether it was still there to be renewed.

        Args:
            name: which.
            epoch: of the lease.
            lease_s: seconds that the right is for.
        """

    async def settle(
        self, name: bytes, *, epoch: int, ending: Ending, reset_s: float
    ) -> SharedCircuit:
        """Say how the probe ended. Heard only from who still has the right to try.

        Args:
            name: which.
            epoch: of the lease.
            ending: success closes the circuit for all, failure has it open for ``reset_s`` more.
            reset_s: seconds.

        Returns:
            How it stands after that, whoever said so.
        """

    # ------------------------------------------------------------------ buckets

    async def take(self, name: bytes, pace: Pace, *, count: int, max_wait_s: float) -> Taken:
        """Get places for as many calls as may be made within ``max_wait_s``, ``count`` at most.

        In any ``t`` seconds at most ``burst + rate * t`` calls of all processes are let through
        (GCRA, ITU-T I.371, annex A).
        """

    async def give_back(self, name: bytes, pace: Pace, *, mark: int) -> None:
        """The last of the places is not used. Lost if others have come after it."""

    # ------------------------------------------------------------------ upkeep

    async def prune(self, at_most: int) -> int:
        """Remove what no longer matters, some at a time: full buckets, and circuits that nobody
        has changed for a day. How many there were.
        """
