"""The integrations of one app: open for as long as it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import ModuleType
from typing import Any

from backstay.app import Backstay
from backstay.context import Context
from backstay.integration.http.clients import trusted_authorities
from backstay.integration.http.declaration import EndpointsDeclaration

__all__ = ["IntegrationsPart"]


class IntegrationsPart:
    """What ``add_integrations(app, …)`` switches on.

    Args:
        app: whose.
        shared_states: what processes tell each other about patterns; ``None`` for nothing.

    Attributes:
        shared_states: the same, for patterns that are ``shared``.
    """

    attribute = "integrations"

    def __init__(self, app: Backstay, *, shared_states: Any = None) -> None:
        self._app = app
        self._integrations: list[EndpointsDeclaration] = []
        self.shared_states = shared_states

    @property
    def integrations(self) -> tuple[EndpointsDeclaration, ...]:
        """All of them, in the order they were given."""
        return tuple(self._integrations)

    def libraries(self) -> set[ModuleType]:
        """Those of the clients that will be used, and those that code has imported besides."""
        return {
            found
            for found in (
                *(each.library for each in self._integrations),
                *map(sys.modules.get, ("httpx", "httpx2")),
            )
            if found is not None
        }

    def take(self, integrations: Iterable[EndpointsDeclaration]) -> None:
        """These belong to the app, too."""
        for each in integrations:
            if each not in self._integrations:
                self._integrations.append(each)

    def bind(self, ctx: Context) -> tuple[EndpointsDeclaration, ...]:
        """``ctx.integrations``."""
        return self.integrations

    async def open(self) -> None:
        """Open what the patterns share. Connections are opened by the first calls."""
        if self.shared_states is not None:
            await self.shared_states.open()
        for each in self._integrations:
            each.attach(self._app)
            each.owner.shared_states = self.shared_states
            if each.base_url.startswith("https:") and each.library is not None:
                # In a thread, because it takes a while, and nobody has to wait for it yet.
                await asyncio.to_thread(trusted_authorities, each.library)

    async def close(self) -> None:
        """Close all connections, those behind one that cannot be closed, too."""
        async with AsyncExitStack() as stack:
            if self.shared_states is not None:
                stack.push_async_callback(self.shared_states.close)
            for each in reversed(self._integrations):
                each.owner.shared_states = None
                stack.push_async_callback(each.detach, self._app)
