"""A client like another one, whose requests go through somebody's hands."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType
from typing import Any, Protocol

from backstay.errors import BadIntegration

__all__ = ["Send", "bytes_stream", "intercepted", "module_of", "noted_stream"]


class Send(Protocol):
    """What a client does with a request that is ready."""

    def __call__(self, request: Any, *, stream: bool, **options: Any) -> Awaitable[Any]:
        """Answer it.

        Args:
            request: before anything was added by auth and hooks.
            stream: leave the answer's body to be read.
            options: others of the client's ``send``.
        """


def module_of(client: Any) -> ModuleType:
    """The library of a client: ``httpx``, or one made like it.

    Raises:
        BadIntegration: it is another one.
    """
    for base in type(client).__mro__:
        module = sys.modules.get(base.__module__.partition(".")[0])
        if module is not None and getattr(module, "AsyncClient", None) is base:
            return module
    raise BadIntegration(
        f"clients like those of httpx and httpx2 can be recorded; got a {type(client).__qualname__}; "
        "let patch_integration stand in for it"
    )


def intercepted(client: Any, send: Send) -> Any:
    """A client like ``client``, with the same settings and connections, that asks ``send``.

    Redirects, auth and cookies are the affair of whatever ``send`` does.

    Raises:
        BadIntegration: it is no client of httpx's kind.
    """
    module_of(client)
    kind = type(client)

    class Intercepted(kind):  # type: ignore[misc, valid-type]  # whichever it is
        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            return await send(request, stream=stream, **options)

    Intercepted.__name__ = Intercepted.__qualname__ = kind.__name__
    other = object.__new__(Intercepted)
    # Shared and not copied: cookies and the like are the same for both.
    other.__dict__ = client.__dict__
    return other


def bytes_stream(module: ModuleType, content: bytes) -> Any:
    """A body that comes in one piece, for answers that are read as they come."""

    class Whole(module.AsyncByteStream):  # type: ignore[name-defined, misc]  # loaded late
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield content

    return Whole()


def noted_stream(module: ModuleType, stream: Any, done: Callable[[bytes, bool], None]) -> Any:
    """A body that is noted while it is read.

    Args:
        module: the client's.
        stream: the body.
        done: is told, once, what was read, and whether it was all.
    """

    class Noted(module.AsyncByteStream):  # type: ignore[name-defined, misc]  # loaded late
        def __init__(self) -> None:
            self._pieces: list[bytes] = []
            self._is_whole = False
            self._is_done = False

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for each in stream:
                self._pieces.append(each)
                yield each
            self._is_whole = True

        async def aclose(self) -> None:
            await stream.aclose()
            if not self._is_done:
                self._is_done = True
                done(b"".join(self._pieces), self._is_whole)

    return Noted()
