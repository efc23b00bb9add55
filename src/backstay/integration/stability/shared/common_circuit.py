"""A circuit that several processes have in common, as one of them sees it.

Calls are counted here, and a closed circuit asks nobody. What is done in common:

- When it opens here, the store is told, in the background; others hear of it as they look, which
  each call makes happen, at most once a second and without waiting for the answer.
- When its time has come, the store says who may try: one process, for as long as it renews its
  lease. It alone is heard when it says how that went; that closes it for all, or has it open for
  all.
- What somebody says who was away for too long changes nothing: the store's epoch has moved on.

While the store is out of reach it is a circuit of this process alone.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from backstay.clock import Clock
from backstay.integration.stability.circuit import (
    Circuit,
    CircuitRules,
    CircuitState,
    Outcome,
    Permit,
)
from backstay.integration.stability.shared.port import (
    ANY_EPOCH,
    Ending,
    SharedCircuit,
    StoreUnavailable,
)
from backstay.integration.stability.shared.shared_states import SharedStates

__all__ = ["CommonCircuit"]

logger = logging.getLogger("backstay.integration")

_ASK_EVERY_S: Final = 0.25
"""While another process tries, it is asked so often whether it still does."""

_NEWS_S: Final = 2.0
"""What was heard so long ago says nothing about what others have done since."""

_ENDINGS: Final = {
    Outcome.SUCCESS: Ending.SUCCESS,
    Outcome.FAILURE: Ending.FAILURE,
    Outcome.NOTHING: Ending.NOTHING,
}


class CommonCircuit(Circuit):
    """A circuit that others have, too, once it has joined them. Until then it is an ordinary one.

    What it does in common belongs to one event loop. Implements ``Hearer``.
    """

    __slots__ = (
        "_ask_at",
        "_clock",
        "_epoch",
        "_hear_at",
        "_heard_at",
        "_keeping",
        "_label",
        "_lease",
        "_probing",
        "_reset_s",
        "_saying",
        "_telling",
        "_unsaid",
        "name",
        "states",
        "version",
    )

    def __init__(self, rules: CircuitRules) -> None:
        super().__init__(rules)
        self._reset_s = rules.reset_s
        self.states: SharedStates | None = None
        self.name = b""
        self.version = 0
        self._label = ""
        self._clock: Clock | None = None
        self._epoch: int | None = None
        """The latest that was heard of."""
        self._heard_at = 0.0
        self._hear_at: float | None = None
        self._ask_at = 0.0
        self._unsaid = False
        """It was opened here, and the store has not heard of it."""
        self._saying = False
        self._probing = False
        """A call tries, or asks whether it may, or its ending is being told."""
        self._lease: int | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None

    def join(self, states: SharedStates, name: bytes, *, label: str, clock: Clock) -> None:
        """Have it in common with whoever has that name there.

        Args:
            states: where.
            name: its name there.
            label: its name for people.
            clock: what time it is here.
        """
        self.states, self.name, self._label, self._clock = states, name, label, clock
        self.version += 1
        self._epoch = self._hear_at = None
        self._ask_at = 0.0
        # What was found out alone is worth telling.
        self._unsaid = self.state(clock.monotonic()) is not CircuitState.CLOSED

    # ------------------------------------------------------------------ before a call

    def keep_hearing(self, now: float) -> None:
        """It is being called: look how it stands for others, unless that was done just now."""
        states = self.states
        assert states is not None
        if self._hear_at is None or now >= self._hear_at:
            self._hear_at = now + states.hear_every_s
            states.hear(self)

    async def ask_to_probe(self, probe: Permit) -> Permit | float:
        """Whether a call that may try, as far as this process knows, really may.

        Args:
            probe: what ``admit`` gave.

        Returns:
            As ``admit``: leave to try, or to make an ordinary call, or the seconds until then.
        """
        states, clock = self.states, self._clock
        assert states is not None
        assert clock is not None
        now = clock.monotonic()
        if now < self._ask_at:
            self.settle(probe, Outcome.NOTHING, now)
            return 0.0
        self._probing = True
        try:
            lease = await states.lease(self.name)
        except StoreUnavailable:
            return probe  # on its own
        except BaseException:  # cancelled; a lease that was given is not renewed
            self._probing = False
            self.settle(probe, Outcome.NOTHING, clock.monotonic())
            raise
        if lease.granted:
            self._epoch = self._lease = lease.circuit.epoch
            self._unsaid = False
            self._keeping = states.start(states.keep(self.name, lease.circuit.epoch, clock))
            return probe
        self._probing = False
        self.settle(probe, Outcome.NOTHING, clock.monotonic())
        if not (self._unsaid and not lease.circuit.is_open):
            self._adopt(lease.circuit, now)
        else:
            self._say_soon()
        again = self.admit(clock.monotonic())
        if isinstance(again, Permit) and again.is_probe:
            self.settle(again, Outcome.NOTHING, clock.monotonic())
            return 0.0
        return again

    # ------------------------------------------------------------------ after a call

    def settle_in_common(self, permit: Permit, outcome: Outcome) -> CircuitState | None:
        """A call has ended; only the first word about it counts. From any thread.

        Returns:
            As ``settle``. ``None`` for a probe that the store is being told of: ``told`` waits.
        """
        states, clock = self.states, self._clock
        assert states is not None
        assert clock is not None
        if permit.settled:
            return None
        now = clock.monotonic()
        lease = self._lease
        if not permit.is_probe or lease is None:
            turned = self.settle(permit, outcome, now)
            if permit.is_probe:
                self._probing = False
            if turned is not None:
                self.version += 1
                self._unsaid = turned is CircuitState.OPEN
                if self._unsaid:
                    self._say_soon()
            return turned
        permit.settled = True
        self._lease = None
        self._telling = states.start(self._tell(lease, outcome, clock))
        return None

    async def told(self) -> None:
        """Wait until the store has heard how the probe ended, or cannot be reached."""
        if self._telling is not None and not self._telling.done():
            await asyncio.wait({self._telling})

    async def _tell(self, lease: int, outcome: Outcome, clock: Clock) -> None:
        assert self.states is not None
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        found: SharedCircuit | None = None
        now = clock.monotonic()
        try:
            found = await self.states.settle(
                self.name, epoch=lease, ending=_ENDINGS[outcome], reset_s=self._reset_s
            )
        except StoreUnavailable:
            pass
        finally:
            self.version += 1
            self._probing = False
            if found is None:
                self._end_alone(outcome, now)
            else:
                self._adopt(found, now, outcome)

    def _end_alone(self, outcome: Outcome, now: float) -> None:
        """Nobody has heard how the probe ended."""
        if outcome is Outcome.SUCCESS:
            self.close()
            logger.info("the circuit of %s is closed again", self._label)
        elif outcome is Outcome.FAILURE:
            self.open_until(now + self._reset_s)
            logger.warning(
                "the circuit of %s is open: no calls for %g s", self._label, self._reset_s
            )
        else:
            self.open_until(now)

    # ------------------------------------------------------------------ saying and hearing

    def _say_soon(self) -> None:
        if not self._saying:
            assert self.states is not None
            self._saying = True
            self.states.start(self._say())

    async def _say(self) -> None:
        """Tell the store that it is open, unless somebody else has been faster."""
        states, clock = self.states, self._clock
        assert states is not None
        assert clock is not None
        try:
            while self._unsaid:
                now, version = clock.monotonic(), self.version
                is_news = self._epoch is not None and now - self._heard_at <= _NEWS_S
                found = await states.trip(
                    self.name,
                    epoch=self._epoch if is_news and self._epoch is not None else ANY_EPOCH,
                    reset_s=self.standing(now).opens_in_s,
                )
                if version == self.version and not self._probing:
                    self.version += 1
                    self._unsaid = False
                    self._adopt(found, now)
        except StoreUnavailable:
            pass  # it is said when the store is heard of again
        finally:
            self._saying = False

    @property
    def moment(self) -> tuple[int, float]:
        assert self._clock is not None
        return self.version, self._clock.monotonic()

    def heard(self, found: SharedCircuit, moment: tuple[int, float]) -> None:
        version, now = moment
        if self._probing or version != self.version:
            return  # it was asked before that, and what comes of it is heard soon
        if self._unsaid and not found.is_open:
            self._epoch, self._heard_at = found.epoch, now
            self._say_soon()
        else:
            self._adopt(found, now)

    def _adopt(self, found: SharedCircuit, now: float, outcome: Outcome | None = None) -> None:
        """Stand as it stands for others.

        Args:
            found: how that is.
            now: what time it was here when it was asked. So its time comes a little early here
                rather than late, and then the store is asked.
            outcome: how the probe ended that this is the answer to; ``None`` for no probe.
        """
        before = self._epoch
        self._heard_at = now
        if found.is_open:
            self._epoch = found.epoch
            self._unsaid = False
            self._ask_at = now + min(found.leased_for_s, _ASK_EVERY_S)
            if self.open_until(now + found.opens_in_s):
                logger.info("the circuit of %s is open: another process says so", self._label)
            elif outcome is Outcome.FAILURE:
                logger.warning(
                    "the circuit of %s is open: no calls for %g s", self._label, found.opens_in_s
                )
            return
        is_news = before is None or found.epoch > before
        if self.state(now) is CircuitState.CLOSED:
            self._epoch = found.epoch
            if is_news and before is not None:
                self.close()  # what was counted before others opened and closed it is of the past
        elif is_news:
            self._epoch = found.epoch
            self.close()
            logger.info("the circuit of %s is closed again", self._label)
        else:
            # The store has lost its memory: it never heard of this opening, or does not any more.
            self._unsaid = True
            self._say_soon()

    def is_idle(self, now: float) -> bool:
        return not (self._unsaid or self._probing) and super().is_idle(now)
