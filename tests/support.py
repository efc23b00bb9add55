"""What many tests share: async tests and apps that are really running."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from typing import ParamSpec

P = ParamSpec("P")

__all__ = ["PATIENCE_S", "async_test", "shown"]

PATIENCE_S = 20.0
"""How long a test waits for something that will come, before it calls it a failure."""


def async_test(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test in an event loop of its own, and fail it rather than hang."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(PATIENCE_S):
                await test(*args, **kwargs)

        asyncio.run(bounded())

    return run


def shown(value: object) -> str:
    """A parameter's id: its repr without addresses, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
