"""What ``base_pattern`` leaves in an app that lives as long as it: its health, and its end."""

from __future__ import annotations

import asyncio

from backstay.context import Context
from backstay.pattern.health import Health
from backstay.signals import SignalChain

__all__ = ["PatternPart"]


class PatternPart:
    """Says when the app is about to end.

    Args:
        health: how it stands.

    Attributes:
        is_draining: whether the process has been asked to stop: it finishes what it has, and
            should get nothing more.
    """

    attribute = "pattern"

    def __init__(self, health: Health) -> None:
        self.health = health
        self.is_draining = False
        self._signals: SignalChain | None = None

    def bind(self, ctx: Context) -> Health:
        """``ctx.pattern``: how the service stands."""
        return self.health

    async def open(self) -> None:
        """Listen for signals."""
        self.is_draining = False
        self._signals = SignalChain(self._drain)
        self._signals.install(asyncio.get_running_loop())

    def _drain(self) -> None:
        self.is_draining = True

    async def close(self) -> None:
        """The end has come, by a signal or otherwise."""
        self.is_draining = True
        if self._signals is not None:
            self._signals.remove()
            self._signals = None
        await self.health.close()
