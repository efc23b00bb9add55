"""What the inspector's pages are told while they are open (server-sent events)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

__all__ = ["Bulletin"]

_QUIET_S = 15.0


class Bulletin:
    """News for any number of readers. Who comes later is told how things stand first."""

    def __init__(self) -> None:
        self._standing: dict[tuple[str, str], dict[str, Any]] = {}
        self._readers: set[asyncio.Queue[str | None]] = set()

    def post(self, kind: str, about: str = "", *, standing: bool = True, **told: Any) -> None:
        """Tell every reader.

        Args:
            kind: the event's name.
            about: what it is about, of several of a kind.
            standing: whether later readers are told too, until there is newer news of it.
            told: its data.
        """
        told = {"about": about, **told} if about else told
        if standing:
            self._standing[kind, about] = told
        for reader in self._readers:
            reader.put_nowait(_event(kind, told))

    def forget(self, kind: str, about: str = "") -> None:
        """Later readers are not told of it."""
        self._standing.pop((kind, about), None)

    def close(self) -> None:
        """End all streams."""
        for reader in self._readers:
            reader.put_nowait(None)

    async def read(self) -> AsyncIterator[str]:
        """The stream of one reader, as it goes over the wire."""
        news: asyncio.Queue[str | None] = asyncio.Queue()
        for (kind, _), told in self._standing.items():
            news.put_nowait(_event(kind, told))
        self._readers.add(news)
        try:
            yield "retry: 500\n\n"
            while True:
                try:
                    async with asyncio.timeout(_QUIET_S):
                        event = await news.get()
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if event is None:
                    return
                yield event
        finally:
            self._readers.discard(news)


def _event(kind: str, told: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(told)}\n\n"
