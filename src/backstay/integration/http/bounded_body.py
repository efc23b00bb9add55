"""Bodies that are cut where they would fill the memory."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any, Final

from backstay.errors import BadAnswer
from backstay.integration.http.unpacking import CODINGS, Unpacking

__all__ = ["UNBOUNDED", "bound_body"]

UNBOUNDED: Final = "backstay_unbounded"
"""Extension of requests whose answers are read piece by piece, by somebody who looks at each."""


def bound_body(response: Any, max_bytes: int, label: str) -> None:
    """Have reading a response fail as soon as it is larger than that.

    What is packed by gzip or deflate is unpacked here, a piece at a time: clients unpack whole pieces
    as they come, so that 64 KiB of the network are 64 MiB of memory.

    Args:
        response: of httpx's kind, not read yet. One that never came over a network is left alone.
        max_bytes: counted after unpacking.
        label: what is called, for the message.
    """
    library = sys.modules.get(type(response).__module__.partition(".")[0])
    base = getattr(library, "AsyncByteStream", None)
    if base is None or getattr(response, "is_stream_consumed", True):
        return
    named = response.headers.get("content-encoding", "").lower().split(",")
    codings = [each.strip() for each in named if each.strip() not in {"", "identity"}]
    if len(codings) > 1 or not CODINGS.keys() >= set(codings):
        # The client would unpack it by itself, whatever comes of it: 600 bytes may be gigabytes.
        raise BadAnswer(
            f"{label} answered {response.status_code} with a body packed as "
            f"{', '.join(codings)[:80]!r}; ask for gzip, deflate or identity in Accept-Encoding",
            endpoint=label,
            answered=response.status_code,
        )
    if codings:
        del response.headers["content-encoding"]  # or the client would unpack it again
    response.stream = _bounded_stream(base)(
        response.stream, _Body(response.status_code, "".join(codings), max_bytes, label)
    )


class _Body:
    """Counts and unpacks one body."""

    def __init__(self, status: int, coding: str, max_bytes: int, label: str) -> None:
        self._status = status
        self._unpacking = Unpacking(coding)
        self._is_deflate = coding == "deflate"
        self._max_bytes = max_bytes
        self._label = label
        self._size = 0

    def add(self, piece: bytes) -> Iterator[bytes]:
        try:
            for part in self._unpacked(piece):
                self._size += len(part)
                if self._size > self._max_bytes:
                    raise self._bad(
                        f"more than {self._max_bytes} bytes; max_answer_bytes= allows more, and "
                        "api.stream() reads without a bound"
                    )
                yield part
        except ValueError as error:
            raise self._bad(f"a packed body, and {error}") from error

    def end(self) -> None:
        try:
            self._unpacking.end()
        except ValueError as error:
            raise self._bad(f"a packed body, and {error}") from error

    def _unpacked(self, piece: bytes) -> Iterator[bytes]:
        if self._is_deflate and piece:
            # Many servers say deflate and send it without zlib's header (RFC 9110 §8.4.1.2).
            self._is_deflate = False
            try:
                first = list(Unpacking("deflate").add(piece[:2]))
            except ValueError:
                self._unpacking = Unpacking("raw deflate")
            else:
                assert not first
        yield from self._unpacking.add(piece)

    def _bad(self, what: str) -> BadAnswer:
        return BadAnswer(
            f"{self._label} answered {self._status} with {what}",
            endpoint=self._label,
            answered=self._status,
        )


@cache
def _bounded_stream(base: type) -> Any:
    """The class for one library's streams: made once."""

    class BoundedStream(base):  # type: ignore[misc]  # loaded late
        def __init__(self, inner: Any, body: _Body) -> None:
            self._inner = inner
            self._body = body

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for piece in self._inner:
                for part in self._body.add(piece):
                    yield part
            self._body.end()

        async def aclose(self) -> None:
            await self._inner.aclose()

    return BoundedStream
