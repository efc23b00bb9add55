"""Telemetry as a part of an app."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from backstay.app import Backstay
from backstay.context import Context
from backstay.telemetry.exposition import forget_process, written
from backstay.telemetry.metrics import Metrics
from backstay.telemetry.sampling import Sampler
from backstay.telemetry.spans import Spans

__all__ = ["TelemetryPart"]

_LOOK_EVERY_S = 5.0


class TelemetryPart:
    """What ``add_telemetry(app)`` and ``add_metrics(app)`` switch on.

    Args:
        backstay: whose.
        metrics: ``None`` if there are none.
        spans: ``None`` if there are none.
    """

    attribute = "telemetry"

    def __init__(
        self, backstay: Backstay, *, metrics: Metrics | None, spans: Spans | None = None
    ) -> None:
        self.metrics = metrics
        self.spans = spans
        self._app = backstay
        self._sampler = None if metrics is None else Sampler(backstay, metrics)
        self._looking: asyncio.Task[None] | None = None

    def bind(self, ctx: Context) -> TelemetryPart:
        """``ctx.telemetry``: the app's, for metrics of its own."""
        return self

    async def open(self) -> None:
        """Where several processes share their metrics, begin to put this one's there."""
        if self.metrics is not None and self.metrics.shared_dir is not None:
            self._looking = asyncio.create_task(self._keep_looking())

    async def close(self) -> None:
        """No more; and what runs in this process is nothing from now on."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
        if self.metrics is not None:
            forget_process(self.metrics)

    async def scrape(
        self, *, accept: str = "", accept_encoding: str = ""
    ) -> tuple[bytes, dict[str, str]]:
        """The metrics as they are now, written in a thread: that takes milliseconds.

        Args:
            accept: as ``Accept`` of HTTP.
            accept_encoding: as ``Accept-Encoding``.

        Returns:
            The body and its headers.

        Raises:
            RuntimeError: there are no metrics.
        """
        metrics, sampler = self.metrics, self._sampler
        if metrics is None or sampler is None:
            raise RuntimeError("this app has no metrics: add_telemetry(app, metrics=True)")
        sampler.look()
        await sampler.ask()
        return await asyncio.to_thread(
            written, metrics, accept=accept, accept_encoding=accept_encoding
        )

    async def _keep_looking(self) -> None:
        """What others are to see has to be written down before they are asked for it."""
        assert self._sampler is not None
        while True:
            self._sampler.look()
            await self._app.clock.sleep(_LOOK_EVERY_S)
