"""Hearing that the process is asked to stop, without taking that from whoever else listens."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["SignalChain"]


class SignalChain:
    """Hears SIGTERM and SIGINT before whoever handles them now, and passes them on.

    Servers wait for open requests before they end the lifespan, so an app that listened to the
    lifespan alone would start draining long after it was asked to stop.

    Args:
        on_signal: called in the event loop for each signal.
    """

    def __init__(self, on_signal: Callable[[], None]) -> None:
        self._on_signal = on_signal
        self._previous: dict[signal.Signals, Any] = {}
        self._installed: dict[signal.Signals, Any] = {}

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Chain in. Does nothing outside the main thread, where signals cannot be had."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)
            if not callable(previous):
                # Default or ignored: nobody means to stop gracefully, and catching the
                # signal would only keep the process from ending.
                continue

            def handle(
                received: int,
                frame: FrameType | None,
                pass_on: Callable[[int, FrameType | None], Any] = previous,
            ) -> None:
                with contextlib.suppress(RuntimeError):  # the loop is closed already
                    loop.call_soon_threadsafe(self._on_signal)
                pass_on(received, frame)

            self._previous[number] = previous
            self._installed[number] = handle
            signal.signal(number, handle)

    def remove(self) -> None:
        """Leave the chain, unless somebody else chained in after us."""
        for number, previous in self._previous.items():
            if signal.getsignal(number) is self._installed[number]:
                signal.signal(number, previous)
        self._previous.clear()
        self._installed.clear()
