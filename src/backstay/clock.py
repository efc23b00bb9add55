"""Time and chance, passed in.

Nothing else in backstay asks the operating system what time it is or draws a random number:
whoever needs either takes a ``Clock``. ``backstay.testing.FakeClock`` is the other one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "Timer"]


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> object:
        """Make the call never happen. Harmless if it already has."""


class Clock(Protocol):
    """What backstay asks of time."""

    def now(self) -> datetime:
        """The present as an aware UTC datetime, for people and records."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never go back, for measuring."""

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Timer:
        """Run ``call`` in the running event loop after ``delay_s`` seconds."""

    def poll_later(self, delay_s: float, call: Callable[[], object]) -> Timer:
        """The same for a call that looks around and comes again and again.

        A clock that jumps ahead makes one of these where real time would have made many.
        """

    async def sleep(self, delay_s: float) -> None:
        """Wait ``delay_s`` seconds without holding the event loop."""

    def random(self) -> float:
        """A number in [0, 1), for jitter. Not for secrets."""

    def new_id(self) -> str:
        """A new correlation id: 32 hex digits, unique in practice. Not for secrets."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    # asyncio takes longer to load than everything else that `import backstay` needs, and whoever
    # calls these has it loaded.

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Timer:
        import asyncio  # cheaper each time than to look up a name in it

        return asyncio.get_running_loop().call_later(delay_s, call)

    poll_later = call_later

    async def sleep(self, delay_s: float) -> None:
        from asyncio import sleep

        await sleep(delay_s)

    def random(self) -> float:
        return random.random()

    def new_id(self) -> str:
        # As unique as a UUID4 at a fifth of its price; every request makes one.
        return random.getrandbits(128).to_bytes(16).hex()
