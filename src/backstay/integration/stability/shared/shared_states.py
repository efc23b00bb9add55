"""What processes know in common, as one of them reaches it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Final, Protocol, TypeVar

from backstay.clock import Clock, SystemClock
from backstay.errors import BadIntegration
from backstay.integration.stability.shared.patience import Patience
from backstay.integration.stability.shared.port import (
    Ending,
    Lease,
    Pace,
    SharedCircuit,
    SharedStore,
    StoreUnavailable,
    Taken,
)

__all__ = ["Hearer", "SharedStates"]

logger = logging.getLogger("backstay.integration")

T = TypeVar("T")

_AT_A_TIME: Final = 500
_WARN_EVERY_S: Final = 60.0
_PRUNE_EVERY_S: Final = 600.0
_OPENING_S: Final = 2.0
"""Tables may have to be made, and no call waits for that."""
_CLOSING_S: Final = 5.0


class Hearer(Protocol):
    """A circuit of this process that wants to hear how it stands for the others."""

    @property
    def name(self) -> bytes:
        """Its name in the store."""

    @property
    def moment(self) -> tuple[int, float]:
        """A number that grows with each thing that happens to it here, and what time it is here."""

    def heard(self, found: SharedCircuit, moment: tuple[int, float]) -> None:
        """The store has answered.

        Args:
            found: how it stands.
            moment: its own when the store was asked.
        """


class SharedStates:
    """Circuits and buckets that processes have in common: ``shared=`` of the patterns.

    A store that does not answer makes nobody wait for longer than ``timeout_s``, and after three
    failures nobody at all: each process then goes on alone, and one line a minute says so. It asks
    again every ``retry_after_s``, and joins the others when there is an answer.

    Opened by the first call that needs it; ``async with`` or ``open`` do it before. Belongs to the
    event loop it is used in, and to the next one when that is closed; in another one at the same
    time, patterns go on alone.

    Args:
        store: keeps them.
        clock: what time it is here. ``None`` for the machine's.
        timeout_s: seconds that the store gets for an answer.
        retry_after_s: seconds for which a store that has failed is left alone.
        lease_s: seconds after which another process may try if the one that does is gone. Renewed
            for as long as the call takes.
        hear_every_s: seconds between two looks at a circuit that is called, at least.

    Raises:
        BadIntegration: a number is not above 0.
    """

    def __init__(
        self,
        store: SharedStore,
        *,
        clock: Clock | None = None,
        timeout_s: float = 0.25,
        retry_after_s: float = 1.0,
        lease_s: float = 5.0,
        hear_every_s: float = 1.0,
    ) -> None:
        for option, value in (
            ("timeout_s", timeout_s),
            ("retry_after_s", retry_after_s),
            ("lease_s", lease_s),
            ("hear_every_s", hear_every_s),
        ):
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise BadIntegration(f"{option}= is seconds, more than 0; got {value!r}")
        self.store = store
        self.lease_s = float(lease_s)
        self.hear_every_s = float(hear_every_s)
        self._clock: Clock = SystemClock() if clock is None else clock
        self._patience = Patience(
            store.url, clock=self._clock, timeout_s=timeout_s, retry_after_s=retry_after_s
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wanted: dict[Hearer, None] = {}
        self._is_hearing = False
        self._prune_at: float | None = None
        self._warned_at: float | None = None
        self._said_so = False

    @property
    def url(self) -> str:
        """Where the store is, without a password."""
        return self.store.url

    @property
    def is_alone(self) -> bool:
        """Whether the store is out of reach, so that this process goes on alone."""
        return self._patience.is_out

    @property
    def is_here(self) -> bool:
        """Whether it can be used in the event loop that is running."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None and not self._loop.is_closed():
                return False
            self._loop = loop
            self._wanted.clear()
            self._is_hearing = False
        return True

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        """Open the store. If it is out of reach, that is a warning: an app starts without.

        Raises:
            BadIntegration: what stands there is not ours.
        """
        if self.is_here:
            try:
                await self.ask(self.store.open, least_s=_OPENING_S)
            except StoreUnavailable as error:
                if isinstance(error.__cause__, BadIntegration):
                    raise error.__cause__ from None

    async def close(self) -> None:
        """Give up what is under way, and close the store; in seconds, even if it hangs."""
        await self._patience.close(within_s=_CLOSING_S)
        self._wanted.clear()
        await asyncio.wait({self._patience.start(self.store.close())}, timeout=_CLOSING_S)

    async def __aenter__(self) -> SharedStates:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # ------------------------------------------------------------------ asking

    async def ask(
        self, question: Callable[[], Coroutine[Any, Any, T]], *, least_s: float = 0.0
    ) -> T:
        """What the store answers.

        Args:
            question: asks.
            least_s: seconds that it gets at least.

        Raises:
            StoreUnavailable: it does not answer in time, or never will; that has been logged.
        """
        try:
            answer = await self._patience.ask(question, least_s=least_s)
        except StoreUnavailable as error:
            self._warn(error)
            raise
        except BadIntegration as error:
            self._warn(error)
            raise StoreUnavailable(str(error)) from error
        if self._said_so:
            self._said_so = False
            logger.info("the circuits and buckets at %s are in reach again", self.url)
        self._keep_pruned()
        return answer

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run something in the background, from any thread.

        Returns:
            The task; ``None`` if this is another thread or event loop, or there is none any more.
        """
        try:
            if asyncio.get_running_loop() is self._loop:
                return self._patience.start(coroutine)
        except RuntimeError:
            pass
        try:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._patience.start, coroutine)
        except RuntimeError:  # it is closed, and whoever waited for it is gone
            coroutine.close()
        return None

    def _warn(self, error: Exception) -> None:
        now = self._clock.monotonic()
        if self._warned_at is None or now - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = now
            self._said_so = True
            logger.warning(
                "circuits and buckets are not shared at the moment, this process goes on alone: %s",
                error,
                exc_info=error.__cause__,
            )

    # ------------------------------------------------------------------ circuits

    def hear(self, circuit: Hearer) -> None:
        """Have a circuit told how it stands, soon. Those that ask together are answered together."""
        self._wanted[circuit] = None
        if not self._is_hearing:
            self._is_hearing = True
            self.start(self._hear())

    async def _hear(self) -> None:
        try:
            while self._wanted:
                circuits = list(islice(self._wanted, _AT_A_TIME))
                for each in circuits:
                    del self._wanted[each]
                moments = [each.moment for each in circuits]
                names = [each.name for each in circuits]
                found = await self.ask(partial(self.store.look, names))
                for circuit, moment, each_found in zip(circuits, moments, found, strict=True):
                    circuit.heard(each_found, moment)
        except StoreUnavailable:
            self._wanted.clear()  # they ask again
        finally:
            self._is_hearing = False

    async def trip(self, name: bytes, *, epoch: int, reset_s: float) -> SharedCircuit:
        """As the store's."""
        return await self.ask(partial(self.store.trip, name, epoch=epoch, reset_s=reset_s))

    async def lease(self, name: bytes) -> Lease:
        """As the store's."""
        return await self.ask(partial(self.store.lease, name, lease_s=self.lease_s))

    async def keep(self, name: bytes, epoch: int, clock: Clock) -> None:
        """Renew a lease until it is lost, or this is cancelled."""
        while True:
            await clock.sleep(self.lease_s / 3)
            try:
                renewed = await self.ask(
                    partial(self.store.renew, name, epoch=epoch, lease_s=self.lease_s)
                )
            except StoreUnavailable:
                continue  # it may be back before the lease is over
            if not renewed:
                return

    async def settle(
        self, name: bytes, *, epoch: int, ending: Ending, reset_s: float
    ) -> SharedCircuit:
        """As the store's."""
        return await self.ask(
            partial(self.store.settle, name, epoch=epoch, ending=ending, reset_s=reset_s)
        )

    # ------------------------------------------------------------------ buckets

    async def take(self, name: bytes, pace: Pace, *, count: int, max_wait_s: float) -> Taken:
        """As the store's."""
        return await self.ask(
            partial(self.store.take, name, pace, count=count, max_wait_s=max_wait_s)
        )

    async def give_back(self, name: bytes, pace: Pace, *, mark: int) -> None:
        """As the store's; if it cannot be reached the place is lost."""
        with suppress(StoreUnavailable):
            await self.ask(partial(self.store.give_back, name, pace, mark=mark))

    # ------------------------------------------------------------------ upkeep

    def _keep_pruned(self) -> None:
        now = self._clock.monotonic()
        if self._prune_at is None or now >= self._prune_at:
            is_first = self._prune_at is None
            # Processes that start together do not do this together.
            self._prune_at = now + _PRUNE_EVERY_S * (0.5 + self._clock.random())
            if not is_first:
                self.start(self._prune())

    async def _prune(self) -> None:
        pruned = _AT_A_TIME
        # Whoever asks for more says that it is out of reach, and this can wait.
        with suppress(StoreUnavailable, BadIntegration):
            while pruned == _AT_A_TIME:
                pruned = await self._patience.ask(partial(self.store.prune, _AT_A_TIME))
