"""Several processes that share, as far as that can be had in one; and a store with moods."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from backstay.errors import CallRefused
from backstay.integration import sp
from backstay.integration.stability.shared import SharedStates
from backstay.integration.stability.shared.memory_store import MemoryStore
from backstay.integration.stability.shared.port import StoreUnavailable
from backstay.testing import FakeClock

__all__ = ["MoodyStore", "Process", "Upstream", "until"]


async def until(condition: Callable[[], object]) -> None:
    """Let others run until that holds; the test's own patience ends it."""
    while not condition():
        await asyncio.sleep(0)


class MoodyStore(MemoryStore):
    """A store that answers, fails, or hangs; and can forget everything.

    Attributes:
        mood: what it does.
        asked: what it was asked, by name, and has answered.
        begun: the same, whether it has answered or not.
        gates: what waits before it is done, by name, and for what.
        late: what is done, and answered only then.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.mood: Literal["answers", "fails", "hangs", "breaks"] = "answers"
        self.asked: list[str] = []
        self.begun: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.late: dict[str, asyncio.Event] = {}

    def forget(self) -> None:
        self._circuits.clear()
        self._buckets.clear()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in {"look", "trip", "lease", "renew", "settle", "take", "give_back", "open"}:
            return found

        async def moody(*args: Any, **kwargs: Any) -> Any:
            self.begun.append(name)
            if name in self.gates:
                await self.gates[name].wait()
            if self.mood == "fails":
                raise StoreUnavailable("it is somewhere else today")
            if self.mood == "breaks":
                raise ZeroDivisionError
            if self.mood == "hangs":
                await asyncio.Event().wait()
            answer = await found(*args, **kwargs)
            if name in self.late:
                await self.late[name].wait()
            self.asked.append(name)
            return answer

        return moody


class Upstream:
    """Another service that all processes call."""

    def __init__(self) -> None:
        self.is_down = False
        self.calls = 0
        self.running = 0
        self.most = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def hold(self) -> asyncio.Event:
        """From now on calls wait, until what this returns is set."""
        self.may_answer = asyncio.Event()
        return self.may_answer

    def hold_no_more(self) -> None:
        """Calls from now on are answered at once; those that wait go on waiting."""
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self) -> str:
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.may_answer.wait()
            if self.is_down:
                raise OSError("down")
            return "answer"
        finally:
            self.running -= 1


class Process:
    """A function with a breaker, and what it shares: another one of each for each process.

    Attributes:
        states: what it shares.
        ask: the function.
    """

    def __init__(
        self,
        store: MemoryStore,
        clock: FakeClock,
        upstream: Upstream,
        *,
        lease_s: float = 5.0,
        timeout_s: float = 0.25,
        **options: Any,
    ) -> None:
        self.clock = clock
        self.states = SharedStates(store, clock=clock, lease_s=lease_s, timeout_s=timeout_s)

        @sp.CircuitBreaker(shared=self.states, clock=clock, **options)
        async def ask() -> str:
            return await upstream.ask()

        self.ask: Callable[[], Awaitable[str]] = ask

    async def try_to(self) -> str:
        """``"answer"``, ``"failed"`` or ``"refused"``."""
        try:
            return await self.ask()
        except OSError:
            return "failed"
        except CallRefused:
            return "refused"

    async def fail(self, times: int = 3) -> None:
        for _ in range(times):
            assert await self.try_to() == "failed"

    async def hear(self) -> None:
        """Call once after a second, and let the answer come in."""
        await self.clock.advance(1)
        await self.try_to()
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until nothing is under way in the background, but for leases that are kept."""
        for _ in range(30):
            await asyncio.sleep(0)
