"""What a part is: it opens once per app and binds one attribute per Context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from backstay.context import Context

__all__ = ["Part"]


class Part(Protocol):
    """One thing an app can do: run tasks, reach a database, hold state.

    ``Backstay`` opens its parts in the order they were added, after the app's own start-up,
    and closes them in reverse, before the app's own shutdown, so a part may use whatever the
    app's lifespan provides for as long as it is open.
    """

    @property
    def attribute(self) -> str:
        """The name under which contexts offer it: ``tasks`` for ``ctx.tasks``."""

    def bind(self, ctx: Context) -> object:
        """The value of that attribute for one context. Called once, on first use."""

    async def open(self) -> None:
        """Start. Runs in the event loop that will serve the app."""

    async def close(self) -> None:
        """Stop, within a bounded time. Called once for every ``open``."""
